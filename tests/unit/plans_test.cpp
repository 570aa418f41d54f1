#include "controller/core/plans.hpp"

#include <gtest/gtest.h>

namespace creel {
namespace {

SubscriptionPlan plan(const char* name, int agents, int rank) {
  SubscriptionPlan result;
  result.name = name;
  result.agent_limit = agents;
  result.rank = rank;
  result.resources.memory_bytes = (rank + 1LL) << 30;
  return result;
}

Plans three() {
  return Plans{{{"free", plan("free", 1, 0)}, {"pro", plan("pro", 3, 1)}, {"enterprise", plan("enterprise", 100, 2)}}};
}

TEST(Plans, GivesAnUnknownPlanTheLowestWithOneAgent) {
  const Plans plans{{{"small", plan("small", 5, 0)}, {"big", plan("big", 9, 1)}}};
  EXPECT_EQ(plans.of_user("gold").name, "small");
  EXPECT_EQ(plans.of_user("gold").agent_limit, 1);
  EXPECT_EQ(plans.of_user("small").agent_limit, 5);
}

TEST(Plans, LetAHintLowerButNeverRaise) {
  EXPECT_EQ(three().effective("pro", "free", false).name, "free");
  EXPECT_EQ(three().effective("pro", "enterprise", false).name, "pro");
  EXPECT_EQ(three().effective("pro", "pro", false).name, "pro");
  EXPECT_EQ(three().effective("pro", "", false).name, "pro");
  EXPECT_EQ(three().effective("gold", "enterprise", false).name, "free");
}

TEST(Plans, KeepTheAccountsAgentLimitWhenAHintLowersTheAgent) {
  EXPECT_EQ(three().effective("pro", "free", false).agent_limit, 3);
}

TEST(Plans, GiveAdminsWhatTheyAskFor) {
  EXPECT_EQ(three().effective("free", "enterprise", true).name, "enterprise");
  EXPECT_EQ(three().effective("free", "", true).name, "free");
}

TEST(Plans, NeverGiveUnlimitedMemoryEvenWithoutAnyPlan) {
  const auto plan = Plans{}.of_user("free");
  EXPECT_GT(plan.resources.memory_bytes, 0);
  EXPECT_GT(plan.resources.nano_cpus, 0);
  EXPECT_EQ(plan.agent_limit, 1);
}

}  // namespace
}  // namespace creel
