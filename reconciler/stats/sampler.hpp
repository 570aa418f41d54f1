// Sampler: the newest usage of every running agent, in memory.
//
// One thread of its own takes a sample of each target every `period`, when the clock shows a multiple of it: from the
// kernel's files where the container is on this machine, else through `remote` (the engine's stats API, which takes a
// second a call: a few at a time). A new target gets its second sample after one second, so that its processor share is
// known soon; from then on it goes with the others. What is asked is only "latest": nothing here touches the engine on
// a reader's behalf.
//
// Units: cpu_percent is of one core over the time between the two last samples. Threads: latest() from any thread; the
// callbacks are called on the sampler's thread (and `remote` also on its helpers).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "controller/core/ports.hpp"
#include "controller/core/result.hpp"
#include "reconciler/stats/usage.hpp"

namespace creel::stats {

struct Target {
  AgentId agent;
  std::string runtime_id;
  std::int64_t pid = 0;
  std::optional<TimePoint> started_at;  // another start is another run: shares are not computed across runs
};

struct SamplerOptions {
  std::chrono::milliseconds period{10'000};
  std::chrono::milliseconds first_gap{1'000};  // between the first two samples of a run
  std::string proc = "/proc";
};

// How long one round over all targets took and what it did, for /metrics.
struct SamplerRound {
  std::size_t sampled = 0;
  std::size_t failed = 0;
  std::chrono::microseconds took{0};
};

class Sampler : public StatsSource {
 public:
  // nullopt: not known at the moment (the store is away): those of the last time stand.
  using Targets = std::function<std::optional<std::vector<Target>>()>;
  using Remote = std::function<Result<Usage>(const std::string& runtime_id, std::stop_token)>;

  // Starts at once. `remote` may be empty: then only local containers are sampled.
  Sampler(SamplerOptions options, Targets targets, Remote remote, Clock clock);
  ~Sampler() override;  // ends the thread
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  std::optional<StatsSample> latest(const AgentId& id) override;
  // The newest of every run that is sampled now.
  struct Sampled {
    AgentId agent;
    TimePoint started_at;
    StatsSample sample;
  };
  std::vector<Sampled> newest() const;
  // Something started: takes the first samples of new targets now instead of at the next round.
  void wake();
  SamplerRound last_round() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::stats
