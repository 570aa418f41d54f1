// The filtering proxy of compose.yaml in front of a real engine: an agent's whole life goes through it, and what Creel
// never asks for does not. With Debian's nginx, which the image of the egress gateways has.
#include <gtest/gtest.h>

#include <filesystem>

#include "controller/core/ids.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

class EngineProxy : public testing::Test {
 protected:
  void SetUp() override {
    folder = std::filesystem::path{required_env("CREEL_TEST_WORK")} / ("proxy-" + random_hex(3));
    std::filesystem::create_directories(folder);
    direct = required_env("DOCKER_HOST");
    // As compose.yaml makes it.
    const json body{{"Image", "creel/egress:1"},
                    {"User", "0:0"},
                    {"Entrypoint", {"sh", "-c"}},
                    {"Cmd", {"busybox rm -f /run/engine/docker.sock && exec nginx -c /etc/creel/engine-proxy.conf"}},
                    {"Labels", {{"dev.creel.controller", creel.controller()}}},
                    {"HostConfig",
                     {{"NetworkMode", "none"},
                      {"ReadonlyRootfs", true},
                      {"CapDrop", {"ALL"}},
                      {"CapAdd", {"SETGID"}},
                      {"SecurityOpt", {"no-new-privileges"}},
                      {"Tmpfs", {{"/tmp", ""}}},
                      {"Binds",
                       {test::source_dir() + "/deploy/engine-proxy.conf:/etc/creel/engine-proxy.conf:ro",
                        direct.substr(7) + ":/run/docker.sock", folder.string() + ":/run/engine"}}}}};
    const Answer made = creel.engine().call("POST", "/containers/create?name=" + name(), body);
    ASSERT_EQ(made.status, 201) << made.text;
    start();
  }
  void TearDown() override {
    creel.stop();
    setenv("DOCKER_HOST", direct.c_str(), 1);
    creel.engine().remove_all(creel.controller());
    std::filesystem::remove_all(folder);
  }
  std::string name() const { return "creel-proxy-" + creel.controller(); }
  std::string proxied() const { return "unix://" + (folder / "docker.sock").string(); }
  void start() {
    ASSERT_EQ(creel.engine().call("POST", "/containers/" + name() + "/start").status, 204);
    EXPECT_EQ(through("GET", "/_ping").status, 200);
  }
  // Asks the proxy; soon after its start it may not listen yet.
  Answer through(const std::string& method, const std::string& path, const json& body = nullptr) {
    setenv("DOCKER_HOST", proxied().c_str(), 1);
    Answer answer;
    for (int i = 0; i < 200 && answer.status == 0; ++i) {
      answer = creel.engine().call(method, path, body);
      if (answer.status == 0) usleep(20'000);
    }
    setenv("DOCKER_HOST", direct.c_str(), 1);
    return answer;
  }

  CreelProcess creel{{{"CREEL_RESYNC_SECONDS", "2"}}};
  std::filesystem::path folder;
  std::string direct;
};

TEST_F(EngineProxy, LetsAnAgentsWholeLifePass) {
  creel.set("DOCKER_HOST", proxied());
  creel.start();
  const std::string key = creel.user("owner@example.com", "enterprise");
  const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "agent"}});
  ASSERT_EQ(made.status, 201) << made.text << creel.log();
  const std::string id = made.json["agent"]["id"];
  const auto becomes = [&](const char* phase) {
    const Answer now =
        creel.until("/api/agents/" + id, key, [&](const Answer& a) { return a.json["agent"]["phase"] == phase; });
    EXPECT_EQ(now.json["agent"]["phase"], phase) << now.text << creel.log();
  };
  becomes("Ready");
  EXPECT_EQ(creel.call("POST", "/api/chat", key, {{"message", "hello"}}).status, 200);
  EXPECT_NE(creel.call("GET", "/api/agents/" + id + "/logs?tail=10", key).text.find("ready"), std::string::npos);
  for (const char* verb : {"restart", "update", "reset-memory", "repair", "stop"}) {
    const Answer done = creel.call("POST", "/api/instance/" + id + "/" + verb, key);
    EXPECT_LT(done.status, 300) << verb << ": " << done.text << creel.log();
  }
  // It was killed, and its socket is still there.
  ASSERT_EQ(creel.engine().call("POST", "/containers/" + name() + "/kill").status, 204);
  start();
  EXPECT_LT(creel.call("POST", "/api/instance/" + id + "/start", key).status, 300);
  becomes("Ready");
  EXPECT_LT(creel.call("DELETE", "/api/agents/" + id + "?purge=true", key).status, 300);
  creel.until("/healthz", key, [&](const Answer&) { return creel.engine().container(id).is_discarded(); });
  EXPECT_TRUE(creel.engine().container(id).is_discarded());
  EXPECT_EQ(creel.log().find("engine proxy"), std::string::npos) << "nothing that Creel asks for is refused";
}

TEST_F(EngineProxy, RefusesWhatCreelNeverAsksFor) {
  const std::string container = "/containers/" + name();
  const std::pair<const char*, std::string> refused[] = {
      {"POST", container + "/exec"},
      {"POST", "/v1.41" + container + "/exec"},
      {"POST", container + "/attach?stream=1"},
      {"GET", container + "/attach/ws"},
      {"GET", container + "/export"},
      {"GET", container + "/top"},
      {"POST", container + "/update"},
      {"POST", container + "/rename?name=x"},
      {"POST", "/commit?container=" + name()},
      {"POST", "/build"},
      {"POST", "/images/load"},
      {"POST", "/images/create?fromSrc=-"},
      {"POST", "/images/creel/egress:1/push"},
      {"GET", "/images/json"},
      {"GET", "/images/../containers/" + name() + "/export"},
      {"GET", "/images/..%2Fcontainers/json"},
      {"POST", "/containers/prune"},
      {"POST", "/volumes/prune"},
      {"POST", "/swarm/init"},
      {"GET", "/secrets"},
      {"GET", "/plugins"},
      {"POST", "/session"},
      {"POST", "/grpc"},
      {"DELETE", container + "/archive?path=/"},
  };
  for (const auto& [method, path] : refused) {
    const Answer answer = through(method, path, method == std::string{"GET"} ? json(nullptr) : json::object());
    EXPECT_EQ(answer.status, 403) << method << " " << path;
    EXPECT_NE(answer.text.find("engine proxy"), std::string::npos) << method << " " << path << ": " << answer.text;
  }
  EXPECT_EQ(through("GET", container + "/json").status, 200);
}

}  // namespace
}  // namespace creel::test
