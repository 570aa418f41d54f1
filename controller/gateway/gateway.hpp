// Gateways: talks to an agent's own gateway over HTTP, whatever software the agent is. One adapter a kind of gateway
// (openclaw.*, reference.*); the kind is Template::gateway.
//
// An address is "host:port" as last observed; it is only good for the call it is given to. Times: milliseconds.
// Errors never hold the gateway's token: unavailable (nothing listens there), timeout (no answer by the deadline: the
// agent may still be at work), cancelled, failed (the gateway or the model behind it says why), invalid (unknown kind).
// Threads: every method may be called from any thread. probe() blocks up to 2 s, chat_async() not at all.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/ports.hpp"
#include "controller/core/result.hpp"

namespace creel::http {
class Client;
}

namespace creel::gateway {

struct ChatRequest {
  AgentId agent;
  std::string address;      // "172.18.0.5:18789", as last observed
  std::string token;        // the gateway's bearer token
  std::string session_key;  // the conversation; the same key goes on where it was: "topic:general"
  std::string message;
  milliseconds deadline{60'000};
};

struct ChatReply {
  std::string text;
};

class Gateways : public Prober {
 public:
  // `client` and `locator` must outlive this object. Without a locator addresses are taken as observed.
  explicit Gateways(http::Client& client, Locator* locator = nullptr, milliseconds probe_deadline = milliseconds{2'000})
      : client_(client), locator_(locator), probe_deadline_(probe_deadline) {}

  // 200 = ready. Nothing listening, or any other status = not ready, and why. No answer in time = nullopt.
  ProbeAnswer probe(const std::string& address, const Readiness& readiness, std::stop_token stop) override;

  // Sends one message to where the agent is now, and calls `done` exactly once, on the HTTP client's thread (or on the
  // calling one when there is nobody to send it to): it must not block.
  void chat_async(const std::string& kind, ChatRequest request, std::function<void(Result<ChatReply>)> done,
                  std::stop_token stop = {});

  // Whether the gateway takes this token: asks it for a chat that it must refuse for being empty, so nothing is said to
  // the agent. `done` as above; unavailable or timeout: it cannot tell (now).
  void accepts_async(const AgentId& agent, const std::string& observed_address, const std::string& token,
                     std::function<void(Result<bool>)> done);

  // "openclaw", "reference".
  static std::vector<std::string_view> kinds();

 private:
  std::string locate(const AgentId& agent, const std::string& observed) const {
    return locator_ == nullptr ? observed : locator_->locate(agent, observed);
  }

  http::Client& client_;
  Locator* locator_;
  milliseconds probe_deadline_;
};

}  // namespace creel::gateway
