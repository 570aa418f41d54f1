// The watch: what must hold at every step, whatever goes wrong. It knows what owners wished and what the engine holds,
// and none of the reconciler's reasons.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "reconciler/runtime/sim/sim_runtime.hpp"
#include "tests/sim/owner.hpp"

namespace creel::sim {

struct Violation {
  std::string invariant;  // short and stable
  std::string text;
};

// What one pass of a controller has been told and has done.
struct Pass {
  AgentId id;
  std::optional<AgentRecord> loaded;
  std::optional<Observed> seen;  // the last observation; nullopt: it failed
  std::optional<bool> ready;     // the gateway's answer in it
  bool removed = false;          // the container, since then
  bool stopped = false;
  std::set<std::string> done;  // operations that succeeded
};

class Watch {
 public:
  Watch(SimRuntime& engine, test::MemoryRepository& store, Owners& owners)
      : engine_(engine), store_(store), owners_(owners) {}

  const std::optional<Violation>& violation() const { return violation_; }
  void say(std::string invariant, std::string text);

  void operation_begins(const Pass& pass, const Operation& operation, bool leads, TimePoint now);
  void operation_ends(const Operation& operation);
  void record_begins(const Pass& pass, const AgentStatus& status, const History& history,
                     const std::vector<Event>& events);
  void record_ends(const AgentId& id, UpdateStep before, std::uint64_t by_term, std::uint64_t newest_term);
  // After anything happened to the engine.
  void engine_changed();
  // Another's container, as it was made.
  void plant(const AgentId& id, const SimRuntime::Container& container) { foreign_.emplace(id, container); }
  void uproot(const AgentId& id) { foreign_.erase(id); }

 private:
  void create_begins(const Pass& pass, const op::CreateWorkload& create);
  void storage_begins(const Pass& pass, const Operation& operation, TimePoint now);
  void copy_goes(const Pass& pass, TimePoint now);
  void restart_begins(const Pass& pass);
  void restart_ends(const AgentId& id);
  void check_claims(const Pass& pass, const AgentStatus& status, const History& history);
  void check_settled(const DesiredAgent& desired, const AgentStatus& status, const History& history);
  void check_secrets(const AgentStatus& status, const History& history, const std::vector<Event>& events);
  void check_data(const AgentId& id, Owner& owner);

  SimRuntime& engine_;
  test::MemoryRepository& store_;
  Owners& owners_;
  std::map<AgentId, SimRuntime::Container> foreign_;
  std::optional<Violation> violation_;
};

}  // namespace creel::sim
