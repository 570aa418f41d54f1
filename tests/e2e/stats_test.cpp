// Numbers and events of a live agent through `creel serve` alone: measured, kept, streamed, and honest when the engine
// is away.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "controller/core/ids.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

// Follows a stream on a thread of its own until it is destroyed.
class Following {
 public:
  Following(const std::string& url, const std::string& key, http::Headers headers = {}) {
    http::Request request;
    request.url = url;
    request.headers = std::move(headers);
    request.headers.emplace_back("Authorization", "Bearer " + key);
    request.headers.emplace_back("Accept", "text/event-stream");
    request.deadline = 0ms;
    thread_ = std::jthread([this, request](std::stop_token stop) {
      (void)client_.stream(
          request,
          [this](std::string_view piece) {
            const std::lock_guard lock{mutex_};
            text_ += piece;
            return true;
          },
          stop);
    });
  }
  std::vector<json> events() const {
    const std::lock_guard lock{mutex_};
    std::vector<json> all;
    const auto whole = text_.rfind("\n\n");
    for (std::size_t at = 0; (at = text_.find("\ndata: ", at)) != std::string::npos && at < whole;) {
      at += 7;
      all.push_back(json::parse(text_.substr(at, text_.find('\n', at) - at)));
    }
    return all;
  }
  bool has(const std::string& reason) const {
    for (const auto& event : events())
      if (event["reason"] == reason) return true;
    return false;
  }
  bool opened() const {
    const std::lock_guard lock{mutex_};
    return !text_.empty();
  }

 private:
  http::Client client_;
  mutable std::mutex mutex_;
  std::string text_;
  std::jthread thread_;
};

bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(20ms);  // polls another process
  }
  return true;
}

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

TEST(LiveEvents, ComeAtOnceAndGoOnFromTheLastIdAfterTheControllerWasKilled) {
  CreelProcess creel;
  creel.start();
  const std::string key = creel.user("owner@example.com", "pro");
  json last;
  std::string id;
  {
    Following stream{creel.url() + "/api/events", key};
    ASSERT_TRUE(eventually([&] { return stream.opened(); })) << creel.log();
    id = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}}).json["agent"]["id"];
    ASSERT_TRUE(eventually([&] { return stream.has("Provisioned"); }));
    last = stream.events().front()["id"];
  }
  creel.call("POST", "/api/instance/" + id + "/stop", key);
  creel.kill_hard();
  creel.start();
  Following back{creel.url() + "/api/agents/" + id + "/events", key, {{"Last-Event-ID", last.dump()}}};
  ASSERT_TRUE(eventually([&] { return back.has("StopRequested"); })) << "what was missed is replayed";
  creel.call("DELETE", "/api/agents/" + id + "?purge=true", key);
  ASSERT_TRUE(eventually([&] { return back.has("Deleted"); })) << "and the stream goes on";
  std::int64_t before = last;
  for (const auto& event : back.events()) {
    EXPECT_GT(event["id"].get<std::int64_t>(), before);
    before = event["id"];
  }
  // The agent is gone; its owner still sees what happened.
  const Answer all = creel.call("GET", "/api/events?limit=1000", key);
  EXPECT_EQ(all.json["events"][0]["reason"], "Provisioned") << all.text;
}

}  // namespace
}  // namespace creel::test
