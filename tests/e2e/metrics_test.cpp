// /metrics of a live `creel serve`, with a real engine and a real PostgreSQL: it exports what the table says and
// nothing else, Prometheus' own tool has no objection, and it answers at once, and truly, while PostgreSQL or the
// engine is silent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "controller/metrics/definitions.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/own_engine.hpp"
#include "tests/support/relay.hpp"
#include "tests/support/scrape.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

// A socket in front of a server, which can fall silent: nothing comes through, and nobody hangs up.
class Silencer {
 public:
  Silencer(std::string server, std::string socket)
      : relay_(std::move(server), std::move(socket), [this](pid_t) {
          const auto passes = [this](std::string_view) { return !silent_; };
          return Relay::Watch{passes, passes};
        }) {}
  void silent(bool yes) { silent_ = yes; }

 private:
  std::atomic<bool> silent_{false};
  Relay relay_;
};

class MetricsLive : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder + "/pg");
    const std::string conninfo = required_env("CREEL_TEST_DATABASE_URL");
    const auto at = conninfo.find("host=/") + 5;
    database.emplace(conninfo.substr(at, conninfo.find(' ', at) - at) + "/.s.PGSQL.5432", folder + "/pg/.s.PGSQL.5432");
    engine.emplace(required_env("DOCKER_HOST").substr(7), folder + "/engine.sock");
    creel.set("DATABASE_URL", creel.conninfo() + " host=" + folder + "/pg");
    creel.set("DOCKER_HOST", "unix://" + folder + "/engine.sock");
    creel.set("CREEL_STATS_SECONDS", "1");
    creel.start();
    key = creel.user("owner@example.com", "enterprise");
    const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}});
    ASSERT_EQ(made.status, 201) << made.text << creel.log();
    id = made.json["agent"]["id"];
    ready();
    ASSERT_EQ(creel.call("POST", "/api/chat", key, {{"message", "hello"}}).json["reply"], "ECHO(1): hello");
  }
  void TearDown() override {
    creel.stop();
    database.reset();
    engine.reset();
    std::filesystem::remove_all(folder);
  }

  void ready() {
    const Answer last =
        creel.until("/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; });
    ASSERT_EQ(last.json["agent"]["phase"], "Ready") << last.text << creel.log();
  }
  // However it is with the others, a scrape is answered at once.
  Scrape scrape(CreelProcess& of) {
    const auto began = Steady::now();
    const Answer answer = of.call("GET", "/metrics");
    const auto took = Steady::now() - began;
    longest = std::max(longest, std::chrono::duration_cast<std::chrono::milliseconds>(took));
    EXPECT_EQ(answer.status, 200) << answer.text;
    return Scrape{answer.text};
  }
  Scrape scrape_until(const std::function<bool(const Scrape&)>& done) {
    const auto until = Steady::now() + 90s;
    for (;;) {
      Scrape now = scrape(creel);
      if (done(now)) return now;
      if (Steady::now() > until) {
        ADD_FAILURE() << creel.call("GET", "/metrics").text << creel.log();
        return now;
      }
      std::this_thread::sleep_for(100ms);  // polls another process
    }
  }

  const std::string folder = required_env("CREEL_TEST_WORK") + "/metrics";
  std::optional<Silencer> database, engine;
  CreelProcess creel;
  std::string key, id;
  std::chrono::milliseconds longest{0};
};

