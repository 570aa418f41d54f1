#include "reconciler/status.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "reconciler/telling_line.hpp"

namespace creel {
namespace {

const TimePoint kNow = std::chrono::sys_days{std::chrono::year{2026} / 3 / 19};

DesiredAgent wanted() {
  DesiredAgent desired;
  desired.generation = 7;
  desired.spec.image = "agent:1";
  return desired;
}

Observed running() {
  Observed observed;
  observed.workload_presence = Presence::present;
  observed.image = ImageState::present;
  observed.workload.ours = true;
  observed.workload.runtime_id = "c1";
  observed.workload.state = ContainerState::running;
  observed.workload.started_at = kNow - milliseconds{1'000};
  observed.workload.address = "10.0.0.2:1";
  return observed;
}

AgentStatus status_of(const Observed& observed, const History& history = {}, const AgentStatus& previous = {},
                      TimePoint now = kNow) {
  return summarize(wanted(), observed, history, Plan{}, previous, now);
}

std::string condition(const AgentStatus& status, const std::string& type) {
  const auto it =
      std::find_if(status.conditions.begin(), status.conditions.end(), [&](auto& c) { return c.type == type; });
  return it == status.conditions.end() ? "missing" : it->status;
}

TEST(Status, CallsARunningContainerRunningAndSaysApartWhetherItIsReady) {
  const AgentStatus starting = status_of(running());
  EXPECT_STREQ(status_word(starting.phase), "running");
  EXPECT_EQ(condition(starting, "Ready"), "Unknown");
  Observed observed = running();
  observed.ready = true;
  const AgentStatus ready = status_of(observed);
  EXPECT_EQ(ready.phase, Phase::ready);
  EXPECT_EQ(condition(ready, "Ready"), "True");
  EXPECT_EQ(ready.observed_generation, 7u);
}

TEST(Status, ClaimsNothingNewWhenTheEngineDoesNotAnswer) {
  AgentStatus previous;
  previous.phase = Phase::ready;
  previous.observed_generation = 3;
  previous.address = "10.0.0.2:1";
  Observed unknown;
  unknown.error = "no answer";
  const AgentStatus status = status_of(unknown, {}, previous);
  EXPECT_EQ(status.phase, Phase::ready);
  EXPECT_EQ(status.observed_generation, 3u);
  EXPECT_EQ(condition(status, "EngineReachable"), "False");
  EXPECT_EQ(condition(status, "Ready"), "Unknown");
}

TEST(Status, TellsOfAGenerationOnlyOnceItIsBegun) {
  Observed observed = running();
  observed.ready = true;
  Plan waits;
  waits.waiting_for = "the agent to say what it makes of the configuration before";
  waits.defers_wish = true;
  AgentStatus previous;
  previous.observed_generation = 6;
  const AgentStatus status = summarize(wanted(), observed, {}, waits, previous, kNow);
  EXPECT_EQ(status.phase, Phase::ready);
  EXPECT_EQ(status.observed_generation, 6u);
  EXPECT_EQ(condition(status, "Progressing"), "True");
}

TEST(Status, OfAReadyAgentTellsWhatCouldNotBeDoneOfTheNewestWish) {
  Observed observed = running();
  observed.ready = true;
  History history;
  history.files_delivered_to = "c1";
  history.failures = 1;
  history.last_failure_reason = "DeliverFailed";
  history.last_failure_message = "no space left on device";
  Plan waits;
  waits.waiting_for = "backing off after 1 failure";
  waits.next_try = kNow + milliseconds{1'000};
  EXPECT_EQ(summarize(wanted(), observed, history, Plan{}, {}, kNow).cause, "") << "it is over";
  history.files_hash = "of before";
  const AgentStatus status = summarize(wanted(), observed, history, waits, {}, kNow);
  EXPECT_EQ(status.phase, Phase::ready);
  EXPECT_EQ(status.cause, "DeliverFailed");
  EXPECT_EQ(status.message, "no space left on device");
  EXPECT_EQ(condition(status, "Progressing"), "True");
}

TEST(Status, ShowsTheAgentsOwnLastLineInACrashLoop) {
  Observed observed = running();
  observed.workload.state = ContainerState::restarting;
  observed.workload.exit_code = 3;
  observed.last_lines = {"before", "cannot read config"};
  const AgentStatus status = status_of(observed);
  EXPECT_STREQ(status_word(status.phase), "error");
  EXPECT_EQ(status.message, "the agent exited with code 3: cannot read config");
  EXPECT_EQ(condition(status, "CrashLooping"), "True");
  EXPECT_TRUE(status.address.empty());
}

TEST(Status, TellsAnOomKillFromAnExit) {
  Observed observed = running();
  observed.workload.state = ContainerState::restarting;
  observed.workload.oom_killed = true;
  EXPECT_EQ(status_of(observed).message, "the agent was killed for exceeding its memory limit");
}

TEST(Status, CallsAYoungRunAfterTwoRestartsACrashLoopAndAnOldOneSettled) {
  Observed observed = running();
  observed.workload.restart_count = 2;
  History history;
  history.last_runtime_id = "c1";
  EXPECT_EQ(status_of(observed, history).phase, Phase::crash_looping);
  observed.workload.started_at = kNow - milliseconds{31'000};
  EXPECT_EQ(status_of(observed, history).phase, Phase::starting);
}

TEST(Status, TellsTheCodeOfTheProcessThatEndedAndNotOfTheOneThatRuns) {
  Observed observed = running();
  observed.workload.restart_count = 3;  // and exit_code is 0: the engine's word while a process runs
  History history;
  history.last_runtime_id = "c1";
  history.exits.count = 3;
  const auto words = [&] {
    const AgentStatus status = status_of(observed, history);
    const auto looping = std::find_if(status.conditions.begin(), status.conditions.end(),
                                      [](const Condition& condition) { return condition.type == "CrashLooping"; });
    EXPECT_EQ(looping->message, status.message);
    return status.message;
  };
  EXPECT_EQ(words(), "the agent keeps exiting, 3 times in a row");
  history.exits.code = 7;
  EXPECT_EQ(words(), "the agent exited with code 7, 3 times in a row");
}

TEST(Status, ShowsTheEnginesReasonWhenItCouldNotStart) {
  Observed observed = running();
  observed.workload.state = ContainerState::created;
  observed.workload.error = "exec: no such file";
  const AgentStatus status = status_of(observed);
  EXPECT_EQ(status.phase, Phase::failed);
  EXPECT_NE(status.message.find("exec: no such file"), std::string::npos);
}

TEST(Status, KeepsTheTransitionTimeOfAConditionThatDidNotChange) {
  Observed observed = running();
  observed.ready = true;
  const AgentStatus first = status_of(observed);
  const AgentStatus second = status_of(observed, {}, first, kNow + milliseconds{60'000});
  ASSERT_EQ(first.conditions.size(), second.conditions.size());
  EXPECT_EQ(second.conditions[0].last_transition, kNow);
}

TEST(TellingLine, ShowsTheLastFewLinesEachBoundedAndWithoutSecrets) {
  const std::string token = "0123456789abcdef0123456789abcdef";
  const std::vector<VolumeFile> files{{"config.json", token, 0600, 1, 1, false}};
  std::vector<LogLine> log;
  for (int i = 0; i < 30; ++i) log.push_back({{}, false, "line " + std::to_string(i) + " " + token});
  log.push_back({{}, false, " "});
  log.push_back({{}, true, std::string(5'000, 'x')});
  const auto told = telling_lines(log, files, {}, 10);
  ASSERT_EQ(told.size(), 10u);
  EXPECT_EQ(told.front().find("line 21 "), 0u) << told.front();
  EXPECT_LE(told.back().size(), 400u);
  for (const auto& line : told) EXPECT_EQ(line.find(token), std::string::npos);
}

TEST(TellingLine, TakesTheLastLineThatSaysSomethingWithoutTheAgentsSecrets) {
  const std::string token = "0123456789abcdef0123456789abcdef";
  const std::vector<VolumeFile> files{{"config.json", "{\"token\":\"" + token + "\"}", 0600, 1, 1, false}};
  EXPECT_EQ(telling_line({{{}, false, "first"}, {{}, false, "bad token " + token}, {{}, false, "  "}}, files, {}),
            "bad token [redacted]");
  EXPECT_EQ(telling_line({}, files, {}), "");
}

TEST(TellingLine, TakesOutAKnownSecretHoweverShortAndAlsoAsJsonWritesIt) {
  EXPECT_EQ(telling_line({{{}, false, "no access with pass-word"}}, {}, {"pass-word"}), "no access with [redacted]");
  EXPECT_EQ(telling_line({{{}, false, R"({"key":"a\"b\\c&d"})"}}, {}, {"a\"b\\c&d"}), R"({"key":"[redacted]"})");
}

TEST(Status, CallsNoAgentStoppedThatRunsOnWithoutTheEngine) {
  DesiredAgent desired = wanted();
  desired.state = DesiredState::stopped;
  Observed observed = running();
  observed.workload.state = ContainerState::exited;
  EXPECT_EQ(summarize(desired, observed, {}, {}, {}, kNow).phase, Phase::stopped);
  observed.workload.strays = 1;
  History history;
  history.failures = 1;
  history.last_failure_reason = "StopFailed";
  history.last_failure_message = "processes of it run on without the engine (7) and cannot be ended";
  const AgentStatus status = summarize(desired, observed, history, {}, {}, kNow);
  EXPECT_EQ(status.phase, Phase::stopping);
  EXPECT_EQ(status.cause, "StopFailed");
  EXPECT_EQ(status.message, history.last_failure_message);
}

}  // namespace
}  // namespace creel
