// A life of an agent in which the controller is killed once: after any of its SQL statements, or after any of its
// engine calls, on the real PostgreSQL and the real engine. Whatever the cut, all is done that was asked for, once, and
// the data are there. CREEL_CUTS says how many cuts of each kind are made, evenly over the life; "all": after each
// engine call, and after each statement that leaves the database lastingly changed. After any other statement all is as
// it was before it, so that this is after every one.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "tests/support/creel_process.hpp"
#include "tests/support/engine_audit.hpp"
#include "tests/support/registry.hpp"
#include "tests/support/statement_tap.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

// Which statement, or which call, is the controller's last; 0: none is.
struct Cut {
  std::uint64_t statement = 0;
  std::uint64_t change = 0;
  std::size_t call = 0;
};

// One life. Every wish is repeated until somebody has answered it: that is all an owner has to do.
class Life {
 public:
  Life(Cut cut, std::string image, std::string repository) : image_(std::move(image)) {
    creel_.set("DATABASE_URL", creel_.conninfo() + tap_.host());
    creel_.set("DOCKER_HOST", audit_.host());
    creel_.set("CREEL_IMAGE_ALLOWLIST", repository);
    if (cut.statement != 0) tap_.kill_after(cut.statement);
    if (cut.change != 0) tap_.kill_after_change(cut.change);
    if (cut.call != 0) audit_.kill_after(cut.call);
  }

  void live() {
    revive();
    tap_.pause(true);
    key_ = creel_.user("owner@example.com", "enterprise");
    tap_.pause(false);
    const json wish{{"name", "demo"}};
    id_ = ask("POST", "/api/agents/provision?wait=0", wish, {{"Idempotency-Key", "the-one"}})
              .json["agent"]["id"]
              .get<std::string>();
    settled("Ready");
    const int first = chat();
    EXPECT_GE(first, 1);
    ask("PUT", "/api/agents/" + id_ + "/config", {{"greeting", "hello"}});
    settled("Ready");
    ask("POST", "/api/instance/" + id_ + "/stop?wait=0");
    settled("Stopped");
    ask("POST", "/api/instance/" + id_ + "/start?wait=0");
    settled("Ready");
    ask("POST", "/api/instance/" + id_ + "/update?wait=0", {{"image", image_}});
    settled("Ready");
    ask("POST", "/api/instance/" + id_ + "/restart?wait=0");
    settled("Ready");
    EXPECT_GT(chat(), first) << "what the agent knows is still there";
    const json container = creel_.engine().container(id_);
    EXPECT_EQ(container["Config"]["Image"], image_);
    EXPECT_EQ(ask("GET", "/api/agents").json["agents"].size(), 1u);
    // What holds the update's copy until it has proven itself is no workload: it never runs.
    EXPECT_EQ(on_engine("/containers/json?").size(), 1u);
    ask("DELETE", "/api/agents/" + id_ + "?purge=true");
    await("the agent is gone", [&] { return ask("GET", "/api/agents/" + id_).status == 404; });
    await("nothing is left on the engine", [&] {
      revive();
      return on_engine("/containers/json?all=1&").empty() && on_engine("/volumes?")["Volumes"].empty();
    });
  }
  bool killed() const { return tap_.killed() || audit_.killed(); }
  std::uint64_t statements() const { return tap_.statements(); }
  std::uint64_t changes() const { return tap_.changes(); }
  std::size_t calls() const { return audit_.calls().size(); }
  std::string log() const { return creel_.log(); }

