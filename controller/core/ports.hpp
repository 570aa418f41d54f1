// The few interfaces by which one side asks for what another has; wired together in controller/app.cpp.
//
// AgentRepository: how the reconciler meets the row (implemented by store/, and by the simulation's faulty store).
// LogSource, StatsSource: how api/ gets what reconciler/ has, without including it.
// Prober: how the reconciler asks an agent's gateway whether it is ready (implemented by gateway/).
// Every method may be called from any thread, may block up to its own deadline, and returns errors as values.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "controller/core/agent.hpp"
#include "controller/core/result.hpp"

namespace creel {

struct AgentRecord {
  DesiredAgent desired;
  History history;
  AgentStatus status;
};

// One thing worth remembering for good; see store/events.
struct Event {
  AgentId agent;                           // empty: about the controller itself
  std::string kind;                        // "wish" | "action" | "state" | "audit"
  std::string reason;                      // CamelCase word: "Provisioned", "Started", "CrashLooping", "TokenRead"
  std::string message;                     // one sentence, no secret
  std::string actor;                       // user id, "creel" for the controller's own actions
  std::string source{};                    // address of the client that asked for it; "" for the controller's own
  std::optional<milliseconds> duration{};  // of what was done on the engine: how long that took
};

class AgentRepository {
 public:
  virtual ~AgentRepository() = default;
  // nullopt: no such row (never was, or its tombstone is gone). Spec and files are rendered.
  virtual Result<std::optional<AgentRecord>> load(const AgentId& id) = 0;
  // What must not be shown of what the agent prints: its tokens and keys in the clear.
  virtual Result<std::vector<std::string>> secrets(const AgentId& id) = 0;
  // Ids of all rows that are not yet gone, tombstones included.
  virtual Result<std::vector<AgentId>> list() = 0;
  // Writes status and history, appends the events, notifies. `term` is the lease's: an outdated one is refused with
  // ErrorKind::conflict, and nothing is written.
  virtual Result<void> record(const AgentId& id, const AgentStatus& status, const History& history,
                              const std::vector<Event>& events, std::uint64_t term) = 0;
  // The agent's container is gone and its volume too, or past retention: drops the row and its secrets.
  virtual Result<void> forget(const AgentId& id, std::uint64_t term) = 0;
};

struct LogLine {
  TimePoint at;
  bool is_stderr = false;
  std::string text;  // without the newline; invalid UTF-8 replaced
};

class LogSource {
 public:
  virtual ~LogSource() = default;
  // The last `tail` lines, oldest first. not_found: there is no container.
  virtual Result<std::vector<LogLine>> tail(const AgentId& id, std::size_t tail, std::stop_token stop) = 0;
  // Streams from now on (after the last `tail` lines) until the sink returns false, stop, or the container is removed.
  virtual Result<void> follow(const AgentId& id, std::size_t tail, std::function<bool(const LogLine&)> sink,
                              std::stop_token stop) = 0;
};

struct StatsSample {
  TimePoint at;
  double cpu_percent = 0;  // of one core, over the interval since the sample before
  bool cpu_known = false;  // false on the first sample of a run
  double cpu_seconds_total = 0;
  std::int64_t memory_bytes = 0;  // working set: usage - inactive_file
  std::int64_t memory_limit_bytes = 0;
  std::int64_t network_rx_bytes = 0;
  std::int64_t network_tx_bytes = 0;
  bool network_known = false;
  std::int64_t pids = 0;
};

class StatsSource {
 public:
  virtual ~StatsSource() = default;
  // The newest sample of the running container; nullopt when none is known (not running, or never sampled).
  virtual std::optional<StatsSample> latest(const AgentId& id) = 0;
};

// Where an agent's gateway is now. The engine gives addresses out anew at every start, so one that was observed a while
// ago may be another agent's by now, who must not be told what is meant for the first.
class Locator {
 public:
  virtual ~Locator() = default;
  // "host:port"; "" when there is nobody to talk to. `observed` where the engine gives no answer: it gives out no
  // addresses either. Blocks for as long as one question to the engine takes.
  virtual std::string locate(const AgentId& agent, const std::string& observed) = 0;
};

// What a gateway said to "are you ready?".
struct ProbeAnswer {
  std::optional<bool> ready;  // nullopt: no answer in time (unknown)
  std::string message;        // why not ready, for people
};

class Prober {
 public:
  virtual ~Prober() = default;
  // One GET with a deadline of 2 s.
  virtual ProbeAnswer probe(const std::string& address, const Readiness& readiness, std::stop_token stop) = 0;
};

}  // namespace creel
