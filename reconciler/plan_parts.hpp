// The parts of plan() that its files share. Pure; private to reconciler/.
#pragma once

#include "reconciler/plan.hpp"

namespace creel {

Plan wait(std::string reason, milliseconds poll);
bool has_process(const Observed& observed);
Plan wait_until(std::string reason, milliseconds left, TimePoint now);  // because of earlier failures
// Nothing is tried while the last failure is too fresh; otherwise `actions` are the plan.
Plan unless_backing_off(const History& history, const Policy& policy, TimePoint now, std::vector<Action> actions);
// Does those of `more`, too, on account of the same.
void append(std::vector<Action>& actions, Plan more, Why why);
// What it takes to run, or to stop, as the wish is rendered.
Plan plan_wanted(const DesiredAgent& desired, const Observed& observed, const History& history,
                 const Capabilities& capabilities, const Policy& policy, TimePoint now);

// The steps of an update that the agent does not live through (update.hpp): backing_up, trying, rolling_back.
Plan plan_update(const DesiredAgent& desired, const Observed& observed, const History& history,
                 const Capabilities& capabilities, const Policy& policy, TimePoint now);
// Beside what the agent needs anyway: the pull of the new image, and the end of a backup that is not needed any more.
Plan with_update(Plan plan, const DesiredAgent& desired, const Observed& observed, const History& history,
                 const Policy& policy, TimePoint now);

}  // namespace creel
