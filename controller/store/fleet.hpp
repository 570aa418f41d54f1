// Fleet: all agents of a controller at a glance, as their status rows say. One statement. Errors: see pg.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controller/core/agent.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct FleetAgent {
  AgentId id;
  Phase phase = Phase::unknown;
  std::string cause;                 // AgentStatus::cause
  bool settled = false;              // the newest wish was looked at, and nothing is left to do for it or to wait for
  std::int64_t messages = 0;         // of people, that are kept
  std::int64_t messages_failed = 0;  // of these
};

// In the order of their ids; tombstones too.
Result<std::vector<FleetAgent>> list_fleet(Tx& tx, const std::string& controller_id);

}  // namespace creel::store
