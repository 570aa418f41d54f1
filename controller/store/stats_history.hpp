// Stats history: what agents used, kept at three resolutions: 10 s for an hour, 1 minute for a day, 10 minutes for 30
// days. Written by the leader, read by every replica.
//
// A slot is named by its beginning, a multiple of its length. Processor time and network are kept as growth between
// samples, so that a restart, which sets the container's counters back, takes nothing away: what a new run has used
// since its start counts whole. A slot without a sample has no row, and nothing is ever interpolated.
//
// Units: seconds, bytes, percent of one core. Errors: see pg.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/ports.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct RunSample {
  AgentId agent;
  TimePoint started_at;  // of the run it is of
  StatsSample sample;
};

// The slot of a sample: rounds are taken at multiples of `length`, give or take, and speak of the time before.
TimePoint slot_of(TimePoint sampled_at, std::chrono::seconds length);
// One statement for all. Of a slot that has a row already, and for agents that are gone, nothing is written.
// `length`: the sampling period, at least 10 s.
Result<void> write_samples(Tx& tx, const std::vector<RunSample>& samples, std::chrono::seconds length);
// Rolls finished slots up and removes what is past its time, in transactions of bounded size; goes on where an earlier
// call stopped. Harmless when several controllers call it.
Result<void> tend_stats(Database& database, TimePoint now, std::stop_token stop = {});

// The newest stored sample. Older than an hour it is the mean of its minute, older than a day of its ten minutes.
Result<std::optional<RunSample>> newest_sample(Tx& tx, const AgentId& agent);

struct UsagePoint {
  TimePoint at;
  std::int64_t samples = 0;
  std::optional<double> cpu_percent;  // mean; nullopt: growth not known
  std::optional<double> cpu_percent_max;
  std::int64_t memory_bytes = 0;  // mean
  std::int64_t memory_bytes_max = 0;
  std::int64_t memory_limit_bytes = 0;
  std::optional<std::int64_t> network_rx_bytes;  // received in the slot
  std::optional<std::int64_t> network_tx_bytes;
  std::int64_t pids = 0;  // most
  bool gap = false;       // its growth covers time before the slot too
};
// Slots in [from, to) that have samples, oldest first. `length`: 10 s (and what else the period is), 1 or 10 minutes.
Result<std::vector<UsagePoint>> stats_history(Tx& tx, const AgentId& agent, TimePoint from, TimePoint to,
                                              std::chrono::seconds length);
Result<void> drop_stats(Tx& tx, const AgentId& agent);

}  // namespace creel::store
