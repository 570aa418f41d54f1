// Resource numbers of an agent, in the document's two shapes. Every number was measured; one that was not is null,
// "N/A" (nothing recorded yet), or belongs to the last sample and says when that was.
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/units.hpp"
#include "api/view.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/message_figures.hpp"
#include "controller/store/stats_history.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Failed to fetch stats";
// Six sampling periods of the default: an older sample is history, not live.
constexpr std::chrono::seconds kFresh{60};

// There is a container with processes in it.
bool has_processes(Phase phase) {
  return phase == Phase::starting || phase == Phase::ready || phase == Phase::unready || phase == Phase::stopping;
}

enum class Source { live, stopped, history };

struct Reading {
  Source source = Source::history;
  std::optional<StatsSample> sample;
  std::optional<TimePoint> run_started;  // of the run the sample is of
  std::optional<milliseconds> uptime;
  TimePoint now;
};

// In memory only the replica that leads has samples; the others, and one that has just begun to lead, know what was
// stored.
Result<void> find_sample(Reading& reading, store::Tx& tx, const store::AgentRow& row, Deps& deps) {
  reading.sample = deps.stats.latest(row.id);
  reading.run_started = row.status.started_at;
  if (reading.sample && reading.now - reading.sample->at <= kFresh) return {};
  CREEL_TRY(const auto stored, store::newest_sample(tx, row.id));
  if (!stored || (reading.sample && reading.sample->at >= stored->sample.at)) return {};
  reading.sample = stored->sample;
  reading.run_started = stored->started_at;
  return {};
}

Result<Reading> read(store::Tx& tx, const store::AgentRow& row, Deps& deps) {
  Reading reading;
  reading.now = deps.clock();
  const bool reachable = !is_condition(row, "EngineReachable", "False");
  if (reachable && !has_processes(row.status.phase) && row.status.phase != Phase::unknown) {
    reading.source = Source::stopped;
    reading.sample = StatsSample{};
    reading.sample->at = row.status.observed_at == TimePoint{} ? reading.now : row.status.observed_at;
    reading.sample->memory_limit_bytes = row.spec.resources.memory_bytes;
    reading.sample->cpu_known = true;
    reading.sample->network_known = true;
    reading.uptime = milliseconds{0};
    return reading;
  }
  CREEL_CHECK(find_sample(reading, tx, row, deps));
  if (!reading.sample) return reading;
  // A sample of a run that is over says nothing about the one that is.
  const bool same_run = reading.run_started == row.status.started_at;
  const bool fresh = reading.now - reading.sample->at <= kFresh;
  reading.source = reachable && fresh && same_run ? Source::live : Source::history;
  if (reading.run_started) {
    const TimePoint at = reading.source == Source::live ? reading.now : reading.sample->at;
    reading.uptime = std::max(at - *reading.run_started, milliseconds{0});
  }
  return reading;
}

// Of one core. The first sample of a run has none before it to compare with: then it is the mean since the start.
std::optional<double> cpu_percent(const Reading& reading) {
  const StatsSample& sample = *reading.sample;
  if (sample.cpu_known) return sample.cpu_percent;
  if (!reading.uptime || reading.uptime->count() <= 0) return std::nullopt;
  return sample.cpu_seconds_total / std::chrono::duration<double>(*reading.uptime).count() * 100.0;
}

json raw_numbers(const Reading& reading) {
  const StatsSample& sample = *reading.sample;
  const auto cpu = cpu_percent(reading);
  return json{{"cpuPercent", cpu ? json(*cpu) : json(nullptr)},
              {"cpuSecondsTotal", sample.cpu_seconds_total},
              {"memoryBytes", sample.memory_bytes},
              {"memoryLimitBytes", sample.memory_limit_bytes},
              {"networkRxBytes", sample.network_known ? json(sample.network_rx_bytes) : json(nullptr)},
              {"networkTxBytes", sample.network_known ? json(sample.network_tx_bytes) : json(nullptr)},
              {"pids", sample.pids}};
}

