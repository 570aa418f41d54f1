// Numbers of a live agent through `creel serve` alone: measured, kept, and honest when the engine is away.
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "tests/support/creel_process.hpp"

namespace creel::test {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

std::vector<json> measured(const Answer& answer) {
  std::vector<json> points;
  for (const auto& point : answer.json["points"])
    if (point["samples"] > 0) points.push_back(point);
  return points;
}

TEST(LiveStats, AreMeasuredKeptAndStillThereAfterTheControllerWasKilledAndTheEngineIsAway) {
  CreelProcess creel;
  creel.start();
  const std::string key = creel.user("owner@example.com", "pro");
  const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}});
  ASSERT_EQ(made.status, 201) << made.text << creel.log();
  const std::string id = made.json["agent"]["id"], path = "/api/agents/" + id + "/stats";
  const Answer live = creel.until(
      path, key, [](const Answer& a) { return a.json["status"] == "ok" && a.json["stats"]["raw"].is_object(); });
  ASSERT_EQ(live.json["status"], "ok") << live.text;
  const Answer history = creel.until(
      path + "/history", key, [](const Answer& a) { return measured(a).size() >= 2; }, 60s);
  const auto points = measured(history);
  ASSERT_GE(points.size(), 2u) << creel.log();
  EXPECT_GT(points[0]["memoryBytes"], 0);
  EXPECT_GT(points[0]["pids"], 0);
  EXPECT_TRUE(points[1]["cpuPercent"].is_number());
  EXPECT_TRUE(points[1]["networkRxBytes"].is_number());
  EXPECT_EQ(points[1]["gap"], false);

  // Another process takes over the same database and has no engine: it answers from what was stored, and says so.
  creel.kill_hard();
  creel.set("DOCKER_HOST", "unix:///nonexistent/docker.sock");
  creel.start();
  const Answer away = creel.until(path, key, [](const Answer& a) { return a.json["status"] == "mock"; });
  ASSERT_EQ(away.json["status"], "mock") << away.text << creel.log();
  EXPECT_EQ(away.json["stats"]["source"], "history");
  EXPECT_TRUE(away.json["stats"]["sampledAt"].is_string()) << away.text;
  EXPECT_GT(away.json["stats"]["raw"]["memoryBytes"], 0);
  EXPECT_EQ(away.json["stats"]["successRate"], nullptr);
  EXPECT_GE(measured(creel.call("GET", path + "/history", key)).size(), points.size());
}

}  // namespace
}  // namespace creel::test
