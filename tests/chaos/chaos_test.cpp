// Fifty agents under continual wishes while whatever keeps them is killed at random: containers, the Docker engine
// (with and without live-restore), PostgreSQL, and both controllers. At the end each agent is as its owner last asked,
// once, with its data; nothing is lost, doubled or left over; and who was left alone was not restarted by a controller.
//
// CREEL_CHAOS_SECONDS (default 90) is how long it is kept up, half of it in each mode of the engine; CREEL_CHAOS_SEED
// chooses the order of events, as far as a machine repeats itself. Its engine and cluster are its own, under
// CREEL_TEST_WORK.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "controller/core/ids.hpp"
#include "reconciler/runtime/docker/strays.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/own_engine.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Steady = std::chrono::steady_clock;

constexpr int kAgents = 50;
constexpr unsigned kAskers = 4;
constexpr int kBystanders = 10;  // nobody asks anything of these, and nobody touches their containers

int seconds_of_chaos() {
  const char* text = std::getenv("CREEL_CHAOS_SECONDS");
  return text != nullptr ? std::stoi(text) : 90;
}

unsigned chosen_seed() {
  const char* text = std::getenv("CREEL_CHAOS_SEED");
  const unsigned seed = text != nullptr ? static_cast<unsigned>(std::stoul(text)) : std::random_device{}();
  std::printf("chaos: CREEL_CHAOS_SEED=%u for %d s\n", seed, seconds_of_chaos());
  return seed;
}

// An engine and a cluster that may be killed.
class Ground {
 public:
  Ground() {
    engine.start(true);
    start_postgres();
    script("templates/reference/build-image.sh");
  }
  ~Ground() { script("scripts/postgres.sh stop '" + dir_ + "/postgres.pid'"); }
  void start_postgres() {
    const std::string conninfo = script("scripts/postgres.sh start '" + dir_ + "/pg' '" + dir_ + "/postgres.pid'");
    setenv("CREEL_TEST_DATABASE_URL", conninfo.c_str(), 1);
  }
  void kill_postgres() { kill_process_in(dir_ + "/postgres.pid"); }

 private:
  std::string dir_ = required_env("CREEL_TEST_WORK") + "/chaos";

 public:
  OwnEngine engine{dir_ + "/engine"};
};

struct Agent {
  std::string id;
  bool bystander = false;
  bool deleted = false;
  // Replies seen, and messages sent, of which some may have reached the agent without an answer.
  int replies = 0, asked = 0;
  std::string container, started_at;  // a bystander's
};

class Chaos : public testing::Test {
 protected:
  void SetUp() override {
    a_.start();
    key_ = a_.user("owner@example.com", "enterprise");
    b_.start();
    for (int i = 0; i < kAgents; ++i) provision(i < kBystanders);
    for (auto& agent : agents_) settle(agent, "Ready");
    for (auto& agent : agents_) talk(agent);
    note_bystanders();
  }

