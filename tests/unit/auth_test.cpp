#include <gtest/gtest.h>

#include "api/auth/client_address.hpp"
#include "api/auth/credentials.hpp"

namespace creel::api {
namespace {

TrustedProxies proxies(std::vector<std::string> entries) { return TrustedProxies::parse(entries).value(); }

Headers forwarded(std::string value) { return {{"X-Forwarded-For", std::move(value)}, {"X-Forwarded-Proto", "https"}}; }

TEST(ClientAddress, BelievesNobodyByDefault) {
  const Client client = find_client("10.0.0.1", forwarded("1.2.3.4"), {});
  EXPECT_EQ(client.address, "10.0.0.1");
  EXPECT_FALSE(client.secure);
}

TEST(ClientAddress, BelievesATrustedProxy) {
  const Client client = find_client("10.0.0.1", forwarded("1.2.3.4"), proxies({"10.0.0.0/8"}));
  EXPECT_EQ(client.address, "1.2.3.4");
  EXPECT_TRUE(client.secure);
}

TEST(ClientAddress, TakesTheRightmostAddressNoTrustedProxyHas) {
  const auto trusted = proxies({"10.0.0.0/8", "192.168.1.1"});
  EXPECT_EQ(find_client("10.0.0.1", forwarded("6.6.6.6, 1.2.3.4, 192.168.1.1"), trusted).address, "1.2.3.4");
  EXPECT_EQ(find_client("10.0.0.1", forwarded("10.0.0.7, 10.0.0.8"), trusted).address, "10.0.0.7");
  EXPECT_EQ(find_client("10.0.0.1", {{"x-forwarded-for", "6.6.6.6"}, {"X-Forwarded-For", "1.2.3.4"}}, trusted).address,
            "1.2.3.4");
}

TEST(ClientAddress, FollowsSeveralHopsOfIpv6) {
  const auto trusted = proxies({"fd00::/8", "2001:db8:ffff::1", "10.0.0.0/8"});
  const std::string hops = "6.6.6.6, 2001:db8::5, [2001:db8:ffff::1]:8443, ::ffff:10.0.0.7";
  EXPECT_EQ(find_client("fd12::1", forwarded(hops), trusted).address, "2001:db8::5");
  EXPECT_EQ(find_client("2001:db8::66", forwarded(hops), trusted).address, "2001:db8::66") << "not a proxy of ours";
  EXPECT_EQ(find_client("fd12::1", forwarded("fe80::1%eth0, 2001:db8:ffff::1"), trusted).address, "2001:db8:ffff::1");
}

TEST(ClientAddress, StopsAtRubbish) {
  const auto trusted = proxies({"10.0.0.0/8"});
  EXPECT_EQ(find_client("10.0.0.1", forwarded("1.2.3.4, unknown"), trusted).address, "10.0.0.1");
  EXPECT_EQ(find_client("10.0.0.1", forwarded("rubbish, 10.0.0.9"), trusted).address, "10.0.0.9");
  EXPECT_EQ(find_client("10.0.0.1", {}, trusted).address, "10.0.0.1");
}

TEST(ClientAddress, ReadsPortsAndBrackets) {
  const auto trusted = proxies({"10.0.0.0/8"});
  EXPECT_EQ(find_client("10.0.0.1", forwarded("1.2.3.4:5678"), trusted).address, "1.2.3.4");
  EXPECT_EQ(find_client("10.0.0.1", forwarded("[2001:db8::1]:443"), trusted).address, "2001:db8::1");
  EXPECT_EQ(find_client("10.0.0.1", forwarded("2001:db8::1"), trusted).address, "2001:db8::1");
}

TEST(ClientAddress, TakesMappedAddressesForIpv4) {
  EXPECT_EQ(find_client("::ffff:10.0.0.1", forwarded("1.2.3.4"), proxies({"10.0.0.1"})).address, "1.2.3.4");
  EXPECT_EQ(find_client("::ffff:9.9.9.9", {}, {}).address, "9.9.9.9");
}

TEST(ClientAddress, MatchesBlocksToTheBit) {
  const auto trusted = proxies({"172.16.0.0/12", "fd00::/8"});
  EXPECT_TRUE(trusted.contains(*Address::parse("172.31.255.255")));
  EXPECT_FALSE(trusted.contains(*Address::parse("172.32.0.0")));
  EXPECT_TRUE(trusted.contains(*Address::parse("fdff::1")));
  EXPECT_FALSE(trusted.contains(*Address::parse("fe00::1")));
  EXPECT_FALSE(proxies({"::/0"}).contains(*Address::parse("1.2.3.4")));
}

TEST(ClientAddress, RefusesEntriesItCannotRead) {
  for (const char* bad : {"proxy.example", "10.0.0.0/33", "10.0.0.0/x", "10.0.0.0/", "fd00::/129", ""}) {
    const auto parsed = TrustedProxies::parse({bad});
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().field, "CREEL_TRUSTED_PROXIES");
  }
}

TEST(Credentials, MakesSecretsThatAreStoredAsDigestsOnly) {
  const Secret key = new_api_key();
  EXPECT_EQ(key.text.size(), 67u);
  EXPECT_TRUE(key.text.starts_with("sk_"));
  EXPECT_EQ(key.digest, sha256_hex(key.text));
  EXPECT_NE(new_api_key().text, key.text);
  EXPECT_EQ(new_session_secret().text.size(), 64u);
}

TEST(Credentials, FindsACookieAmongOthers) {
  Request request;
  request.headers = {{"cookie", "a=1; creel-session=abc; b=\"x\""}, {"Cookie", "c=3"}};
  EXPECT_EQ(find_cookie(request, "creel-session"), "abc");
  EXPECT_EQ(find_cookie(request, "c"), "3");
  EXPECT_EQ(find_cookie(request, "session"), "");
}

TEST(Credentials, GuardsTheCookieOverTls) {
  Request request;
  EXPECT_EQ(session_cookie(request, "v", std::chrono::hours{24}),
            "creel-session=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400");
  request.secure = true;
  EXPECT_EQ(session_cookie(request, "", std::chrono::seconds{0}),
            "__Host-creel-session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0; Secure");
}

bool passes(Headers headers) {
  Request request;
  request.headers = std::move(headers);
  return passes_csrf(request);
}

TEST(Csrf, PassesWhatTheBrowserSaysComesFromHere) {
  EXPECT_TRUE(passes({{"Sec-Fetch-Site", "same-origin"}}));
  EXPECT_TRUE(passes({{"Sec-Fetch-Site", "none"}}));
  EXPECT_TRUE(passes({{"Origin", "http://creel.example:8080"}, {"Host", "creel.example:8080"}}));
  EXPECT_TRUE(passes({{"Origin", "https://Creel.example"}, {"Host", "creel.example:443"}}));
}

TEST(Csrf, RefusesEverythingElse) {
  EXPECT_FALSE(passes({}));
  EXPECT_FALSE(passes({{"Host", "creel.example"}}));
  EXPECT_FALSE(passes({{"Sec-Fetch-Site", "cross-site"}, {"Host", "creel.example"}}));
  EXPECT_FALSE(passes({{"Sec-Fetch-Site", "same-site"}, {"Host", "creel.example"}}));
  EXPECT_FALSE(passes({{"Origin", "http://evil.example"}, {"Host", "creel.example"}}));
  EXPECT_FALSE(passes({{"Origin", "http://creel.example:81"}, {"Host", "creel.example"}}));
  EXPECT_FALSE(passes({{"Origin", "null"}, {"Host", "null"}}));
  EXPECT_FALSE(passes({{"Origin", "http://creel.example.evil.example"}, {"Host", "creel.example"}}));
}

}  // namespace
}  // namespace creel::api
