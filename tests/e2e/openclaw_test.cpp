// The main job with the real OpenClaw image against a small local OpenAI-compatible model server.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "tests/support/creel_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

// tests/support/model_server.py on a port of its own, reachable from agents' bridges.
class ModelServer {
 public:
  ModelServer() {
    int out[2];
    if (pipe(out) != 0) throw std::runtime_error("no pipe");
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], 1);
      close(out[0]);
      close(out[1]);
      const std::string script = std::string{CREEL_SOURCE_DIR} + "/tests/support/model_server.py";
      execlp("python3", "python3", script.c_str(), "--host", "0.0.0.0", "--port", "0", static_cast<char*>(nullptr));
      _exit(127);
    }
    close(out[1]);
    FILE* stream = fdopen(out[0], "r");
    char line[256] = {};
    if (fgets(line, sizeof line, stream) == nullptr) throw std::runtime_error("the model server did not start");
    fclose(stream);
    const std::string text = line;
    port_ = text.substr(text.rfind(':') + 1);  // "listening on HOST:PORT"
    while (!port_.empty() && port_.back() == '\n') port_.pop_back();
  }
  ~ModelServer() {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  const std::string& port() const { return port_; }

 private:
  pid_t pid_ = 0;
  std::string port_;
};

json model_config(const std::string& host, const std::string& port) {
  return {{"agents", {{"defaults", {{"model", {{"primary", "local/echo-1"}}}}}}},
          {"models",
           {{"mode", "merge"},
            {"providers",
             {{"local",
               {{"baseUrl", "http://" + host + ":" + port + "/v1"},
                {"apiKey", "not-a-real-key"},
                {"api", "openai-completions"},
                {"models",
                 {{{"id", "echo-1"},
                   {"name", "Echo"},
                   {"reasoning", false},
                   {"input", {"text"}},
                   {"cost", {{"input", 0}, {"output", 0}, {"cacheRead", 0}, {"cacheWrite", 0}}},
                   {"contextWindow", 128000},
                   {"maxTokens", 4096}}}}}}}}}}};
}

TEST(OpenClaw, FromProvisionToDeleteOnTheRealImage) {
  ModelServer model;
  CreelProcess creel{{{"CREEL_DEFAULT_TEMPLATE", "openclaw"}}};
  creel.start();
  const std::string key = creel.user("owner@example.com", "starter");

  // Provision → ready.
  const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}});
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.json["agent"]["status"], "running") << creel.log();
  const std::string id = made.json["agent"]["id"];
  auto ready = [&] {
    return creel.until(
        "/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; },
        std::chrono::seconds{240});
  };
  const Answer first_ready = ready();
  ASSERT_EQ(first_ready.json["agent"]["phase"], "Ready") << first_ready.text << creel.log();
  EXPECT_EQ(first_ready.json["agent"]["openclawVersion"], "2026.3.13");

  // The owner points it at a model; the agent takes the new configuration in.
  const json networks = creel.engine().container(id)["NetworkSettings"]["Networks"];
  const std::string host = networks.begin().value()["Gateway"];
  ASSERT_EQ(creel.call("PUT", "/api/agents/" + id + "/config", key, model_config(host, model.port())).status, 200);
  Answer reply;
  for (int attempt = 0; attempt < 30; ++attempt) {
    reply = creel.call("POST", "/api/chat", key, {{"message", "hello creel"}});
    if (reply.status == 200 && reply.json["reply"].get<std::string>().find("MODEL(") != std::string::npos) break;
    creel.until(
        "/api/agents/" + id, key, [](const Answer&) { return false; }, std::chrono::seconds{2});
  }
  ASSERT_EQ(reply.status, 200) << reply.text << creel.log();
  EXPECT_NE(reply.json["reply"].get<std::string>().find("hello creel"), std::string::npos) << reply.text;

  // Stop → start → history kept: the model is shown the earlier turn too.
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/stop", key).json["status"], "stopped");
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/start", key).json["status"], "running");
  ready();
  const Answer second = creel.call("POST", "/api/chat", key, {{"message", "and again"}});
  ASSERT_EQ(second.status, 200) << second.text;
  EXPECT_EQ(second.json["reply"].get<std::string>().find("MODEL(1)"), std::string::npos)
      << "the model saw only one user message: " << second.text;
  EXPECT_NE(second.json["reply"].get<std::string>().find("and again"), std::string::npos) << second.text;

  // The controller is killed and restarted without touching the agent.
  const std::string started = creel.engine().container(id)["State"]["StartedAt"];
  creel.kill_hard();
  creel.start();
  EXPECT_EQ(creel.call("POST", "/api/chat", key, {{"message", "still there?"}}).status, 200);
  EXPECT_EQ(creel.engine().container(id)["State"]["StartedAt"], started);

  // Real numbers.
  const Answer stats = creel.until("/api/agents/" + id + "/stats", key, [](const Answer& a) {
    return a.json["stats"]["raw"]["memoryBytes"].is_number() && a.json["stats"]["raw"]["memoryBytes"] > 100'000'000;
  });
  EXPECT_GT(stats.json["stats"]["raw"]["memoryBytes"].get<std::int64_t>(), 100'000'000) << stats.text;

  // Delete leaves nothing.
  EXPECT_EQ(creel.call("DELETE", "/api/agents/" + id + "?purge=true", key).status, 200);
  EXPECT_TRUE(creel.engine().container(id).is_discarded());
  creel.until("/api/agents", key,
              [&](const Answer&) { return creel.engine().call("GET", "/volumes/creel-" + id).status == 404; });
  EXPECT_EQ(creel.engine().call("GET", "/volumes/creel-" + id).status, 404);
}

}  // namespace
}  // namespace creel::test