  CreelProcess& either() { return ++turn_ % 2 == 0 ? a_ : b_; }
  void count(const std::string& what) {
    const std::lock_guard lock{mutex_};
    ++counts_[what];
  }
  // Both replicas may be dead: what could not be asked is asked again where that cannot do harm.
  Answer ask(const std::string& method, const std::string& path, const json& body = nullptr) {
    Answer answer = either().call(method, path, key_, body);
    count(answer.status == 0    ? "requests without an answer"
          : answer.status < 500 ? "requests taken"
                                : "requests refused");
    return answer;
  }
  bool provision(bool bystander) {
    const Answer made = ask("POST", "/api/agents/provision", {{"name", "agent"}, {"config", {{"n", 1}}}});
    if (made.status != 201) return false;  // what was stored without an answer is found at the end
    Agent agent;
    agent.id = made.json["agent"]["id"];
    agent.bystander = bystander;
    const std::lock_guard lock{mutex_};
    agents_.push_back(agent);
    return true;
  }
  void settle(const Agent& agent, const std::string& phase) {
    const Answer last = a_.until(
        "/api/agents/" + agent.id, key_,
        [&](const Answer& x) {
          const json& now = x.json["agent"];
          return now["phase"] == phase && now["observedGeneration"] == now["generation"];
        },
        400s);
    EXPECT_EQ(last.json["agent"]["phase"], phase) << last.text << "\n"
                                                  << as_the_engine_sees(agent) << a_.log() << b_.log();
  }
  std::string token(const Agent& agent) {
    return ask("GET", "/api/instance/" + agent.id + "/token").json.value("token", "");
  }
  // Where each container of the engine is to be found, for a failure's explanation.
  std::string as_the_engine_sees(const Agent& agent) {
    const json container = a_.engine().container(agent.id);
    std::string text = container.dump() + "\n";
    // What the agent's own process says there to its own token tells a wrong address from a wrong token.
    if (container.is_object())
      for (const auto& network : container["NetworkSettings"]["Networks"]) {
        http::Request direct;
        direct.method = "POST";
        direct.url = "http://" + network["IPAddress"].get<std::string>() + ":18789/v1/chat/completions";
        direct.headers = {{"Authorization", "Bearer " + token(agent)}, {"Content-Type", "application/json"}};
        direct.body = R"({"messages":[{"role":"user","content":"who?"}]})";
        const auto said = http::Client{}.send(direct);
        text +=
            "asked directly: " + (said ? std::to_string(said->status) + " " + said->body : said.error().message) + "\n";
      }
    const json all = a_.engine().call("GET", "/containers/json?all=1").json;
    for (const auto& item : all)
      text += item["Names"].dump() + " " + item["Status"].dump() + " " + item["NetworkSettings"].dump() + "\n";
    return text;
  }
  Answer talk(Agent& agent) {
    ++agent.asked;
    const Answer said = ask("POST", "/api/chat", {{"message", "hello"}, {"agentId", agent.id}});
    if (said.status != 200 || !said.json["reply"].is_string()) return said;
    const std::string reply = said.json["reply"];
    if (!reply.starts_with("ECHO(")) return said;  // it takes longer; its number is then seen in the next one
    const int count = std::stoi(reply.substr(5));
    EXPECT_GT(count, agent.replies) << agent.id << " has forgotten: " << reply;
    EXPECT_LE(count, agent.asked) << agent.id << " heard more than was said: " << reply;
    agent.replies = std::max(agent.replies, count);
    return said;
  }
  void note_bystanders() {
    for (auto& agent : agents_) {
      if (!agent.bystander) continue;
      const json container = a_.engine().container(agent.id);
      ASSERT_TRUE(container.is_object()) << agent.id;
      agent.container = container["Id"];
      agent.started_at = container["State"]["StartedAt"];
    }
  }
  // The same run of the same container, if the engine keeps containers alive without itself. If it does not, it may
  // even refuse to start one that it has lost.
  void check_bystanders(bool same_run) {
    for (const auto& agent : agents_) {
      if (!agent.bystander) continue;
      const json container = a_.engine().container(agent.id);
      ASSERT_TRUE(container.is_object()) << agent.id << " lost its container";
      if (same_run) {
        EXPECT_EQ(container["Id"], agent.container) << agent.id << " was made anew";
        EXPECT_EQ(container["State"]["StartedAt"], agent.started_at) << agent.id << " was restarted";
      }
    }
  }

  // Each of the askers has agents of its own, so that it knows what it asked of them.
  Agent& one_of(unsigned asker, std::mt19937& random) {
    for (;;) {
      const std::lock_guard lock{mutex_};
      const std::size_t at = random() % agents_.size();
      Agent& agent = agents_[at];
      if (at % kAskers == asker && !agent.bystander && !agent.deleted) return agent;
    }
  }
  void wish(unsigned asker, std::mt19937& random) {
    Agent& agent = one_of(asker, random);
    const std::string instance = "/api/instance/" + agent.id;
    switch (random() % 12) {
      case 0:
        ask("POST", instance + "/stop?wait=0");
        break;
      case 1:
      case 2:
        ask("POST", instance + "/start?wait=0");
        break;
      case 3:
        ask("POST", instance + "/restart?wait=0");
        break;
      case 4:
        ask("POST", instance + "/repair?wait=0");
        break;
      case 5:
      case 6:
        ask("PUT", "/api/agents/" + agent.id + "/config", {{"n", random() % 1000}});
        break;
      case 7:
        // Deleted is deleted whether or not the answer came; at the end it is asked for again.
        if (!provision(false)) break;  // there are to be as many as before
        agent.deleted = true;
        ask("DELETE", "/api/agents/" + agent.id + "?purge=true");
        break;
      default:
        talk(agent);
    }
    count("wishes");
  }

