// Saying something to an agent, for the routes that do: the message is stored, waits for a starting agent and for its
// turn, is sent, and its reply or error is stored when it comes. The answer waits for the reply, holding no thread, as
// long as the settings say; a reply that comes later lands in the session all the same.
//
// Refused without a trace in the store: 400 (no message, too long), 404 (no such agent or session), 409 (stopped, or
// its template is gone), 429 CHAT_QUEUE_FULL. Kept with its error: 502 AGENT_UNREACHABLE.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "api/deps.hpp"
#include "api/http.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/messages.hpp"

namespace creel::api {

inline constexpr std::size_t kMaxMessage = 32 * 1024;  // bytes

// What was said, as stored.
struct Said {
  std::int64_t id = 0;
  AgentId agent;
  store::ChatSession session;
  std::string message;
  TimePoint at;
};

struct Saying {
  std::string agent_id;  // "" = the caller's primary agent
  std::string message;
  const char* failure;  // the document's sentence for a 500
  // In which conversation; nullopt: 404 Session not found. Called within the transaction that stores the message.
  std::function<Result<std::optional<store::ChatSession>>(store::Tx&, const store::AgentRow&)> session;
  // The answer, with the reply or the document's sentence for one that takes longer.
  std::function<Response(const Said&, const std::string& reply, TimePoint now)> answer;
};

Reply say(const Request& request, Deps& deps, Saying saying);

// "msg_12": how the chat routes call a message; GET /api/agents/:id/messages calls it "msg-12".
std::string chat_id(std::int64_t message);

}  // namespace creel::api
