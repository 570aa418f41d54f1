// Sessions of an agent: the list, one with its messages, and what was said last. What is stored, and beside it what the
// running agent shows that is not stored yet; when its gateway cannot be asked, gatewayError says why.
#include "api/handlers/sessions.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/agent_gateway.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/transcript.hpp"
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

using Shown = std::vector<gateway::GatewayMessage>;
using ShownSessions = std::vector<gateway::GatewaySession>;

std::int64_t epoch(TimePoint time) { return time.time_since_epoch().count(); }

// What the document shows of a session; its times are epoch milliseconds.
json session_view(const store::ChatSession& session, std::int64_t messages, TimePoint now) {
  return json{{"id", session.id},
              {"status", session_state(session, now)},
              {"messageCount", messages},
              {"createdAt", epoch(session.created_at)},
              {"lastActivity", epoch(session.last_activity_at)},
              {"platform", session.platform},
              {"key", session.key}};
}

const char* role_of(const Line& line) { return line.from_agent ? "assistant" : "user"; }

// Beside every answer: which agent it is about, how it is, and whether it could be asked.
template <class T>
json about(const store::AgentRow& row, const std::optional<Result<T>>& said, json answer) {
  answer["agentId"] = row.id.str();
  answer["status"] = agent_status(row);
  answer["gatewayError"] = said && !*said ? json(said->error().message) : json(nullptr);
  return answer;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// The collector of transcripts brings new sessions in within seconds; of those that are known the gateway may be ahead.
// Gateways do not keep the case of keys.
void bring_up_to_date(std::vector<store::SessionSummary>& sessions, const ShownSessions& shown) {
  std::map<std::string, const gateway::GatewaySession*> by_key;
  for (const auto& one : shown) by_key.emplace(lower(one.key), &one);
  for (auto& [session, messages] : sessions) {
    const auto at = by_key.find(lower(session.key));
    if (at == by_key.end()) continue;
    session.last_activity_at = std::max(session.last_activity_at, at->second->updated_at.value_or(TimePoint{}));
    messages = std::max(messages, at->second->messages.value_or(0));
  }
  std::stable_sort(sessions.begin(), sessions.end(), [](const auto& a, const auto& b) {
    return a.session.last_activity_at > b.session.last_activity_at;
  });
}

Response sessions_answer(const Request& request, Deps& deps, const store::AgentRow& row,
                         const std::optional<Result<ShownSessions>>& said) {
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(auto list, request, kFailure, store::list_sessions(tx, row.id, kMaxSessions));
  if (said && *said) bring_up_to_date(list, **said);
  json sessions = json::array();
  for (const auto& one : list) sessions.push_back(session_view(one.session, one.messages, deps.clock()));
  return json_answer(200, about(row, said, json{{"sessions", std::move(sessions)}, {"count", list.size()}}));
}

struct Told {
  std::int64_t total = 0;
  std::vector<Line> lines;  // the last `limit`
};

// The last `most` of both sides are looked at.
Result<Told> told(Deps& deps, const std::string& session, std::size_t most, std::size_t limit,
                  const std::optional<Result<Shown>>& said) {
  CREEL_TRY(auto tx, deps.db.begin());
  CREEL_TRY(const auto stored, store::session_messages(tx, session, most));
  Told told;
  CREEL_TRY(told.total, store::count_session_messages(tx, session));
  told.lines = transcript(stored, said && *said ? **said : Shown{});
  // Of a longer session, what is shown and not found may be stored further back.
  if (stored.size() < most) told.total = static_cast<std::int64_t>(told.lines.size());
  if (told.lines.size() > limit)
    told.lines.erase(told.lines.begin(), told.lines.end() - static_cast<std::ptrdiff_t>(limit));
  return told;
}

Response session_answer(const Request& request, Deps& deps, const store::AgentRow& row,
                        const store::ChatSession& session, std::size_t limit,
                        const std::optional<Result<Shown>>& said) {
  CREEL_API_TRY(const Told all, request, kFailure, told(deps, session.id, kMaxMessages, limit, said));
  json view = session_view(session, all.total, deps.clock());
  if (!all.lines.empty()) view["lastActivity"] = std::max(epoch(session.last_activity_at), epoch(all.lines.back().at));
  view["userId"] = row.owner.str();
  view["messages"] = json::array();
  for (const auto& line : all.lines)
    view["messages"].push_back(json{{"role", role_of(line)},
                                    {"content", line.content},
                                    {"timestamp", epoch(line.at)},
                                    {"id", line.id},
                                    {"error", line.error ? json(*line.error) : json(nullptr)}});
  return json_answer(200, about(row, said, json{{"session", std::move(view)}}));
}

Response memory_answer(const Request& request, Deps& deps, const store::AgentRow& row,
                       const std::optional<store::ChatSession>& session, const std::optional<Result<Shown>>& said) {
  json memory = json::array();
  if (session && session_state(*session, deps.clock()) != std::string_view{"completed"}) {
    CREEL_API_TRY(const Told all, request, kFailure, told(deps, session->id, kRemembered, kRemembered, said));
    for (const auto& line : all.lines)
      memory.push_back(
          json{{"role", role_of(line)}, {"content", first_characters(line.content, kRememberedCharacters)}});
  }
  return json_answer(
      200, about(row, said,
                 json{{"memory", std::move(memory)}, {"sessionId", session ? json(session->id) : json(nullptr)}}));
}

using Found = std::optional<store::ChatSession>;

// In a transaction of its own: no connection is held while the gateway is asked.
Result<Found> find(Deps& deps, const std::function<Result<Found>(store::Tx&)>& look) {
  CREEL_TRY(auto tx, deps.db.begin());
  return look(tx);
}

// Asks the gateway for the end of a session if there is one to ask, then answers on the pool.
Reply with_history(Deps& deps, const Asked& asked, const std::optional<store::ChatSession>& session, std::size_t limit,
                   std::function<Response(const std::optional<Result<Shown>>&)> answer) {
  if (!asked.target || !session) return answer({});
  Later later;
  later.start = [&deps, target = *asked.target, key = session->key, limit,
                 answer = std::move(answer)](std::function<void(Response)> complete) {
    deps.gateways.history(target, key, limit, [&deps, answer, complete](Result<Shown> said) {
      deps.post([answer, complete, said = std::move(said)] { complete(answer(said)); });
    });
  };
  return later;
}

}  // namespace

