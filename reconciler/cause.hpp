// Why an agent is not as its owner asked, in a word that programs may rely on. Pure.
//
// - EngineUnreachable: nothing can be said
// - NameTaken: another's container has its name
// - ImageUnavailable: the image cannot be had
// - StartFailed: the engine could not start the process
// - Exited, OOMKilled: the process ends by itself, or is killed for exceeding its memory limit
// - ConfigRefused: it does not take its configuration
// - NotReady: it runs, its gateway does not get ready
// - CreateFailed, DeliverFailed, …: what the engine was asked last and did not do (History::last_failure_reason)
#pragma once

#include <string>

#include "controller/core/agent.hpp"

namespace creel {

// "" when nothing stands in the way: it is so, or is getting there.
std::string cause_of(const DesiredAgent& desired, const Observed& observed, const History& history, TimePoint now);
// The cause lies in the agent: its log may tell more.
bool cause_in_agent(const std::string& cause);

// Ended again and again: the engine or Creel is waiting before the next run, or the run is young and others ended
// before it.
bool crash_looping(const Observed& observed, const History& history, TimePoint now);
// And why: "Exited", "OOMKilled", "ConfigRefused".
std::string loop_cause(const Observed& observed, const History& history);

}  // namespace creel
