// VolumeAccess: what is done to an agent's volume beside the agent: emptying parts of it, copying and restoring it.
//
// The engine's archive endpoint reaches a volume only through a container that has it mounted. That is a container of
// its own here, "<volume>-volume", which is made for the purpose and never started: nothing of an image is run, so
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
  // Copies the volume to "creel-<id>-backup", in place of what was there; a failure leaves no copy. The container
  // stays: it keeps copy and image from being pruned. not_found: there is no volume.
  Result<void> back_up(const AgentId& agent, const std::string& image, std::stop_token stop);
  // Makes the volume anew from the copy. not_found: there is no copy.
  Result<void> restore(const AgentId& agent, const std::string& image, std::stop_token stop);
  // Removes the copy and the containers.
  Result<void> remove_backup(const AgentId& agent, std::stop_token stop);

 private:
  // What a path in the container is; nullopt: nothing.
  struct Seen {
    TarEntry itself;
    std::vector<std::string> children;  // names, those of folders with a closing "/"
  };

  // A container that has the volume mounted; what an earlier one left is removed.
  Result<std::string> open(const AgentId& agent, const std::string& volume, const std::string& image,
                           std::stop_token stop);
  Result<void> close(const AgentId& agent, const std::string& volume, std::stop_token stop);
  // Whether there is such a volume; conflict: it is not ours.
  Result<bool> has_volume(const AgentId& agent, const std::string& name, std::stop_token stop);
  Result<void> remove_volume(const AgentId& agent, const std::string& name, std::stop_token stop);
  // Leaves both containers.
  Result<void> copy(const AgentId& agent, const std::string& from, const std::string& to, const std::string& image,
                    std::stop_token stop);
  Result<std::optional<Seen>> look(const std::string& container, const std::string& path, std::stop_token stop);
  Result<std::vector<std::string>> expand(const std::string& container, const std::string& pattern,
                                          std::stop_token stop);

  Engine& engine_;
  const std::string controller_;
};

}  // namespace creel::docker
