// Two controllers on one database and one engine: one leads, and whatever becomes of it, the other takes over, both
// serve the API, and nobody changes anything on the engine under a term that is over. Every engine call is noted.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <map>
#include <random>

#include "controller/core/clock.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/engine_audit.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Steady = std::chrono::steady_clock;

class Replicas : public testing::Test {
 protected:
  void SetUp() override {
    // The clock of the first can be set while it runs; what measures durations is left alone, as by a real jump.
    std::ofstream{clock()} << "+0";
    a.set("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1");
    a.set("FAKETIME_TIMESTAMP_FILE", clock());
    a.set("FAKETIME_NO_CACHE", "1");
    a.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    a.set("DOCKER_HOST", audit.host());
    a.start();
    key = a.user("owner@example.com", "enterprise");
    b.start();
    ASSERT_TRUE(leads(a));
    for (int i = 0; i < 4; ++i) {
      const Answer made =
          either(i).call("POST", "/api/agents/provision", key, {{"name", "agent " + std::to_string(i)}});
      ASSERT_EQ(made.status, 201) << made.text;
      agents.push_back(made.json["agent"]["id"]);
    }
    for (const auto& id : agents) until_settled(a, id, "Ready");
  }
  void TearDown() override {
    stop_wishing();
    if (a.pid() != 0) kill(a.pid(), SIGCONT);
    if (b.pid() != 0) kill(b.pid(), SIGCONT);
    check_audit();
  }

  std::string clock() const { return (a.state() / "clock").string(); }
  CreelProcess& either(int i) { return i % 2 == 0 ? a : b; }
  static bool leads(CreelProcess& replica) {
    return replica.call("GET", "/metrics").text.find("\ncreel_leader 1") != std::string::npos;
  }
  void until_settled(CreelProcess& replica, const std::string& id, const std::string& phase) {
    const Answer last =
        replica.until("/api/agents/" + id, key, [&](const Answer& a) { return a.json["agent"]["phase"] == phase; });
    EXPECT_EQ(last.json["agent"]["phase"], phase) << last.text << replica.log();
  }

  // Restarts, stops, starts and new configurations of random agents through the replicas that are in `serving`, each of
  // which must take them.
  void wish_through(std::vector<CreelProcess*> serving) {
    stop_wishing();
    wisher = std::jthread{[this, serving](std::stop_token stop) {
      std::mt19937 random{7};
      for (int n = 0; !stop.stop_requested(); ++n) {
        CreelProcess& replica = *serving[static_cast<std::size_t>(n) % serving.size()];
        const std::string& id = agents[random() % agents.size()];
        Answer answer;
        switch (random() % 4) {
          case 0:
            answer = replica.call("POST", "/api/instance/" + id + "/restart?wait=0", key);
            break;
          case 1:
            answer = replica.call("POST", "/api/instance/" + id + "/stop?wait=0", key);
            break;
          case 2:
            answer = replica.call("POST", "/api/instance/" + id + "/start?wait=0", key);
            break;
          default:
            answer = replica.call("PUT", "/api/agents/" + id + "/config", key, {{"greeting", std::to_string(n)}});
        }
        EXPECT_EQ(answer.status, 200) << answer.text;
        EXPECT_EQ(replica.call("GET", "/api/agents", key).status, 200);
        ++wishes;
        std::this_thread::sleep_for(50ms);  // people do not ask faster
      }
    }};
  }
  void stop_wishing() {
    wisher.request_stop();
    if (wisher.joinable()) wisher.join();
  }

  // How long it takes until `next` leads.
  static std::chrono::milliseconds until_leads(CreelProcess& next) {
    const auto start = Steady::now();
    while (!leads(next) && Steady::now() - start < 60s) std::this_thread::sleep_for(50ms);  // polls another process
    return std::chrono::duration_cast<std::chrono::milliseconds>(Steady::now() - start);
  }
  // Both take wishes, and from then on the one that is to be left.
  void work_and_then_rely_on(CreelProcess& next) {
    wish_through({&a, &b});
    std::this_thread::sleep_for(2s);  // in the middle of work
    wish_through({&next});
  }
  static void takes_over(CreelProcess& next, const char* after) {
    const auto took = until_leads(next);
    EXPECT_LT(took, 15s);
    std::printf("takeover: %lld ms after %s\n", static_cast<long long>(took.count()), after);
  }
  // Everything asked for is carried out, once.
  void converges(CreelProcess& replica) {
    stop_wishing();
    for (const auto& id : agents) {
      EXPECT_EQ(replica.call("POST", "/api/instance/" + id + "/start?wait=0", key).status, 200);
      until_settled(replica, id, "Ready");
    }
    const std::string filter = http::url_encode(json{{"label", {"dev.creel.controller=" + a.controller()}}}.dump());
    const Answer all = a.engine().call("GET", "/containers/json?all=1&filters=" + filter);
    EXPECT_EQ(all.json.size(), agents.size()) << all.text;
  }

