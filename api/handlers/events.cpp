// Events: wishes, actions, changes of state, audit. Oldest first, paged by id: ask again with ?after=<nextAfter>.
#include "controller/store/events.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "controller/store/agents.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Failed to fetch events";
constexpr std::size_t kDefaultLimit = 100;
constexpr std::size_t kMaxLimit = 1'000;
constexpr std::size_t kMaxAgents = 1'000;

Result<std::int64_t> after_of(const Request& request) {
  const auto given = request.query.find("after");
  if (given == request.query.end()) return std::int64_t{0};
  const std::string& text = given->second;
  std::int64_t after = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), after);
  if (error == std::errc{} && end == text.data() + text.size() && after >= 0) return after;
  Error bad = invalid("after", "The query parameter after must be the id of an event");
  bad.code = "INVALID_QUERY";
  return bad;
}

Response answer(std::vector<store::StoredEvent> events, std::int64_t after, std::size_t limit) {
  json list = json::array();
  for (const auto& stored : events) {
    list.push_back(json{{"id", stored.id},
                        {"timestamp", to_rfc3339(stored.at)},
                        {"agentId", stored.event.agent.empty() ? json(nullptr) : json(stored.event.agent.str())},
                        {"kind", stored.event.kind},
                        {"reason", stored.event.reason},
                        {"message", stored.event.message},
                        {"actor", stored.event.actor}});
  }
  return json_answer(200, json{{"events", std::move(list)},
                               {"count", events.size()},
                               {"nextAfter", events.empty() ? after : events.back().id},
                               {"more", events.size() == limit},
                               {"status", "ok"}});
}

}  // namespace

Reply agent_events(const Request& request, Deps& deps) {
  CREEL_API_TRY(const std::int64_t after, request, "", after_of(request));
  const std::size_t limit = limit_of(request, kDefaultLimit, kMaxLimit);
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_agent(tx, *request.caller, request.param("id")));
  if (!row) return agent_not_found(request);
  CREEL_API_TRY(auto events, request, kFailure, store::list_events(tx, row->id, after, limit));
  return answer(std::move(events), after, limit);
}

Reply all_events(const Request& request, Deps& deps) {
  CREEL_API_TRY(const std::int64_t after, request, "", after_of(request));
  const std::size_t limit = limit_of(request, kDefaultLimit, kMaxLimit);
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  if (request.caller->admin) {
    CREEL_API_TRY(auto events, request, kFailure, store::list_events(tx, std::nullopt, after, limit));
    return answer(std::move(events), after, limit);
  }
  // Everybody else sees the events of the agents they have: the earliest `limit` of each hold the earliest of all.
  CREEL_API_TRY(const auto rows, request, kFailure, store::list_agents(tx, request.caller->id, kMaxAgents));
  std::vector<store::StoredEvent> merged;
  for (const auto& row : rows) {
    CREEL_API_TRY(auto events, request, kFailure, store::list_events(tx, row.id, after, limit));
    std::move(events.begin(), events.end(), std::back_inserter(merged));
    std::sort(merged.begin(), merged.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    if (merged.size() > limit) merged.resize(limit);
  }
  return answer(std::move(merged), after, limit);
}

}  // namespace creel::api
