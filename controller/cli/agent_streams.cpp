// What agents print and what happens to them: a look at it, or on and on.
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "controller/cli/agent_commands.hpp"
#include "controller/cli/format.hpp"
#include "controller/cli/watch.hpp"
#include "controller/core/clock.hpp"

namespace creel::cli {
namespace {

using Json = nlohmann::json;

constexpr int kMostLogLines = 100;   // the API's
constexpr int kEventsAPage = 1'000;  // the API's

void print_log(Io& io, const Json& line) {
  const std::string level = shown(line, "level");
  const Tint tint = level == "error" ? Tint::bad : level == "warn" ? Tint::busy : Tint::plain;
  io.out << printable(shown(line, "timestamp")) << "  " << tinted(printable(level), tint, io.colors) << "  "
         << printable(shown(line, "message")) << "\n";
}

// Log lines have no number from which a stream could go on: a new one begins some lines before, and what was shown of
// them is passed over here.
class LogPlace {
 public:
  void returned() { repeats_ = true, passed_ = 0; }
  bool is_new(const Json& line) {
    const auto at = parse_rfc3339(shown(line, "timestamp"));
    if (!at) return true;
    if (repeats_ && (*at < last_ || (*at == last_ && passed_ < shown_))) {
      passed_ += *at == last_;
      return false;
    }
    repeats_ = false;
    shown_ = *at == last_ ? shown_ + 1 : 1;
    last_ = *at;
    return true;
  }

 private:
  TimePoint last_{};
  int shown_ = 0;   // lines of that moment
  int passed_ = 0;  // how many of them have come again
  bool repeats_ = false;
};

Result<void> follow_logs(Client client, const std::string& id, int limit, const std::string& level) {
  LogPlace place;
  Stream stream;
  bool again = false;
  stream.path = [&] {
    if (std::exchange(again, true)) limit = kMostLogLines;
    return agent_path(id) + "/logs" + query({{"follow", "true"}, {"limit", std::to_string(limit)}, {"level", level}});
  };
  stream.returned = [&] { place.returned(); };
  stream.sink = [&](const ServerEvent& event) {
    if (event.name != "message") return true;
    const Json line = Json::parse(event.data, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || !place.is_new(line)) return true;
    if (client.json)
      client.io.out << event.data << "\n";
    else
      print_log(client.io, line);
    client.io.out.flush();
    return client.io.out.good();  // not when the reader of a pipe has left
  };
  // A container that ended may be started again; one that is to be stopped is not.
  stream.over = [&]() -> Result<bool> {
    const auto answer = client.api.call("GET", agent_path(id), nullptr, kReadDeadline);
    if (!answer && answer.error().kind == ErrorKind::not_found) return true;
    if (!answer) return answer.error();
    const std::string phase = shown(member(*answer, "agent"), "phase");
    return phase == "Stopped" || phase == "Stopping";
  };
  return follow_through(client, std::move(stream));
}

Columns event_header(bool of_all) {
  Columns header{{"ID"},       {"TIME", 1, nullptr, true},
                 {"KIND", 4},  {"REASON", 2, [](const Row& row) { return tint_of_phase(row[3]); }},
                 {"ACTOR", 5}, {"FROM", 6},
                 {"TOOK", 6},  {"MESSAGE", 3}};
  if (of_all) header.insert(header.begin() + 4, Column{"AGENT"});
  return header;
}

Row event_row(const Json& event, bool of_all) {
  const std::string took = shown(event, "durationMs");
  Row row{shown(event, "id"),
          shown(event, "timestamp"),
          shown(event, "kind"),
          shown(event, "reason"),
          shown(event, "actor"),
          shown(event, "source"),
          took.empty() ? took : took + " ms",
          shown(event, "message")};
  if (of_all) row.insert(row.begin() + 4, shown(event, "agentId"));
  return row;
}

// The newest `limit` of those after `after`, oldest first.
Result<Json> newest_events(Client client, const std::string& path, const std::string& after, int limit) {
  std::vector<Json> pages;  // newest first
  std::string before;
  for (int left = limit; left > 0;) {
    CREEL_TRY(Json page, client.api.call("GET",
                                         path + query({{"newest", "true"},
                                                       {"after", after},
                                                       {"before", before},
                                                       {"limit", std::to_string(std::min(left, kEventsAPage))}}),
                                         nullptr, kReadDeadline));
    before = shown(page, "nextBefore");
    left = before.empty() ? 0 : left - static_cast<int>(member(page, "events").size());
    pages.push_back(std::move(page));
  }
  Json events = Json::array();
  for (auto page = pages.rbegin(); page != pages.rend(); ++page)
    for (const auto& event : member(*page, "events")) events.push_back(event);
  return Result<Json>{boost::system::in_place_value, std::move(events)};
}

}  // namespace

Result<void> show_logs(Client client, const std::string& id, int limit, const std::string& level, bool follow) {
  if (follow) return follow_logs(client, id, limit, level);
  CREEL_TRY(
      const Json answer,
      client.api.call("GET", agent_path(id) + "/logs" + query({{"limit", std::to_string(limit)}, {"level", level}}),
                      nullptr, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
  } else {
    for (const auto& line : member(answer, "logs")) print_log(client.io, line);
  }
  return {};
}

Result<void> show_events(Client client, const std::string& id, const EventOptions& options) {
  const bool of_all = id.empty();
  const std::string path = (of_all ? std::string{"/api"} : agent_path(id)) + "/events";
  // All there ever were are many: followed, they begin now, unless it is said after which.
  const bool begins_now = of_all && options.follow && options.after.empty();
  Json events = Json::array();
  if (!begins_now) {
    CREEL_TRY(events, newest_events(client, path, options.after, options.limit));
  }
  std::string last = options.after;
  if (!events.empty()) last = shown(events.back(), "id");
  if (!options.follow && client.json) {
    const std::size_t count = events.size();
    const Json next = events.empty() ? Json(0) : events.back().value("id", Json(0));
    print_json(client.io, Json{{"events", std::move(events)}, {"count", count}, {"nextAfter", next}, {"status", "ok"}});
    return {};
  }
  std::vector<Row> rows;
  for (const auto& event : events) rows.push_back(event_row(event, of_all));
  if (!options.follow) {
    client.io.out << table(event_header(of_all), rows, client.io.width, client.io.colors);
    return {};
  }
  GrowingTable growing{event_header(of_all), client.io.width, client.io.colors};
  for (const auto& row : rows) growing.widen(row);
  const auto print = [&](const Json& event) {
    if (client.json)
      client.io.out << dumped(event) << "\n";
    else if (event.is_object())
      client.io.out << growing.line(event_row(event, of_all));
    client.io.out.flush();
    return client.io.out.good();
  };
  if (!client.json) client.io.out << growing.title() << std::flush;
  for (const auto& event : events) (void)print(event);
  Stream stream;
  stream.path = [&] { return path + "?follow=true"; };
  stream.last_id = last;
  stream.sink = [&](const ServerEvent& event) {
    if (event.name != "message") return true;
    return print(Json::parse(event.data, nullptr, /*allow_exceptions=*/false));
  };
  return follow_through(client, std::move(stream));
}

}  // namespace creel::cli
