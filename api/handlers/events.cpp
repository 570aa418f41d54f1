// Events: wishes, actions, changes of state, audit, of agents the caller has or had. Oldest first, paged by id from the
// oldest on (ask again with ?after=<nextAfter>) or from the newest back (?newest=true, ?before=<nextBefore>), or as a
// stream that goes on.
#include "controller/store/events.hpp"

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Failed to fetch events";
constexpr std::size_t kDefaultLimit = 100;

// The id of an event in that query parameter. nullopt: there is none.
Result<std::optional<std::int64_t>> id_of(const Request& request, const char* name) {
  const auto given = request.query.find(name);
  if (given == request.query.end()) return std::nullopt;
  const std::string& text = given->second;
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size() || id < 0)
    return Error{ErrorKind::invalid, std::string{"The query parameter "} + name + " must be the id of an event", name,
                 "INVALID_QUERY"};
  return std::optional{id};
}

// In ?after=, or in ?cursor= as lists call it.
Result<std::optional<std::int64_t>> after_of(const Request& request) {
  CREEL_TRY(const auto after, id_of(request, "after"));
  CREEL_TRY(const auto cursor, id_of(request, "cursor"));
  return after ? after : cursor;
}

// Where a page from the newest back begins. nullopt: one from the oldest on is wanted.
Result<std::optional<std::int64_t>> before_of(const Request& request, bool follow) {
  CREEL_TRY(const auto before, id_of(request, "before"));
  CREEL_TRY(const bool newest, flag_of(request, "newest"));
  if (follow && (before || newest))
    return Error{ErrorKind::invalid, "A stream goes on from an event (after) or from now; leave this out, or follow",
                 before ? "before" : "newest", "INVALID_QUERY"};
  if (before) return before;
  return newest ? std::optional{std::numeric_limits<std::int64_t>::max()} : std::nullopt;
}

Response page(const std::vector<store::StoredEvent>& events, std::int64_t after, std::size_t limit, bool backwards) {
  json list = json::array();
  for (const auto& stored : events) list.push_back(event_view(stored));
  const std::int64_t next = events.empty() ? after : events.back().id;
  json answer{{"events", std::move(list)},
              {"count", events.size()},
              {"nextAfter", next},
              {"more", events.size() == limit},
              {"status", "ok"}};
  if (backwards && events.size() == limit) answer["nextBefore"] = events.front().id;
  if (!backwards && events.size() == limit) set_next_cursor(answer, std::to_string(next));
  return json_answer(200, answer);
}

// Wanted as a stream: by ?follow=true or by the header that EventSource sends.
Result<bool> wants_stream(const Request& request) {
  CREEL_TRY(const bool follow, flag_of(request, "follow"));
  return follow || request.header("Accept").find("text/event-stream") != std::string_view::npos;
}

// Where a stream goes on: what a client that comes back says it has got, else as asked for, else from now on.
Result<std::optional<std::int64_t>> place_of(const Request& request, std::optional<std::int64_t> after) {
  const std::string_view text = request.header("Last-Event-ID");
  if (text.empty()) return after;
  std::int64_t last = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), last);
  if (error == std::errc{} && end == text.data() + text.size() && last >= 0) return std::optional{last};
  return Error{ErrorKind::invalid, "The header Last-Event-ID must be the id of an event", "Last-Event-ID",
               "INVALID_HEADER"};
}

Reply stream(const Request& request, Deps& deps, std::optional<std::int64_t> place, EventFeed::Scope scope) {
  if (deps.events.full()) {
    Response response = error_answer(request, 503, "TOO_MANY_STREAMS", "Too many streams are open; try again later");
    response.headers.emplace_back("Retry-After", "10");
    return response;
  }
  Stream stream;
  stream.start = [&deps, place, scope = std::move(scope)](std::shared_ptr<StreamSink> sink) {
    if (!deps.events.follow(sink, scope, place)) sink->close();  // the client tries again by itself
  };
  return stream;
}

}  // namespace

Reply agent_events(const Request& request, Deps& deps) {
  CREEL_API_TRY(const auto after, request, "", after_of(request));
  CREEL_API_TRY(const auto place, request, "", place_of(request, after));
  CREEL_API_TRY(const bool follow, request, "", wants_stream(request));
  CREEL_API_TRY(const auto before, request, "", before_of(request, follow));
  const std::size_t limit = limit_of(request, kDefaultLimit, kMaxListed);
  const auto id = AgentId::parse(request.param("id"));
  if (!id) return agent_not_found(request);
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_agent(tx, *request.caller, id->str()));
  if (!row) {
    CREEL_API_TRY(const bool theirs, request, kFailure, was_deleted(tx, *request.caller, *id));
    if (!theirs) return agent_not_found(request);
  }
  if (follow) return stream(request, deps, place, {*id, std::nullopt});
  CREEL_API_TRY(const auto events, request, kFailure,
                before ? store::newest_events(tx, *id, std::nullopt, after.value_or(0), *before, limit)
                       : store::list_events(tx, *id, after.value_or(0), limit));
  return page(events, after.value_or(0), limit, before.has_value());
}

Reply all_events(const Request& request, Deps& deps) {
  CREEL_API_TRY(const auto after, request, "", after_of(request));
  CREEL_API_TRY(const auto place, request, "", place_of(request, after));
  CREEL_API_TRY(const bool follow, request, "", wants_stream(request));
  CREEL_API_TRY(const auto before, request, "", before_of(request, follow));
  const std::size_t limit = limit_of(request, kDefaultLimit, kMaxListed);
  const std::optional<UserId> owner = request.caller->admin ? std::nullopt : std::optional{request.caller->id};
  if (follow) return stream(request, deps, place, {std::nullopt, owner});
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto events, request, kFailure,
                before  ? store::newest_events(tx, std::nullopt, owner, after.value_or(0), *before, limit)
                : owner ? store::list_events_of(tx, *owner, after.value_or(0), limit)
                        : store::list_events(tx, std::nullopt, after.value_or(0), limit));
  return page(events, after.value_or(0), limit, before.has_value());
}

}  // namespace creel::api
