// Usage: what one container has used, read at one moment. Plain data.
//
// Units: seconds of processor time since the container started, bytes, counts.
#pragma once

#include <cstdint>

namespace creel::stats {

struct Usage {
  double cpu_seconds = 0;
  std::int64_t memory_bytes = 0;        // working set: usage - inactive_file
  std::int64_t memory_limit_bytes = 0;  // the smaller of the container's limit and the machine's memory
  std::int64_t network_rx_bytes = 0;    // without the loopback interface
  std::int64_t network_tx_bytes = 0;
  bool network_known = false;
  std::int64_t pids = 0;  // tasks: processes and threads
  bool operator==(const Usage&) const = default;
};

}  // namespace creel::stats
