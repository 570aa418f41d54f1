// Intents: written before an object is made on the engine, taken away once it is known, so that a create whose answer
// was lost is found again.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct Intent {
  AgentId agent;
  std::string operation;  // operation_name(): "create"
  std::string object;     // name on the engine: "creel-<id>"
  TimePoint created_at;
};

// A second time the same: success, the first time is kept. conflict: no such agent.
Result<void> put_intent(Tx& tx, const AgentId& agent, std::string_view operation, std::string_view object);
Result<void> clear_intent(Tx& tx, const AgentId& agent, std::string_view operation, std::string_view object);
// Of one controller's agents, oldest first.
Result<std::vector<Intent>> list_intents(Tx& tx, std::string_view controller_id);

}  // namespace creel::store
