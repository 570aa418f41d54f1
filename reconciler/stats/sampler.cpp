#include "reconciler/stats/sampler.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "reconciler/stats/cgroup.hpp"

namespace creel::stats {

namespace {
using Steady = std::chrono::steady_clock;
// The engine collects all containers once a second, so that calls at the same time share its collection.
constexpr std::size_t kParallelRemote = 16;
}  // namespace

struct Sampler::Impl {
  // What is known of one run of one container.
  struct Run {
    std::string runtime_id;
    std::optional<TimePoint> started_at;
    StatsSample sample;
    Steady::time_point taken;
    int samples = 0;
    bool operator==(const Target& target) const {
      return runtime_id == target.runtime_id && started_at == target.started_at;
    }
  };

  SamplerOptions options;
  Targets targets;
  Remote remote;
  Clock clock;
  CgroupReader local;

  mutable std::mutex mutex;
  std::condition_variable_any changed;
  std::map<AgentId, Run> runs;  // under mutex
  SamplerRound round;           // under mutex
  bool woken = false;           // under mutex
  std::jthread thread;          // last: it uses the rest

  Impl(SamplerOptions o, Targets t, Remote r, Clock c)
      : options(std::move(o)), targets(std::move(t)), remote(std::move(r)), clock(std::move(c)), local(options.proc) {
    thread = std::jthread{[this](std::stop_token stop) { run(stop); }};
  }

  // Due: new, or its second sample's time has come, or `all`.
  std::vector<Target> due(const std::vector<Target>& all_targets, bool all, Steady::time_point now) {
    std::vector<Target> result;
    std::lock_guard lock{mutex};
    std::erase_if(runs, [&](const auto& entry) {  // no target any more, or another run of it
      return std::none_of(all_targets.begin(), all_targets.end(),
                          [&](const Target& target) { return target.agent == entry.first && entry.second == target; });
    });
    for (const auto& target : all_targets) {
      const auto found = runs.find(target.agent);
      if (all || found == runs.end() ||
          (found->second.samples == 1 && now - found->second.taken >= options.first_gap)) {
        result.push_back(target);
      }
    }
    return result;
  }

  void store(const Target& target, const Usage& usage, Steady::time_point taken) {
    StatsSample sample;
    sample.at = clock();
    sample.cpu_seconds_total = usage.cpu_seconds;
    sample.memory_bytes = usage.memory_bytes;
    sample.memory_limit_bytes = usage.memory_limit_bytes;
    sample.network_rx_bytes = usage.network_rx_bytes;
    sample.network_tx_bytes = usage.network_tx_bytes;
    sample.network_known = usage.network_known;
    sample.pids = usage.pids;
    std::lock_guard lock{mutex};
    Run& run = runs[target.agent];
    const double seconds = std::chrono::duration<double>(taken - run.taken).count();
    if (run.samples > 0 && run == target && seconds > 0 && usage.cpu_seconds >= run.sample.cpu_seconds_total) {
      sample.cpu_percent = (usage.cpu_seconds - run.sample.cpu_seconds_total) / seconds * 100.0;
      sample.cpu_known = true;
    }
    const int samples = run == target ? run.samples + 1 : 1;
    run = Run{target.runtime_id, target.started_at, sample, taken, samples};
  }

  // On the multiples of the period, so that each slot of the history gets one sample. From the nearest multiple on, so
  // that a wake-up a little early is not followed by another at once.
  Steady::time_point next_multiple(Steady::time_point from) const {
    const auto wall = clock().time_since_epoch() + std::chrono::duration_cast<milliseconds>(from - Steady::now());
    const auto next = ((wall + options.period / 2) / options.period + 1) * options.period;
    return from + (next - wall);
  }

  void drop(const Target& target) {
    std::lock_guard lock{mutex};
    runs.erase(target.agent);
  }

  // Samples the given targets; returns how many could not be read.
  std::size_t sample(const std::vector<Target>& list, std::stop_token stop) {
    std::size_t failed = 0;
    std::vector<Target> elsewhere;
    for (const auto& target : list) {
      const auto taken = Steady::now();
      if (const auto usage = local.read(target.pid, target.runtime_id)) {
        store(target, *usage, taken);
      } else if (remote) {
        elsewhere.push_back(target);
      } else {
        drop(target);
        ++failed;
      }
    }
    if (elsewhere.empty()) return failed;
    std::atomic<std::size_t> next{0};
    std::atomic<std::size_t> lost{0};
    std::vector<std::jthread> helpers;
    for (std::size_t i = 0; i < std::min(kParallelRemote, elsewhere.size()); ++i) {
      helpers.emplace_back([&] {
        for (std::size_t at = next++; at < elsewhere.size() && !stop.stop_requested(); at = next++) {
          const auto usage = remote(elsewhere[at].runtime_id, stop);
          const auto taken = Steady::now();  // the engine measures when it answers
          if (usage) {
            store(elsewhere[at], *usage, taken);
          } else {
            if (usage.error().kind == ErrorKind::not_found) drop(elsewhere[at]);
            ++lost;
          }
        }
      });
    }
    helpers.clear();
    return failed + lost;
  }

  void run(std::stop_token stop) {
    std::vector<Target> known;
    auto next_round = Steady::now();
    while (!stop.stop_requested()) {
      const auto begin = Steady::now();
      const bool all = begin >= next_round;
      if (auto asked = targets()) known = std::move(*asked);
      const auto list = due(known, all, begin);
      const std::size_t failed = sample(list, stop);
      const auto end = Steady::now();
      if (all) {
        next_round = next_multiple(begin);
        if (next_round < end) next_round = next_multiple(end);  // a round longer than a period must not follow itself
      }
      std::unique_lock lock{mutex};
      if (all) {
        round = {list.size() - failed, failed, std::chrono::duration_cast<std::chrono::microseconds>(end - begin)};
        if (failed > 0) spdlog::debug("stats: {} of {} containers could not be sampled", failed, list.size());
      }
      auto until = next_round;
      for (const auto& [agent, run] : runs) {
        if (run.samples == 1) until = std::min(until, run.taken + options.first_gap);
      }
      changed.wait_until(lock, stop, until, [&] { return woken; });
      woken = false;
    }
  }
};

Sampler::Sampler(SamplerOptions options, Targets targets, Remote remote, Clock clock)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(targets), std::move(remote), std::move(clock))) {}

Sampler::~Sampler() {
  impl_->thread.request_stop();
  impl_->thread.join();
}

std::optional<StatsSample> Sampler::latest(const AgentId& id) {
  std::lock_guard lock{impl_->mutex};
  const auto found = impl_->runs.find(id);
  if (found == impl_->runs.end() || found->second.samples == 0) return std::nullopt;
  return found->second.sample;
}

std::vector<Sampler::Sampled> Sampler::newest() const {
  std::vector<Sampled> all;
  std::lock_guard lock{impl_->mutex};
  for (const auto& [agent, run] : impl_->runs)
    if (run.samples > 0 && run.started_at) all.push_back({agent, *run.started_at, run.sample});
  return all;
}

void Sampler::wake() {
  std::lock_guard lock{impl_->mutex};
  impl_->woken = true;
  impl_->changed.notify_all();
}

SamplerRound Sampler::last_round() const {
  std::lock_guard lock{impl_->mutex};
  return impl_->round;
}

}  // namespace creel::stats