  // `while_away`: what the rest does in the meantime is the point.
  void while_away() { std::this_thread::sleep_for(std::chrono::milliseconds{random_faults_() % 3000}); }
  void kill_container(std::string id) {
    static constexpr const char* kHow[] = {"/kill", "/stop?t=0", "/pause"};
    const auto how = random_faults_() % 4;
    if (how == 3)
      a_.engine().call("DELETE", "/containers/creel-" + id + "?force=1");
    else
      a_.engine().call("POST", "/containers/creel-" + id + kHow[how]);
    count("containers killed, stopped, paused or removed");
  }
  void fault(bool live_restore, const std::vector<std::string>& targets) {
    switch (random_faults_() % 8) {
      case 0:
        ground().engine.kill_hard();
        while_away();
        ground().engine.start(live_restore);
        count("engines killed");
        break;
      case 1:
        ground().kill_postgres();
        while_away();
        ground().start_postgres();
        count("PostgreSQL killed");
        break;
      case 2:
      case 3: {
        CreelProcess& replica = random_faults_() % 2 == 0 ? a_ : b_;
        replica.kill_hard();
        while_away();
        count("controllers killed");
        break;
      }
      default:
        kill_container(targets[random_faults_() % targets.size()]);
    }
    // As a service manager does; one that finds no database ends again.
    for (CreelProcess* replica : {&a_, &b_})
      if (!replica->running()) replica->launch();
  }
  void rage(bool live_restore) {
    std::vector<std::string> targets;
    for (const auto& agent : agents_)
      if (!agent.bystander && !agent.deleted) targets.push_back(agent.id);
    const auto end = Steady::now() + std::chrono::seconds{seconds_of_chaos()} / 2;
    std::jthread faults{[&] {
      while (Steady::now() < end) {
        fault(live_restore, targets);
        std::this_thread::sleep_for(std::chrono::milliseconds{500 + random_faults_() % 1500});
      }
    }};
    std::vector<std::jthread> askers;
    for (unsigned asker = 0; asker < kAskers; ++asker)
      askers.emplace_back([this, asker, end, random = std::mt19937{random_()}]() mutable {
        while (Steady::now() < end) {
          wish(asker, random);
          std::this_thread::sleep_for(50ms);
        }
      });
    askers.clear();
    faults.join();
    for (CreelProcess* replica : {&a_, &b_})
      if (!replica->running()) replica->launch();
    for (CreelProcess* replica : {&a_, &b_})
      EXPECT_EQ(replica->until("/readyz", "", [](const Answer& x) { return x.status == 200; }).status, 200)
          << replica->log();
  }

