// One container's usage from the kernel's own files: four orders of magnitude cheaper than the engine's stats API, and
// free of its one-second wait. Only where the engine runs on this machine.
//
// The parsers are pure: text of a file -> number. The reader finds a container's control groups through
// /proc/<pid>/cgroup, so that any cgroup parent or driver works, in hierarchies of version 1, 2 and the mixture of
// both. Errors: not_found: the process is gone or is not that container's (also: the engine is on another machine).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/result.hpp"
#include "reconciler/stats/usage.hpp"

namespace creel::stats {

// --- parsers ---

struct CgroupMount {
  std::string controller;  // "memory", "cpuacct", ...; "" = version 2
  std::string mount_point;
  std::string root;  // the part of the hierarchy that is mounted, "/" = all of it
};
// /proc/self/mountinfo: control group mounts alone.
std::vector<CgroupMount> parse_mounts(std::string_view mountinfo);
// /proc/<pid>/cgroup: controller -> path in its hierarchy; "" = version 2.
std::map<std::string, std::string> parse_memberships(std::string_view text);
// "usage_usec 12\nuser_usec 3\n": the number after that key at the beginning of a line.
std::optional<std::int64_t> parse_keyed(std::string_view text, std::string_view key);
// A file of one number. "max" is nullopt.
std::optional<std::int64_t> parse_number(std::string_view text);
struct NetworkCounters {
  std::int64_t rx_bytes = 0;
  std::int64_t tx_bytes = 0;
  bool operator==(const NetworkCounters&) const = default;
};
// /proc/<pid>/net/dev: all interfaces but lo. nullopt: not that file.
std::optional<NetworkCounters> parse_net_dev(std::string_view text);

// --- reader ---

// Threads: read() may be called from any thread.
class CgroupReader {
 public:
  // `proc`: where the process files are; tests pass a folder of their own.
  explicit CgroupReader(std::string proc = "/proc");
  // Usage of the container that process `pid` is the first process of. `runtime_id` must be part of the process's
  // control group: a process id alone may be another's by now.
  Result<Usage> read(std::int64_t pid, const std::string& runtime_id) const;

 private:
  std::optional<std::string> folder(const std::map<std::string, std::string>& memberships,
                                    const std::string& controller) const;

  std::string proc_;
  std::vector<CgroupMount> mounts_;
  std::int64_t machine_memory_ = 0;
};

}  // namespace creel::stats
