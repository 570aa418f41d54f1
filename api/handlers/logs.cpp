// Logs: what the agent's container printed, as entries or as a stream of them.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/log_level.hpp"
#include "controller/secrets/redact.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/known_secrets.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Failed to fetch logs";
constexpr std::size_t kDefaultLimit = 50;
constexpr std::size_t kMaxLimit = 100;
// How far back an answer looks for matching lines; the answer says so when there may be more ("truncated").
constexpr std::size_t kScanned = 20'000;

// Makes entries of lines: level, redaction, ids that stay the same as long as the log does.
class Entries {
 public:
  Entries(AgentId agent, std::vector<std::string> secrets) : agent_(std::move(agent)), secrets_(std::move(secrets)) {}

  json entry(const LogLine& line, const std::string& level) const {
    return json{{"timestamp", to_rfc3339(line.at)},
                {"level", level},
                {"message", secrets::redact(line.text, secrets_)},
                {"source", line.is_stderr ? "stderr" : "stdout"},
                {"agentId", agent_.str()}};
  }

  // Lines of one millisecond are told apart by their number in it.
  std::string next_id(const LogLine& line) {
    const auto at = line.at.time_since_epoch().count();
    same_ = at == last_ ? same_ + 1 : 0;
    last_ = at;
    return "log_" + std::to_string(at) + "_" + std::to_string(same_);
  }

 private:
  const AgentId agent_;
  const std::vector<std::string> secrets_;
  std::int64_t last_ = -1;
  int same_ = 0;
};

// One stream: its own thread blocks in follow() until the client leaves.
Reply follow(const Request& request, Deps& deps, const AgentId& agent, std::vector<std::string> secrets,
             std::optional<std::string> wanted, std::size_t tail) {
  if (deps.streams.full()) {
    Response response = error_answer(request, 503, "TOO_MANY_STREAMS", "Too many streams are open; try again later");
    response.headers.emplace_back("Retry-After", "10");
    return response;
  }
  Stream stream;
  stream.start = [&deps, agent, secrets = std::move(secrets), wanted, tail](std::shared_ptr<StreamSink> sink) {
    const auto run = [&deps, agent, secrets, wanted, tail](StreamSink& out, std::stop_token stop) {
      Entries entries{agent, secrets};
      const auto send = [&](const LogLine& line) {
        const std::string id = entries.next_id(line);
        const std::string level = level_of(line.text, line.is_stderr);
        if (wanted && level != *wanted) return !out.closed();
        json entry = entries.entry(line, level);
        entry["id"] = id;
        return out.send("id: " + id + "\ndata: " + entry.dump(-1, ' ', false, json::error_handler_t::replace) + "\n\n");
      };
      const auto ended = deps.logs.follow(agent, tail, send, stop);
      if (!ended && ended.error().kind != ErrorKind::cancelled) {
        const json error{{"error", ended.error().message}};
        out.send("event: error\ndata: " + error.dump(-1, ' ', false, json::error_handler_t::replace) + "\n\n");
      } else {
        out.send("event: end\ndata: {}\n\n");
      }
    };
    if (!deps.streams.start(sink, run)) {
      sink->send("event: error\ndata: {\"error\":\"Too many streams are open; try again later\"}\n\n");
      sink->close();
    }
  };
  return stream;
}

}  // namespace

Reply agent_logs(const Request& request, Deps& deps) {
  const std::size_t limit = limit_of(request, kDefaultLimit, kMaxLimit);
  std::optional<std::string> wanted;
  if (const auto level = request.query.find("level"); level != request.query.end()) {
    wanted = parse_level(level->second);
    if (!wanted)
      return invalid_answer(request, "level", "The query parameter level must be debug, info, warn or error",
                            "INVALID_QUERY");
  }
  CREEL_API_TRY(const bool following, request, "", flag_of(request, "follow"));
  std::optional<store::AgentRow> row;
  std::vector<std::string> secrets;
  {
    // The connection goes back before the engine is asked.
    CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
    CREEL_API_TRY(row, request, kFailure, find_agent(tx, *request.caller, request.param("id")));
    if (!row) return agent_not_found(request);
    CREEL_API_TRY(secrets, request, kFailure, store::known_secrets(tx, row->id, deps.sealer));
  }
  if (following) return follow(request, deps, row->id, std::move(secrets), wanted, limit);

  auto lines = deps.logs.tail(row->id, kScanned, {});
  // A container that the engine is removing has no log any more, as one that is gone.
  if (!lines && lines.error().kind != ErrorKind::not_found && lines.error().kind != ErrorKind::conflict)
    return upstream_error(request, lines.error(), "ENGINE_UNREACHABLE");
  const std::vector<LogLine> printed = lines ? std::move(*lines) : std::vector<LogLine>{};

  // Ids count over all lines, levels only over those asked for; only what is shown is redacted.
  Entries entries{row->id, std::move(secrets)};
  struct Matched {
    const LogLine* line;
    std::string id;
    std::string level;
  };
  std::vector<Matched> matched;
  std::size_t total = 0;
  for (const LogLine& line : printed) {
    std::string id = entries.next_id(line);
    std::string level = level_of(line.text, line.is_stderr);
    if (wanted && level != *wanted) continue;
    ++total;
    matched.push_back({&line, std::move(id), std::move(level)});
    // Only the newest are shown: the older ones are dropped in large steps.
    if (matched.size() >= 2 * kMaxLimit + limit)
      matched.erase(matched.begin(), matched.end() - static_cast<std::ptrdiff_t>(limit));
  }
  if (matched.size() > limit) matched.erase(matched.begin(), matched.end() - static_cast<std::ptrdiff_t>(limit));
  json logs = json::array();
  for (const Matched& match : matched) {
    json entry = entries.entry(*match.line, match.level);
    entry["id"] = match.id;
    logs.push_back(std::move(entry));
  }
  json answer{{"logs", std::move(logs)}, {"total", total}, {"limit", limit}, {"status", "ok"}};
  if (printed.size() >= kScanned) answer["truncated"] = true;
  return json_answer(200, answer);
}

}  // namespace creel::api
