// One container that the engine does not answer about, beside others: the real control loop on the real engine, with a
// socket in between that never answers about that one.
#include <gmock/gmock.h>

#include "reconciler/sources.hpp"
#include "tests/integration/docker_fixture.hpp"
#include "tests/support/engine_audit.hpp"
#include "tests/support/memory_repository.hpp"

namespace creel {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

struct LockedRepository : AgentRepository {
  test::MemoryRepository inner;
  mutable std::mutex mutex;
  Result<std::optional<AgentRecord>> load(const AgentId& id) override {
    const std::lock_guard lock{mutex};
    return inner.load(id);
  }
  Result<std::vector<std::string>> secrets(const AgentId& id) override {
    const std::lock_guard lock{mutex};
    return inner.secrets(id);
  }
  Result<std::vector<AgentId>> list() override {
    const std::lock_guard lock{mutex};
    return inner.list();
  }
  Result<void> record(const AgentId& id, const AgentStatus& status, const History& history,
                      const std::vector<Event>& events, std::uint64_t term) override {
    const std::lock_guard lock{mutex};
    return inner.record(id, status, history, events, term);
  }
  Result<void> forget(const AgentId& id, std::uint64_t term) override {
    const std::lock_guard lock{mutex};
    return inner.forget(id, term);
  }
  std::uint64_t wish(const AgentId& id) {
    const std::lock_guard lock{mutex};
    return ++inner.rows.at(id).desired.generation;
  }
  void wish_stopped(const AgentId& id) {
    const std::lock_guard lock{mutex};
    inner.rows.at(id).desired.state = DesiredState::stopped;
    ++inner.rows.at(id).desired.generation;
  }
  std::uint64_t seen(const AgentId& id) const {
    const std::lock_guard lock{mutex};
    return inner.rows.at(id).status.observed_generation;
  }
  Phase phase(const AgentId& id) const {
    const std::lock_guard lock{mutex};
    return inner.rows.at(id).status.phase;
  }
};

struct AlwaysReady : Prober {
  ProbeAnswer probe(const std::string&, const Readiness&, std::stop_token) override { return {true, ""}; }
};

class QuarantineTest : public test::DockerTest {
 protected:
  void SetUp() override {
    DockerTest::SetUp();
    if (HasFatalFailure()) return;
    world = std::make_unique<World>(*this);
    for (int i = 0; i < 5; ++i) add();
    world->loop.lead();
    for (const AgentId& id : agents)
      ASSERT_TRUE(test::eventually([&] { return repository.phase(id) == Phase::ready; }, 60s)) << id.str();
  }
  void TearDown() override {
    if (world) world->loop.follow();
    world.reset();
    DockerTest::TearDown();
  }

  struct World {
    explicit World(QuarantineTest& test)
        : audit(test.options.docker_host.substr(7), "/tmp/creel-audit-" + test.controller + ".sock"),
          engine(docker::Engine::make(test.client, hurried(test.options, audit.host())).value()),
          runtime(*engine, docker::RuntimeOptions{test.controller}),
          reconciler({test.repository, runtime, test.prober, system_now, Policy{},
                      [] { return std::optional<std::uint64_t>{1}; }}),
          loop(reconciler, test.repository, runtime, ControlLoop::Options{2, 60'000ms}) {}
    static docker::EngineOptions hurried(docker::EngineOptions through, const std::string& host) {
      through.docker_host = host;
      through.read_deadline = 1'000ms;  // a fifth of what it is, so that it is met often
      through.write_deadline = 2'000ms;
      return through;
    }
    test::EngineAudit audit;
    const std::unique_ptr<docker::Engine> engine;
    docker::DockerRuntime runtime;
    Reconciler reconciler;
    ControlLoop loop;
  };
  std::string container_of(const AgentId& id) { return engine->container_inspect(docker::object_name(id)).value().id; }
  void add() {
    const AgentId id = new_agent_id();
    AgentRecord record;
    record.desired.id = id;
    record.desired.generation = 1;
    record.desired.spec = spec({"sleep"});
    record.desired.spec_hash = spec_hash(record.desired.spec);
    repository.inner.rows[id] = record;
    agents.push_back(id);
  }
  // The longest time from a wish until it was looked at, of all agents but the first, over and over.
  milliseconds worst_delay(milliseconds time) {
    milliseconds worst{0};
    for (const auto end = steady_clock::now() + time; steady_clock::now() < end;) {
      world->loop.on_wish(agents[0].str());
      for (std::size_t i = 1; i < agents.size(); ++i) {
        const auto begin = steady_clock::now();
        const auto wish = repository.wish(agents[i]);
        world->loop.on_wish(agents[i].str());
        EXPECT_TRUE(test::eventually([&] { return repository.seen(agents[i]) >= wish; }));
        worst = std::max(worst, std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin));
      }
    }
    return worst;
  }

  std::vector<AgentId> agents;
  LockedRepository repository;
  AlwaysReady prober;
  std::unique_ptr<World> world;
};

TEST_F(QuarantineTest, OneHungInspectDelaysNoOtherAgentByMoreThanASecond) {
  const milliseconds before = worst_delay(3'000ms);
  const std::string stuck = "/containers/" + docker::object_name(agents[0]);
  world->audit.hang(stuck);
  const std::size_t from = world->audit.calls().size();
  const milliseconds during = worst_delay(9'000ms);
  EXPECT_LE(during, before + 1'000ms);
  std::size_t asked = 0;
  const auto calls = world->audit.calls();
  for (std::size_t i = from; i < calls.size(); ++i) asked += calls[i].path.find(stuck) != std::string::npos;
  EXPECT_GE(asked, 1u);
  EXPECT_LE(asked, 3u) << "it is left alone in between, however often it is hinted at";
  EXPECT_TRUE(world->engine->reachable()) << "it is not the engine's fault";
  RecordProperty("worst_delay_ms", static_cast<int>(during.count()));
  std::printf("longest time from a wish to its pass: %d ms, with a hung inspect %d ms\n",
              static_cast<int>(before.count()), static_cast<int>(during.count()));

  // Once it answers, it is an agent like any other.
  world->audit.hang("");
  const auto wish = repository.wish(agents[0]);
  EXPECT_TRUE(test::eventually(
      [&] {
        world->loop.on_wish(agents[0].str());
        return repository.seen(agents[0]) >= wish;
      },
      60s));
}

TEST_F(QuarantineTest, OneHungStopDelaysNoOtherAgentByMoreThanASecond) {
  const milliseconds before = worst_delay(3'000ms);
  world->audit.hang("/containers/" + container_of(agents[0]) + "/stop");
  repository.wish_stopped(agents[0]);
  const std::size_t from = world->audit.calls().size();
  const milliseconds during = worst_delay(12'000ms);
  EXPECT_LE(during, before + 1'000ms);
  std::size_t asked = 0;
  const auto calls = world->audit.calls();
  for (std::size_t i = from; i < calls.size(); ++i) asked += calls[i].path.find("/stop") != std::string::npos;
  EXPECT_GE(asked, 1u);
  EXPECT_LE(asked, 3u);
  EXPECT_TRUE(world->engine->reachable());
  EXPECT_EQ(repository.phase(agents[0]), Phase::stopping);
  std::printf("longest time from a wish to its pass: %d ms, with a hung stop %d ms\n", static_cast<int>(before.count()),
              static_cast<int>(during.count()));
  world->audit.hang("");
  EXPECT_TRUE(test::eventually(
      [&] {
        world->loop.on_wish(agents[0].str());
        return repository.phase(agents[0]) == Phase::stopped;
      },
      60s));
}

}  // namespace
}  // namespace creel
