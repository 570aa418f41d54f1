// A small OpenAI-compatible model for agents to talk to. Tests only.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/server_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {

// tests/support/model_server.py on a port of its own, reachable from agents' bridges.
class ModelServer {
 public:
  // "listening on HOST:PORT"
  const std::string& port() const { return server_.port(); }

 private:
  ServerProcess server_{
      {"python3", test::source_dir() + "/tests/support/model_server.py", "--host", "0.0.0.0", "--port", "0"}};
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
