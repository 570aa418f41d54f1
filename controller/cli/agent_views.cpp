// Agents as they are: list, show, plan, stats, messages, sessions, and what is left without one.
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "controller/cli/agent_commands.hpp"
#include "controller/cli/format.hpp"
#include "controller/cli/watch.hpp"
#include "controller/core/clock.hpp"

namespace creel::cli {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;

// What changes without an event (a message, how far a pull is, usage) is seen this soon. A list of many is dear.
constexpr int kListEvery = 10;  // beats
constexpr int kOneEvery = 4;

constexpr const char* kNoKey =
    "No API key is set, so there is nothing to list; set CREEL_API_KEY (`creel key create --email YOU --name NAME` on "
    "the "
    "controller's machine makes a key).";

std::string time_of(const Json& milliseconds_since_1970) {
  if (!milliseconds_since_1970.is_number_integer()) return {};
  return to_rfc3339(TimePoint{milliseconds{milliseconds_since_1970.get<std::int64_t>()}});
}

std::string events_of(const std::string& id) {
  return (id.empty() ? std::string{"/api"} : agent_path(id)) + "/events?follow=true";
}

// Without the time at which the controller looked: that is no change.
std::string state_of(Json json) {
  json.erase("observedAt");
  return dumped(json);
}

// A line of what may be several.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

const Columns& list_header() {
  static const Columns header{{"ID"},
                              {"NAME", 1},
                              {"PHASE", 1, [](const Row& row) { return tint_of_phase(row[2]); }},
                              {"MODEL", 4},
                              {"CREATED", 3, nullptr, true},
                              {"MESSAGE", 5}};
  return header;
}

Look look_at(const Io& io, const Json& agents) {
  Look look;
  std::vector<Row> rows;
  for (const auto& agent : agents) {
    rows.push_back({shown(agent, "id"), shown(agent, "name"), shown(agent, "phase"), shown(agent, "model"),
                    shown(agent, "createdAt"), shown(agent, "message")});
    look.seen.push_back({shown(agent, "id"), rows.back(), dumped(agent), state_of(agent)});
  }
  look.page = table(list_header(), rows, io.width, io.colors);
  return look;
}

// "True" is good news of all conditions but these two.
Tint tint_of_condition(const Row& row) {
  const std::string &type = row[0], &status = row[1];
  if (type == "Progressing") return status == "True" ? Tint::busy : Tint::plain;
  if (status == "Unknown") return Tint::busy;
  const bool good = (status == "True") == (type != "CrashLooping");
  return good ? Tint::good : Tint::bad;
}

std::string show_page(const Io& io, const Json& agent) {
  const std::string phase = shown(agent, "phase");
  std::string page = pairs({{"id", shown(agent, "id")},
                            {"name", shown(agent, "name")},
                            {"status", shown(agent, "status")},
                            {"phase", phase, tint_of_phase(phase)},
                            {"message", shown(agent, "message")},
                            {"template", shown(agent, "template")},
                            {"model", shown(agent, "model")},
                            {"plan", shown(agent, "plan")},
                            {"version", shown(agent, "openclawVersion")},
                            {"image", shown(agent, "image")},
                            {"url", shown(agent, "url")},
                            {"started", shown(agent, "startedAt")},
                            {"generation", shown(agent, "generation")},
                            {"observed", shown(agent, "observedGeneration")}},
                           io.width, io.colors);
  std::vector<Row> rows;
  for (const auto& condition : member(agent, "conditions")) {
    rows.push_back({shown(condition, "type"), shown(condition, "status"), shown(condition, "reason"),
                    shown(condition, "message")});
  }
  const Columns header{{"CONDITION"}, {"STATUS", 1, tint_of_condition}, {"REASON", 2}, {"MESSAGE", 3}};
  if (!rows.empty()) page += "\n" + table(header, rows, io.width, io.colors);
  return page;
}

std::string stats_page(const Io& io, const Json& stats) {
  return pairs({{"status", shown(stats, "status")},
                {"cpu", shown(stats, "cpu")},
                {"memory", shown(stats, "memory")},
                {"memory %", shown(stats, "memoryPercent")},
                {"network", shown(stats, "network")},
                {"pids", shown(stats, "pids")},
                {"uptime", shown(stats, "uptimeFormatted")},
                {"sampled", shown(stats, "sampledAt")}},
               io.width);
}

std::string plan_page(const Io& io, const Json& answer) {
  const Json& seen = member(answer, "observed");
  const std::string ready = shown(seen, "ready"), exits = shown(seen, "exits"), phase = shown(answer, "phase");
  const Json& cause = member(answer, "cause");
  std::string page = pairs({{"desired", shown(answer, "desired")},
                            {"phase", phase, tint_of_phase(phase)},
                            {"observed", "container " + shown(seen, "container") + ", volume " + shown(seen, "volume") +
                                             ", image " + shown(seen, "image") +
                                             (ready.empty()     ? ""
                                              : ready == "true" ? ", ready"
                                                                : ", not ready") +
                                             (exits.empty() || exits == "0" ? "" : ", ended " + exits + " times")},
                            {"as of", shown(answer, "observedAt")},
                            {"cause", shown(cause, "reason")},
                            {"message", shown(answer, "message")},
                            {"next attempt", shown(answer, "nextAttempt")}},
                           io.width, io.colors);
  const Json& log = member(cause, "log");
  if (!log.empty()) page += "last lines of its log:\n";
  for (const auto& line : log)
    if (line.is_string()) page += hanging("  ", 2, line.get<std::string>(), io.width);
  // One action a line.
  std::istringstream plan{shown(answer, "plan").empty() ? "nothing to do" : shown(answer, "plan")};
  for (std::string line; std::getline(plan, line);) page += hanging("", 0, line, io.width);
  return page;
}

// One agent's page, again and again. It ends with the agent.
Result<void> watch_one(Client client, const std::string& id, const std::string& path, const Columns& header,
                       const std::function<Look(const Json&)>& view) {
  bool known = false;
  const auto look = [&]() -> Result<Look> {
    const auto answer = client.api.call("GET", path, nullptr, kReadDeadline);
    if (!answer && known && answer.error().kind == ErrorKind::not_found) {
      Look gone;
      gone.page = "The agent was deleted.\n";
      gone.ended = true;
      return gone;
    }
    if (!answer) return answer.error();
    known = true;
    return view(*answer);
  };
  return watch(client, {events_of(id), kOneEvery, header}, look);
}

Look look_of(std::string page, std::string id, Row row, const Json& json, std::string state = {}) {
  Look look;
  look.page = std::move(page);
  if (state.empty()) state = state_of(json);
  look.seen.push_back({std::move(id), std::move(row), dumped(json), std::move(state)});
  return look;
}

}  // namespace