void add_provenance(json& stats, const Reading& reading) {
  stats["source"] = reading.source == Source::history ? "history" : "live";
  if (!reading.sample) {
    stats["raw"] = nullptr;
    stats["sampledAt"] = nullptr;
    stats["ageSeconds"] = nullptr;
    return;
  }
  stats["raw"] = raw_numbers(reading);
  stats["sampledAt"] = to_rfc3339(reading.sample->at);
  stats["ageSeconds"] = std::max(std::chrono::duration<double>(reading.now - reading.sample->at).count(), 0.0);
}

// The documented texts; each null when there is no sample to take it from.
json formatted(const Reading& reading) {
  json stats{
      {"cpu", nullptr}, {"memory", nullptr}, {"memoryPercent", nullptr}, {"network", nullptr}, {"pids", nullptr}};
  if (!reading.sample) return stats;
  const StatsSample& sample = *reading.sample;
  const auto cpu = cpu_percent(reading);
  stats["cpu"] = format_percent(cpu.value_or(0));
  stats["memory"] = format_iec(sample.memory_bytes) + " / " + format_iec(sample.memory_limit_bytes);
  stats["memoryPercent"] =
      format_percent(sample.memory_limit_bytes > 0 ? 100.0 * static_cast<double>(sample.memory_bytes) /
                                                         static_cast<double>(sample.memory_limit_bytes)
                                                   : 0.0);
  // docker's own way of saying that it does not know.
  stats["network"] = sample.network_known
                         ? format_si(sample.network_rx_bytes) + " / " + format_si(sample.network_tx_bytes)
                         : "-- / --";
  stats["pids"] = std::to_string(sample.pids);
  return stats;
}

// Two decimals, as the document writes rates.
std::string rate(std::int64_t part, std::int64_t whole) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
  return text.data();
}

// What nothing was recorded for is "N/A", in the fallback shape null.
void add_figures(json& stats, const store::MessageFigures& figures, bool fallback) {
  const json none = fallback ? json(nullptr) : json("N/A");
  const bool any = figures.processed > 0;
  stats["messagesProcessed"] = any ? json(figures.processed) : none;
  stats["messagesPerHour"] = any ? json(figures.last_hour) : none;
  stats["averageResponseTime"] = figures.average_response_ms ? json(*figures.average_response_ms) : none;
  stats["successRate"] = any ? json(rate(figures.processed - figures.failed, figures.processed)) : none;
  stats["errorRate"] = any ? json(rate(figures.failed, figures.processed)) : none;
}

}  // namespace

Reply agent_stats(const Request& request, Deps& deps) {
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_agent(tx, *request.caller, request.param("id")));
  if (!row) return agent_not_found(request);
  CREEL_API_TRY(const Reading reading, request, kFailure, read(tx, *row, deps));
  json stats = formatted(reading);
  stats["agentId"] = row->id.str();
  stats["status"] = agent_status(*row);
  const bool history = reading.source == Source::history;
  CREEL_API_TRY(const auto figures, request, kFailure, store::message_figures(tx, row->id, reading.now));
  add_figures(stats, figures, history);
  stats["uptime"] = reading.uptime ? json(reading.uptime->count()) : json(nullptr);
  stats["uptimeFormatted"] = reading.uptime ? json(format_uptime(*reading.uptime)) : json(nullptr);
  stats["timestamp"] = to_rfc3339(reading.now);
  add_provenance(stats, reading);
  return json_answer(200, json{{"stats", stats}, {"status", history ? "mock" : "ok"}});
}

Reply instance_stats(const Request& request, Deps& deps) {
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_instance(tx, *request.caller, request.param("userId")));
  if (!row) return instance_forbidden(request);
  CREEL_API_TRY(const Reading reading, request, kFailure, read(tx, *row, deps));
  json stats = formatted(reading);
  json answer{{"userId", row->id.str()},
              {"cpu", stats["cpu"]},
              {"memory", reading.sample ? json(format_iec(reading.sample->memory_bytes)) : json(nullptr)},
              {"status", agent_status(*row)},
              {"plan", row->tier},
              {"openclawVersion", row->version}};
  add_provenance(answer, reading);
  return json_answer(200, answer);
}

}  // namespace creel::api
