// Strays: processes of a container that run on although the engine does not call it running.
//
// An engine that is killed while it starts a container forgets the process: the container cannot be started again
// ("task already exists"), its removal leaves the process behind, and the next container gets its address. The engine's
// API offers nothing against it; the kernel does, where controller and engine share a machine and its process table.
// Elsewhere nothing is found.
//
// Threads: any.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "controller/core/result.hpp"

namespace creel::docker {

class Strays {
 public:
  // `proc`: where the process files are; tests pass a folder of their own.
  explicit Strays(std::string proc = "/proc") : proc_(std::move(proc)) {}

  // Processes in the control group of container `id` (64 hex digits), which the caller knows not to run. `fresh`:
  // looked for now; else as of a moment ago, which many may share.
  std::vector<pid_t> of(const std::string& id, bool fresh);
  // Containers with a process that has this folder mounted, looked for now. `mountpoint`: a volume's folder on this
  // machine; that very folder is meant, because another engine here may have a volume of the same name.
  std::set<std::string> holding(const std::string& mountpoint);
  // Kills the processes of a container and waits, for at most two seconds, until they are gone. How many there were.
  // failed: some cannot be ended; the message names them and the remedy.
  Result<int> end(const std::string& id);

 private:
  using Found = std::multimap<std::string, pid_t>;  // container id -> process
  std::string file(pid_t pid, const char* name) const;
  Found look() const;

  const std::string proc_;
  std::mutex mutex_;
  Found found_;  // under mutex_
  std::chrono::steady_clock::time_point found_at_{};
};

// The container's id in the text of /proc/<pid>/cgroup, of version 1 or 2 and any parent; "" = it is in none.
std::string container_in(const std::string& memberships);

}  // namespace creel::docker
