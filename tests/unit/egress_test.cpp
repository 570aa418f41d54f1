// Egress lists: what owners write, what comes of it, what gateways' logs tell, and what is told of it.
#include "controller/core/egress.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "controller/core/agent_json.hpp"
#include "controller/core/spec_hash.hpp"
#include "reconciler/denials.hpp"
#include "reconciler/runtime/docker/egress_parts.hpp"

namespace creel {
namespace {

using docker::Denial;
using nlohmann::json;

const EgressPresets kPresets{{"openai", {"api.openai.com"}}, {"telegram", {"api.telegram.org"}}};

TEST(Egress, TakesNamesAndNothingThatIsNone) {
  for (const char* name : {"example.com", "a.b.c.example", "*.example.com", "xn--bcher-kva.example", "1and1.com"})
    EXPECT_TRUE(egress_name(name)) << name;
  for (const char* name :
       {"", "*", "*.", "com", "*.com.", "example.com.", ".example.com", "a..b", "-a.b", "a-.b", "A.b", "10.0.0.1",
        "example.com:443", "https://example.com", "a b.c", "a.*.c", "exa;mple.com", "example.com\nlisten 1"})
    EXPECT_FALSE(egress_name(name)) << name;
  EXPECT_FALSE(egress_name(std::string(64, 'a') + ".com"));
}

TEST(Egress, ReadsAWishAndSaysWhatIsWrongWithIt) {
  EXPECT_EQ(read_egress_wish("open", kPresets).value(), (EgressWish{true, {}}));
  EXPECT_EQ(read_egress_wish("none", kPresets).value(), (EgressWish{false, {}}));
  EXPECT_EQ(read_egress_wish(json::array(), kPresets).value(), (EgressWish{false, {}}));
  EXPECT_EQ(read_egress_wish({"API.Example.com", "preset:openai", "auto", "auto"}, kPresets).value(),
            (EgressWish{false, {"api.example.com", "preset:openai", "auto"}}));
  for (const json& wrong : {json("closed"), json(1), json::object(), json{1}, json{"open", "a.b"}, json{"10.0.0.1"},
                            json{"preset:nobody"}, json(std::vector<std::string>(201, "a.b"))}) {
    const auto wish = read_egress_wish(wrong, kPresets);
    ASSERT_FALSE(wish) << wrong;
    EXPECT_EQ(wish.error().field, "egress");
  }
  EXPECT_NE(read_egress_wish({"preset:nobody"}, kPresets).error().message.find("openai, telegram"), std::string::npos);
}

TEST(Egress, MakesNamesOfPresetsAndOfTheKeysThatThereAre) {
  const std::map<std::string, std::string> secrets{{"telegram", "1:token"}, {"openai", ""}, {"gateway_token", "x"}};
  EXPECT_EQ(egress_names({true, {}}, kPresets, secrets), std::nullopt);
  EXPECT_EQ(egress_names({false, {}}, kPresets, secrets), std::vector<std::string>{});
  EXPECT_EQ(egress_names({false, {"z.example", "preset:openai", "a.example", "z.example"}}, kPresets, secrets),
            (std::vector<std::string>{"a.example", "api.openai.com", "z.example"}));
  EXPECT_EQ(egress_names({false, {"auto"}}, kPresets, secrets), std::vector<std::string>{"api.telegram.org"});
}

TEST(Egress, IsKeptAsItWasWrittenAndChangesNoHashOfAnOpenAgent) {
  for (const EgressWish& wish : {EgressWish{true, {}}, EgressWish{false, {}}, EgressWish{false, {"preset:openai"}}})
    EXPECT_EQ(json(wish).get<EgressWish>(), wish);
  WorkloadSpec spec;
  spec.image = "image:1";
  EXPECT_FALSE(json(spec).contains("egress"));
  const std::string open = spec_hash(spec);
  spec.egress = std::vector<std::string>{};
  const std::string none = spec_hash(spec);
  spec.egress = std::vector<std::string>{"a.example"};
  EXPECT_NE(open, none);
  EXPECT_NE(none, spec_hash(spec));
  EXPECT_EQ(json(spec).get<WorkloadSpec>(), spec);
}

TEST(EgressParts, ShareANetworkByTheirNames) {
  EXPECT_EQ(docker::policy_id({}), "none");
  EXPECT_EQ(docker::policy_id({"a.example"}).size(), 12u);
  EXPECT_NE(docker::policy_id({"a.example"}), docker::policy_id({"a.example", "b.example"}));
  EXPECT_EQ(docker::egress_name("creel", "none"), "creel-creel-egress-none");
}

TEST(EgressParts, KeepTheGatewaysAddressOutOfTheAgents) {
  const auto plan = docker::plan_addresses("10.1.4.0/22").value();
  EXPECT_EQ(plan.bridge, "10.1.4.1");
  EXPECT_EQ(plan.gateway, "10.1.4.2");
  EXPECT_EQ(plan.agents, "10.1.6.0/23");
  EXPECT_EQ(docker::plan_addresses("172.18.0.0/16").value().agents, "172.18.128.0/17");
  for (const char* wrong : {"", "10.0.0.0", "10.0.0.0/29", "10.0.0.0/x", "fd00::/64"})
    EXPECT_FALSE(docker::plan_addresses(wrong)) << wrong;
}

TEST(EgressParts, ReadWhatWasRefusedFromTheGatewaysLog) {
  docker::DenialReader reader;
  EXPECT_EQ(reader.read("denied tls 10.1.2.3 \"denied.test\""), (Denial{"10.1.2.3", "denied.test", "tls"}));
  EXPECT_EQ(reader.read("denied tls 10.1.2.3 \"\""), (Denial{"10.1.2.3", "", "tls"}));
  EXPECT_EQ(reader.read("denied http 10.1.2.3 \"denied.test\""), (Denial{"10.1.2.3", "denied.test", "http"}));
  EXPECT_EQ(reader.read("dnsmasq: 1 10.1.2.3/47 query[A] denied.test from 10.1.2.3"), std::nullopt);
  EXPECT_EQ(reader.read("dnsmasq: 1 10.1.2.3/47 config denied.test is NXDOMAIN"),
            (Denial{"10.1.2.3", "denied.test", "dns"}));
  // The same name in the other family is the same try.
  EXPECT_EQ(reader.read("dnsmasq: 2 10.1.2.3/48 query[AAAA] denied.test from 10.1.2.3"), std::nullopt);
  EXPECT_EQ(reader.read("dnsmasq: 2 10.1.2.3/48 config denied.test is NXDOMAIN"), std::nullopt);
  EXPECT_EQ(reader.read("dnsmasq: 3 10.1.2.3/49 query[A] allowed.test from 10.1.2.3"), std::nullopt);
  EXPECT_EQ(reader.read("dnsmasq: 3 10.1.2.3/49 /etc/hosts allowed.test is 10.1.2.2"), std::nullopt);
  for (const char* other :
       {"", "gateway: in force", "denied", "denied tls", "denied tls 10.1.2.3 \"", "dnsmasq: started"})
    EXPECT_EQ(reader.read(other), std::nullopt) << other;
  // What an agent writes there is no more than a name.
  EXPECT_EQ(reader.read("denied tls 10.1.2.3 \"a\\u000ab \"c\"").value().name, "a?u000ab??c");
  EXPECT_EQ(reader.read("denied tls 10.1.2.3 \"" + std::string(5'000, 'a') + "\"").value().name.size(), 253u);
}

class DenialBookTest : public testing::Test {
 protected:
  DenialBook book;
  const AgentId agent = new_agent_id(), other = new_agent_id();
  TimePoint now = system_now();
  DenialBook::Page turn() {
    const auto page = book.page(now);
    book.written(page, now);
    return page;
  }
};

TEST_F(DenialBookTest, CountsEachAndTellsTheirNames) {
  book.add(agent, "a.test", "dns");
  book.add(agent, "a.test", "tls");
  book.add(agent, "", "tls");
  book.add(other, "b.test", "http");
  const auto page = turn();
  EXPECT_EQ(page.counts, (std::map<AgentId, std::uint64_t>{{agent, 3}, {other, 1}}));
  ASSERT_EQ(page.events.size(), 2u);
  for (const Event& event : page.events) {
    EXPECT_EQ(event.reason, "EgressDenied");
    EXPECT_EQ(event.message, event.agent == agent
                                 ? "was refused: a.test (2 times), an address without a name; its egress list does not "
                                   "have them"
                                 : "was refused: b.test; its egress list does not have it");
  }
  EXPECT_EQ(book.total("dns"), 1u);
  EXPECT_EQ(book.total("tls"), 2u);
  EXPECT_EQ(book.total("http"), 1u);
  EXPECT_TRUE(turn().counts.empty());
}

TEST_F(DenialBookTest, TellsNoMoreThanSixAnHourHoweverOftenItIsTried) {
  int events = 0;
  std::uint64_t counted = 0;
  for (int i = 0; i < 360; ++i) {  // an hour
    for (int k = 0; k < 30; ++k) book.add(agent, "n" + std::to_string(i * 30 + k) + ".test", "dns");
    const auto page = turn();
    events += static_cast<int>(page.events.size());
    for (const auto& [id, count] : page.counts) counted += count;
    for (const Event& event : page.events) EXPECT_LT(event.message.size(), 300u);
    now += std::chrono::seconds{10};
  }
  EXPECT_EQ(events, DenialBook::kEventsAnHour);
  EXPECT_EQ(counted, 360u * 30);
  now += std::chrono::hours{1};
  ASSERT_EQ(turn().events.size(), 1u) << "what was held back is told later";
}

TEST_F(DenialBookTest, KeepsWhatCouldNotBeWritten) {
  book.add(agent, "a.test", "dns");
  EXPECT_EQ(book.page(now).counts.at(agent), 1u);
  book.add(agent, "a.test", "dns");
  const auto page = turn();
  EXPECT_EQ(page.counts.at(agent), 2u);
  EXPECT_EQ(page.events.size(), 1u);
}

}  // namespace
}  // namespace creel
