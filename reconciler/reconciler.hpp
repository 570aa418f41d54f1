// Reconciler: one pass for one agent: read the row, observe the engine, learn, plan, apply, record.
//
// It keeps no state between passes: what must be remembered is in the row. Threads: reconcile() may run on many
// threads, but never twice at once for one agent (the work queue sees to that).
#pragma once

#include <atomic>
#include <chrono>
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

enum class PassEnd {
  converged,  // it was as wished
  acted,
  waiting,    // nothing to do but to wait
  failed,     // an action, or the store
  forgotten,  // the row was dropped
  abandoned,  // told to stop, the lease is another's, or there is no such agent
};
const char* to_string(PassEnd end);

// What a pass did, for whoever counts it.
struct PassReport {
  PassEnd end = PassEnd::abandoned;
  int exits = 0;           // so often the agent's process has ended by itself since the last pass
  std::string exit_cause;  // Exits::cause
};

// Called on the threads that reconcile: must not block.
class PassObserver {
 public:
  virtual ~PassObserver() = default;
  virtual void passed(const PassReport& report, std::chrono::microseconds took) = 0;
  virtual void acted(const Action& action, bool succeeded, std::chrono::microseconds took) = 0;
};

struct ReconcilerDeps {
  AgentRepository& repository;
  Runtime& runtime;
  Prober& prober;
  Clock clock;
  Policy policy;
  // The lease's term while this process may act, nullopt otherwise; asked again before every action.
  std::function<std::optional<std::uint64_t>()> term;
  PassObserver* observer = nullptr;
};

struct PassOutcome {
  std::optional<milliseconds> requeue_after;  // nullopt: at the next hint or resync
};

class Reconciler {
 public:
  explicit Reconciler(ReconcilerDeps deps);
  PassOutcome reconcile(const AgentId& id, std::stop_token stop);

 private:
  Observed observe(const DesiredAgent& desired, const History& history, std::stop_token stop);
  void learn_and_tell(const DesiredAgent& desired, const Observed& observed, History& history,
                      std::vector<Event>& events, PassReport& report);
  void hear_config(const DesiredAgent& desired, const History& history, Observed& observed, std::stop_token stop);
  void fetch_last_lines(const DesiredAgent& desired, const History& history, Observed& observed, std::stop_token stop);
  PassOutcome finish(const AgentRecord& record, const History& history, const Observed& observed, bool acted,
                     std::vector<Event> events, std::uint64_t term, PassReport& report);
  PassOutcome pass(const AgentId& id, std::uint64_t term, PassReport& report, std::stop_token stop);

  ReconcilerDeps deps_;
  std::atomic<std::uint64_t> passes_{0};  // of this process: the name of a pass in the log
};

}  // namespace creel
