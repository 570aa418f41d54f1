// CreelProcess: a real `creel serve`, with its own controller id, database and state folder, driven over its API as a
// user would. What it leaves on the engine and in PostgreSQL is cleared away at the end. Tests only.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "controller/http/client.hpp"

namespace creel::test {

struct Answer {
  int status = 0;
  http::Headers headers;
  std::string text;
  nlohmann::json json;  // discarded when the body is not JSON
  std::string header(const std::string& name) const;
};

struct Finished {
  int code = 0;
  std::string out;
  std::string err;
};

// The engine's API, for what a test does behind Creel's back.
class EngineApi {
 public:
  Answer call(const std::string& method, const std::string& path, const nlohmann::json& body = nullptr,
              http::Headers headers = {});
  // A body that is not JSON.
  Answer send(const std::string& method, const std::string& path, std::string body, http::Headers headers);
  // Runs a command in a running container as the container's user; what it printed, to both its streams.
  std::string exec(const std::string& container, const std::vector<std::string>& command);
  // inspect of the agent's container; discarded JSON when there is none.
  nlohmann::json container(const std::string& agent);
  // Removes every container, volume and network that carries this controller's label.
  void remove_all(const std::string& controller);

 private:
  http::Client client_;
};

class CreelProcess {
 public:
  using Env = std::map<std::string, std::string>;

  // `env` adds to and overrides the defaults; an empty value takes a variable away (DATABASE_URL = "": embedded).
  explicit CreelProcess(Env env = {});
  ~CreelProcess();

  // For the next start().
  void set(const std::string& variable, const std::string& value) { env_[variable] = value; }
  // The same: at this address of another network namespace instead of the loopback one.
  void listen_at(const std::string& host);
  // The same: with TLS, which call() then speaks; PEM files.
  void speak_tls(const std::string& certificate, const std::string& key, const std::string& ca);
  void launch();     // does not wait for anything
  void start();      // launch(), and waits until /readyz answers
  void kill_hard();  // kill -9
  int stop();        // SIGTERM; the exit code
  bool running();
  pid_t pid() const { return pid_; }

  // One-off `creel …` with the same environment.
  Finished run(const std::vector<std::string>& arguments, const std::string& input = "");
  // The same, killed (kill -9) after a while if it has not ended by then.
  Finished run_and_kill(const std::vector<std::string>& arguments, std::chrono::milliseconds after);
  // A user with an API key, which it returns.
  std::string user(const std::string& email, const std::string& plan = "starter",
                   const std::string& subscription = "active", bool admin = false);

  Answer call(const std::string& method, const std::string& path, const std::string& key = "",
              const nlohmann::json& body = nullptr, http::Headers headers = {});
  // Asks until `done` is satisfied; the last answer either way.
  Answer until(const std::string& path, const std::string& key, std::function<bool(const Answer&)> done,
               std::chrono::seconds longest = std::chrono::seconds{60});

  const std::string& controller() const { return controller_; }
  std::string conninfo() const { return env_.at("DATABASE_URL"); }
  const std::string& url() const { return url_; }
  const std::string& gateway() const { return env_.at("CREEL_GATEWAY_LISTEN"); }  // host:port of agents' gateways
  std::string log() const;                                                        // everything serve has written so far
  const std::filesystem::path& state() const { return state_; }
  EngineApi& engine() { return engine_; }

 private:
  std::vector<std::string> environment() const;
  Finished run_for(const std::vector<std::string>& arguments, const std::string& input,
                   std::optional<std::chrono::milliseconds> longest);

  Env env_;
  std::string controller_;
  std::string database_;
  std::string url_;
  std::optional<http::Tls> tls_;
  std::filesystem::path state_;
  pid_t pid_ = 0;
  http::Client client_;
  EngineApi engine_;
};

}  // namespace creel::test
