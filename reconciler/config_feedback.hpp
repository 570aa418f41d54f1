// What an agent makes of the configuration it was given, and which files it therefore gets. Pure.
//
// It says so in its log (Readiness::config names the texts), or shows it by getting ready in a run that read the files
// at its start. A configuration that it refuses does not stay in its volume: the files it last took in are put back, so
// that its next start is not its last. Nothing is claimed that was neither said nor shown.
#pragma once

#include "controller/core/agent.hpp"
#include "controller/core/ports.hpp"
#include "reconciler/backoff.hpp"

namespace creel {

// The agent is still to say what it makes of the files that are in its volume.
bool config_undecided(const DesiredAgent& desired, const Observed& observed, const History& history);

// And its log may say it now: a run that began after the delivery says nothing unless it ends.
bool worth_hearing(const DesiredAgent& desired, const Observed& observed, const History& history);

// Sets config_word and config_message by the newest of `lines` (oldest first) that says something. Secrets are taken
// out of the message.
void hear(const std::vector<LogLine>& lines, const DesiredAgent& desired, const std::vector<std::string>& secrets,
          Observed& observed);

// What config_word, or a run that read the files at its start and is ready, teaches.
History learn_config(const DesiredAgent& desired, const Observed& observed, History history);

// An agent that watches its files may not have begun to, or may have missed the change: it gets them once more, up to
// Policy::config_deliveries times. nullopt: not at all; else how long until then, zero = now.
std::optional<milliseconds> redelivery_in(const DesiredAgent& desired, const Observed& observed, const History& history,
                                          const Policy& policy, TimePoint now);

// Its log does not name the configuration that it speaks of: what it says of one must not be taken for said of the
// next. So a process that has just got one has a while to speak of it before it gets another. Zero = that is over.
milliseconds word_awaited(const DesiredAgent& desired, const Observed& observed, const History& history,
                          const Policy& policy, TimePoint now);

// `desired` with the files that are to be in the volume: its own, or the last good ones while its own are refused.
DesiredAgent in_force(DesiredAgent desired, const History& history);

// Status, reason and message of the condition ConfigAccepted; `desired` as the owner wishes it, not as in_force().
Condition config_condition(const DesiredAgent& desired, const History& history);

}  // namespace creel
