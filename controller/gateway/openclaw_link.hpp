// OpenclawLink: one connection to an OpenClaw gateway: signs in with the device key, then asks and is answered. What is
// asked before the sign-in is done waits for it. When the connection ends, whoever still waits is told why.
//
// Threads: the loop's only. Answers are called there, in no particular order, each exactly once; one may ask again, or
// drop the link.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "controller/gateway/operator.hpp"
#include "controller/gateway/websocket.hpp"

namespace creel::gateway {

class OpenclawLink : public std::enable_shared_from_this<OpenclawLink> {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;
  // Exactly one of the two: null and the payload, or the error and null.
  using Answer = std::function<void(const Error* error, const nlohmann::json& payload)>;

  OpenclawLink(SocketLoop& loop, OperatorTarget target, const OperatorOptions& options);
  ~OpenclawLink();

  // Once, right after the making; ended() is true afterwards if it could not even begin.
  void start();
  void ask(const std::string& method, const nlohmann::json& params, SteadyTime by, Answer answer);
  // Fails whoever waits; nothing can be asked any more.
  void end(const Error& why);

  bool ended() const { return ended_.has_value(); }
  bool busy() const { return !waiting_.empty(); }
  SteadyTime last_used() const { return last_used_; }
  // Whether it is a connection to this address with these secrets.
  bool serves(const OperatorTarget& target) const;
  // The answer to the sign-in, null before, and when it came.
  const nlohmann::json& hello() const { return *hello_; }
  SteadyTime hello_at() const { return hello_at_; }

 private:
  struct Waiting {
    Answer answer;
    std::string frame;  // not sent yet
    SteadyTime asked;
    std::shared_ptr<SocketLoop::Timer> timer;
  };
  void received(std::string_view text);
  void challenged(const std::string& nonce);
  void signed_in(const nlohmann::json& response);
  void timed_out(const std::string& id);

  SocketLoop& loop_;
  const OperatorTarget target_;
  const OperatorOptions& options_;
  std::unique_ptr<WebSocket> socket_;
  std::map<std::string, Waiting> waiting_;
  std::uint64_t next_id_ = 1;
  bool ready_ = false;
  std::shared_ptr<SocketLoop::Timer> sign_in_timer_;
  std::optional<Error> ended_;
  std::shared_ptr<nlohmann::json> hello_;
  SteadyTime hello_at_;
  SteadyTime last_used_;
  SteadyTime last_received_;
};

}  // namespace creel::gateway