TEST_F(MetricsLive, ExportsExactlyWhatTheTableSays) {
  ASSERT_EQ(creel.call("POST", "/api/instance/" + id + "/restart", key).status, 200);
  ready();
  const Scrape now = scrape_until([](const Scrape& s) {
    return s.has("creel_agent_network_receive_bytes_total") && s.has("creel_stats_round_duration_seconds") &&
           s.value("creel_agents_drifted") == 0 && s.value("creel_agents", {{"phase", "Ready"}}) == 1;
  });
  for (const Metric& metric : kMetrics) {
    ASSERT_TRUE(now.has(metric.name)) << metric.name;
    EXPECT_EQ(now.types.at(metric.name), to_string(metric.type)) << metric.name;
    const auto names = label_names(metric);
    EXPECT_EQ(now.labels(metric.name), (std::set<std::string>{names.begin(), names.end()})) << metric.name;
  }
  EXPECT_EQ(now.types.size(), kMetrics.size()) << "it exports what is not in the table";

  EXPECT_EQ(now.value("creel_leader"), 1);
  EXPECT_GE(now.value("creel_leader_term"), 1);
  EXPECT_EQ(now.value("creel_database_up"), 1);
  EXPECT_EQ(now.value("creel_engine_up"), 1);
  EXPECT_EQ(now.value("creel_engine_breaker_open"), 0);
  EXPECT_EQ(now.value("creel_actions_total", {{"kind", "create"}, {"cause", "created"}, {"outcome", "ok"}}), 1);
  EXPECT_EQ(now.value("creel_actions_total", {{"kind", "restart"}, {"cause", "restart"}, {"outcome", "ok"}}), 1);
  EXPECT_EQ(now.value("creel_agent_restarts_total", {{"cause", "restart"}}), 1);
  EXPECT_GE(now.value("creel_engine_calls_total", {{"verb", "container_start"}, {"code", "204"}}), 1);
  EXPECT_EQ(now.value("creel_chats_total", {{"channel", "api"}, {"outcome", "answered"}}), 1);
  EXPECT_EQ(now.value("creel_messages_total", {{"platform", "api"}, {"outcome", "answered"}}), 1);
  EXPECT_EQ(now.value("creel_http_requests_total", {{"route", "/api/chat"}, {"method", "POST"}, {"code", "200"}}), 1);
  EXPECT_EQ(now.value("creel_agent_phase", {{"agent", id}, {"phase", "Ready"}}), 1);
  EXPECT_GT(now.value("creel_agent_cpu_seconds_total", {{"agent", id}}), 0);
  EXPECT_GT(now.value("creel_agent_memory_working_set_bytes", {{"agent", id}}), 100'000);
  EXPECT_EQ(now.value("creel_agents_without_series"), 0);

  // Somebody removes the container: that is drift, and it is mended.
  creel.engine().call("DELETE", "/containers/creel-" + id + "?force=1");
  scrape_until([](const Scrape& s) {
    return s.value("creel_actions_total", {{"kind", "create"}, {"cause", "container-gone"}, {"outcome", "ok"}}) == 1;
  });

  std::ofstream{folder + "/scrape"} << creel.call("GET", "/metrics").text;
  const std::string said = script("promtool check metrics <'" + folder + "/scrape' 2>&1");
  EXPECT_EQ(said, "") << "promtool is of the package prometheus";
}

TEST_F(MetricsLive, LeavesToTheLeaderWhatTheLeaderKnows) {
  CreelProcess other{{{"DATABASE_URL", creel.conninfo()},
                      {"CREEL_CONTROLLER_ID", creel.controller()},
                      {"CREEL_METRICS_AGENTS", "0"},
                      {"CREEL_MASTER_KEY_FILE", (creel.state() / "master.key").string()}}};
  other.start();
  const Scrape follower = scrape(other);
  EXPECT_EQ(follower.value("creel_leader"), 0);
  for (const Metric& metric : kMetrics)
    EXPECT_TRUE(metric.by == ExportedBy::each || !follower.has(metric.name)) << metric.name;
  EXPECT_GE(follower.value("creel_database_connections_max"), 1);

  // It takes over, and its setting says that no agent has series of its own.
  creel.stop();
  const auto until = Steady::now() + 60s;
  while (scrape(other).value("creel_agents", {{"phase", "Ready"}}) != 1 && Steady::now() < until)
    std::this_thread::sleep_for(100ms);  // polls another process
  const Scrape leader = scrape(other);
  EXPECT_EQ(leader.value("creel_leader"), 1);
  EXPECT_EQ(leader.value("creel_agents_without_series"), 1);
  for (const auto& sample : leader.samples) EXPECT_FALSE(sample.labels.contains("agent")) << sample.name;
}

TEST_F(MetricsLive, TellsThatPostgresIsSilentWithoutWaitingForIt) {
  scrape_until([](const Scrape& s) { return s.value("creel_agents", {{"phase", "Ready"}}) == 1; });
  longest = 0ms;
  database->silent(true);
  // More who wait for it than there are handler threads: some until they are told that it is away, some until it is
  // back.
  std::vector<std::jthread> others;
  for (int i = 0; i < 20; ++i)
    others.emplace_back(
        [this] { EXPECT_THAT(creel.call("GET", "/api/agents", key).status, testing::AnyOf(200, 503)); });
  const Scrape away = scrape_until([](const Scrape& s) { return s.value("creel_database_up") == 0; });
  EXPECT_EQ(away.value("creel_leader"), 0) << "the lease has run out";
  EXPECT_FALSE(away.has("creel_agents")) << "nobody knows any more";
  EXPECT_FALSE(away.has("creel_leader_term"));
  EXPECT_GE(away.value("creel_actions_total"), 1) << "what was counted stays";
  EXPECT_LT(longest, 2s) << "a scrape waited for PostgreSQL";
  database->silent(false);
  const Scrape back = scrape_until([](const Scrape& s) { return s.value("creel_agents", {{"phase", "Ready"}}) == 1; });
  EXPECT_EQ(back.value("creel_database_up"), 1);
  EXPECT_EQ(back.value("creel_leader"), 1);
}

TEST_F(MetricsLive, TellsThatTheEngineIsSilentWithoutWaitingForIt) {
  scrape_until([](const Scrape& s) { return s.value("creel_engine_up") == 1; });
  longest = 0ms;
  engine->silent(true);
  // A wish, so that somebody asks the engine.
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/restart?wait=0", key).status, 200);
  const Scrape away = scrape_until([](const Scrape& s) {
    return s.value("creel_engine_up") == 0 && s.value("creel_engine_breaker_open") == 1 &&
           s.value("creel_agents_hindered", {{"cause", "EngineUnreachable"}}) == 1;
  });
  EXPECT_GE(away.value("creel_engine_calls_total", {{"code", "timeout"}}), 1);
  EXPECT_EQ(away.value("creel_agents"), 1) << "what PostgreSQL knows is told on";
  EXPECT_EQ(away.value("creel_database_up"), 1);
  EXPECT_LT(longest, 2s) << "a scrape waited for the engine";
  engine->silent(false);
  scrape_until([](const Scrape& s) {
    return s.value("creel_engine_up") == 1 && s.value("creel_engine_breaker_open") == 0 &&
           s.value("creel_agents_drifted") == 0;
  });
}

}  // namespace
}  // namespace creel::test