Result<void> list_agents(Client client, bool watching) {
  // This one route answers an empty list to a caller without a key; a person would take that for "no agents".
  if (!client.api.has_key() && watching) return Error{ErrorKind::unauthorized, kNoKey, {}, "UNAUTHORIZED"};
  if (watching) {
    return watch(client, {events_of(""), kListEvery, list_header()}, [&]() -> Result<Look> {
      CREEL_TRY(const Json agents, fetch_agents(client.api, kReadDeadline));
      return look_at(client.io, agents);
    });
  }
  CREEL_TRY(Json agents, fetch_agents(client.api, kReadDeadline));
  if (!client.api.has_key()) client.io.err << kNoKey << "\n";
  const std::size_t count = agents.size();
  if (client.json) {
    print_json(client.io, Json{{"agents", std::move(agents)}, {"count", count}, {"status", "ok"}});
    return {};
  }
  client.io.out << look_at(client.io, agents).page;
  if (count == 0 && client.api.has_key()) client.io.err << "No agents yet; `creel provision --name NAME` makes one.\n";
  return {};
}

Result<void> show_agent(Client client, const std::string& id, bool watching) {
  if (watching)
    return watch_one(
        client, id, agent_path(id),
        {{"ID"}, {"PHASE", 1, [](const Row& row) { return tint_of_phase(row[1]); }}, {"MESSAGE", 2}},
        [&](const Json& answer) {
          const Json& agent = member(answer, "agent");
          return look_of(show_page(client.io, agent), id, {id, shown(agent, "phase"), shown(agent, "message")}, agent);
        });
  CREEL_TRY(const Json answer, client.api.call("GET", agent_path(id), nullptr, kReadDeadline));
  if (client.json)
    print_json(client.io, answer);
  else
    client.io.out << show_page(client.io, member(answer, "agent"));
  return {};
}