 private:
  // A controller that was killed is started again, as systemd or Docker would.
  void revive() {
    const auto deadline = std::chrono::steady_clock::now() + 120s;
    while (creel_.call("GET", "/readyz").status != 200) {
      if (!creel_.running()) creel_.launch();
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("creel serve does not get ready");
      std::this_thread::sleep_for(20ms);  // polls another process
    }
  }
  // The answer to a wish. One that was carried out before may be told that there is nothing to do any more.
  Answer ask(const std::string& method, const std::string& path, const json& body = nullptr,
             http::Headers headers = {}) {
    for (int tries = 0;; ++tries) {
      Answer answer = creel_.call(method, path, key_, body, headers);
      if (answer.status != 0) {
        const bool repeated = tries > 0 && (answer.status == 404 || answer.status == 409);
        EXPECT_TRUE(answer.status < 300 || method == "GET" || repeated) << method << " " << path << ": " << answer.text;
        return answer;
      }
      if (tries > 3) throw std::runtime_error(method + " " + path + ": " + answer.text);
      revive();
    }
  }
  template <typename Condition>
  void await(const std::string& what, Condition holds) {
    const auto deadline = std::chrono::steady_clock::now() + 120s;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("not so after two minutes: " + what);
      std::this_thread::sleep_for(50ms);  // polls another process over its API
    }
  }
  void settled(const std::string& phase) {
    await("the agent is " + phase, [&] {
      const json agent = ask("GET", "/api/agents/" + id_).json["agent"];
      const auto& conditions = agent["conditions"];
      return agent["phase"] == phase && agent["observedGeneration"] == agent["generation"] &&
             std::none_of(conditions.begin(), conditions.end(), [](const json& condition) {
               return condition["type"] == "Progressing" && condition["status"] == "True";
             });
    });
  }
  // How many messages the agent has had, by its own count.
  int chat() {
    int count = 0;
    await("the agent answers", [&] {
      const Answer answer = creel_.call("POST", "/api/chat", key_, {{"message", "hello"}, {"agentId", id_}});
      if (answer.status == 0) revive();
      if (answer.status == 200) count = std::stoi(answer.json["reply"].get<std::string>().substr(5));  // ECHO(n): …
      return answer.status == 200;
    });
    return count;
  }
  // Of the agent: the controller has containers of its own, too.
  json on_engine(const std::string& list) {
    const std::string filter =
        json{{"label", {"dev.creel.controller=" + creel_.controller(), "dev.creel.agent=" + id_}}}.dump();
    return creel_.engine().call("GET", list + "filters=" + http::url_encode(filter)).json;
  }

  const std::string image_;
  CreelProcess creel_;
  StatementTap tap_{creel_.conninfo(), (creel_.state() / "postgres").string()};
  EngineAudit audit_{required_env("DOCKER_HOST").substr(7), (creel_.state() / "engine.sock").string()};
  std::string key_, id_;
};

class Cuts : public testing::Test {
 protected:
  void SetUp() override {
    registry.start(client);
    const Answer made = engine.call("POST", "/containers/create", {{"Image", "creel/reference-agent:1"}});
    ASSERT_EQ(made.status, 201) << made.text;
    const std::string container = made.json["Id"];
    image = registry.publish(engine, container, "next", json::array({"LABEL version=next"}));
    engine.call("DELETE", "/containers/" + container + "?force=1");
  }
  void TearDown() override { engine.call("DELETE", "/images/" + image + "?force=true"); }

  // Lives with a cut each, several beside each other: most of a life is waiting for a lease to run out.
  void cut_everywhere(std::uint64_t all, const char* what, Cut (*nth)(std::uint64_t)) {
    const std::uint64_t count = wanted == "all" ? all : std::min<std::uint64_t>(all, std::stoul(wanted));
    std::atomic<std::uint64_t> next{0}, made{0}, failed{0};
    {
      std::vector<std::jthread> lanes;
      for (int lane = 0; lane < 6; ++lane)
        lanes.emplace_back([&] {
          for (std::uint64_t i = next++; i < count && failed == 0; i = next++) {
            const std::uint64_t at = (i + 1) * all / count;
            Life life{nth(at), image, registry.host() + "/team/agent"};
            try {
              life.live();
            } catch (const std::exception& e) {
              ADD_FAILURE() << e.what();
            }
            if (life.killed()) ++made;
            if (!HasFailure() || failed++ > 0) continue;
            std::printf("%s\n%s %llu was the last before a kill -9\n", life.log().c_str(), what,
                        static_cast<unsigned long long>(at));
          }
        });
    }
    // Lives differ a little in length, by what is done on the clock: the last of one may be missing in another.
    EXPECT_GE(made, count * 8 / 10);
    std::printf("cuts: %llu after %s, evenly over the %llu of a life; each converged\n",
                static_cast<unsigned long long>(made), what, static_cast<unsigned long long>(all));
  }

  const char* const given = std::getenv("CREEL_CUTS");
  const std::string wanted = given != nullptr && *given != '\0' ? given : "12";
  http::Client client;
  LocalRegistry registry;
  EngineApi engine;
  std::string image;
};

TEST_F(Cuts, AfterAnyStatementAndAnyEngineCallLeaveNothingUndoneOrDoneTwice) {
  std::uint64_t statements = 0, changes = 0;
  std::size_t calls = 0;
  {
    Life whole{{}, image, registry.host() + "/team/agent"};
    whole.live();
    ASSERT_FALSE(HasFailure()) << whole.log();
    statements = whole.statements();
    changes = whole.changes();
    calls = whole.calls();
  }
  std::printf("a life: %llu statements, %llu of which changed the database, and %zu engine calls\n",
              static_cast<unsigned long long>(statements), static_cast<unsigned long long>(changes), calls);
  if (wanted == "all")
    cut_everywhere(changes, "a changing statement", [](std::uint64_t n) { return Cut{0, n, 0}; });
  else
    cut_everywhere(statements, "a statement", [](std::uint64_t n) { return Cut{n, 0, 0}; });
  cut_everywhere(calls, "an engine call", [](std::uint64_t n) { return Cut{0, 0, n}; });
}

}  // namespace
}  // namespace creel::test
