// VolumeAccess: what is done to an agent's volume beside the agent: emptying parts of it.
//
// The engine's archive endpoint reaches a volume only through a container that has it mounted. That is a container of
// its own here, "creel-<id>-volume", which is made for the purpose and never started: nothing of an image is run, so
// any image will do, whether it has a shell or not, on this host or another. Whoever finds one left behind by a crash
// takes it away. It carries the labels of the agent and is hardened as one, without a network.
//
// Threads and errors: as engine.hpp; conflict: an object of that name is not this controller's.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "controller/core/ids.hpp"
#include "reconciler/runtime/docker/engine.hpp"
#include "reconciler/runtime/docker/tar.hpp"

namespace creel::docker {

class VolumeAccess {
 public:
  VolumeAccess(Engine& engine, std::string controller_id);

  // Empties what `paths` name (Template::memory), and looks whether it is empty. A volume that is not there is empty.
  Result<void> clear(const AgentId& agent, const std::string& image, const std::vector<std::string>& paths,
                     std::stop_token stop);
  // Removes the container, if there is one.
  Result<void> close(const AgentId& agent, std::stop_token stop);

 private:
  // What a path in the container is; nullopt: nothing.
  struct Seen {
    TarEntry itself;
    std::vector<std::string> children;  // names, those of folders with a closing "/"
  };

  Result<std::string> open(const AgentId& agent, const std::string& image, std::stop_token stop);
  Result<std::optional<Seen>> look(const std::string& container, const std::string& path, std::stop_token stop);
  Result<std::vector<std::string>> expand(const std::string& container, const std::string& pattern,
                                          std::stop_token stop);

  Engine& engine_;
  const std::string controller_;
};

}  // namespace creel::docker
