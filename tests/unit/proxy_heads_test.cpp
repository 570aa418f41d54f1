#include <gtest/gtest.h>

#include "api/proxy/heads.hpp"
#include "api/proxy/place.hpp"

namespace creel::api {
namespace {

constexpr const char* kId = "0123456789abcdef";

std::optional<Place> by_name(std::string_view host, std::string_view target = "/") {
  return find_place(host, target, "agents.example.com", false);
}
std::optional<Place> by_path(std::string_view target) {
  return find_place("127.0.0.1:10000", target, "agents.example.com", true);
}

TEST(Place, IsFoundByAName) {
  for (const char* host : {"0123456789abcdef.agents.example.com", "0123456789abcdef.agents.example.com:8080",
                           "0123456789abcdef.Agents.Example.COM"}) {
    const auto place = by_name(host, "/a?b=c");
    ASSERT_TRUE(place) << host;
    EXPECT_EQ(place->agent.str(), kId);
    EXPECT_EQ(place->target, "/a?b=c");
    EXPECT_EQ(place->prefix, "");
  }
  for (const char* host : {"agents.example.com", "www.agents.example.com", "0123456789abcdef.example.com",
                           "x.0123456789abcdef.agents.example.com", "0123456789abcdeg.agents.example.com",
                           "0123456789abcdef.agents.example.com.evil.test", "", ".", "0123456789abcdef."})
    EXPECT_FALSE(by_name(host)) << host;
  EXPECT_FALSE(by_name("0123456789abcdef.agents.example.com", "http://other/")) << "the absolute form names another";
}

TEST(Place, IsFoundByAPathAtTheGatewaysAddressOnly) {
  const auto expect = [](const char* asked, const char* target) {
    const auto place = by_path(asked);
    ASSERT_TRUE(place) << asked;
    EXPECT_EQ(place->agent.str(), kId);
    EXPECT_EQ(place->target, target);
    EXPECT_EQ(place->prefix, "/agent/0123456789abcdef");
  };
  expect("/agent/0123456789abcdef", "/");
  expect("/agent/0123456789abcdef/", "/");
  expect("/agent/0123456789abcdef?x=1", "/?x=1");
  expect("/agent/0123456789abcdef/v1/models?x=1", "/v1/models?x=1");
  expect("/agent/0123456789abcdef//two", "//two");
  for (const char* asked : {"/", "/agent", "/agent/", "/agent/user_0123456789abcdef", "/agent/0123456789abcdef0/x",
                            "/agents/0123456789abcdef", "/agent/0123456789ABCDEF"})
    EXPECT_FALSE(by_path(asked)) << asked;
  EXPECT_FALSE(find_place("127.0.0.1:8080", "/agent/0123456789abcdef", "agents.example.com", false));
}

TEST(Place, LosesItsTicketOnTheWay) {
  const auto strip = [](std::string_view target) {
    const Stripped stripped = without_query(target, "token");
    return stripped.target + " " + stripped.value;
  };
  EXPECT_EQ(strip("/a"), "/a ");
  EXPECT_EQ(strip("/a?token=x"), "/a x");
  EXPECT_EQ(strip("/a?b=1&token=x&c=2"), "/a?b=1&c=2 x");
  EXPECT_EQ(strip("/a?token=x&token=y"), "/a x") << "none may be left";
  EXPECT_EQ(strip("/a?tokens=x&tok=1"), "/a?tokens=x&tok=1 ");
  EXPECT_EQ(strip("/a?token"), "/a ");
}

std::string all(const Headers& headers, std::string_view name) {
  std::string text;
  for (const auto& [key, value] : headers)
    if (same_ignoring_case(key, name)) text += (text.empty() ? "" : " / ") + value;
  return text;
}

const Place kPlace{*AgentId::parse(kId), "/agent/0123456789abcdef", "/"};

TEST(HeadersForAgent, LeaveTheCallersCredentialsBehind) {
  const Headers sent{{"Host", "h:1"},
                     {"authorization", "Bearer sk_secret"},
                     {"Cookie", "creel-session=s3cret; theme=dark; __Host-creel-agent=s3cret; creel-agent=s3cret"},
                     {"Cookie", "creel-session=s3cret"},
                     {"X-Forwarded-For", "6.6.6.6"},
                     {"X-Forwarded-User", "root"},
                     {"Tailscale-User-Login", "root"},
                     {"Forwarded", "for=6.6.6.6"},
                     {"Accept", "*/*"}};
  const Headers got = headers_for_agent(sent, kPlace, {"reference", "t0ken", ""}, {"10.1.2.3", true}, "req_1");
  EXPECT_EQ(all(got, "Authorization"), "Bearer t0ken");
  EXPECT_EQ(all(got, "Cookie"), "theme=dark");
  EXPECT_EQ(all(got, "X-Forwarded-For"), "10.1.2.3");
  EXPECT_EQ(all(got, "X-Forwarded-Proto"), "https");
  EXPECT_EQ(all(got, "X-Forwarded-Host"), "h:1");
  EXPECT_EQ(all(got, "X-Forwarded-Prefix"), "/agent/0123456789abcdef");
  EXPECT_EQ(all(got, "X-Forwarded-User") + all(got, "Tailscale-User-Login") + all(got, "Forwarded"), "");
  EXPECT_EQ(all(got, "Host"), "h:1");
  EXPECT_EQ(all(got, "Accept"), "*/*");
  EXPECT_EQ(all(got, "X-Request-Id"), "req_1");
}

TEST(HeadersForAgent, KeepWhatIsBetweenNeighboursBetweenThem) {
  const Headers sent{{"Connection", "keep-alive, X-Mine"},
                     {"X-Mine", "1"},
                     {"TE", "trailers"},
                     {"Transfer-Encoding", "chunked"},
                     {"Upgrade", "websocket"},
                     {"Content-Length", "5"},
                     {"Expect", "100-continue"},
                     {"Sec-WebSocket-Extensions", "permessage-deflate"}};
  const auto got = [&](const char* kind) { return headers_for_agent(sent, kPlace, {kind, "t", ""}, {}, "r"); };
  for (const char* name : {"Connection", "X-Mine", "TE", "Transfer-Encoding", "Upgrade", "Content-Length", "Expect"})
    EXPECT_EQ(all(got("reference"), name), "") << name;
  EXPECT_EQ(all(got("reference"), "Sec-WebSocket-Extensions"), "permessage-deflate");
  EXPECT_EQ(all(got("openclaw"), "Sec-WebSocket-Extensions"), "") << "its first words must be read";
}

TEST(HeadersForAgent, GiveOpenclawAnOriginThatItKnows) {
  const Headers sent{{"Origin", "https://0123456789abcdef.agents.example.com"}};
  EXPECT_EQ(all(headers_for_agent(sent, kPlace, {"openclaw", "t", ""}, {}, "r"), "Origin"), gateway::kOpenclawOrigin);
  EXPECT_EQ(all(headers_for_agent(sent, kPlace, {"reference", "t", ""}, {}, "r"), "Origin"), sent[0].second);
  EXPECT_EQ(all(headers_for_agent({}, kPlace, {"openclaw", "t", ""}, {}, "r"), "Origin"), "");
}

TEST(HeadersForClient, LetAnAgentSpeakForItselfOnly) {
  const Headers answered{{"Set-Cookie", "creel-session=evil; Path=/"},
                         {"Set-Cookie", "__Host-creel-session=evil; Path=/"},
                         {"Set-Cookie", "theme=dark"},
                         {"Clear-Site-Data", "\"*\""},
                         {"Strict-Transport-Security", "max-age=1"},
                         {"Location", "/login"},
                         {"Content-Type", "text/html"}};
  const Headers got = headers_for_client(answered, kPlace);
  EXPECT_EQ(all(got, "Set-Cookie"), "theme=dark");
  EXPECT_EQ(all(got, "Clear-Site-Data") + all(got, "Strict-Transport-Security"), "");
  EXPECT_EQ(all(got, "Location"), "/agent/0123456789abcdef/login") << "its root is not the host's";
  EXPECT_EQ(all(got, "Content-Type"), "text/html");
  const auto moved = [&](const char* to) { return all(headers_for_client({{"Location", to}}, kPlace), "Location"); };
  EXPECT_EQ(moved("https://elsewhere/x"), "https://elsewhere/x");
  EXPECT_EQ(moved("//elsewhere/x"), "//elsewhere/x");
  EXPECT_EQ(moved("page"), "page");
  EXPECT_EQ(moved("/agent/0123456789abcdef/x"), "/agent/0123456789abcdef/x");
}

TEST(AgentCookie, IsForOneAgentOnly) {
  EXPECT_EQ(agent_cookie(kPlace, false, "v", 60),
            "creel-agent=v; Path=/agent/0123456789abcdef; HttpOnly; SameSite=Lax; Max-Age=60");
  const Place name{*AgentId::parse(kId), "", "/"};
  EXPECT_EQ(agent_cookie(name, true, "v", 60),
            "__Host-creel-agent=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure");
}

}  // namespace
}  // namespace creel::api
