#include "controller/cli/agent_commands.hpp"

#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "controller/cli/format.hpp"
#include "controller/core/clock.hpp"

namespace creel::cli {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;

// The API's own longest waits (provision 60 s, lifecycle 180 s, chat 600 s) and then some.
constexpr milliseconds kReadDeadline{30'000};
constexpr milliseconds kLifecycleDeadline{210'000};
constexpr milliseconds kChatDeadline{630'000};

// A member as text: strings bare, null and absent as "".
std::string shown(const Json& json, const char* name) {
  if (!json.is_object()) return {};
  const auto found = json.find(name);
  if (found == json.end() || found->is_null()) return {};
  return found->is_string() ? found->get<std::string>() : found->dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json& member(const Json& json, const char* name) {
  static const Json none;
  if (!json.is_object()) return none;
  const auto found = json.find(name);
  return found == json.end() ? none : *found;
}

void print_json(Io& io, const Json& json) {
  io.out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

std::string agent_path(const std::string& id) { return "/api/agents/" + http::url_encode(id); }

std::string query(std::initializer_list<std::pair<const char*, std::string>> parameters) {
  std::string text;
  for (const auto& [name, value] : parameters) {
    if (!value.empty()) text += (text.empty() ? "?" : "&") + std::string{name} + "=" + http::url_encode(value);
  }
  return text;
}

Result<std::string> read_whole(Io& io, const std::string& option, const std::string& path) {
  if (path == "-") return std::string(std::istreambuf_iterator<char>(io.in), {});
  std::ifstream in(path, std::ios::binary);
  if (!in) return invalid(option, option + ": the file " + path + " cannot be read");
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Result<Json> read_fragment(Io& io, const std::string& path) {
  using Fragment = Result<Json>;
  CREEL_TRY(const std::string content, read_whole(io, "--config-file", path));
  Json fragment = Json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (!fragment.is_object())
    return invalid("--config-file", (path == "-" ? "standard input" : path) + " does not hold a JSON object");
  return Fragment{boost::system::in_place_value, std::move(fragment)};
}

// The first line, without what an editor or a clipboard put around it. No error holds the secret.
Result<std::string> read_secret(Io& io, const std::string& option, const std::string& source,
                                const config::Environment& environment) {
  std::string text;
  if (source.starts_with("env:")) {
    const auto found = environment.find(source.substr(4));
    if (found != environment.end()) text = found->second;
    if (text.empty()) return invalid(option, option + ": the variable " + source.substr(4) + " is not set");
  } else if (source == "-") {
    std::getline(io.in, text);
  } else {
    CREEL_TRY(text, read_whole(io, option, source));
  }
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return invalid(option, option + ": " + source + " holds nothing");
  text.erase(0, begin);
  text.erase(text.find_first_of("\r\n", 0) == std::string::npos ? text.size() : text.find_first_of("\r\n", 0));
  text.erase(text.find_last_not_of(" \t") + 1);
  return text;
}

void print_warnings(Io& io, const Json& answer) {
  for (const auto& warning : member(answer, "warnings"))
    if (warning.is_string()) io.err << printable(warning.get<std::string>()) << "\n";
}

void print_webhook(Io& io, const Json& answer) {
  const Json& whatsapp = member(answer, "whatsapp");
  if (!whatsapp.is_object()) return;
  io.out << pairs({{"webhook", shown(whatsapp, "webhookPath")}, {"verify token", shown(whatsapp, "verifyToken")}});
  io.err << "Give Meta the webhook's path, after this API's own address, and the verify token.\n";
}

// The line breaks are the text's own; each line is made harmless by itself.
void print_lines(Io& io, const std::string& text, const std::string& indent = {}) {
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    io.out << indent << printable(text.substr(at, end - at)) << "\n";
    at = end + 1;
  }
}

std::string time_of(const Json& milliseconds_since_1970) {
  if (!milliseconds_since_1970.is_number_integer()) return {};
  return to_rfc3339(TimePoint{milliseconds{milliseconds_since_1970.get<std::int64_t>()}});
}

void print_log(Io& io, const Json& line) {
  io.out << shown(line, "timestamp") << "  " << shown(line, "level") << "  " << printable(shown(line, "message"))
         << "\n";
}

}  // namespace

Result<void> provision(Client client, const ProvisionOptions& options, const config::Environment& environment) {
  const bool with_channels = !options.channels.empty() || !options.sources.empty();
  int from_input = options.config == "-";
  for (const auto& [field, source] : options.sources) from_input += source == "-";
  if (from_input > 1) return invalid("", "only one option can take its value from standard input (-)");
  Json body = Json::object();
  if (!options.name.empty()) body["name"] = options.name;
  if (!options.model.empty()) body["model"] = options.model;
  if (!options.tier.empty()) body[with_channels ? "plan" : "tier"] = options.tier;
  if (!options.template_name.empty()) body["template"] = options.template_name;
  if (!options.config.empty()) {
    CREEL_TRY(body["config"], read_fragment(client.io, options.config));
  }
  for (const auto& [field, value] : options.channels) body[field] = value;
  for (const auto& [field, source] : options.sources) {
    CREEL_TRY(body[field], read_secret(client.io, field, source, environment));
  }
  http::Headers headers;
  if (!options.idempotency_key.empty()) headers.emplace_back("idempotency-key", options.idempotency_key);
  std::string path = with_channels ? "/api/provision" : "/api/agents/provision";
  if (options.wait_seconds) path += query({{"wait", std::to_string(*options.wait_seconds)}});
  CREEL_TRY(const Json answer, client.api.call("POST", path, body, kLifecycleDeadline, std::move(headers)));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  // The one way answers with an agent, the other with its fields.
  const Json& agent = with_channels ? answer : member(answer, "agent");
  const std::string id = shown(agent, with_channels ? "userId" : "id");
  client.io.out << pairs({{"id", id},
                          {"name", shown(agent, "name")},
                          {"status", shown(agent, "status")},
                          {"model", shown(agent, "model")},
                          {"websocket", shown(agent, "websocketUrl")},
                          {"live stream", shown(agent, "liveStreamId")},
                          {"stream key", shown(agent, "streamKey")}});
  print_webhook(client.io, answer);
  print_warnings(client.io, answer);
  if (shown(agent, "status") == "provisioning") {
    client.io.err << "It is being made; see `creel agents show " << id << "`.\n";
  }
  return {};
}

Result<void> set_credential(Client client, const std::string& id, const std::string& key, const std::string& source,
                            const config::Environment& environment) {
  Json body = {{"action", "set-credential"}, {"agentId", id}, {"key", key}, {"value", ""}};
  if (!source.empty()) {
    CREEL_TRY(body["value"], read_secret(client.io, "--from", source, environment));
  }
  CREEL_TRY(const Json answer, client.api.call("POST", "/api/agent", body, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  client.io.out << printable(id + ": " + key) << (source.empty() ? " removed" : " set") << "\n";
  print_webhook(client.io, answer);
  return {};
}

Result<void> egress(Client client, const std::string& id, const std::vector<std::string>& entries) {
  const std::string path = "/api/agents/" + http::url_encode(id) + "/egress";
  Json body = nullptr;
  if (entries.size() == 1 && (entries[0] == "open" || entries[0] == "none"))
    body = Json{{"egress", entries[0]}};
  else if (!entries.empty())
    body = Json{{"egress", entries}};
  CREEL_TRY(const Json answer, client.api.call(body.is_null() ? "GET" : "PUT", path, body, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  std::string names;
  for (const auto& name : member(answer, "names")) names += (names.empty() ? "" : " ") + name.get<std::string>();
  const Json& wish = member(answer, "egress");
  std::string written = wish.is_string() ? wish.get<std::string>() : "";
  if (wish.is_array())
    for (const auto& entry : wish) written += (written.empty() ? "" : " ") + entry.get<std::string>();
  client.io.out << pairs({{"egress", written}, {"names", names}, {"denied", shown(answer, "denied")}});
  return {};
}

Result<void> rotate_token(Client client, const std::string& id) {
  CREEL_TRY(const Json answer, client.api.call("POST", "/api/instance/" + http::url_encode(id) + "/token/rotate",
                                               Json::object(), kLifecycleDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  client.io.out << shown(answer, "token") << "\n";
  if (!shown(answer, "message").empty()) client.io.err << printable(shown(answer, "message")) << "\n";
  return {};
}

Result<void> open_agent(Client client, const std::string& id) {
  CREEL_TRY(const Json answer, client.api.call("POST", agent_path(id) + "/ticket", nullptr, kReadDeadline));
  if (client.json)
    print_json(client.io, answer);
  else
    client.io.out << shown(answer, "gatewayUrl") << "\n";
  return {};
}

Result<void> list_agents(Client client) {
  Json agents = Json::array();
  std::string cursor;
  do {
    CREEL_TRY(const Json page,
              client.api.call("GET", "/api/agents" + query({{"cursor", cursor}}), nullptr, kReadDeadline));
    for (const auto& agent : member(page, "agents")) agents.push_back(agent);
    cursor = shown(page, "nextCursor");
  } while (!cursor.empty());
  // This one route answers an empty list to a caller without a key; a person would take that for "no agents".
  if (!client.api.has_key()) {
    client.io.err << "No API key is set, so this list is empty; set CREEL_API_KEY (`creel key create` makes a key).\n";
  }
  if (client.json) {
    const std::size_t count = agents.size();
    print_json(client.io, Json{{"agents", std::move(agents)}, {"count", count}, {"status", "ok"}});
    return {};
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& agent : agents) {
    rows.push_back({shown(agent, "id"), shown(agent, "name"), shown(agent, "status"), shown(agent, "model"),
                    shown(agent, "createdAt")});
  }
  client.io.out << table({"ID", "NAME", "STATUS", "MODEL", "CREATED"}, rows, client.io.width);
  return {};
}

Result<void> show_agent(Client client, const std::string& id) {
  CREEL_TRY(const Json answer, client.api.call("GET", agent_path(id), nullptr, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  const Json& agent = member(answer, "agent");
  client.io.out << pairs({{"id", shown(agent, "id")},
                          {"name", shown(agent, "name")},
                          {"status", shown(agent, "status")},
                          {"phase", shown(agent, "phase")},
                          {"message", shown(agent, "message")},
                          {"template", shown(agent, "template")},
                          {"model", shown(agent, "model")},
                          {"plan", shown(agent, "plan")},
                          {"version", shown(agent, "openclawVersion")},
                          {"image", shown(agent, "image")},
                          {"url", shown(agent, "url")},
                          {"started", shown(agent, "startedAt")},
                          {"generation", shown(agent, "generation")},
                          {"observed", shown(agent, "observedGeneration")}});
  std::vector<std::vector<std::string>> rows;
  for (const auto& condition : member(agent, "conditions")) {
    rows.push_back({shown(condition, "type"), shown(condition, "status"), shown(condition, "reason"),
                    shown(condition, "message")});
  }
  if (!rows.empty())
    client.io.out << "\n" << table({"CONDITION", "STATUS", "REASON", "MESSAGE"}, rows, client.io.width);
  return {};
}

Result<void> lifecycle(Client client, const std::string& id, const std::string& verb, std::optional<int> wait_seconds) {
  std::string path = "/api/instance/" + http::url_encode(id) + "/" + verb;
  if (wait_seconds) path += query({{"wait", std::to_string(*wait_seconds)}});
  CREEL_TRY(const Json answer, client.api.call("POST", path, Json::object(), kLifecycleDeadline));
  if (client.json) {
    print_json(client.io, answer);
  } else {
    const std::string said = shown(answer, "status").empty() ? shown(answer, "message") : shown(answer, "status");
    client.io.out << printable(id + ": " + said) << "\n";
  }
  return {};
}

Result<void> update_agent(Client client, const std::string& id, const std::string& image,
                          std::optional<int> wait_seconds) {
  Json body = Json::object();
  if (!image.empty()) body["image"] = image;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{wait_seconds.value_or(180)};
  // The wish is stored at once; its steps are read from the agent until it has come to its end.
  const std::string path = "/api/instance/" + http::url_encode(id) + "/update";
  CREEL_TRY(Json answer, client.api.call("POST", path + "?wait=0", body, kReadDeadline));
  const std::string agent = shown(answer, "agentId");
  std::string told;
  bool ended = false;
  Json update;
  while (!ended) {
    CREEL_TRY(answer, client.api.call("GET", agent_path(agent), nullptr, kReadDeadline));
    const Json& now = member(answer, "agent");
    update = member(now, "update");
    const std::string step = shown(update, "step");
    std::string line = step;
    for (const auto& condition : member(now, "conditions"))
      if (shown(condition, "reason") == "Updating") line = shown(condition, "message");
    if (line != told && !client.json) client.io.err << printable(line) << "\n" << std::flush;
    told = line;
    ended = !shown(update, "outcome").empty() || step == "WaitingForStart" || std::chrono::steady_clock::now() > until;
    if (!ended) std::this_thread::sleep_for(milliseconds{500});  // polls another process
  }
  const std::string outcome = shown(update, "outcome");
  if (outcome == "RolledBack" || outcome == "GivenUp")
    return Error{ErrorKind::failed,
                 std::string{outcome == "RolledBack" ? "the update was rolled back: "
                                                     : "the update was given up, nothing was changed: "} +
                     shown(update, "reason")};
  if (client.json) {
    print_json(client.io, answer);
  } else if (outcome == "Committed") {
    client.io.out << printable(id + ": runs " + shown(member(answer, "agent"), "image")) << "\n";
  } else {
    client.io.out << printable(id + ": the update goes on; see `creel agents show " + id + "`") << "\n";
  }
  return {};
}

Result<void> show_logs(Client client, const std::string& id, int limit, const std::string& level, bool follow) {
  if (!follow) {
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
  const auto sink = [&client](const ServerEvent& event) {
    if (event.name != "message") return event.name != "end";
    const Json line = Json::parse(event.data, nullptr, /*allow_exceptions=*/false);
    if (client.json) {
      client.io.out << event.data << "\n";
    } else if (line.is_object()) {
      print_log(client.io, line);
    }
    client.io.out.flush();
    return client.io.out.good();  // not when the reader of a pipe has left
  };
  return client.api.follow(
      agent_path(id) + "/logs" + query({{"follow", "true"}, {"limit", std::to_string(limit)}, {"level", level}}), sink);
}

Result<void> show_stats(Client client, const std::string& id) {
  CREEL_TRY(const Json answer, client.api.call("GET", agent_path(id) + "/stats", nullptr, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  const Json& stats = member(answer, "stats");
  client.io.out << pairs({{"status", shown(stats, "status")},
                          {"cpu", shown(stats, "cpu")},
                          {"memory", shown(stats, "memory")},
                          {"memory %", shown(stats, "memoryPercent")},
                          {"network", shown(stats, "network")},
                          {"pids", shown(stats, "pids")},
                          {"uptime", shown(stats, "uptimeFormatted")},
                          {"sampled", shown(stats, "sampledAt")}});
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
  std::vector<std::vector<std::string>> rows;
  for (const Json& point : member(answer, "points"))
    if (member(point, "memoryBytes").is_number())
      rows.push_back({shown(point, "at"), shown(point, "cpuPercent"), shown(point, "memoryBytes"),
                      shown(point, "networkRxBytes"), shown(point, "networkTxBytes"), shown(point, "pids")});
  client.io.out << table({"FROM", "CPU %", "MEMORY B", "RECEIVED B", "SENT B", "PIDS"}, rows, client.io.width);
  if (rows.empty()) client.io.err << "Nothing was measured in that time.\n";
  return {};
}

Result<void> show_plan(Client client, const std::string& id) {
  CREEL_TRY(const Json answer, client.api.call("GET", agent_path(id) + "/plan", nullptr, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  const Json& seen = member(answer, "observed");
  const std::string ready = shown(seen, "ready");
  const std::string exits = shown(seen, "exits");
  const Json& cause = member(answer, "cause");
  client.io.out << pairs({{"desired", shown(answer, "desired")},
                          {"phase", shown(answer, "phase")},
                          {"observed", "container " + shown(seen, "container") + ", volume " + shown(seen, "volume") +
                                           ", image " + shown(seen, "image") +
                                           (ready.empty()     ? ""
                                            : ready == "true" ? ", ready"
                                                              : ", not ready") +
                                           (exits.empty() || exits == "0" ? "" : ", ended " + exits + " times")},
                          {"as of", shown(answer, "observedAt")},
                          {"cause", shown(cause, "reason")},
                          {"message", shown(answer, "message")},
                          {"next attempt", shown(answer, "nextAttempt")}});
  if (const Json& log = member(cause, "log"); !log.empty()) {
    client.io.out << "last lines of its log:\n";
    for (const auto& line : log)
      if (line.is_string()) client.io.out << "  " << printable(line.get<std::string>()) << "\n";
  }
  const std::string plan = shown(answer, "plan");
  print_lines(client.io, plan.empty() ? "nothing to do" : plan);  // one action a line
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
  std::vector<std::vector<std::string>> rows;
  for (const auto& orphan : member(answer, "orphans")) {
    const std::string problem = shown(orphan, "problem");
    rows.push_back({shown(orphan, "kind"), shown(orphan, "name"), age(orphan), shown(orphan, "cause"),
                    shown(orphan, "message") + (problem.empty() ? "" : " (" + problem + ")")});
  }
  if (!rows.empty())
    client.io.out << table({"KIND", "NAME", "SEEN FOR", "CAUSE", "WHAT BECOMES OF IT"}, rows, client.io.width);
  if (shown(answer, "lookedAt").empty())
    client.io.err << "No controller has looked for orphans yet.\n";
  else
    client.io.err << rows.size() << " orphans as of " << shown(answer, "lookedAt") << ".\n";
  if (const std::string problem = shown(answer, "problem"); !problem.empty())
    client.io.err << "The last look failed: " << printable(problem) << "\n";
  return {};
}

Result<void> delete_agent(Client client, const std::string& id, bool purge) {
  CREEL_TRY(const Json answer, client.api.call("DELETE", agent_path(id) + query({{"purge", purge ? "true" : ""}}),
                                               nullptr, kLifecycleDeadline));
  if (client.json) {
    print_json(client.io, answer);
  } else {
    client.io.out << printable(id) << ": deleted"
                  << (purge ? ", its data too" : "; its data is kept for the retention time") << "\n";
  }
  return {};
}

Result<void> chat(Client client, const std::string& id, const std::string& message, const std::string& topic) {
  Json body = {{"agentId", id}, {"message", message}};
  if (!topic.empty()) body["topic"] = topic;
  CREEL_TRY(const Json answer, client.api.call("POST", "/api/chat", body, kChatDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  print_lines(client.io, shown(answer, "reply"));
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
    print_lines(client.io, shown(*message, "content"), "  ");
    if (const std::string error = shown(*message, "error"); !error.empty())
      print_lines(client.io, "no reply: " + error, "  ");
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
  std::vector<std::vector<std::string>> rows;
  for (const auto& session : member(answer, "sessions"))
    rows.push_back({shown(session, "id"), shown(session, "status"), shown(session, "platform"), shown(session, "key"),
                    shown(session, "messageCount"), time_of(member(session, "lastActivity"))});
  client.io.out << table({"ID", "STATUS", "PLATFORM", "KEY", "MESSAGES", "LAST ACTIVITY"}, rows, client.io.width);
  return {};
}

}  // namespace creel::cli