  // Nobody changes anything without a term, under a term that is over, or under somebody else's.
  void check_audit() {
    std::map<std::uint64_t, pid_t> holders;
    std::uint64_t present = 0;
    std::size_t changes = 0;
    for (const auto& call : audit.calls()) {
      if (!call.changes()) continue;
      ++changes;
      ASSERT_TRUE(call.term) << call.method << " " << call.path;
      EXPECT_GE(*call.term, present) << call.method << " " << call.path << " came under a term that was over";
      present = std::max(present, *call.term);
      EXPECT_EQ(holders.try_emplace(*call.term, call.process).first->second, call.process)
          << "two processes wrote under term " << *call.term;
    }
    EXPECT_GT(changes, agents.size());
    std::printf("audit: %zu engine calls, %zu of them changes, under %zu terms; %d wishes\n", audit.calls().size(),
                changes, holders.size(), wishes);
  }

  EngineAudit audit{required_env("DOCKER_HOST").substr(7), required_env("CREEL_TEST_WORK") + "/audit.sock"};
  CreelProcess a;
  CreelProcess b{{{"DATABASE_URL", a.conninfo()},
                  {"CREEL_CONTROLLER_ID", a.controller()},
                  {"CREEL_MASTER_KEY_FILE", (a.state() / "master.key").string()},
                  {"DOCKER_HOST", audit.host()}}};
  std::string key;
  std::vector<std::string> agents;
  std::jthread wisher;
  int wishes = 0;
};

TEST_F(Replicas, TakeOverFromALeaderThatIsKilled) {
  for (int round = 0; round < 2; ++round) {
    CreelProcess& leader = either(round);
    CreelProcess& next = either(round + 1);
    work_and_then_rely_on(next);
    leader.kill_hard();
    takes_over(next, "kill -9");
    leader.start();
    EXPECT_FALSE(leads(leader));
    converges(next);
  }
}

TEST_F(Replicas, TakeOverAtOnceFromALeaderThatStops) {
  wish_through({&b});
  EXPECT_EQ(a.stop(), 0);
  const auto took = until_leads(b);
  EXPECT_LT(took, 5s);
  a.start();
  converges(b);
}

TEST_F(Replicas, ALeaderThatWasPausedDoesNotGoOnWhereItStopped) {
  for (int round = 0; round < 2; ++round) {
    CreelProcess& leader = either(round);
    CreelProcess& next = either(round + 1);
    work_and_then_rely_on(next);
    kill(leader.pid(), SIGSTOP);
    takes_over(next, "SIGSTOP");
    std::this_thread::sleep_for(2s);  // the next one is at work
    kill(leader.pid(), SIGCONT);
    std::this_thread::sleep_for(2s);  // what it had in hand would be done now
    EXPECT_FALSE(leads(leader));
    EXPECT_TRUE(leads(next));
    converges(leader);
  }
}

TEST_F(Replicas, AJumpOfTheLeadersClockChangesNothing) {
  wish_through({&a, &b});
  const auto now = [&](CreelProcess& replica) {
    const Answer stats = replica.call("GET", "/api/agents/" + agents[0] + "/stats", key);
    return *parse_rfc3339(stats.json["stats"]["timestamp"].get<std::string>());
  };
  for (const auto& [jump, hours] : std::map<std::string, int>{{"+3h", 3}, {"-3h", -3}, {"+0", 0}}) {
    std::ofstream{clock()} << jump;
    EXPECT_EQ(std::chrono::round<std::chrono::hours>(now(a) - now(b)).count(), hours);
    for (int i = 0; i < 40; ++i) {
      std::this_thread::sleep_for(100ms);  // longer than a renewal
      EXPECT_TRUE(leads(a)) << jump;
      EXPECT_FALSE(leads(b)) << jump;
    }
  }
  converges(b);
}

// The engine gives an agent's address to another one while nobody who leads looks.
TEST_F(Replicas, NoAgentIsToldWhatIsMeantForAnother) {
  const auto address = [&](const std::string& id) -> std::string {
    const json networks = a.engine().container(id)["NetworkSettings"]["Networks"];
    return networks.begin().value()["IPAddress"];
  };
  const std::string first = address(agents[0]), second = address(agents[1]);
  kill(a.pid(), SIGSTOP);
  for (const auto& id : {agents[0], agents[1]})
    ASSERT_EQ(a.engine().call("POST", "/containers/creel-" + id + "/stop?t=0").status, 204);
  for (const auto& id : {agents[1], agents[0]})
    ASSERT_EQ(a.engine().call("POST", "/containers/creel-" + id + "/start").status, 204);
  ASSERT_EQ(address(agents[0]), second);
  ASSERT_EQ(address(agents[1]), first);
  for (const auto& id : {agents[0], agents[1]}) {
    const Answer said = b.call("POST", "/api/chat", key, {{"message", "hello"}, {"agentId", id}});
    EXPECT_EQ(said.status, 200) << said.text;
  }
  EXPECT_FALSE(leads(b)) << "nobody had looked";
  kill(a.pid(), SIGCONT);
}

}  // namespace
}  // namespace creel::test
