// Sessions of an agent: the list, one with its messages, and what was said last.
#include "api/handlers/sessions.hpp"

#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"
#include "controller/store/chats.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Internal error";
constexpr std::size_t kMaxSessions = 1'000;
constexpr std::size_t kMaxMessages = 1'000;
constexpr std::size_t kRemembered = 10;
constexpr std::size_t kRememberedCharacters = 100;

// What the document shows of a session; its times are epoch milliseconds.
json session_view(const store::ChatSession& session, std::int64_t messages, TimePoint now) {
  return json{{"id", session.id},
              {"status", session_state(session, now)},
              {"messageCount", messages},
              {"createdAt", session.created_at.time_since_epoch().count()},
              {"lastActivity", session.last_activity_at.time_since_epoch().count()},
              {"platform", session.platform},
              {"key", session.key}};
}

const char* role_of(const store::Message& message) { return message.from_agent ? "assistant" : "user"; }

// Beside every answer: which agent it is about, and how it is.
json about(const store::AgentRow& row, json answer) {
  answer["agentId"] = row.id.str();
  answer["status"] = agent_status(row);
  return answer;
}

}  // namespace

const char* session_state(const store::ChatSession& session, TimePoint now) {
  if (session.ended_at && *session.ended_at >= session.last_activity_at) return "completed";
  return now - session.last_activity_at < kSessionIdle ? "active" : "idle";
}

Reply agent_sessions(const Request& request, Deps& deps) {
  const std::string agent = request.query_value("agentId");
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_own(tx, *request.caller, agent));
  if (!row) return own_agent_not_found(request, agent);
  CREEL_API_TRY(const auto list, request, kFailure, store::list_sessions(tx, row->id, kMaxSessions));
  json sessions = json::array();
  for (const auto& one : list) sessions.push_back(session_view(one.session, one.messages, deps.clock()));
  return json_answer(200, about(*row, json{{"sessions", std::move(sessions)}, {"count", list.size()}}));
}

Reply agent_session(const Request& request, Deps& deps) {
  const std::string agent = request.query_value("agentId");
  const std::string id = request.query_value("sessionId");
  if (id.empty())
    return invalid_answer(request, "sessionId", "The query parameter sessionId is required", "INVALID_QUERY");
  const std::size_t limit = limit_of(request, kMaxMessages, kMaxMessages);
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_own(tx, *request.caller, agent));
  if (!row) return own_agent_not_found(request, agent);
  CREEL_API_TRY(const auto session, request, kFailure, store::find_session(tx, row->id, id));
  if (!session) return session_not_found(request);
  CREEL_API_TRY(const auto list, request, kFailure, store::session_messages(tx, session->id, limit));
  CREEL_API_TRY(const auto total, request, kFailure, store::count_session_messages(tx, session->id));
  json view = session_view(*session, total, deps.clock());
  view["userId"] = row->owner.str();
  view["messages"] = json::array();
  for (const auto& message : list)
    view["messages"].push_back(json{{"role", role_of(message)},
                                    {"content", message.content},
                                    {"timestamp", message.at.time_since_epoch().count()},
                                    {"id", "msg-" + std::to_string(message.id)},
                                    {"error", message.error ? json(*message.error) : json(nullptr)}});
  return json_answer(200, about(*row, json{{"session", std::move(view)}}));
}

Reply agent_memory(const Request& request, Deps& deps) {
  const std::string agent = request.query_value("agentId");
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_own(tx, *request.caller, agent));
  if (!row) return own_agent_not_found(request, agent);
  CREEL_API_TRY(const auto session, request, kFailure, store::latest_session(tx, row->id, ""));
  json memory = json::array();
  if (session && session_state(*session, deps.clock()) != std::string_view{"completed"}) {
    CREEL_API_TRY(const auto list, request, kFailure, store::session_messages(tx, session->id, kRemembered));
    for (const auto& message : list)
      memory.push_back(
          json{{"role", role_of(message)}, {"content", first_characters(message.content, kRememberedCharacters)}});
  }
  return json_answer(200, about(*row, json{{"memory", std::move(memory)},
                                           {"sessionId", session ? json(session->id) : json(nullptr)}}));
}

}  // namespace creel::api