const char* session_state(const store::ChatSession& session, TimePoint now) {
  if (session.ended_at && *session.ended_at >= session.last_activity_at) return "completed";
  return now - session.last_activity_at < kSessionIdle ? "active" : "idle";
}

Reply agent_sessions(const Request& request, Deps& deps) {
  CREEL_API_TRY(const auto asked, request, kFailure, find_asked(request, deps));
  if (!asked) return own_agent_not_found(request, request.query_value("agentId"));
  if (!asked->target) return sessions_answer(request, deps, asked->row, {});
  Later later;
  later.start = [&deps, brief = without_body(request), asked = *asked](std::function<void(Response)> complete) {
    deps.gateways.sessions(*asked.target, [&deps, brief, row = asked.row, complete](Result<ShownSessions> said) {
      deps.post(
          [&deps, brief, row, complete, said = std::move(said)] { complete(sessions_answer(brief, deps, row, said)); });
    });
  };
  return later;
}

Reply agent_session(const Request& request, Deps& deps) {
  const std::string id = request.query_value("sessionId");
  if (id.empty())
    return invalid_answer(request, "sessionId", "The query parameter sessionId is required", "INVALID_QUERY");
  const std::size_t limit = limit_of(request, kMaxMessages, kMaxMessages);
  CREEL_API_TRY(const auto asked, request, kFailure, find_asked(request, deps));
  if (!asked) return own_agent_not_found(request, request.query_value("agentId"));
  CREEL_API_TRY(const auto session, request, kFailure,
                find(deps, [&](store::Tx& tx) { return store::find_session(tx, asked->row.id, id); }));
  if (!session) return session_not_found(request);
  return with_history(deps, *asked, session, kMaxMessages,
                      [&deps, brief = without_body(request), row = asked->row, session = *session,
                       limit](const auto& said) { return session_answer(brief, deps, row, session, limit, said); });
}

Reply agent_memory(const Request& request, Deps& deps) {
  CREEL_API_TRY(const auto asked, request, kFailure, find_asked(request, deps));
  if (!asked) return own_agent_not_found(request, request.query_value("agentId"));
  CREEL_API_TRY(const auto session, request, kFailure,
                find(deps, [&](store::Tx& tx) { return store::latest_session(tx, asked->row.id, ""); }));
  return with_history(deps, *asked, session, kRemembered,
                      [&deps, brief = without_body(request), row = asked->row, session](const auto& said) {
                        return memory_answer(brief, deps, row, session, said);
                      });
}

}  // namespace creel::api
