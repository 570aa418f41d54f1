// plan(): the heart. What must be done so that the engine agrees with the row; pure and total.
//
// Invariants (held by tests/unit/plan_test.cpp and tests/sim): converged => no action; deleted => never creates; at
// most one live workload an agent; unknown => does nothing but wait; another controller's objects are never touched; a
// volume is never removed before its retention has passed or the owner asked for purge.
//
// Operations whose runtime_id is "" mean the container that the CreateWorkload before them in the same plan makes.
#pragma once

#include "controller/core/agent.hpp"
#include "reconciler/action.hpp"
#include "reconciler/backoff.hpp"

namespace creel {

Plan plan(const DesiredAgent& desired, const Observed& observed, const History& history,
          const Capabilities& capabilities, const Policy& policy, TimePoint now);

// What the observation alone teaches: wishes found carried out, a run that became ready or stopped being so, failures
// to forget after a long healthy time. Called before plan().
History learn(const DesiredAgent& desired, const Observed& observed, History history, const Policy& policy,
              TimePoint now);

// The intents that must be stored before `action` is applied, so that its effect is recognised after a crash or a lost
// answer.
History intend(const DesiredAgent& desired, const Observed& observed, History history, const Action& action,
               TimePoint now);
// What is remembered after `action` succeeded; `outcome` is what Runtime::apply returned.
History succeeded(const DesiredAgent& desired, History history, const Action& action, const std::string& outcome,
                  TimePoint now);
// What is remembered after it failed.
History failed(History history, const Action& action, const Error& error, TimePoint now);

// True once the current run has been not ready for longer than its start-up budget.
bool past_startup_budget(const DesiredAgent& desired, const Observed& observed, const History& history, TimePoint now);

}  // namespace creel
