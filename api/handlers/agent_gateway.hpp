// Asking a running agent's gateway, for the handlers of /api/agent.
#pragma once

#include "api/agent_gateways.hpp"
#include "api/deps.hpp"
#include "api/http.hpp"
#include "controller/store/agents.hpp"

namespace creel::api {

// What opens the agent's gateway. conflict TEMPLATE_MISSING: nobody knows what kind of gateway it is.
Result<gateway::OperatorTarget> gateway_of(store::Tx& tx, const store::AgentRow& row, const Deps& deps);
// The agent of a request that only reads, and what opens its gateway when that can be asked.
struct Asked {
  store::AgentRow row;
  std::optional<gateway::OperatorTarget> target;
};
Result<std::optional<Asked>> find_asked(const Request& request, const Deps& deps);
// 502 AGENT_UNREACHABLE, or what else the gateway said (404, 409 GATEWAY_NOT_PAIRED).
Response gateway_failure(const Request& request, const AgentId& agent, const Error& error);

}  // namespace creel::api
