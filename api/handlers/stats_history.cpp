// What an agent used over time, in slots of one length. A slot without a sample is all null: nothing is interpolated.
#include "controller/store/stats_history.hpp"

#include <array>
#include <nlohmann/json.hpp>

#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Failed to fetch stats history";

struct Range {
  const char* name;
  std::chrono::hours span;
  std::chrono::seconds slot;
};
constexpr std::array<Range, 4> kRanges{{{"1h", std::chrono::hours{1}, std::chrono::seconds{10}},
                                        {"24h", std::chrono::hours{24}, std::chrono::minutes{1}},
                                        {"7d", std::chrono::hours{24 * 7}, std::chrono::minutes{10}},
                                        {"30d", std::chrono::hours{24 * 30}, std::chrono::minutes{10}}}};

template <class T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json point_view(TimePoint at, const store::UsagePoint* point) {
  json view{{"at", to_rfc3339(at)}, {"samples", point ? point->samples : 0}};
  view["cpuPercent"] = point ? or_null(point->cpu_percent) : json(nullptr);
  view["cpuPercentMax"] = point ? or_null(point->cpu_percent_max) : json(nullptr);
  view["memoryBytes"] = point ? json(point->memory_bytes) : json(nullptr);
  view["memoryBytesMax"] = point ? json(point->memory_bytes_max) : json(nullptr);
  view["memoryLimitBytes"] = point ? json(point->memory_limit_bytes) : json(nullptr);
  view["networkRxBytes"] = point ? or_null(point->network_rx_bytes) : json(nullptr);
  view["networkTxBytes"] = point ? or_null(point->network_tx_bytes) : json(nullptr);
  view["pids"] = point ? json(point->pids) : json(nullptr);
  view["gap"] = point ? json(point->gap) : json(nullptr);
  return view;
}

}  // namespace

Reply agent_stats_history(const Request& request, Deps& deps) {
  const std::string wanted = request.query.contains("range") ? request.query_value("range") : kRanges[0].name;
  const auto range = std::find_if(kRanges.begin(), kRanges.end(), [&](const Range& one) { return wanted == one.name; });
  if (range == kRanges.end())
    return invalid_answer(request, "range", "The query parameter range must be 1h, 24h, 7d or 30d", "INVALID_QUERY");
  // Samples come no closer than they are taken.
  const std::chrono::seconds length = std::max(range->slot, deps.settings.stats_period);
  const milliseconds step{length};
  // Up to the slot that is not over yet.
  const TimePoint to{deps.clock().time_since_epoch() / step * step};
  const TimePoint from = to - range->span / step * step;

  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_agent(tx, *request.caller, request.param("id")));
  if (!row) return agent_not_found(request);
  CREEL_API_TRY(const auto found, request, kFailure, store::stats_history(tx, row->id, from, to, length));
  json points = json::array();
  auto next = found.begin();
  for (TimePoint at = from; at < to; at += step) {
    while (next != found.end() && next->at < at) ++next;
    points.push_back(point_view(at, next != found.end() && next->at == at ? &*next : nullptr));
  }
  return json_answer(200, json{{"agentId", row->id.str()},
                               {"range", range->name},
                               {"resolution", length.count()},
                               {"from", to_rfc3339(from)},
                               {"to", to_rfc3339(to)},
                               {"units",
                                {{"resolution", "seconds"},
                                 {"cpuPercent", "percent of one core"},
                                 {"memoryBytes", "bytes"},
                                 {"networkRxBytes", "bytes in the slot"},
                                 {"networkTxBytes", "bytes in the slot"},
                                 {"pids", "processes and threads"}}},
                               {"points", std::move(points)},
                               {"status", "ok"}});
}

}  // namespace creel::api