  // The last wish of each owner is asked for once more, so that none is in doubt, and carried out.
  void converge() {
    for (auto& agent : agents_) {
      if (agent.deleted) continue;
      if (agent.bystander) continue;
      const bool run = random_() % 4 != 0;
      const Answer answer = ask("POST", "/api/instance/" + agent.id + (run ? "/start?wait=0" : "/stop?wait=0"));
      EXPECT_EQ(answer.status, 200) << answer.text;
      stopped_[agent.id] = !run;
    }
    for (auto& agent : agents_)
      if (agent.deleted) ask("DELETE", "/api/agents/" + agent.id + "?purge=true");
    // Made without an answer: they are their owner's, too.
    const Answer all = ask("GET", "/api/agents?limit=100");
    ASSERT_EQ(all.status, 200) << all.text;
    for (const auto& item : all.json["agents"]) {
      const std::string id = item["id"];
      if (std::none_of(agents_.begin(), agents_.end(), [&](const Agent& x) { return x.id == id; })) {
        Agent agent;
        agent.id = id;
        agents_.push_back(agent);
        ++counts_["made without an answer"];
      }
    }
    const auto start = Steady::now();
    for (const auto& agent : agents_)
      if (!agent.deleted) settle(agent, stopped_[agent.id] ? "Stopped" : "Ready");
    for (const auto& agent : agents_) {
      if (!agent.deleted) continue;
      const auto gone = [](const Answer& x) { return x.status == 404; };
      EXPECT_TRUE(gone(a_.until("/api/agents/" + agent.id, key_, gone, 120s))) << agent.id;
    }
    std::printf("chaos: converged after %.1f s\n", std::chrono::duration<double>(Steady::now() - start).count());
  }
  // What belongs to this controller on the engine is one container and one volume for each agent that is. (The
  // container of a stopped agent that somebody has removed is made again at its next start; one that was stopped before
  // it was ever made has neither.)
  void nothing_lost_doubled_or_leaked() {
    std::set<std::string> running, spoken_to, all;
    for (const auto& agent : agents_) {
      if (agent.deleted) continue;
      all.insert("creel-" + agent.id);
      if (!stopped_[agent.id]) running.insert("creel-" + agent.id);
      if (agent.replies > 0) spoken_to.insert("creel-" + agent.id);
    }
    const std::string filter =
        "filters=" + http::url_encode(json{{"label", {"dev.creel.controller=" + a_.controller()}}}.dump());
    std::multiset<std::string> containers, volumes;
    const json found = a_.engine().call("GET", "/containers/json?all=1&" + filter).json;
    const json kept = a_.engine().call("GET", "/volumes?" + filter).json["Volumes"];
    for (const auto& item : found) containers.insert(item["Names"][0].get<std::string>().substr(1));
    for (const auto& item : kept) volumes.insert(item["Name"].get<std::string>());
    const auto holds = [](const auto& more, const auto& less) {
      return std::includes(more.begin(), more.end(), less.begin(), less.end());
    };
    EXPECT_TRUE(holds(containers, running));
    EXPECT_TRUE(holds(volumes, spoken_to)) << "data is lost";
    EXPECT_TRUE(holds(all, containers)) << "a container is doubled or left";
    EXPECT_TRUE(holds(all, volumes)) << "a volume is doubled or left";
    const Answer everything = a_.engine().call("GET", "/containers/json?all=1");
    EXPECT_EQ(everything.json.size(), containers.size()) << "something without a label was left";
    // The engine does not show what it has forgotten.
    docker::Strays strays;
    for (const auto& agent : agents_) {
      const json container = a_.engine().container(agent.id);
      if (stopped_[agent.id] && !container.is_object()) continue;  // removed by hand; ended when it is made again
      for (const auto& holder : strays.holding(ground().engine.data() + "/volumes/creel-" + agent.id + "/_data"))
        EXPECT_TRUE(container.is_object() && container["Id"] == holder && container["State"]["Running"] == true)
            << "a process of " << agent.id << " runs on in container " << holder;
    }
    std::printf("chaos: %zu agents, %zu of them running, %zu containers, %zu volumes\n", all.size(), running.size(),
                containers.size(), volumes.size());
  }
  void data_is_there() {
    for (auto& agent : agents_) {
      if (agent.deleted || stopped_[agent.id]) continue;
      const int before = agent.replies;
      std::string said;
      // Right after an engine's restart a status may still tell the address of before.
      for (int i = 0; i < 120 && agent.replies == before; ++i) {
        if (i > 0) std::this_thread::sleep_for(500ms);
        said = talk(agent).text;
      }
      EXPECT_GT(agent.replies, before) << agent.id << " does not answer: " << said << "\n" << as_the_engine_sees(agent);
    }
  }

  static Ground& ground() {
    static Ground ground;
    return ground;
  }

  Ground& started_ = ground();
  const unsigned seed_ = chosen_seed();
  CreelProcess a_{{{"CREEL_CHAT_WAIT", "3"}}};
  CreelProcess b_{{{"DATABASE_URL", a_.conninfo()},
                   {"CREEL_CHAT_WAIT", "3"},
                   {"CREEL_CONTROLLER_ID", a_.controller()},
                   {"CREEL_MASTER_KEY_FILE", (a_.state() / "master.key").string()}}};
  std::string key_;
  std::deque<Agent> agents_;  // under mutex_ while there are askers, but for an asker's own
  std::map<std::string, bool> stopped_;
  std::mt19937 random_{seed_}, random_faults_{seed_ + 1};
  std::atomic<int> turn_{0};
  std::mutex mutex_;
  std::map<std::string, int> counts_;
};

TEST_F(Chaos, EndsWithEachAgentAsItsOwnerLastAskedOnceWithItsData) {
  for (const bool live_restore : {true, false}) {
    if (!live_restore) {
      ground().engine.kill_hard();
      ground().engine.start(false);
    }
    rage(live_restore);
    converge();
    nothing_lost_doubled_or_leaked();
    check_bystanders(live_restore);
    data_is_there();
    if (HasFailure()) break;
  }
  for (const auto& [what, n] : counts_) std::printf("chaos: %6d %s\n", n, what.c_str());
}

}  // namespace
}  // namespace creel::test
