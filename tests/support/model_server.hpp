// A small OpenAI-compatible model for agents to talk to. Tests only.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace creel::test {

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

// The configuration by which an OpenClaw agent talks to it; `host`: where its bridge reaches this machine.
inline nlohmann::json model_config(const std::string& host, const std::string& port) {
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

}  // namespace creel::test