Result<void> show_stats(Client client, const std::string& id, bool watching) {
  const std::string path = agent_path(id) + "/stats";
  if (watching)
    return watch_one(client, id, path, {{"ID"}, {"SAMPLED"}, {"STATUS"}, {"CPU"}, {"MEMORY"}, {"NETWORK"}, {"PIDS"}},
                     [&](const Json& answer) {
                       const Json& stats = member(answer, "stats");
                       return look_of(stats_page(client.io, stats), id,
                                      {id, shown(stats, "sampledAt"), shown(stats, "status"), shown(stats, "cpu"),
                                       shown(stats, "memory"), shown(stats, "network"), shown(stats, "pids")},
                                      answer, shown(stats, "status") + shown(stats, "sampledAt"));
                     });
  CREEL_TRY(const Json answer, client.api.call("GET", path, nullptr, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  client.io.out << stats_page(client.io, member(answer, "stats"));
  if (shown(answer, "status") == "mock")
    client.io.err << "The engine cannot be asked now; these are the last recorded values.\n";
  return {};
}

Result<void> show_stats_history(Client client, const std::string& id, const std::string& range) {
  CREEL_TRY(const Json answer, client.api.call("GET", agent_path(id) + "/stats/history" + query({{"range", range}}),
                                               nullptr, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  std::vector<Row> rows;
  for (const Json& point : member(answer, "points"))
    if (member(point, "memoryBytes").is_number())
      rows.push_back({shown(point, "at"), shown(point, "cpuPercent"), shown(point, "memoryBytes"),
                      shown(point, "networkRxBytes"), shown(point, "networkTxBytes"), shown(point, "pids")});
  client.io.out << table({{"FROM"}, {"CPU %"}, {"MEMORY B"}, {"RECEIVED B", 3}, {"SENT B", 2}, {"PIDS", 1}}, rows,
                         client.io.width, client.io.colors);
  if (rows.empty()) client.io.err << "Nothing was measured in that time.\n";
  return {};
}

Result<void> show_plan(Client client, const std::string& id, bool watching) {
  const std::string path = agent_path(id) + "/plan";
  if (watching)
    return watch_one(client, id, path,
                     {{"ID"}, {"PHASE", 1, [](const Row& row) { return tint_of_phase(row[1]); }}, {"NEXT", 2}},
                     [&](const Json& answer) {
                       return look_of(plan_page(client.io, answer), id,
                                      {id, shown(answer, "phase"), first_line(shown(answer, "plan"))}, answer);
                     });
  CREEL_TRY(const Json answer, client.api.call("GET", path, nullptr, kReadDeadline));
  if (client.json)
    print_json(client.io, answer);
  else
    client.io.out << plan_page(client.io, answer);
  return {};
}

Result<void> show_messages(Client client, const std::string& id, int limit) {
  CREEL_TRY(const Json answer,
            client.api.call("GET", agent_path(id) + "/messages" + query({{"limit", std::to_string(limit)}}), nullptr,
                            kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  // The API has the newest first; people read the other way round.
  const Json& messages = member(answer, "messages");
  for (auto message = messages.rbegin(); message != messages.rend(); ++message) {
    client.io.out << printable(shown(*message, "timestamp") + "  " + shown(*message, "sender") + "  " +
                               shown(*message, "platform"))
                  << "\n";
    client.io.out << printable_lines(shown(*message, "content"), "  ");
    if (const std::string error = shown(*message, "error"); !error.empty())
      client.io.out << printable_lines("no reply: " + error, "  ");
  }
  return {};
}

Result<void> show_sessions(Client client, const std::string& id) {
  CREEL_TRY(const Json answer, client.api.call("GET", "/api/agent" + query({{"action", "sessions"}, {"agentId", id}}),
                                               nullptr, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  std::vector<Row> rows;
  for (const auto& session : member(answer, "sessions"))
    rows.push_back({shown(session, "id"), shown(session, "status"), shown(session, "platform"), shown(session, "key"),
                    shown(session, "messageCount"), time_of(member(session, "lastActivity"))});
  client.io.out << table(
      {{"ID"}, {"STATUS", 1}, {"PLATFORM", 2}, {"KEY", 4}, {"MESSAGES", 2}, {"LAST ACTIVITY", 3, nullptr, true}}, rows,
      client.io.width, client.io.colors);
  return {};
}

Result<void> list_orphans(Client client) {
  CREEL_TRY(const Json answer, client.api.call("GET", "/api/admin/orphans", nullptr, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  const auto age = [&](const Json& orphan) -> std::string {
    const auto since = parse_rfc3339(shown(orphan, "firstSeen"));
    return since ? format_uptime(std::max(system_now() - *since, milliseconds{0})) : "";
  };
  std::vector<Row> rows;
  for (const auto& orphan : member(answer, "orphans")) {
    const std::string problem = shown(orphan, "problem");
    rows.push_back({shown(orphan, "kind"), shown(orphan, "name"), age(orphan), shown(orphan, "cause"),
                    shown(orphan, "message") + (problem.empty() ? "" : " (" + problem + ")")});
  }
  if (!rows.empty())
    client.io.out << table({{"KIND", 1}, {"NAME"}, {"SEEN FOR", 2}, {"CAUSE", 3}, {"WHAT BECOMES OF IT", 4}}, rows,
                           client.io.width, client.io.colors);
  if (shown(answer, "lookedAt").empty())
    client.io.err << "No controller has looked for orphans yet.\n";
  else
    client.io.err << rows.size() << " orphans as of " << shown(answer, "lookedAt") << ".\n";
  if (const std::string problem = shown(answer, "problem"); !problem.empty())
    client.io.err << "The last look failed: " << printable(problem) << "\n";
  return {};
}

}  // namespace creel::cli
