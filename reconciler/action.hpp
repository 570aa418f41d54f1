// Action: one step of a plan, with the reason a person may read.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controller/core/clock.hpp"
#include "reconciler/runtime/runtime.hpp"

namespace creel {

struct Action {
  Operation operation;
  std::string cause;  // "no container exists", "the spec changed (label 1f…, wanted 9c…)"
};

struct Plan {
  std::vector<Action> actions;                // in order; the first failure ends the pass
  std::optional<milliseconds> requeue_after;  // look again by then even if nothing calls; nullopt = at the next resync
  std::string waiting_for;                    // why there is nothing to do although the goal is not reached
  std::optional<TimePoint> next_try;          // when it waits because of earlier failures: the end of that
  bool forget = false;                        // everything is gone: drop the row
  bool defers_wish = false;                   // the newest wish is not begun: the one before is still being settled
};

// One line an action ("create: no container exists"), then what is waited for; "converged" when neither. Golden-tested,
// and what `GET /api/agents/:id/plan` shows.
std::string to_string(const Plan& plan);

}  // namespace creel
