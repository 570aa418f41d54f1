#include "reconciler/config_feedback.hpp"

#include <gtest/gtest.h>

#include "controller/core/agent_json.hpp"
#include "reconciler/reconciler.hpp"
#include "reconciler/runtime/sim/sim_runtime.hpp"
#include "tests/support/memory_repository.hpp"

namespace creel {
namespace {

// An agent that runs with configuration 1 and says "config in force" or "config refused: …" of what comes after it.
class ConfigFeedbackTest : public testing::Test {
 protected:
  ConfigFeedbackTest() {
    runtime.images = {"agent:1"};
    AgentRecord record;
    record.desired.id = agent;
    record.desired.generation = 1;
    record.desired.spec.image = "agent:1";
    record.desired.spec_hash = "hash-1";
    record.desired.readiness.config = {{"config in force"}, {"config refused"}};
    repository.rows[agent] = record;
    give(1);
    settle();
  }

  void give(int number) {
    DesiredAgent& desired = repository.rows.at(agent).desired;
    desired.files = {{"config.json", "v" + std::to_string(number), 0600, 1000, 1000, false}};
    desired.files_hash = "files-" + std::to_string(number);
    desired.generation += 1;
  }
  void settle(int passes = 20) {
    for (int i = 0; i < passes; ++i) {
      const PassOutcome outcome = reconciler.reconcile(agent, {});
      now += outcome.requeue_after.value_or(milliseconds{1'000});
    }
  }
  Condition accepted() {
    for (const Condition& condition : repository.rows.at(agent).status.conditions)
      if (condition.type == "ConfigAccepted") return condition;
    return {};
  }
  std::string in_volume() { return runtime.files[agent]["config.json"]; }
  std::ptrdiff_t deliveries() { return std::count(runtime.calls.begin(), runtime.calls.end(), "deliver-files"); }

  TimePoint now = *parse_rfc3339("2026-03-19T00:00:00Z");
  const AgentId agent = AgentId::parse("00000000000000aa").value();
  test::MemoryRepository repository;
  SimRuntime runtime{[this] { return now; }};
  Reconciler reconciler{
      {repository, runtime, runtime, [this] { return now; }, Policy{}, [] { return std::optional<std::uint64_t>{1}; }}};
};

TEST_F(ConfigFeedbackTest, WhatTheFirstRunReadAtItsStartIsTakenInOnceItIsReady) {
  EXPECT_EQ(accepted().status, "True");
  EXPECT_EQ(accepted().reason, "TakenIn");
}

TEST_F(ConfigFeedbackTest, ADeliveredConfigurationIsTakenInWhenTheAgentSaysSo) {
  runtime.log_line = "nothing to the point";
  give(2);
  settle(1);
  EXPECT_EQ(accepted().status, "Unknown");
  runtime.log_line = "info: config in force";
  settle();
  EXPECT_EQ(accepted().status, "True");
  EXPECT_EQ(deliveries(), 1);
}

TEST_F(ConfigFeedbackTest, AfterARefusalTheLastGoodOneIsPutBackAndTheReasonShown) {
  runtime.log_line = "error: config refused: no such key";
  give(2);
  settle();
  EXPECT_EQ(accepted().status, "False");
  EXPECT_NE(accepted().message.find("config refused: no such key"), std::string::npos) << accepted().message;
  EXPECT_NE(accepted().message.find("last good one"), std::string::npos) << accepted().message;
  EXPECT_EQ(in_volume(), "v1");
  EXPECT_EQ(deliveries(), 2) << "delivered, refused, put back, and left at that";
  EXPECT_EQ(runtime.containers.at(agent).starts, 1) << "no restart";

  runtime.log_line = "info: config in force";
  give(3);
  settle();
  EXPECT_EQ(accepted().status, "True");
  EXPECT_EQ(in_volume(), "v3");
}

TEST_F(ConfigFeedbackTest, ARefusedConfigurationWishedAgainAfterAnotherIsTriedAgain) {
  runtime.log_line = "error: config refused: not now";
  give(2);
  settle();
  runtime.log_line = "info: config in force";
  give(3);
  settle();
  give(2);
  settle();
  EXPECT_EQ(accepted().status, "True");
  EXPECT_EQ(in_volume(), "v2");
}

TEST_F(ConfigFeedbackTest, AnAgentThatEndsOverItsConfigurationGetsTheLastGoodOneBack) {
  repository.rows.at(agent).desired.state = DesiredState::stopped;
  settle();
  runtime.log_line = "config refused: it cannot be read";
  runtime.ready = false;
  give(2);
  repository.rows.at(agent).desired.state = DesiredState::running;
  settle(1);
  EXPECT_EQ(in_volume(), "v2");
  runtime.crash(agent, 1);
  settle(5);
  EXPECT_EQ(in_volume(), "v1");
  EXPECT_EQ(accepted().status, "False");
}

TEST_F(ConfigFeedbackTest, AnAgentThatSaysNothingGetsItAgainAFewTimesAndIsNotRestarted) {
  runtime.log_line = "nothing to the point";
  give(2);
  settle(60);
  EXPECT_EQ(deliveries(), Policy{}.config_deliveries);
  EXPECT_EQ(accepted().status, "Unknown");
  EXPECT_EQ(accepted().reason, "NotSaid");
  EXPECT_EQ(runtime.containers.at(agent).starts, 1);
}

TEST_F(ConfigFeedbackTest, AnAgentOfWhichNoTextsAreKnownIsLeftAlone) {
  repository.rows.at(agent).desired.readiness.config = {};
  give(2);
  settle();
  EXPECT_EQ(deliveries(), 1);
  EXPECT_EQ(accepted().status, "Unknown");
  repository.rows.at(agent).desired.restart_wish += 1;
  settle();
  EXPECT_EQ(accepted().status, "True") << "the run after the restart read it at its start";
}

TEST_F(ConfigFeedbackTest, TheFirstConfigurationOfAllHasNothingToFallBackTo) {
  repository.taken.clear();
  runtime.log_line = "config refused: no such key";
  give(2);
  settle();
  EXPECT_EQ(accepted().status, "False");
  EXPECT_EQ(in_volume(), "v2");
}

TEST(ConfigFeedback, TheNewestLineThatSaysSomethingCountsAndSecretsAreTakenOut) {
  DesiredAgent desired;
  desired.readiness.config = {{"in force"}, {"refused"}};
  const std::string secret = "0123456789abcdef0123456789abcdef";
  desired.files = {{"config.json", "{\"token\":\"" + secret + "\"}", 0600, 1000, 1000, false}};
  Observed observed;
  hear({{{}, false, "in force"}, {{}, false, "refused: " + secret}, {{}, false, "later"}}, desired, {}, observed);
  EXPECT_EQ(observed.config_word, ConfigWord::refused);
  EXPECT_EQ(observed.config_message.find(secret), std::string::npos) << observed.config_message;
  Observed other;
  hear({{{}, false, "refused"}, {{}, false, "in force"}}, desired, {}, other);
  EXPECT_EQ(other.config_word, ConfigWord::taken);
}

TEST(ConfigFeedback, AProcessThatBeganBeforeTheDeliveryShowsNothingByBeingReady) {
  DesiredAgent desired;
  desired.readiness.config = {{"in force"}, {"refused"}};
  History history;
  history.files_delivered_to = "c1";
  history.files_hash = "files-2";
  history.delivered_at = parse_rfc3339("2026-03-19T00:01:00Z");
  history.delivered_by = history.delivered_at;
  history.delivered_run = parse_rfc3339("2026-03-19T00:00:00Z");  // was seen; another had taken its place by then
  Observed observed;
  observed.workload_presence = Presence::present;
  observed.workload.ours = true;
  observed.workload.runtime_id = "c1";
  observed.workload.state = ContainerState::running;
  observed.ready = true;
  observed.workload.started_at = parse_rfc3339("2026-03-19T00:00:30Z");
  EXPECT_EQ(learn_config(desired, observed, history).taken_files_hash, "");
  EXPECT_TRUE(worth_hearing(desired, observed, history));
  observed.workload.started_at = parse_rfc3339("2026-03-19T00:01:01Z");
  EXPECT_EQ(learn_config(desired, observed, history).taken_files_hash, "files-2");
  // A slow delivery may have been carried out at any time of it.
  history.delivered_by = parse_rfc3339("2026-03-19T00:01:10Z");
  EXPECT_EQ(learn_config(desired, observed, history).taken_files_hash, "");
  history.started_since = true;  // by Creel, after the delivery: whatever the clocks say
  EXPECT_EQ(learn_config(desired, observed, history).taken_files_hash, "files-2");
}

TEST(ConfigFeedback, WhatIsRememberedSurvivesStorage) {
  History history;
  history.delivered_at = parse_rfc3339("2026-03-19T00:00:01.5Z");
  history.delivered_by = parse_rfc3339("2026-03-19T00:00:02Z");
  history.started_since = true;
  history.deliveries = 2;
  history.delivered_known = true;
  history.delivered_run = parse_rfc3339("2026-03-19T00:00:00Z");
  history.taken_files_hash = "a";
  history.refused_files_hash = "b";
  history.refused_message = "c";
  EXPECT_EQ(nlohmann::json(history).get<History>(), history);
}

}  // namespace
}  // namespace creel
