#include "reconciler/exits.hpp"

#include <gmock/gmock.h>

#include "reconciler/cause.hpp"
#include "reconciler/plan.hpp"
#include "reconciler/status.hpp"
#include "reconciler/update.hpp"

namespace creel {
namespace {

using testing::HasSubstr;

const TimePoint kStart = std::chrono::sys_days{std::chrono::year{2026} / 3 / 19};
const Policy kPolicy;

// An agent whose process ends as soon as it runs, on an engine that restarts it: one step is one look of the
// reconciler.
class ExitsTest : public testing::Test {
 public:
  ExitsTest() {
    desired.id = *AgentId::parse("00000000000000aa");
    desired.generation = 1;
    desired.spec.image = "agent:1";
    desired.spec_hash = "hash";
    desired.files_hash = "files";
    history.files_delivered_to = "c1";
    history.files_hash = "files";
    observed.workload_presence = observed.storage_presence = Presence::present;
    observed.storage_ours = observed.workload.ours = true;
    observed.image = ImageState::present;
    observed.workload.runtime_id = "c1";
    observed.workload.spec_hash = "hash";
    observed.workload.address = "10.0.0.2:1";
    run();
  }
  void run() {
    observed.workload.state = ContainerState::running;
    observed.workload.started_at = now;
  }
  void end(int code = 3, bool oom = false) {
    observed.workload.state = ContainerState::restarting;
    observed.workload.exit_code = code;
    observed.workload.oom_killed = oom;
    observed.workload.restart_count += 1;
    observed.workload.started_at.reset();
  }
  Plan look() {
    observed.at = now;
    history = learn(desired, observed, history, kPolicy, now);
    return plan(desired, observed, history, Capabilities{}, kPolicy, now);
  }
  // What the plan says is done, as Docker would.
  Plan step() {
    const Plan plan = look();
    for (const Action& action : plan.actions) {
      history = intend(desired, observed, history, action, now);
      if (std::holds_alternative<op::StopWorkload>(action.operation)) {
        observed.workload.state = ContainerState::exited;
        ++stops;
      } else if (std::holds_alternative<op::StartWorkload>(action.operation)) {
        run();
        observed.workload.restart_count = 0;  // counted anew after a start that was asked for
        ++starts;
      }
      history = succeeded(desired, history, action, "c1", now);
    }
    return plan;
  }
  void crash(int times, int code = 3, bool oom = false) {
    for (int i = 0; i < times; ++i) {
      run();
      look();
      end(code, oom);
      look();
    }
  }
  AgentStatus status() { return summarize(desired, observed, history, look(), {}, now); }
  Condition condition(const std::string& type) {
    for (const Condition& one : status().conditions)
      if (one.type == type) return one;
    return {};
  }

