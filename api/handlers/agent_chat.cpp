// POST /api/agent: talking to an agent by session, and new sessions.
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/sessions.hpp"
#include "api/handlers/support.hpp"
#include "api/handlers/turn.hpp"
#include "controller/store/chats.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Internal error";
// Where /api/chat talks when no topic is named: the same conversation, as long as nobody begins another.
constexpr const char* kFirstKey = "topic:general";

// The conversation that is going on, or a new one. The agent is locked, so that two at once begin one and the same.
Result<store::ChatSession> present_session(store::Tx& tx, const AgentId& agent, TimePoint now) {
  CREEL_TRY([[maybe_unused]] const auto locked, store::get_agent(tx, agent, true));
  CREEL_TRY(auto latest, store::latest_session(tx, agent, "api"));
  if (latest && session_state(*latest, now) == std::string_view{"active"}) return *std::move(latest);
  CREEL_TRY(const auto first, store::session_of_key(tx, agent, kFirstKey));
  if (!first) return store::ensure_session(tx, agent, kFirstKey, "api", now);
  return store::new_session(tx, agent, "api", now);
}

}  // namespace

Reply agent_chat(const Request& request, const json& body, Deps& deps) {
  CREEL_API_TRY(const auto message, request, "", text_field(body, "message"));
  CREEL_API_TRY(const auto session_id, request, "", text_field(body, "sessionId"));
  CREEL_API_TRY(const auto agent, request, "", agent_id_of(request, body));
  Saying saying;
  saying.agent_id = agent;
  saying.message = message.value_or("");
  saying.failure = kFailure;
  saying.session = [session_id, &deps](store::Tx& tx, const store::AgentRow& row) {
    if (session_id) return store::find_session(tx, row.id, *session_id);
    return some_session(present_session(tx, row.id, deps.clock()));
  };
  saying.answer = [](const Said& said, const std::string& reply, TimePoint now) {
    return json_answer(200, json{{"sessionId", said.session.id},
                                 {"reply", reply},
                                 {"timestamp", now.time_since_epoch().count()},
                                 {"id", chat_id(said.id)},
                                 {"agentId", said.agent.str()}});
  };
  return say(request, deps, std::move(saying));
}

Reply create_session(const Request& request, const json& body, Deps& deps) {
  CREEL_API_TRY(const auto agent, request, "", agent_id_of(request, body));
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_own(tx, *request.caller, agent));
  if (!row) return own_agent_not_found(request, agent);
  CREEL_API_TRY(const auto session, request, kFailure, store::new_session(tx, row->id, "api", deps.clock()));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  return json_answer(
      200,
      json{{"sessionId", session.id}, {"status", session_state(session, deps.clock())}, {"agentId", row->id.str()}});
}

}  // namespace creel::api
