// Fence: keeps the rules of fence_rules.hpp in force on the engine's host.
//
// By a container of its own, "creel-<controller>-fence", in the host's network with CAP_NET_ADMIN alone: so it works
// whether or not this process is root, and with an engine on another machine. The container stays, and puts the rules
// back when they are altered; it outlives the controller as agents do. Switched off, the rules are taken away by the
// same image.
//
// Threads: any; one pass at a time, others wait for it. Errors are told in the FenceView.
#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "controller/core/fence.hpp"
#include "reconciler/runtime/docker/engine.hpp"
#include "reconciler/runtime/docker/pull_pool.hpp"

namespace creel::docker {

struct FenceSettings {
  bool wanted = true;
  std::vector<FenceAllow> allow;
  std::string published = {};  // FenceOptions::published
  std::string image = kEgressImage;
};

class Fence {
 public:
  // `engine` must outlive it.
  Fence(Engine& engine, std::string controller_id, FenceSettings settings);

  // Looks, and puts right what is not as it should be.
  FenceView pass(std::stop_token stop);
  // The same, but not again so soon: for an agent that is about to start, which it should find in force.
  FenceView stand(std::stop_token stop);
  // What was seen last; nullopt: nothing yet.
  std::optional<FenceView> view() const;

 private:
  std::optional<FenceView> fresh() const;    // what was seen a moment ago
  FenceView pass_now(std::stop_token stop);  // under pass_mutex_
  Result<FenceView> keep(std::stop_token stop);
  Result<FenceView> take_down(std::stop_token stop);
  Result<std::string> rules(std::stop_token stop);
  Result<std::optional<ContainerInfo>> look(const std::string& name, std::stop_token stop);
  Result<std::string> make(const std::string& name, const std::string& what, const std::string& hash,
                           std::stop_token stop);
  Result<FenceView> judge(std::stop_token stop);
  FenceView without_image();  // under pass_mutex_

  Engine& engine_;
  const std::string controller_;
  const FenceSettings settings_;
  const std::string name_;
  std::string table_;  // under pass_mutex_, as of the last rules()
  std::mutex pass_mutex_;
  std::chrono::steady_clock::time_point pulled_;  // under pass_mutex_: when that was last begun
  std::string proven_;  // under pass_mutex_: the run (id and start) that said that it is in force
  mutable std::mutex mutex_;
  std::optional<FenceView> view_;  // under mutex_, with when it was seen
  std::chrono::steady_clock::time_point seen_;
  PullPool pulls_;  // last: its threads use the rest
};

}  // namespace creel::docker
