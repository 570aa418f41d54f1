// SimRuntime: an engine in memory, with scripted faults, on whatever clock it is given. For tests and scale runs.
//
// It behaves as Docker does where the reconciler depends on it: names are unique, a stopped container stays stopped, an
// exited one is restarted, a volume outlives its container. Its state is public on purpose: tests look at it and alter
// it behind the reconciler's back. Threads: one at a time (tests are single-threaded).
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
  refused,      // an error, nothing done
  lost_answer,  // done, but the answer is a timeout
  timeout,      // not done, and the caller cannot know
  unavailable,  // the engine cannot be reached
};

class SimRuntime : public Runtime, public Prober {
 public:
  struct Container {
    std::string id;
    std::string owner = "creel";
    std::string spec_hash;
    std::uint64_t generation = 0;
    ContainerState state = ContainerState::created;
    TimePoint started_at{};
    std::string image;
    std::string image_id;
    int exit_code = 0;
    std::int64_t restart_count = 0;
    bool hardening_ok = true;
    int starts = 0;  // how often a process was begun in it
  };

  explicit SimRuntime(Clock clock, std::string controller = "creel");

  std::map<AgentId, Container> containers;
  std::set<AgentId> volumes;
  std::map<AgentId, std::map<std::string, std::string>> files;    // what the volumes hold
  std::set<std::string> images;                                   // that are there
  std::set<std::string> pullable;                                 // that a registry would give
  std::map<std::string, std::string> pull_errors;                 // failed pulls, until tried again
  std::map<AgentId, std::map<std::string, std::string>> backups;  // copies of them
  std::map<std::string, PullState> pulls;                         // what became of the last pull of each
  std::set<std::string> exiting;                                  // images whose process ends at once
  std::set<std::string> unready;                                  // images that never get ready
  bool ready = true;                                              // what gateways answer
  milliseconds ready_after{0};                                    // once the run is so old
  std::string log_line = "last words (simulated)";                // all that workloads print
  std::vector<std::string> calls;                                 // "create 00…aa", in order
  // Asked before each call ("observe", "create", …) which fault it shall meet.
  std::function<SimFault(const std::string& call)> fault;

  // Every image is known by an id, too.
  static std::string image_id(const std::string& reference) { return "id:" + reference; }
  bool has_image(const std::string& name) const;
  // The process ends by itself; the engine restarts it at once.
  void crash(const AgentId& agent, int exit_code);

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
  Clock clock_;
  std::string controller_;
  int next_id_ = 0;
};

}  // namespace creel
