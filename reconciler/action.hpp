// Action: one step of a plan, with the reason a person may read.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controller/core/clock.hpp"
#include "reconciler/runtime/runtime.hpp"

namespace creel {

// The cause in a word, for counting: few, and the same for all agents.
enum class Why {
  created,         // the agent is new
  gone,            // its container is not there any more
  spec_changed,    // the container is of another spec
  altered,         // somebody has changed the container
  paused,          // somebody has paused it
  dead,            // the engine has given it up
  strays,          // processes of it run without the engine
  not_running,     // it is to run and does not
  start_failed,    // it cannot be started
  not_ready,       // it runs and does not get ready
  exiting,         // it ends again and again
  image_missing,   // its image is not there
  config_changed,  // it has not got, or not taken in, its configuration
  stop,            // what its owner asked for, from here on
  restart,
  repair,
  reset,
  update,
  roll_back,  // of an update that did not work
  deleted,
};
const char* to_string(Why why);  // "container-gone"

struct Action {
  Operation operation;
  Why why;
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
