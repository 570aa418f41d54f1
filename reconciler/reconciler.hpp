// Reconciler: one pass for one agent: read the row, observe the engine, learn, plan, apply, record.
//
// It keeps no state between passes: what must be remembered is in the row. Threads: reconcile() may run on many
// threads, but never twice at once for one agent (the work queue sees to that).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "controller/core/ports.hpp"
#include "reconciler/backoff.hpp"
#include "reconciler/plan.hpp"
#include "reconciler/runtime/runtime.hpp"

namespace creel {

// Counters since start, for /metrics. Read at any time from any thread.
struct ReconcileCounters {
  std::atomic<std::uint64_t> passes_converged{0};
  std::atomic<std::uint64_t> passes_acted{0};
  std::atomic<std::uint64_t> passes_waiting{0};
  std::atomic<std::uint64_t> passes_failed{0};
  std::atomic<std::uint64_t> duration_microseconds{0};
  std::atomic<std::uint64_t> actions[std::variant_size_v<Operation>] = {};
  std::atomic<std::uint64_t> action_failures[std::variant_size_v<Operation>] = {};
};

struct ReconcilerDeps {
  AgentRepository& repository;
  Runtime& runtime;
  Prober& prober;
  Clock clock;
  Policy policy;
  // The lease's term while this process may act, nullopt otherwise; asked again before every action.
  std::function<std::optional<std::uint64_t>()> term;
};

struct PassOutcome {
  std::optional<milliseconds> requeue_after;  // nullopt: at the next hint or resync
};

class Reconciler {
 public:
  explicit Reconciler(ReconcilerDeps deps);
  PassOutcome reconcile(const AgentId& id, std::stop_token stop);
  const ReconcileCounters& counters() const { return counters_; }

 private:
  Observed observe(const DesiredAgent& desired, const History& history, std::stop_token stop);
  void learn_and_tell(const DesiredAgent& desired, const Observed& observed, History& history,
                      std::vector<Event>& events);
  void hear_config(const DesiredAgent& desired, const History& history, Observed& observed, std::stop_token stop);
  void fetch_last_lines(const DesiredAgent& desired, const History& history, Observed& observed, std::stop_token stop);
  PassOutcome finish(const AgentRecord& record, const History& history, const Observed& observed, bool acted,
                     std::vector<Event> events, std::uint64_t term);

  ReconcilerDeps deps_;
  ReconcileCounters counters_;
};

}  // namespace creel
