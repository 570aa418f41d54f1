// An agent whose process ends again and again. Pure.
//
// The engine restarts it, after waits of its own that begin at 100 ms and are forgotten after 10 s of running. The
// first few ends in a row (BackoffRule::free) are left to that. From then on Creel keeps the container stopped, between
// two runs, for as long as the backoff of the cause says, and starts it itself. A new wish of the owner, or other files
// to be delivered, are tried at once; ten healthy minutes forgive everything. While an update is on its trial, its own
// rules count.
#pragma once

#include <optional>

#include "controller/core/agent.hpp"
#include "reconciler/backoff.hpp"

namespace creel {

// What the observation teaches about ends of the process; called once last_runtime_id is that of the observation.
History learn_exits(const DesiredAgent& desired, const Observed& observed, History history, TimePoint now);
// Ended so often that the next run is Creel's to begin: what is left until then, zero = now. nullopt: it is the
// engine's.
std::optional<milliseconds> exits_left(const DesiredAgent& desired, const History& history, const Policy& policy,
                                       TimePoint now);
// "the agent was killed for exceeding its memory limit", "the agent exited with code 3", with how often; "the agent
// keeps exiting" when the code was not seen.
std::string exit_words(const Observed& observed, const History& history);

// As after a new wish of the owner: neither failures nor exits delay what comes.
void forgive(History& history);

}  // namespace creel
