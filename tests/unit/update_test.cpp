// Updates on the engine in memory: each way they end. Random histories of them are in tests/sim.
#include "reconciler/update.hpp"

#include <gtest/gtest.h>

#include "controller/core/spec_hash.hpp"
#include "reconciler/reconciler.hpp"
#include "reconciler/runtime/sim/sim_runtime.hpp"
#include "tests/support/memory_repository.hpp"
#include "tests/support/support.hpp"

namespace creel {
namespace {

class World {
 public:
  World() {
    AgentRecord record;
    record.desired.id = agent;
    record.desired.generation = 1;
    record.desired.spec.image = "agent:1";
    record.desired.spec.state_dir = "/state";
    record.desired.spec_hash = spec_hash(record.desired.spec);
    record.desired.files = {{"config.json", "v1", 0600, 1000, 1000, false}};
    record.desired.files_hash = "files-1";
    record.desired.memory_paths = {"notes/"};
    record.desired.readiness.startup_budget = milliseconds{10'000};
    repository.rows[agent] = record;
    runtime.images = {"agent:1"};
    runtime.pullable = {"agent:2", "agent:exits", "agent:never"};
    runtime.exiting = {"agent:exits"};
    runtime.unready = {"agent:never"};
    settle();
    runtime.files[agent]["data"] = "old";
  }
  DesiredAgent& desired() { return repository.rows.at(agent).desired; }
  AgentStatus& status() { return repository.rows.at(agent).status; }
  History& history() { return repository.rows.at(agent).history; }
  SimRuntime::Container& container() { return runtime.containers.at(agent); }
  std::string running_image() {
    return runtime.containers.contains(agent) && container().state == ContainerState::running ? container().image_id
                                                                                              : "";
  }
  void wish_update(const std::string& image) {
    desired().update_image = image;
    desired().update_wish += 1;
    desired().generation += 1;
  }
  void wish(DesiredState state) {
    desired().state = state;
    desired().generation += 1;
  }
  // One pass of a controller that knows nothing but the rows.
  void pass() {
    Reconciler reconciler{{repository, runtime, runtime, [this] { return now; }, Policy{}, [this] { return term; }}};
    const PassOutcome outcome = reconciler.reconcile(agent, {});
    now += std::clamp(outcome.requeue_after.value_or(milliseconds{1'000}), milliseconds{1}, milliseconds{2'000});
    after_pass();
  }
  void settle(int passes = 80) {
    for (int i = 0; i < passes; ++i) pass();
  }
  // What a new image does to the data, as soon as it runs.
  void after_pass() {
    if (running_image() == SimRuntime::image_id("agent:2") || running_image() == SimRuntime::image_id("agent:never"))
      runtime.files[agent]["data"] = "migrated";
  }

  TimePoint now = *parse_rfc3339("2026-03-19T00:00:00Z");
  const AgentId agent = AgentId::parse("00000000000000aa").value();
  test::MemoryRepository repository;
  SimRuntime runtime{[this] { return now; }};
  std::optional<std::uint64_t> term{1};
};

TEST(Update, TakesAnImageThatWorksAndKeepsACopyForAWhile) {
  World world;
  world.wish_update("agent:2");
  world.settle();
  EXPECT_EQ(world.running_image(), "id:agent:2");
  EXPECT_EQ(world.status().update_outcome, "Committed");
  EXPECT_EQ(world.status().image, "agent:2");
  EXPECT_EQ(world.status().phase, Phase::ready);
  EXPECT_EQ(world.runtime.backups[world.agent].files["data"], "old");
  EXPECT_EQ(world.runtime.files[world.agent]["config.json"], "v1") << "the files were delivered again";
  world.now += Policy{}.backup_retention;
  world.settle(5);
  EXPECT_TRUE(world.runtime.backups.empty());
  world.runtime.calls.clear();
  world.settle(10);
  EXPECT_TRUE(world.runtime.calls.empty());
}

TEST(Update, GoesBackWithImageAndDataWhenTheNewOneExitsOrNeverGetsReady) {
  for (const char* image : {"agent:exits", "agent:never"}) {
    World world;
    world.wish_update(image);
    world.settle();
    EXPECT_EQ(world.status().update_outcome, "RolledBack") << image;
    EXPECT_NE(world.status().update_reason, "");
    EXPECT_EQ(world.running_image(), "id:agent:1");
    EXPECT_EQ(world.runtime.files[world.agent]["data"], "old") << image;
    EXPECT_EQ(world.status().image, "");
    EXPECT_EQ(world.status().phase, Phase::ready);
    EXPECT_TRUE(world.runtime.backups.empty());
    world.runtime.calls.clear();
    world.settle(100);
    EXPECT_TRUE(world.runtime.calls.empty()) << "what failed is not tried again by itself";
    world.wish_update(image);  // but it is when somebody asks again
    world.settle();
    EXPECT_EQ(world.status().update_done, 2u);
    EXPECT_EQ(world.running_image(), "id:agent:1");
  }
}

TEST(Update, IsNotCommittedToAnImageThatExitsAgainAndAgainAndIsReadyInBetween) {
  World world;
  world.wish_update("agent:2");
  for (int i = 0; i < 80 && world.running_image() != "id:agent:2"; ++i) world.pass();
  ASSERT_EQ(world.running_image(), "id:agent:2");
  world.runtime.containers.at(world.agent).restart_count = 2;  // it runs, and would pass for ready
  world.settle();
  EXPECT_EQ(world.status().update_outcome, "RolledBack");
  EXPECT_NE(world.status().update_reason.find("exits again and again"), std::string::npos)
      << "no code is claimed that was not seen: " << world.status().update_reason;
  EXPECT_EQ(world.running_image(), "id:agent:1");
}

TEST(Update, OfALongHealthyAgentToAnImageThatCannotBeHadIsGivenUpWithoutTouchingIt) {
  World world;
  for (int i = 0; i < 500; ++i) world.pass();  // healthy for more than ten minutes
  const std::string container = world.container().id;
  world.runtime.calls.clear();
  world.wish_update("agent:none");
  world.settle(20);
  EXPECT_EQ(world.status().update_outcome, "GivenUp");
  EXPECT_NE(world.status().update_reason.find("not found (simulated)"), std::string::npos);
  EXPECT_EQ(world.container().id, container);
  EXPECT_EQ(world.container().starts, 1);
  EXPECT_EQ(world.runtime.calls, (std::vector<std::string>{"pull-image", "pull-image", "pull-image"}));
  world.settle(100);
  EXPECT_EQ(world.runtime.calls.size(), 3u);
}

TEST(Update, IsGivenUpBeforeAnythingWasTouchedWhenTheVolumeCannotBeCopied) {
  World world;
  world.runtime.fault = [](const std::string& call) { return call == "back-up" ? SimFault::refused : SimFault::none; };
  const std::string container = world.container().id;
  world.wish_update("agent:2");
  world.settle();
  EXPECT_EQ(world.status().update_outcome, "GivenUp");
  EXPECT_EQ(world.container().id, container);
  EXPECT_EQ(world.running_image(), "id:agent:1");
  EXPECT_EQ(world.runtime.files[world.agent]["data"], "old");
}

TEST(Update, OfAStoppedAgentIsTriedAtItsNextStart) {
  World world;
  world.wish(DesiredState::stopped);
  world.settle(5);
  world.wish_update("agent:never");
  world.settle(20);
  EXPECT_EQ(world.status().update_step, "WaitingForStart");
  EXPECT_EQ(world.running_image(), "");
  world.wish(DesiredState::running);
  world.settle();
  EXPECT_EQ(world.status().update_outcome, "RolledBack");
  EXPECT_EQ(world.running_image(), "id:agent:1");
}

TEST(Update, IsUndoneByAStopInTheMiddleOfTheTrial) {
  World world;
  world.wish_update("agent:never");
  for (int i = 0; i < 50 && world.running_image() != "id:agent:never"; ++i) world.pass();
  ASSERT_EQ(world.running_image(), "id:agent:never");
  world.wish(DesiredState::stopped);
  world.settle();
  EXPECT_EQ(world.status().phase, Phase::stopped);
  EXPECT_EQ(world.status().update_outcome, "RolledBack");
  EXPECT_EQ(world.runtime.files[world.agent]["data"], "old");
  world.wish(DesiredState::running);
  world.settle();
  EXPECT_EQ(world.running_image(), "id:agent:1");
}

TEST(Update, ToTheImageThatRunsAlreadyChangesNothing) {
  World world;
  const std::string container = world.container().id;
  world.wish_update("agent:1");
  world.runtime.pullable.insert("agent:1");
  world.settle(20);
  EXPECT_EQ(world.status().update_outcome, "Committed");
  EXPECT_EQ(world.container().id, container);
  EXPECT_EQ(world.container().starts, 1);
}

TEST(Update, IsNotTakenFurtherByAWishThatReplacesItNorDoesThatMakeAContainerOfAnUnprovenImage) {
  World world;
  world.wish_update("agent:never");
  for (int i = 0; i < 50 && world.running_image() != "id:agent:never"; ++i) world.pass();
  world.desired().repair_wish += 1;
  world.wish_update("agent:2");
  world.settle(200);
  EXPECT_EQ(world.status().update_done, 2u);
  EXPECT_EQ(world.running_image(), "id:agent:2");
}

TEST(Update, ReadsAsTheExplainViewShowsIt) {
  World world;
  DesiredAgent desired = world.desired();
  desired.update_wish = 1;
  desired.update_image = "agent:2";
  Observed observed = world.runtime.observe(world.agent, "agent:1", {}).value();
  observed.ready = true;
  History history = world.history();
  const auto text_at = [&](UpdateStep step) {
    history.update.step = step;
    return to_string(plan(desired, observed, history, {}, Policy{}, world.now)) + "\n";
  };
  history.update.wish = 1;
  history.update.to.reference = "agent:2";
  observed.candidate = ObservedImage{Presence::absent, "", "", PullState::none, ""};
  std::string text = "# to be pulled\n" + text_at(UpdateStep::pulling);
  history.update.pull_asked = true;
  observed.candidate = ObservedImage{Presence::absent, "", "", PullState::under_way, "3 of 7 layers, 12.0 of 80.5 MB"};
  text += "# pulling\n" + text_at(UpdateStep::pulling);
  history.update.to.pin = "id:agent:2";
  text += "# pulled\n" + text_at(UpdateStep::backing_up);
  text += "# copied, the old container still stands\n" + text_at(UpdateStep::trying);
  history.update.copied = true;
  history.update.reason = "the agent exits with code 3";
  text += "# going back\n" + text_at(UpdateStep::rolling_back);
  desired.state = DesiredState::stopped;
  text += "# going back, and stopped\n" + text_at(UpdateStep::rolling_back);
  history.update.copied = false;
  text += "# going back to no volume\n" + text_at(UpdateStep::rolling_back);
  history.update.reason.clear();
  observed.workload.state = ContainerState::exited;
  text += "# stopped, pulled\n" + text_at(UpdateStep::pulling);
  desired.state = DesiredState::running;
  observed.workload.state = ContainerState::running;
  history.update.backup = true;
  text += "# ended, its copy not needed any more\n" + text_at(UpdateStep::none);
  history.update.outcome = UpdateOutcome::committed;
  history.update.ended_at = world.now;
  text += "# ended well, its copy kept\n" + text_at(UpdateStep::none);
  text.pop_back();
  EXPECT_EQ(text, test::golden("plan_update.txt", text));
}

}  // namespace
}  // namespace creel
