#include "reconciler/reconciler.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <utility>

#include "reconciler/runtime/sim/sim_runtime.hpp"
#include "tests/support/memory_repository.hpp"

namespace creel {
namespace {

class ReconcilerTest : public testing::Test {
 protected:
  ReconcilerTest() { runtime.images = {"agent:1"}; }

  AgentId provision() {
    AgentRecord record;
    record.desired.id = agent;
    record.desired.generation = 1;
    record.desired.spec.image = "agent:1";
    record.desired.spec.state_dir = "/state";
    record.desired.spec_hash = "hash-1";
    record.desired.files = {{"config.json", "v1", 0600, 1000, 1000, false}};
    record.desired.files_hash = "files-1";
    repository.rows[agent] = record;
    return agent;
  }
  DesiredAgent& desired() { return repository.rows.at(agent).desired; }
  void wish(DesiredState state) {
    desired().state = state;
    desired().generation += 1;
    if (state == DesiredState::deleted) desired().deleted_at = now;
  }
  AgentStatus& status() { return repository.rows.at(agent).status; }
  // Passes, with time going on as the outcomes ask for, until nothing more is asked for soon.
  void settle(int passes = 60) {
    for (int i = 0; i < passes; ++i) {
      const PassOutcome outcome = reconciler.reconcile(agent, {});
      if (!repository.rows.contains(agent)) return;
      now += outcome.requeue_after.value_or(milliseconds{1'000});
    }
  }

  TimePoint now = *parse_rfc3339("2026-03-19T00:00:00Z");
  const AgentId agent = AgentId::parse("00000000000000aa").value();
  test::MemoryRepository repository;
  SimRuntime runtime{[this] { return now; }};
  std::optional<std::uint64_t> term{1};
  Reconciler reconciler{{repository, runtime, runtime, [this] { return now; }, Policy{}, [this] { return term; }}};
};

TEST_F(ReconcilerTest, BringsANewAgentToReadyInOnePass) {
  provision();
  reconciler.reconcile(agent, {});
  EXPECT_EQ(status().phase, Phase::ready);
  EXPECT_EQ(status().observed_generation, 1u);
  EXPECT_EQ(runtime.calls, (std::vector<std::string>{"create", "start"}));
  EXPECT_EQ(runtime.files[agent]["config.json"], "v1");
}

TEST_F(ReconcilerTest, TellsOfEachActionItsCauseAndHowLongItTook) {
  provision();
  bool refused = false;
  runtime.fault = [&](const std::string& call) {
    if (call != "start") return SimFault::none;
    std::this_thread::sleep_for(milliseconds{30});  // what is measured
    return std::exchange(refused, true) ? SimFault::none : SimFault::refused;
  };
  const auto began = std::chrono::steady_clock::now();
  settle();
  const auto all = std::chrono::steady_clock::now() - began;
  ASSERT_EQ(status().phase, Phase::ready);
  std::vector<std::string> actions;
  for (const Event& event : repository.events) {
    EXPECT_EQ(event.duration.has_value(), event.kind == "action") << event.reason;
    EXPECT_EQ(event.source, "");
    if (event.kind != "action") continue;
    EXPECT_NE(event.message, "");
    actions.push_back(event.reason);
    EXPECT_LE(*event.duration, all);
    if (event.reason.starts_with("start")) {
      EXPECT_GE(*event.duration, milliseconds{30});
    }
  }
  EXPECT_EQ(actions, (std::vector<std::string>{"create", "start-failed", "start"}));
}

TEST_F(ReconcilerTest, ForgetsAPurgedAgentWithoutWaitingForAHint) {
  provision();
  settle(3);
  wish(DesiredState::deleted);
  desired().purge = true;
  for (int i = 0; i < 5 && repository.rows.contains(agent); ++i)
    EXPECT_EQ(reconciler.reconcile(agent, {}).requeue_after.value_or(milliseconds{0}), milliseconds{0});
  EXPECT_FALSE(repository.rows.contains(agent));
}

TEST_F(ReconcilerTest, DoesNothingMoreOnceConverged) {
  provision();
  settle(20);
  EXPECT_EQ(runtime.calls.size(), 2u);
}

TEST_F(ReconcilerTest, AdoptsARunningContainerWithoutTouchingIt) {
  provision();
  settle(3);
  runtime.calls.clear();
  // A new controller knows only what is in the rows.
  Reconciler successor{{repository, runtime, runtime, [this] { return now; }, Policy{}, [this] { return term; }}};
  successor.reconcile(agent, {});
  EXPECT_TRUE(runtime.calls.empty());
  EXPECT_EQ(runtime.containers.at(agent).starts, 1);
}

TEST_F(ReconcilerTest, FindsAContainerAgainWhoseCreateWasNotAnswered) {
  provision();
  bool once = true;
  runtime.fault = [&](const std::string& call) {
    return call == "create" && std::exchange(once, false) ? SimFault::lost_answer : SimFault::none;
  };
  settle(5);
  EXPECT_EQ(status().phase, Phase::ready);
  EXPECT_EQ(std::count(runtime.calls.begin(), runtime.calls.end(), "create"), 1);
}

TEST_F(ReconcilerTest, RestartsOnceEvenWhenTheAnswerIsLost) {
  provision();
  settle(3);
  now += milliseconds{60'000};
  desired().restart_wish = 1;
  desired().generation += 1;
  bool once = true;
  runtime.fault = [&](const std::string& call) {
    return call == "restart" && std::exchange(once, false) ? SimFault::lost_answer : SimFault::none;
  };
  settle(10);
  EXPECT_EQ(runtime.containers.at(agent).starts, 2);
  EXPECT_EQ(status().phase, Phase::ready);
}

TEST_F(ReconcilerTest, RecreatesOnSpecHashDriftAndKeepsTheVolume) {
  provision();
  settle(3);
  runtime.files[agent]["memory"] = "kept";
  desired().spec_hash = "hash-2";
  desired().generation += 1;
  settle(3);
  EXPECT_EQ(runtime.containers.at(agent).spec_hash, "hash-2");
  EXPECT_EQ(runtime.files[agent]["memory"], "kept");
}

TEST_F(ReconcilerTest, ClearsTheMemoryOnceEvenWhenTheControllerDiesRightAfterIt) {
  provision();
  settle(3);
  runtime.files[agent]["notes/today"] = "old";
  desired().reset_wish = 1;
  desired().memory_paths = {"notes/"};
  desired().generation += 1;
  int clears = 0;
  runtime.fault = [&](const std::string& call) {
    if (call == "clear-memory" && clears++ == 0) return SimFault::lost_answer;
    return SimFault::none;
  };
  settle(10);
  EXPECT_FALSE(runtime.files[agent].contains("notes/today"));
  EXPECT_EQ(runtime.files[agent]["config.json"], "v1");
  EXPECT_EQ(status().phase, Phase::ready);
  EXPECT_EQ(status().reset_done, 1u);
  EXPECT_EQ(runtime.containers.at(agent).starts, 2);
  // A successor that knows only the rows leaves what was learned since.
  runtime.files[agent]["notes/today"] = "new";
  Reconciler successor{{repository, runtime, runtime, [this] { return now; }, Policy{}, [this] { return term; }}};
  for (int i = 0; i < 5; ++i) successor.reconcile(agent, {});
  EXPECT_EQ(runtime.files[agent]["notes/today"], "new");
}

TEST_F(ReconcilerTest, RemakesAContainerThatSomebodyRemoved) {
  provision();
  settle(3);
  runtime.containers.clear();
  settle(3);
  EXPECT_EQ(status().phase, Phase::ready);
}

TEST_F(ReconcilerTest, ClaimsNothingAndDoesNothingWhileTheEngineIsAway) {
  provision();
  settle(3);
  runtime.calls.clear();
  runtime.containers.clear();
  runtime.fault = [](const std::string&) { return SimFault::unavailable; };
  settle(5);
  EXPECT_EQ(status().phase, Phase::ready);
  EXPECT_TRUE(runtime.calls.empty());
  EXPECT_EQ(status().conditions.at(0).status, "False");
  runtime.fault = nullptr;
  settle(5);
  EXPECT_EQ(runtime.calls, (std::vector<std::string>{"create", "start"}));
}

TEST_F(ReconcilerTest, SaysWhyAnImageCannotBeHadAndGoesOnWhenItAppears) {
  provision();
  runtime.images.clear();
  settle(5);
  EXPECT_STREQ(status_word(status().phase), "error");
  EXPECT_NE(status().message.find("not found (simulated)"), std::string::npos);
  runtime.images = {"agent:1"};
  runtime.pull_errors.clear();
  settle(3);
  EXPECT_EQ(status().phase, Phase::ready);
}

TEST_F(ReconcilerTest, TriesAFailingStartLessAndLessOften) {
  provision();
  runtime.fault = [](const std::string& call) { return call == "start" ? SimFault::refused : SimFault::none; };
  const TimePoint begin = now;
  while (now - begin < milliseconds{3'600'000}) {
    const PassOutcome outcome = reconciler.reconcile(agent, {});
    ASSERT_TRUE(outcome.requeue_after);
    now += std::max(*outcome.requeue_after, milliseconds{1});
  }
  const auto starts = std::count(runtime.calls.begin(), runtime.calls.end(), "start");
  EXPECT_GE(starts, 10);
  EXPECT_LE(starts, 25);
  EXPECT_STREQ(status_word(status().phase), "error");
  runtime.fault = nullptr;
  settle(3);
  EXPECT_EQ(status().phase, Phase::ready);
}

TEST_F(ReconcilerTest, MakesAContainerAnewThatTheEngineWillNotStart) {
  provision();
  settle(3);
  runtime.files[agent]["memory"] = "kept";
  const std::string bad = runtime.containers.at(agent).id;
  runtime.containers.at(agent).state = ContainerState::exited;
  runtime.fault = [&](const std::string& call) {
    return call == "start" && runtime.containers.at(agent).id == bad ? SimFault::refused : SimFault::none;
  };
  settle(20);
  EXPECT_EQ(status().phase, Phase::ready);
  EXPECT_NE(runtime.containers.at(agent).id, bad);
  EXPECT_EQ(runtime.files[agent]["memory"], "kept");
  EXPECT_EQ(std::count(runtime.calls.begin(), runtime.calls.end(), "remove"), 1);
}

TEST_F(ReconcilerTest, TriesANewWishAtOnceWhateverFailedBefore) {
  provision();
  runtime.fault = [](const std::string& call) { return call == "start" ? SimFault::refused : SimFault::none; };
  settle(20);
  runtime.fault = nullptr;
  desired().generation += 1;
  reconciler.reconcile(agent, {});
  EXPECT_EQ(status().phase, Phase::ready);
}

TEST_F(ReconcilerTest, RestartsAndRemakesAnAgentThatDoesNotGetReady) {
  provision();
  reconciler.reconcile(agent, {});
  const std::string first = runtime.containers.at(agent).id;
  runtime.ready = false;
  desired().readiness.startup_budget = milliseconds{5'000};
  const TimePoint begin = now;
  while (now - begin < milliseconds{60'000})
    now += reconciler.reconcile(agent, {}).requeue_after.value_or(milliseconds{1'000});
  EXPECT_GE(runtime.containers.at(agent).starts, 2);
  EXPECT_NE(runtime.containers.at(agent).id, first);
  EXPECT_EQ(status().phase, Phase::unready);
  runtime.ready = true;
  settle(3);
  EXPECT_EQ(status().phase, Phase::ready);
}

TEST_F(ReconcilerTest, StopsAndStartsWithTheSameContainer) {
  provision();
  settle(3);
  const std::string id = runtime.containers.at(agent).id;
  wish(DesiredState::stopped);
  settle(2);
  EXPECT_EQ(status().phase, Phase::stopped);
  EXPECT_EQ(status().observed_generation, 2u);
  wish(DesiredState::running);
  settle(2);
  EXPECT_EQ(status().phase, Phase::ready);
  EXPECT_EQ(runtime.containers.at(agent).id, id);
}

TEST_F(ReconcilerTest, DeletesTheContainerNowAndTheVolumeAfterItsRetention) {
  provision();
  settle(3);
  wish(DesiredState::deleted);
  reconciler.reconcile(agent, {});
  EXPECT_TRUE(runtime.containers.empty());
  EXPECT_TRUE(runtime.volumes.contains(agent));
  now += Policy{}.volume_retention;
  settle(3);
  EXPECT_TRUE(runtime.volumes.empty());
  EXPECT_FALSE(repository.rows.contains(agent));
}

TEST_F(ReconcilerTest, LeavesAnotherControllersContainerAlone) {
  provision();
  runtime.containers[agent].owner = "other";
  runtime.containers[agent].state = ContainerState::running;
  settle(5);
  wish(DesiredState::deleted);
  settle(5);
  EXPECT_TRUE(runtime.calls.empty());
  EXPECT_EQ(runtime.containers.at(agent).owner, "other");
}

TEST_F(ReconcilerTest, ActsOnNothingWithoutTheLease) {
  provision();
  term.reset();
  settle(3);
  EXPECT_TRUE(runtime.calls.empty());
  EXPECT_EQ(repository.writes, 0);
}

TEST_F(ReconcilerTest, StopsActingWhenTheLeaseIsLostBetweenTwoActions) {
  provision();
  runtime.fault = [&](const std::string& call) {
    if (call == "create") term = 2;
    return SimFault::none;
  };
  reconciler.reconcile(agent, {});
  EXPECT_EQ(runtime.calls, (std::vector<std::string>{"create"}));
}

TEST_F(ReconcilerTest, AsksForAnImageThatCannotBeHadLessAndLessOften) {
  provision();
  runtime.images.clear();
  const TimePoint end = now + milliseconds{3'600'000};
  while (now < end) settle(1);
  const auto pulls = std::count(runtime.calls.begin(), runtime.calls.end(), "pull-image");
  EXPECT_GT(pulls, 10);
  EXPECT_LT(pulls, 25) << "1 s, 2 s, 4 s … and from then on every 5 minutes";
}

TEST_F(ReconcilerTest, DeliversAgainWhatADeliveryThatIsNotRememberedHasReplaced) {
  provision();
  settle(3);
  desired().files[0].content = "v2";
  desired().files_hash = "files-2";
  desired().generation += 1;
  // It is delivered, and nobody remembers.
  runtime.fault = [&](const std::string& call) {
    if (call == "deliver-files") term = 2;
    return SimFault::none;
  };
  reconciler.reconcile(agent, {});
  runtime.fault = nullptr;
  repository.term = 2;
  ASSERT_EQ(runtime.files[agent]["config.json"], "v2");
  // And the owner takes it back.
  desired().files[0].content = "v1";
  desired().files_hash = "files-1";
  desired().generation += 1;
  settle(3);
  EXPECT_EQ(runtime.files[agent]["config.json"], "v1");
}

TEST_F(ReconcilerTest, DoesNotActWhenTheLeaseIsLostWhileTheIntentIsBeingWritten) {
  provision();
  settle(3);
  runtime.calls.clear();
  wish(DesiredState::stopped);
  repository.written = [&] { term = 2; };
  reconciler.reconcile(agent, {});
  EXPECT_TRUE(runtime.calls.empty());
}

TEST_F(ReconcilerTest, TriesAgainWhenTheStoreIsAway) {
  provision();
  repository.away = true;
  EXPECT_TRUE(reconciler.reconcile(agent, {}).requeue_after);
  EXPECT_TRUE(runtime.calls.empty());
  repository.away = false;
  reconciler.reconcile(agent, {});
  EXPECT_EQ(status().phase, Phase::ready);
}

TEST_F(ReconcilerTest, DeliversANewConfigurationWithoutARestart) {
  provision();
  settle(3);
  desired().files[0].content = "v2";
  desired().files_hash = "files-2";
  desired().generation += 1;
  settle(3);
  EXPECT_EQ(runtime.files[agent]["config.json"], "v2");
  EXPECT_EQ(runtime.containers.at(agent).starts, 1);
}

TEST_F(ReconcilerTest, ShowsTheLastWordsOfAnAgentThatKeepsExiting) {
  provision();
  settle(3);
  for (int i = 0; i < 3; ++i) runtime.crash(agent, 3);
  runtime.containers.at(agent).state = ContainerState::restarting;
  reconciler.reconcile(agent, {});
  EXPECT_EQ(status().phase, Phase::crash_looping);
  EXPECT_NE(status().message.find("last words (simulated)"), std::string::npos);
}

// --- what it tells whoever counts

class Ledger : public PassObserver {
 public:
  void passed(const PassReport& report, std::chrono::microseconds) override {
    passes.push_back(to_string(report.end));
    exits += report.exits;
    if (report.exits > 0) exit_cause = report.exit_cause;
  }
  void acted(const Action& action, bool succeeded, std::chrono::microseconds) override {
    actions.push_back(std::string{operation_name(action.operation)} + " " + to_string(action.why) +
                      (succeeded ? "" : " failed"));
  }
  std::vector<std::string> passes, actions;
  int exits = 0;
  std::string exit_cause;
};

class ReconcilerReports : public ReconcilerTest {
 protected:
  Ledger ledger;
  Reconciler reporting{
      {repository, runtime, runtime, [this] { return now; }, Policy{}, [this] { return term; }, &ledger}};
  void pass() { now += reporting.reconcile(agent, {}).requeue_after.value_or(milliseconds{1'000}); }
};

TEST_F(ReconcilerReports, SayWhatWasDoneAndWhy) {
  provision();
  pass();
  pass();
  EXPECT_EQ(ledger.actions, (std::vector<std::string>{"create created", "start created"}));
  EXPECT_EQ(ledger.passes, (std::vector<std::string>{"acted", "converged"}));
  runtime.containers.erase(agent);
  pass();
  EXPECT_EQ(ledger.actions.back(), "start container-gone") << "a new agent is another matter";
  ledger.actions.clear();
  wish(DesiredState::deleted);
  desired().purge = true;
  for (int i = 0; i < 5 && repository.rows.contains(agent); ++i) pass();
  EXPECT_EQ(ledger.actions, (std::vector<std::string>{"remove deleted", "remove-volume deleted"}));
  EXPECT_EQ(ledger.passes.back(), "forgotten");
}

TEST_F(ReconcilerReports, CountEachEndOfAProcessOnce) {
  provision();
  settle(3);
  for (int i = 0; i < 3; ++i) {
    runtime.crash(agent, 1);
    pass();
    pass();
  }
  EXPECT_EQ(ledger.exits, 3);
  EXPECT_EQ(ledger.exit_cause, "Exited");
}

TEST_F(ReconcilerReports, CountNothingTwiceWhenTheStoreIsAway) {
  provision();
  settle(3);
  runtime.crash(agent, 1);
  runtime.fault = [this](const std::string&) {  // after the row was read
    repository.away = true;
    return SimFault::none;
  };
  pass();
  EXPECT_EQ(ledger.passes.back(), "failed");
  EXPECT_EQ(ledger.exits, 0) << "the next pass learns it";
  runtime.fault = nullptr;
  repository.away = false;
  pass();
  EXPECT_EQ(ledger.exits, 1);
}

}  // namespace
}  // namespace creel