  TimePoint now = kStart;
  DesiredAgent desired;
  Observed observed;
  History history;
  int stops = 0;
  int starts = 0;
};

TEST_F(ExitsTest, TheFirstFewAreLeftToTheEngine) {
  for (int i = 1; i < kPolicy.exited.free; ++i) {
    crash(1);
    EXPECT_THAT(to_string(step()), HasSubstr("wait: the engine to restart the process that exited with code 3")) << i;
  }
  EXPECT_EQ(history.exits.count, kPolicy.exited.free - 1);
  EXPECT_EQ(stops, 0);
}

TEST_F(ExitsTest, ThenTheContainerIsHeldBetweenTwoRunsAndTriedAgainLessAndLessOften) {
  crash(kPolicy.exited.free);
  milliseconds expected = kPolicy.exited.first;
  for (int round = 1; round <= 8; ++round) {
    EXPECT_EQ(to_string(step()), "stop: the agent ends again and again (Exited), so it is tried less often");
    const Plan held = step();
    EXPECT_TRUE(held.actions.empty()) << to_string(held);
    ASSERT_TRUE(held.next_try);
    EXPECT_EQ(*held.next_try - now, expected) << round;
    EXPECT_EQ(status().next_attempt, *held.next_try);
    EXPECT_EQ(status().phase, Phase::crash_looping);
    now = *held.next_try - milliseconds{1};
    EXPECT_TRUE(step().actions.empty());
    now += milliseconds{1};
    step();
    EXPECT_EQ(starts, round);
    EXPECT_FALSE(history.exits.held);
    end();
    expected = std::min(expected * 2, kPolicy.exited.most);
  }
  EXPECT_EQ(stops, 8);
}

TEST_F(ExitsTest, ExitsThatAreSeenLateAreCountedAll) {
  look();
  observed.workload.restart_count = 9;
  look();
  EXPECT_EQ(history.exits.count, 9);
  look();
  EXPECT_EQ(history.exits.count, 9) << "once";
  ASSERT_EQ(look().actions.size(), 1u) << "the engine restarted it before anybody saw that it had ended";
  EXPECT_TRUE(std::holds_alternative<op::StopWorkload>(look().actions[0].operation));
  observed.ready = true;
  EXPECT_TRUE(look().actions.empty()) << "what is ready is never stopped for it";
}

TEST_F(ExitsTest, AnAdoptedContainersOldRestartsAreNotHeldAgainstIt) {
  observed.workload.restart_count = 50;
  look();
  EXPECT_EQ(history.exits.count, 0);
}

TEST_F(ExitsTest, AControllerThatWasAwayForLongLeavesTheRestartToTheEngine) {
  crash(kPolicy.exited.free);
  now += kPolicy.exited.first;
  EXPECT_TRUE(step().actions.empty());
  EXPECT_EQ(stops, 0);
}

TEST_F(ExitsTest, ANewWishIsTriedAtOnce) {
  crash(kPolicy.exited.free);
  step();
  ASSERT_TRUE(history.exits.held);
  forgive(history);
  EXPECT_EQ(std::string{operation_name(look().actions.at(0).operation)}, "start");
}

TEST_F(ExitsTest, OtherFilesAreTriedAtOnce) {
  crash(kPolicy.exited.free);
  step();
  ASSERT_TRUE(history.exits.held);
  desired.files_hash = "last good ones";
  const Plan plan = look();
  ASSERT_EQ(plan.actions.size(), 2u) << to_string(plan);
  EXPECT_TRUE(std::holds_alternative<op::DeliverFiles>(plan.actions[0].operation));
  EXPECT_TRUE(std::holds_alternative<op::StartWorkload>(plan.actions[1].operation));
}

TEST_F(ExitsTest, ASaneRunWithoutTenHealthyMinutesForgivesNothing) {
  crash(kPolicy.exited.free + 2);
  const int before = history.exits.count;
  run();
  observed.ready = true;
  look();
  now += kPolicy.healthy_reset - milliseconds{1};
  look();
  EXPECT_EQ(history.exits.count, before);
  now += milliseconds{1};
  look();
  EXPECT_EQ(history.exits.count, 0);
}

TEST_F(ExitsTest, AreNotCountedWhileAnUpdateIsOnItsTrial) {
  look();
  history.update.step = UpdateStep::trying;
  history.update.to.reference = "agent:2";
  observed.workload.spec_hash = released(desired, history.update.to).spec_hash;
  end();
  look();
  EXPECT_EQ(history.exits.count, 0);
}

TEST_F(ExitsTest, ARunThatCreelBeganItselfIsGivenItsTime) {
  crash(kPolicy.exited.free);
  step();
  now = *step().next_try;
  step();
  ASSERT_EQ(starts, 1);
  for (int i = 0; i < 100; ++i, now += milliseconds{250}) EXPECT_TRUE(step().actions.empty());
  EXPECT_EQ(stops, 1);
}

TEST_F(ExitsTest, AContainerThatSomebodyStoppedIsStartedAtOnce) {
  crash(kPolicy.exited.free);
  observed.workload.state = ContainerState::exited;
  EXPECT_EQ(std::string{operation_name(look().actions.at(0).operation)}, "start");
}

// --- causes are told apart ---

TEST_F(ExitsTest, AnExitAnOomKillAndARefusedConfigurationHaveTheirOwnWordAndTheirOwnBackoff) {
  struct Case {
    const char* cause;
    const char* words;
    milliseconds first;
    std::function<void(ExitsTest&)> happen;
  };
  const Case cases[] = {
      {"Exited", "the agent exited with code 3, 5 times in a row: last words", kPolicy.exited.first,
       [](ExitsTest& test) { test.crash(5); }},
      {"OOMKilled", "the agent was killed for exceeding its memory limit, 2 times in a row: last words",
       kPolicy.oom_killed.first, [](ExitsTest& test) { test.crash(2, 137, true); }},
      {"ConfigRefused", "the agent exited with code 78, 3 times in a row: last words", kPolicy.refused.first,
       [](ExitsTest& test) {
         test.history.refused_files_hash = "files";
         test.history.refused_message = "no token";
         test.crash(3, 78);
       }}};
  for (const Case& one : cases) {
    history = {};
    history.files_delivered_to = "c1";
    history.files_hash = "files";
    observed.workload.restart_count = 0;
    observed.workload.oom_killed = false;
    run();
    look();
    one.happen(*this);
    observed.last_lines = {"before", "last words"};
    step();
    const AgentStatus held = status();
    EXPECT_EQ(held.cause, one.cause);
    EXPECT_EQ(held.message, one.words);
    EXPECT_EQ(held.last_lines, observed.last_lines);
    EXPECT_EQ(*held.next_attempt - now, one.first) << one.cause;
    EXPECT_EQ(condition("CrashLooping").status, "True");
    EXPECT_EQ(condition("CrashLooping").reason, one.cause);
    EXPECT_EQ(condition("Ready").reason, one.cause);
  }
}

TEST_F(ExitsTest, ARunAfterAnOomKillDoesNotForgetWhatItWas) {
  crash(2, 137, true);
  run();
  observed.workload.oom_killed = false;
  observed.workload.exit_code = 0;
  look();
  EXPECT_EQ(history.exits.cause, "OOMKilled");
  EXPECT_EQ(status().cause, "OOMKilled");
}

TEST_F(ExitsTest, AMissingImageAnUnreadyGatewayAndASilentEngineHaveTheirOwnWords) {
  observed.ready = false;
  observed.ready_message = "503";
  EXPECT_EQ(status().cause, "") << "it is starting";
  now += desired.readiness.startup_budget + milliseconds{1};
  EXPECT_EQ(status().cause, "NotReady");
  EXPECT_EQ(condition("Ready").reason, "NotReady");

  observed = {};
  observed.workload_presence = Presence::absent;
  observed.image = ImageState::failed;
  observed.image_message = "no such manifest";
  EXPECT_EQ(status().cause, "ImageUnavailable");
  EXPECT_EQ(condition("Ready").reason, "ImageUnavailable");
  EXPECT_THAT(status().message, HasSubstr("no such manifest"));

  observed = {};
  EXPECT_EQ(status().cause, "EngineUnreachable");
  EXPECT_EQ(status().seen.container, "unknown") << "nothing is claimed";
}

TEST_F(ExitsTest, AReadyAgentHasNoCauseUnlessItRefusedItsConfiguration) {
  observed.ready = true;
  EXPECT_EQ(status().cause, "");
  EXPECT_TRUE(status().last_lines.empty());
  history.refused_files_hash = "files";
  EXPECT_EQ(status().cause, "ConfigRefused");
}

TEST_F(ExitsTest, ALogThatGoesOnIsNoNews) {
  crash(5);
  step();
  observed.last_lines = {"one"};
  const AgentStatus first = status();
  observed.last_lines = {"two"};
  const AgentStatus second = summarize(desired, observed, history, look(), first, now);
  EXPECT_EQ(second.last_lines, first.last_lines);
}

}  // namespace
}  // namespace creel
