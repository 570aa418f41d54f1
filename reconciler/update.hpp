// The update of an agent to another image: a state machine that outlives the controller. Pure.
//
//   pulling       the old container runs on; the reference is pulled and resolved to the very image (pin)
//   backing_up    the old container is stopped, its volume copied
//   trying        the old container is replaced by one of the new image, which has to get ready and stay so
//   rolling_back  the new container goes, the volume gets the copy's contents, the old image comes back
//
// Only the end of `trying` changes which image the agent runs by (History::release). So whatever else is wished
// meanwhile, and wherever the controller dies, a container is made of an unproven image in `trying` alone. The step is
// in the row before the engine is asked for what belongs to it.
#pragma once

#include "controller/core/agent.hpp"
#include "reconciler/action.hpp"
#include "reconciler/backoff.hpp"

namespace creel {

// The wish as it stands when the agent runs by `release`: image and spec hash are those of the release.
DesiredAgent released(const DesiredAgent& desired, const Release& release);
// The release whose container may be made now.
const Release& wanted_release(const History& history);

// What the observation teaches about the update: a new wish is taken up, a step is over. `events` gets what people may
// want to know.
History learn_update(const DesiredAgent& desired, const Observed& observed, History history, const Policy& policy,
                     TimePoint now);
// What the outcome of an action teaches about it.
History update_succeeded(History history, const Action& action, TimePoint now);
History update_failed(History history, const Action& action, const Error& error, TimePoint now);
// The step that must be known before the action is applied.
History update_intended(History history, const Action& action);

// A wish for another image that is not carried out to its end.
bool update_pending(const DesiredAgent& desired, const History& history);
// The new image is there, and is tried at the next start.
bool update_waits_for_start(const DesiredAgent& desired, const History& history);
// One sentence for people, "" when no update is under way.
std::string update_words(const DesiredAgent& desired, const Observed& observed, const History& history);

}  // namespace creel
