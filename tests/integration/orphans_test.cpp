// Orphans on a real engine, and what a real database knows of their agents.
#include "reconciler/orphans.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "controller/store/events.hpp"
#include "controller/store/lease.hpp"
#include "controller/store/orphans.hpp"
#include "tests/integration/docker_fixture.hpp"
#include "tests/support/memory_orphan_store.hpp"

namespace creel {
namespace {

using namespace std::chrono_literals;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class OrphansOnTheEngine : public test::DockerTest {
 protected:
  void SetUp() override {
    DockerTest::SetUp();
    if (HasFatalFailure()) return;
    store.known[agent] = Fate::deleted;
  }

  // All that Creel makes for an agent, and what a crash in the middle of a copy leaves.
  void make_everything() {
    run(agent, {"sleep"});
    ASSERT_TRUE(runtime->apply(op::StopWorkload{agent, look(agent).workload.runtime_id, 1}, {}));
    const auto copied = runtime->apply(op::BackUpStorage{agent, with_state}, {});
    ASSERT_TRUE(copied) << copied.error().message;
    ASSERT_TRUE(runtime->apply(op::StartWorkload{agent, look(agent).workload.runtime_id}, {}));
  }
  std::vector<std::string> names() {
    std::vector<std::string> names;
    for (const auto& object : runtime->objects({}).value()) names.push_back(object.name);
    return names;
  }
  void search(Runtime& engine_of_it) {
    OrphanSearch::Deps deps{engine_of_it, store, [this] { return now; }, policy,
                            [] { return std::optional<std::uint64_t>{1}; }};
    if (!searcher) searcher = std::make_unique<OrphanSearch>(std::move(deps));
    searcher->pass({});
  }
  void search() { search(*runtime); }
  void search_for(milliseconds time) {
    for (const TimePoint end = now + time; now < end; now += policy.period) search();
    search();
  }

  const AgentId agent = new_agent_id();
  const std::string own = docker::object_name(agent);
  TimePoint now = *parse_rfc3339("2026-03-19T00:00:00Z");
  OrphanPolicy policy;
  test::MemoryOrphanStore store;
  std::unique_ptr<OrphanSearch> searcher;
};

TEST_F(OrphansOnTheEngine, AreFoundWhateverTheyAreAndRemovedOnceTheirGraceIsOver) {
  make_everything();
  ASSERT_THAT(names(), UnorderedElementsAre(own, own, own + "-backup", own + "-backup-volume"));
  search_for(policy.grace - policy.period);
  EXPECT_THAT(names(), SizeIs(4));
  std::vector<std::string> kinds;
  for (const Orphan& orphan : store.report.orphans) kinds.push_back(orphan.kind);
  EXPECT_THAT(kinds, UnorderedElementsAre("container", "helper container", "volume", "backup volume"));
  EXPECT_EQ(look(agent).workload.state, ContainerState::running) << "nothing is touched before";
  now += policy.period;
  search();
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_THAT(store.report.orphans, IsEmpty());
  const auto reasons = store.reasons();
  EXPECT_EQ(std::count(reasons.begin(), reasons.end(), "OrphanFound"), 4);
  EXPECT_EQ(std::count(reasons.begin(), reasons.end(), "OrphanRemoved"), 4);
}

TEST_F(OrphansOnTheEngine, OfAnAgentThatTheDatabaseHasNeverHeardOfAreKept) {
  make_everything();
  store.known.clear();
  search_for(policy.volume_retention + policy.grace);
  EXPECT_THAT(names(), SizeIs(4));
  EXPECT_THAT(store.report.orphans, SizeIs(4));

  policy.mode = OrphanMode::all;
  searcher.reset();
  search_for(policy.grace);
  EXPECT_THAT(names(), UnorderedElementsAre(own, own + "-backup")) << "the volumes hold data";
  search_for(policy.volume_retention - policy.grace);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(OrphansOnTheEngine, ARowThatComesBackInARestoredDatabaseKeepsContainerAndVolume) {
  make_everything();
  search_for(policy.grace - policy.period);
  store.known[agent] = Fate::live;
  search_for(policy.grace * 2);
  EXPECT_THAT(names(), SizeIs(4));
  EXPECT_THAT(store.report.orphans, IsEmpty());
  EXPECT_EQ(look(agent).workload.state, ContainerState::running);
}

TEST_F(OrphansOnTheEngine, AnEngineThatCannotBeAskedProvesNothing) {
  make_everything();
  search_for(policy.grace - policy.period * 4);
  docker::EngineOptions nowhere;
  nowhere.docker_host = "unix:///tmp/creel-there-is-no-engine.sock";
  const auto silent = docker::Engine::make(client, nowhere).value();
  docker::DockerRuntime blind{*silent, docker::RuntimeOptions{controller}};
  // Asks the real engine for removals, but for listings one that is away.
  struct HalfBlind : Runtime {
    Runtime& real;
    Runtime& blind;
    bool away = true;
    HalfBlind(Runtime& r, Runtime& b) : real(r), blind(b) {}
    Capabilities capabilities() const override { return real.capabilities(); }
    Result<Observed> observe(const AgentId& agent, const std::string& image, std::stop_token stop) override {
      return real.observe(agent, image, stop);
    }
    Result<ObservedImage> observe_image(const std::string& reference, std::stop_token stop) override {
      return real.observe_image(reference, stop);
    }
    Result<std::string> apply(const Operation& operation, std::stop_token stop) override {
      return real.apply(operation, stop);
    }
    Result<void> watch(std::function<void()> on_open, std::function<void(const AgentId&)> on_change,
                       std::stop_token stop) override {
      return real.watch(on_open, on_change, stop);
    }
    Result<std::vector<OwnObject>> objects(std::stop_token stop) override {
      return away ? blind.objects(stop) : real.objects(stop);
    }
    Result<std::vector<LogLine>> last_lines(const std::string& id, std::size_t count, std::optional<TimePoint> since,
                                            std::stop_token stop) override {
      return real.last_lines(id, count, since, stop);
    }
  } half{*runtime, blind};
  searcher.reset();
  half.away = false;
  search(half);
  half.away = true;
  for (int i = 0; i < 20; ++i) {
    now += policy.period;
    search(half);
  }
  EXPECT_THAT(store.report.problem, testing::HasSubstr("could not be listed"));
  half.away = false;
  now += policy.period;
  search(half);
  EXPECT_THAT(names(), SizeIs(4)) << "far longer than the grace, but seen twice only";
  EXPECT_EQ(store.report.orphans.at(0).first_seen, now);
}

TEST_F(OrphansOnTheEngine, OfAnotherControllerOrMadeByHandAreLeftAlone) {
  const std::string theirs = "t" + random_hex(4);
  docker::DockerRuntime other{*engine, docker::RuntimeOptions{theirs}};
  ASSERT_TRUE(other.apply(creation(agent, spec({"sleep"})), {}));
  // What is run of an image that somebody committed from an agent's container has the agent's labels.
  const nlohmann::json body{
      {"Image", with_state}, {"Cmd", {"sleep"}}, {"Labels", docker::agent_labels(agent, controller, 1, "")}};
  const auto copy = engine->container_create("creel-test-" + controller, body);
  ASSERT_TRUE(copy) << copy.error().message;
  policy.mode = OrphanMode::all;
  search_for(policy.volume_retention);
  EXPECT_THAT(names(), UnorderedElementsAre("creel-test-" + controller));
  ASSERT_THAT(store.report.orphans, SizeIs(1));
  EXPECT_EQ(store.report.orphans[0].cause, "NameNotGiven");
  EXPECT_THAT(other.objects({}).value(), SizeIs(2));
  clean(theirs);
}

}  // namespace
}  // namespace creel
