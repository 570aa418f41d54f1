// The kernel's numbers against the engine's, on real containers.
#include <nlohmann/json.hpp>

#include "reconciler/stats/cgroup.hpp"
#include "reconciler/stats/sampler.hpp"
#include "tests/integration/docker_fixture.hpp"

namespace creel::stats {
namespace {

using test::eventually;
using namespace std::chrono_literals;

class StatsTest : public test::DockerTest {};

TEST_F(StatsTest, TheKernelsFilesSayWhatTheEngineSays) {
  const AgentId agent = new_agent_id();
  const std::string id = run(agent, {"memory", "20", "sleep"});
  const auto workload = look(agent).workload;
  const CgroupReader reader;
  ASSERT_TRUE(eventually([&] {
    const auto usage = reader.read(workload.pid, id);
    return usage && usage->memory_bytes > (20 << 20);
  }));
  const auto engines = engine->container_stats(id);
  const auto kernels = reader.read(workload.pid, id);
  ASSERT_TRUE(engines) << engines.error().message;
  ASSERT_TRUE(kernels) << kernels.error().message;
  EXPECT_NEAR(static_cast<double>(kernels->memory_bytes), static_cast<double>(engines->memory_bytes), 1 << 20);
  EXPECT_EQ(kernels->memory_limit_bytes, 64 << 20);
  EXPECT_EQ(engines->memory_limit_bytes, 64 << 20);
  EXPECT_EQ(kernels->pids, engines->pids);
  EXPECT_NEAR(kernels->cpu_seconds, engines->cpu_seconds, 0.2);
  EXPECT_TRUE(kernels->network_known);
  EXPECT_NEAR(static_cast<double>(kernels->network_rx_bytes), static_cast<double>(engines->network_rx_bytes), 4096);
}

TEST_F(StatsTest, ABusyAgentShowsItsShareOfACore) {
  const AgentId agent = new_agent_id();
  const std::string id = run(agent, {"burn"});  // limited to half a core
  const auto workload = look(agent).workload;
  Sampler sampler{{10'000ms, 1'000ms, "/proc"},
                  [&] {
                    return std::vector<Target>{{agent, id, workload.pid, workload.started_at}};
                  },
                  {},
                  system_now};
  ASSERT_TRUE(eventually([&] {
    const auto sample = sampler.latest(agent);
    return sample && sample->cpu_known;
  }));
  const auto sample = *sampler.latest(agent);
  EXPECT_GT(sample.cpu_percent, 10.0);
  EXPECT_LT(sample.cpu_percent, 75.0);
  EXPECT_EQ(sample.memory_limit_bytes, 64 << 20);
}

TEST_F(StatsTest, SamplesFiftyContainersInWellUnderAPeriod) {
  std::vector<Target> targets;
  for (int i = 0; i < 50; ++i) {
    const nlohmann::json body{{"Image", with_state},
                              {"Cmd", {"sleep"}},
                              {"Labels", {{docker::kLabelController, controller}}},
                              {"HostConfig", {{"NetworkMode", "none"}}}};
    const auto id = engine->container_create("creel-test-" + random_hex(4), body);
    ASSERT_TRUE(id) << id.error().message;
    const auto started = engine->container_start(*id);
    ASSERT_TRUE(started) << started.error().message;
    const auto info = engine->container_inspect(*id);
    ASSERT_TRUE(info);
    targets.push_back({new_agent_id(), *id, info->pid, info->started_at});
  }
  Sampler sampler{{1'000ms, 100ms, "/proc"}, [&] { return targets; }, {}, system_now};
  ASSERT_TRUE(eventually([&] { return sampler.last_round().sampled == 50; }));
  const auto round = sampler.last_round();
  EXPECT_EQ(round.failed, 0u);
  EXPECT_LT(round.took, 200ms);
  RecordProperty("microseconds_for_50", static_cast<int>(round.took.count()));
  std::printf("50 containers sampled in %lld us\n", static_cast<long long>(round.took.count()));
}

}  // namespace
}  // namespace creel::stats
