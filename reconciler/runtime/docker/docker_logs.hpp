// DockerLogs: the LogSource of core/ports.hpp over the engine's log endpoint.
//
// Only containers whose labels name this controller and this agent are read: to everybody else there is no container.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "controller/core/ports.hpp"
#include "reconciler/runtime/docker/engine.hpp"

namespace creel::docker {

class DockerLogs : public LogSource {
 public:
  DockerLogs(Engine& engine, std::string controller_id) : engine_(engine), controller_(std::move(controller_id)) {}

  Result<std::vector<LogLine>> tail(const AgentId& id, std::size_t tail, std::stop_token stop) override;
  // Goes on over restarts of the container, and over its replacement as long as one is there.
  Result<void> follow(const AgentId& id, std::size_t tail, std::function<bool(const LogLine&)> sink,
                      std::stop_token stop) override;

 private:
  Result<ContainerInfo> find(const AgentId& id, std::stop_token stop);
  Result<bool> wait_for_run(const AgentId& id, std::stop_token stop);

  Engine& engine_;
  const std::string controller_;
};

// The last lines of a container, oldest first. The engine counts a line longer than 16 KiB as several: then fewer come,
// and the first may lack its beginning.
Result<std::vector<LogLine>> read_tail(Engine& engine, const ContainerInfo& container, std::size_t tail,
                                       std::optional<TimePoint> since, std::stop_token stop);

}  // namespace creel::docker
