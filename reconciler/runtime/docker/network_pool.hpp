// NetworkPool: the bridges that agents share, "creel-<controller>-1", "-2", ... with at most 1,000 agents each.
//
// Why shared: the engine's address pools end at about 30 networks and a Linux bridge at 1,024 ports. Traffic between
// the containers of a bridge is off, so sharing one joins nobody.
//
// Threads: every method may be called from any thread; makers of a network wait for each other. Errors are the
// engine's; conflict: a network of that name belongs to someone else.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "controller/core/result.hpp"
#include "reconciler/runtime/docker/engine.hpp"

namespace creel::docker {

class NetworkPool {
 public:
  static constexpr int kAgentsPerNetwork = 1'000;

  NetworkPool(Engine& engine, std::string controller_id) : engine_(engine), controller_(std::move(controller_id)) {}

  // The lowest network with room, made if need be; of three with room the second or third, as `alternative` says.
  // Counts one agent more on it.
  Result<std::string> acquire(std::stop_token stop, int alternative = 0);
  // Makes the network again if it is gone. not_found: it is none of this pool's.
  Result<void> ensure(const std::string& name, std::stop_token stop);

 private:
  Result<void> ensure_number(int number, std::stop_token stop);
  Result<void> count(std::stop_token stop);
  std::string name_of(int number) const;
  std::optional<int> number_of(const std::string& name) const;

  Engine& engine_;
  const std::string controller_;
  std::mutex mutex_;
  std::map<int, int> agents_;  // network number -> agents, as last counted and added since; under mutex_
  std::optional<std::chrono::steady_clock::time_point> counted_;
};

// Name of the bridge interface: at most 15 characters, and its own for each controller and engine on a host.
std::string bridge_name(const std::string& controller_id, const std::string& engine_id, int number);
// What all of them begin with, and no other's: "cr0123abcd-".
std::string bridge_prefix(const std::string& controller_id, const std::string& engine_id);

}  // namespace creel::docker
