// SimRuntime: an engine in memory, with scripted faults, on whatever clock it is given. For tests and scale runs.
//
// It behaves as Docker, seen through DockerRuntime, does where the reconciler depends on it: names are unique, a
// stopped container stays stopped, an exited one is restarted, a volume outlives its container, and an operation that
// takes several calls of the engine can end between any two of them. Its state is public on purpose: tests look at it
// and alter it behind the reconciler's back. Threads: one at a time (tests are single-threaded).
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "controller/core/ports.hpp"
#include "reconciler/runtime/runtime.hpp"

namespace creel {

enum class SimFault {
  none,
  refused,       // an error, nothing done
  failed_after,  // done, but the answer is an error
  lost_answer,   // done, but the answer is a timeout
  timeout,       // not done, and the caller cannot know
  unavailable,   // the engine cannot be reached
};

class SimRuntime : public Runtime, public Prober {
 public:
  struct Container {
    std::string id;
    std::string owner = "creel";
    std::string spec_hash;
    std::uint64_t generation = 0;
    ContainerState state = ContainerState::created;
    TimePoint created_at{};
    TimePoint started_at{};
    std::string image;
    std::string image_id;
    WorkloadSpec spec;  // what anybody who may ask the engine sees of it
    int exit_code = 0;
    bool oom_killed = false;
    std::int64_t restart_count = 0;
    TimePoint restarts_at{};       // while restarting
    milliseconds restart_delay{};  // the last one; doubles while runs stay short
    bool hardening_ok = true;
    bool answers = true;  // the gateway of this run
    int starts = 0;       // how often a process was begun in it
  };
  struct Copy {
    std::map<std::string, std::string> files;
    std::string image;   // which it keeps from being pruned
    bool whole = false;  // false: the copying has not come to its end
  };

  explicit SimRuntime(Clock clock, std::string controller = "creel");

  std::map<AgentId, Container> containers;
  std::set<AgentId> volumes;
  std::set<AgentId> foreign_volumes;                            // of these names, but another's
  std::set<AgentId> owned_volumes;                              // given to their agents' users
  std::map<AgentId, std::map<std::string, std::string>> files;  // what the volumes hold
  std::map<AgentId, Copy> backups;                              // copies of them
  std::map<AgentId, std::vector<LogLine>> logs;                 // what the containers printed
  std::set<std::string> images;                                 // that are there
  std::set<std::string> pullable;                               // that a registry would give
  bool digests = false;                                         // it tells "reference@sha256:…", to be pulled by, too
  milliseconds pull_time{0};
  std::map<std::string, std::string> pull_errors;   // failed pulls, until tried again
  std::map<std::string, PullState> pulls;           // what became of the last pull of each
  std::map<std::string, TimePoint> pulling;         // pulls under way, and when they end
  std::set<std::string> exiting;                    // images whose process ends at once
  std::set<std::string> unready;                    // images that never get ready
  bool ready = true;                                // what gateways answer
  milliseconds ready_after{0};                      // once the run is so old
  bool fenced = true;                               // the fence is in force
  bool disk_full = false;                           // nothing new can be written
  std::string log_line = "last words (simulated)";  // all that workloads print, unless `logs` has more
  std::vector<std::string> calls;                   // "create", "start", … in order
  // Asked before each call ("observe", "create", …), and between the parts of one ("create.container", …), which fault
  // it shall meet. It may alter the engine.
  std::function<SimFault(const std::string& call)> fault;
  // A container changed: what the engine's events report.
  std::function<void(const AgentId&)> changed;

  // Every image is known by an id, too.
  static std::string image_id(const std::string& reference) { return "id:" + reference; }
  // The reference behind an id or a digest.
  static std::string plain(const std::string& image);
  bool has_image(const std::string& name) const { return images.contains(plain(name)); }
  static bool has_process(const Container& container);

  // The process ends by itself; the engine restarts it at once.
  void crash(const AgentId& agent, int exit_code);
  // The same, but the engine restarts it after a delay that grows: see tick().
  void exit(const AgentId& agent, int exit_code, bool oom);
  // A process is begun, as by `docker start`.
  void begin(const AgentId& agent);
  // Processes end and stay so, as by `docker stop`.
  void halt(const AgentId& agent);
  // Does what is due: restarts, ends of pulls. next_tick(): when that will be.
  void tick();
  std::optional<TimePoint> next_tick() const;

  Capabilities capabilities() const override { return {}; }
  Result<Observed> observe(const AgentId& agent, const std::string& image, std::stop_token stop) override;
  Result<ObservedImage> observe_image(const std::string& reference, std::stop_token stop) override;
  Result<std::string> apply(const Operation& operation, std::stop_token stop) override;
  Result<void> watch(std::function<void()> on_open, std::function<void(const AgentId&)> on_change,
                     std::stop_token stop) override;
  Result<std::vector<OwnObject>> objects(std::stop_token stop) override;
  Result<std::vector<LogLine>> last_lines(const std::string& runtime_id, std::size_t count,
                                          std::optional<TimePoint> since, std::stop_token stop) override;
  ProbeAnswer probe(const std::string& address, const Readiness& readiness, std::stop_token stop) override;

 private:
  struct Do;
  void begin(Container& container);
  void tell(const AgentId& agent) const;
  void end_pull(const std::string& image);
  Result<void> meet(const std::string& call);  // the fault of a part of an operation
  ObservedWorkload look_at(const AgentId& agent, const Container& container) const;
  void look_at_image(const std::string& image, Observed& observed) const;

  Clock clock_;
  std::string controller_;
  int next_id_ = 0;
};

}  // namespace creel
