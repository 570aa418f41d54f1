// summarize(): what is said of an agent. Pure. It claims only what was observed: when the engine did not answer, phase
// and address stay as last seen and the conditions say Unknown.
#pragma once

#include "controller/core/agent.hpp"
#include "reconciler/action.hpp"

namespace creel {

// `next` is what plan() would do now, for the explain view and the next-attempt time. `previous` is the status before,
// for the times of transitions and for what an unanswered question leaves as it was.
AgentStatus summarize(const DesiredAgent& desired, const Observed& observed, const History& history, const Plan& next,
                      const AgentStatus& previous, TimePoint now);

}  // namespace creel
