// The fence: exceptions and rules; and what is to be done about a container of Creel's own.

#include <gtest/gtest.h>

#include "reconciler/runtime/docker/fence_rules.hpp"
#include "reconciler/runtime/docker/network_pool.hpp"
#include "reconciler/runtime/docker/service.hpp"
#include "tests/support/support.hpp"

namespace creel::docker {
namespace {

TEST(FenceAllow, ReadsAddressesNetworksAndTheHostWithAndWithoutPorts) {
  EXPECT_EQ(parse_fence_allow("host").value(), (FenceAllow{true, "", false, 0}));
  EXPECT_EQ(parse_fence_allow("host:11434").value(), (FenceAllow{true, "", false, 11434}));
  EXPECT_EQ(parse_fence_allow("10.0.0.5").value(), (FenceAllow{false, "10.0.0.5", false, 0}));
  EXPECT_EQ(parse_fence_allow("192.168.1.0/24:80").value(), (FenceAllow{false, "192.168.1.0/24", false, 80}));
  EXPECT_EQ(parse_fence_allow("fd00::5").value(), (FenceAllow{false, "fd00::5", true, 0}));
  EXPECT_EQ(parse_fence_allow("[fd00::/8]:443").value(), (FenceAllow{false, "fd00::/8", true, 443}));
}

TEST(FenceAllow, RefusesWhatIsNoneOfThemSoThatNothingElseGetsIntoTheRules) {
  for (const char* text :
       {"", "ollama", "host:", "host:0", "host:65536", "host:80:80", "10.0.0.5:", "10.0.0.5:x", "10.0.0/8",
        "10.0.0.0/33", "10.0.0.0/", "fd00::/129", "[fd00::5", "[fd00::5]80", "10.0.0.5 accept", "10.0.0.5\n"})
    EXPECT_FALSE(parse_fence_allow(text)) << text;
}

TEST(FenceRules, AreWritten) {
  FenceOptions options;
  options.table = "creel_0123abcd";
  options.bridges = "cr0123abcd-";
  options.others = {"br-0123456789ab"};
  options.allow = {{true, "", false, 11434}, {false, "192.168.1.0/24", false, 0}, {false, "fd00::5", true, 80}};
  const std::string rules = fence_rules(options);
  EXPECT_EQ(rules, test::golden("fence_rules.txt", rules) + "\n");
}

TEST(FenceRules, GiveRestrictedAgentsNoExceptions) {
  FenceOptions options;
  options.bridges = "cr0123abcd-";
  options.allow = {{true, "", false, 0}};
  const std::string rules = fence_rules(options);
  const auto host = rules.find("chain to_host");
  EXPECT_LT(rules.find("iifname \"cr0123abcd-e*\" goto refuse", host), rules.find("@resolvers4", host));
  const auto forward = rules.find("chain forward");
  EXPECT_LT(rules.find("iifname \"cr0123abcd-e*\" goto to_gateway", forward),
            rules.find("oifname \"cr0123abcd-*\" goto to_agent", forward));
}

TEST(FenceRules, LetOthersThanAgentsInWhereAgentsPortsArePublished) {
  FenceOptions options;
  options.bridges = "cr0123abcd-";
  options.others = {"br-0123456789ab"};
  const auto to_agent = [&](const char* published) {
    options.published = published;
    const std::string rules = fence_rules(options);
    const auto begin = rules.find("  chain to_agent");
    return rules.substr(begin, rules.find("  }\n", begin) - begin);
  };
  EXPECT_EQ(to_agent("10.0.0.5"),
            "  chain to_agent {\n    ct state established,related accept\n"
            "    iifname \"cr0123abcd-*\" goto refuse\n    iifname \"br-0123456789ab\" goto refuse\n"
            "    ct status dnat ct original ip daddr 10.0.0.5 accept\n    goto refuse\n");
  EXPECT_NE(to_agent("fd00::5").find("ct original ip6 daddr fd00::5 accept"), std::string::npos);
  for (const char* own : {"", "127.0.0.1", "::1"}) EXPECT_EQ(to_agent(own).find("dnat"), std::string::npos) << own;
}

TEST(BridgeNames, BeginWithWhatTheFenceKnowsThemBy) {
  EXPECT_TRUE(bridge_name("creel", "engine", 7).starts_with(bridge_prefix("creel", "engine")));
  EXPECT_NE(bridge_prefix("creel", "engine"), bridge_prefix("creel", "other"));
  EXPECT_LE(bridge_name("creel", "engine", 9'999).size(), 15u);
}

TEST(ServiceStep, MendsWhatIsNotAsItShouldBe) {
  ContainerInfo info;
  info.labels = {{kLabelSpecHash, "hash"}, {kLabelIsolation, "print"}};
  info.isolation = "print";
  info.image_id = "sha256:1";
  info.networks = {"host"};
  info.state = ContainerState::running;
  EXPECT_EQ(service_step(std::nullopt, "hash", "sha256:1", 1), ServiceStep::make);
  EXPECT_EQ(service_step(info, "hash", "sha256:1", 1), ServiceStep::none);
  EXPECT_EQ(service_step(info, "other rules", "sha256:1", 1), ServiceStep::replace);
  EXPECT_EQ(service_step(info, "hash", "sha256:2", 1), ServiceStep::replace) << "the image was made anew";
  ContainerInfo altered = info;
  altered.isolation = "more rights";
  EXPECT_EQ(service_step(altered, "hash", "sha256:1", 1), ServiceStep::replace);
  ContainerInfo joined = info;
  joined.networks.insert("bridge");
  EXPECT_EQ(service_step(joined, "hash", "sha256:1", 1), ServiceStep::replace);
  altered.isolation = "";
  EXPECT_EQ(service_step(altered, "hash", "sha256:1", 1), ServiceStep::none) << "no proof is no drift";
  for (const auto& [state, step] : {std::pair{ContainerState::created, ServiceStep::start},
                                    {ContainerState::exited, ServiceStep::start},
                                    {ContainerState::restarting, ServiceStep::none},
                                    {ContainerState::paused, ServiceStep::replace},
                                    {ContainerState::dead, ServiceStep::replace},
                                    {ContainerState::removing, ServiceStep::wait}}) {
    ContainerInfo now = info;
    now.state = state;
    EXPECT_EQ(service_step(now, "hash", "sha256:1", 1), step) << to_string(state);
  }
}

}  // namespace
}  // namespace creel::docker
