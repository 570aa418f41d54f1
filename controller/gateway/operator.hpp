// Operator: what the controller asks an agent's own gateway beside chat: health, sessions, their history, skills.
// OpenClaw is asked over its WebSocket (protocol 3 and 4) with a device key that was paired beforehand through the
// agent's volume; the reference agent over HTTP.
//
// Every call returns at once. `done` is called exactly once, on a thread of the operator's own (or of the HTTP
// client's, or on the calling one when nothing can be asked): it must not block, and must not throw. A connection to a
// gateway is kept for the next call, closed when it was idle for a while, and made anew after the gateway restarted,
// its token was replaced or its address changed. Calls about one agent share it and never wait for those about another.
//
// Errors: unavailable (cannot be reached, restarting, too many connections: try again), timeout, cancelled (the
// operator is going), not_found (no such skill), invalid (unknown kind), conflict with code GATEWAY_NOT_PAIRED (the
// gateway does not know the controller's device: the message says what to do), failed (the gateway refused, and why).
// A session that the gateway does not know has an empty history. No error holds a secret. Threads: every method from
// any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/ports.hpp"
#include "controller/core/result.hpp"

namespace creel::http {
class Client;
}

namespace creel::gateway {

// A running agent, and what opens its gateway.
struct OperatorTarget {
  AgentId agent;
  std::string kind;        // Template::gateway
  std::string address;     // AgentStatus::address, "host:port", as last observed
  std::string token;       // the secret "gateway_token"
  std::string device_key;  // the secret "device_key"; "" = it has none yet
};

struct GatewayChannel {
  std::string name;  // "telegram"
  bool configured = false;
  bool running = false;
  std::optional<bool> connected;  // to its platform; nullopt: the gateway does not tell
  std::string error;              // why it is not running, "" = none
};

struct GatewayHealth {
  std::string version;                 // of the agent's software, "" = not told
  std::optional<milliseconds> uptime;  // of the gateway's process; nullopt = not told
  std::string model;                   // the default one, "provider/model"; "" = not told
  std::vector<GatewayChannel> channels;
};

struct GatewaySession {
  std::string key;       // as chat is given it: "topic:general", "telegram:direct:42", "main"
  std::string platform;  // see platform_of()
  std::string label;     // for people, "" = none
  std::optional<TimePoint> created_at;
  std::optional<TimePoint> updated_at;
  std::optional<std::int64_t> messages;  // nullopt = not told
};

struct GatewayMessage {
  std::string id;  // of the transcript: stays the same, unique in its agent
  bool from_agent = false;
  std::string text;  // what was really said, without what the gateway wraps around it
  TimePoint at;
  std::optional<std::string> error;  // the agent's turn failed, and why; `text` may be empty then
};

struct GatewaySkill {
  std::string id;  // what set_skill() takes
  std::string name;
  std::string description;
  bool enabled = false;
  bool eligible = false;  // everything it needs is there
};

struct OperatorOptions {
  milliseconds connect_deadline{5'000};   // TCP, handshake and sign-in together
  milliseconds request_deadline{10'000};  // of one call, the connecting included
  milliseconds idle{20'000};              // a connection not used for so long is closed
  std::size_t max_connections = 64;       // the idlest gives way; when all are busy: unavailable
  std::size_t max_message = 16u << 20;    // bytes of one answer
};

class Operator {
 public:
  template <class T>
  using Done = std::function<void(Result<T>)>;

  // `client` and `locator` must outlive this object. Without a locator addresses are taken as observed.
  explicit Operator(http::Client& client, OperatorOptions options = {}, Locator* locator = nullptr);
  ~Operator();  // what is under way is cancelled
  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;

  void health(OperatorTarget target, Done<GatewayHealth> done);
  // The most recently used first.
  void sessions(OperatorTarget target, Done<std::vector<GatewaySession>> done);
  // What was said, the oldest first: the last `limit` messages (1 to 1000, the gateway's tool calls and the like not
  // counted out, so there may be fewer).
  void history(OperatorTarget target, const std::string& session_key, std::size_t limit,
               Done<std::vector<GatewayMessage>> done);
  void skills(OperatorTarget target, Done<std::vector<GatewaySkill>> done);
  // In force at once, without a restart. The skill as it is then. OpenClaw keeps it in its configuration file, which
  // the next delivery replaces: whoever wants it to last puts it into the owner's fragment, too
  // ({"skills":{"entries":{"<id>":{"enabled":false}}}}).
  void set_skill(OperatorTarget target, const std::string& skill_id, bool enabled, Done<GatewaySkill> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// By which platform people talk in a session of that key: "telegram", "discord", "whatsapp", …, "api" for the
// controller's own chat routes ("topic:…"). `channel` is what the gateway says of it, "" = nothing.
std::string platform_of(const std::string& session_key, const std::string& channel);

}  // namespace creel::gateway
