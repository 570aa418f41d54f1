// Deps: everything a handler may use. controller/app.cpp builds one and keeps all of it alive longer than the server.
//
// Threads: every member may be used from every handler thread.
#pragma once

#include <functional>
#include <string>

#include "api/agent_gateways.hpp"
#include "api/auth/login_throttle.hpp"
#include "api/chats.hpp"
#include "api/event_feed.hpp"
#include "api/settings.hpp"
#include "api/streams.hpp"
#include "api/timer.hpp"
#include "api/verify/verifier.hpp"
#include "api/waiters.hpp"
#include "controller/core/clock.hpp"
#include "controller/core/plans.hpp"
#include "controller/core/ports.hpp"
#include "controller/core/template.hpp"
#include "controller/gateway/chat_queue.hpp"
#include "controller/gateway/gateway.hpp"
#include "controller/metrics/metrics.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/pg.hpp"

namespace creel::api {

// What /readyz tells about the engine; it never makes the API unready, because wishes are taken without an engine.
struct EngineState {
  std::string state = "unknown";  // "reachable" | "unreachable" | "unknown" (this replica does not lead)
  std::string message;
};

// Sends one message to an agent's gateway; `done` is called exactly once, from any thread, and must not block.
// Bound to gateway::Gateways::chat_async by the app.
using ChatFunction = std::function<void(const std::string& kind, gateway::ChatRequest request,
                                        std::function<void(Result<gateway::ChatReply>)> done)>;

// Whether an agent's gateway takes a token; as ChatFunction. Bound to gateway::Gateways::accepts_async.
using TokenCheck = std::function<void(const AgentId& agent, const std::string& observed_address,
                                      const std::string& token, std::function<void(Result<bool>)> done)>;

struct Deps {
  store::Database& db;
  const secrets::Sealer& sealer;
  const TemplateSet& templates;
  const Plans& plans;
  StatsSource& stats;
  LogSource& logs;
  ChatFunction chat;
  Waiters& waiters;
  Streams& streams;
  EventFeed& events;
  Timer& timer;
  Post post;  // onto the handler pool
  Metrics& metrics;
  LoginThrottle& login_throttle;
  const Settings& settings;
  Clock clock;
  std::string controller_id;
  std::function<EngineState()> engine;  // may be empty
  verify::Verifier& verifier;
  TokenCheck accepts_token;
  gateway::ChatQueue& chat_queue;
  Chats& chats;
  AgentGateways& gateways;
};

}  // namespace creel::api
