// What the reference agent's HTTP endpoints say of itself, its sessions and what was said in them, as values; see
// templates/reference/README.md. Pure; nothing throws.
#pragma once

#include <string>
#include <vector>

#include "controller/gateway/operator.hpp"

namespace creel::gateway {

GatewayHealth reference_health(const std::string& body);
std::vector<GatewaySession> reference_sessions(const std::string& body);
std::vector<GatewayMessage> reference_history(const std::string& session_key, const std::string& body);

}  // namespace creel::gateway
