// What an engine that was killed has forgotten goes on running: two processes would work on one agent's data, and the
// next container would get the address of the first.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/support/creel_process.hpp"
#include "tests/support/own_engine.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

class Strays : public testing::Test {
 protected:
  void SetUp() override {
    engine.start(true);
    script("templates/reference/build-image.sh");
    creel = std::make_unique<CreelProcess>();
    creel->start();
    key = creel->user("owner@example.com");
    const Answer made = creel->call("POST", "/api/agents/provision", key, {{"name", "agent"}});
    ASSERT_EQ(made.status, 201) << made.text;
    agent = made.json["agent"]["id"];
    ASSERT_NO_FATAL_FAILURE(settle());
    ASSERT_EQ(creel->call("POST", "/api/chat", key, {{"message", "hello"}}).status, 200);
    pid = creel->engine().container(agent)["State"]["Pid"];
    forget();
    ASSERT_TRUE(alive()) << "the process runs, and the engine does not know it";
    ASSERT_EQ(creel->engine().container(agent)["State"]["Running"], false);
  }
  void TearDown() override {
    creel.reset();
    setenv("DOCKER_HOST", before.c_str(), 1);
  }

  // Killed in the middle of a start, the engine has not written down yet that the container runs.
  void forget() {
    creel->stop();
    const std::string id = creel->engine().container(agent)["Id"];
    engine.kill_hard();
    const std::string file = engine.data() + "/containers/" + id + "/config.v2.json";
    json config;
    std::ifstream{file} >> config;
    config["State"]["Running"] = false;
    config["State"]["Pid"] = 0;
    std::ofstream{file} << config;
    engine.start(true);
  }
  bool alive() const {
    std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
    std::string text;
    std::getline(file, text);
    return !text.empty() && text.find(") Z ") == std::string::npos;
  }
  // Ready, in a process that the engine knows.
  void settle() {
    const auto is = [&](const Answer& a) {
      const json container = creel->engine().container(agent);
      return a.json["agent"]["phase"] == "Ready" && container.is_object() && container["State"]["Running"] == true;
    };
    const Answer last = creel->until("/api/agents/" + agent, key, is);
    ASSERT_TRUE(is(last)) << last.text << creel->log();
  }
  void answers_again() {
    ASSERT_NO_FATAL_FAILURE(settle());
    EXPECT_FALSE(alive());
    EXPECT_NE(creel->engine().container(agent)["State"]["Pid"], pid);
    const Answer said = creel->call("POST", "/api/chat", key, {{"message", "hello"}});
    EXPECT_NE(said.text.find("ECHO(2)"), std::string::npos) << "it has its data: " << said.text;
    EXPECT_NE(creel->log().find("which ran on without the engine"), std::string::npos);
  }

  const std::string before = required_env("DOCKER_HOST");
  OwnEngine engine{required_env("CREEL_TEST_WORK") + "/strays-engine"};
  std::unique_ptr<CreelProcess> creel;
  std::string key, agent;
  int pid = 0;
};

TEST_F(Strays, AreEndedBeforeTheirContainerIsStartedAgain) {
  creel->start();
  answers_again();
}

TEST_F(Strays, OfAContainerThatIsGoneAreEndedBeforeThereIsAnother) {
  const Answer removed = creel->engine().call("DELETE", "/containers/creel-" + agent + "?force=1");
  ASSERT_EQ(removed.status, 204) << removed.text;
  ASSERT_TRUE(alive());
  creel->start();
  answers_again();
}

TEST_F(Strays, OfAnAgentThatIsToBeStoppedOrDeletedAreEnded) {
  creel->start();
  EXPECT_EQ(creel->call("DELETE", "/api/agents/" + agent + "?purge=true", key).status, 200);
  creel->until("/api/agents/" + agent, key, [](const Answer& a) { return a.status == 404; });
  EXPECT_FALSE(alive());
}

}  // namespace
}  // namespace creel::test
