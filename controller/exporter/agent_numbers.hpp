// What /metrics says of agents: how many are how, and a few series of each, of as many as the operator wants. Pure.
#pragma once

#include <cstddef>
#include <vector>

#include "controller/core/ids.hpp"
#include "controller/core/ports.hpp"
#include "controller/metrics/metrics.hpp"
#include "controller/store/fleet.hpp"

namespace creel {

struct AgentSample {
  AgentId agent;
  StatsSample sample;
};

// creel_agents, creel_agents_drifted, creel_agents_hindered.
void add_fleet(Metrics::Page& page, const std::vector<store::FleetAgent>& fleet);

// creel_agent_*, of the first `most` agents in the order of their ids, and of how many it is left out. `fleet` and
// `samples` need not speak of the same agents; what is not known of one is absent. Deleted agents have no series.
void add_agents(Metrics::Page& page, const std::vector<store::FleetAgent>& fleet,
                const std::vector<AgentSample>& samples, std::size_t most);

}  // namespace creel
