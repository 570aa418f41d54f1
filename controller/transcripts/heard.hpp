// A gateway's history as messages to keep. Pure.
#pragma once

#include <string>
#include <vector>

#include "controller/gateway/operator.hpp"
#include "controller/store/transcripts.hpp"

namespace creel::transcripts {

// A turn that failed is told with the message of the user that it was about, and not by an empty message of the agent;
// one that was repeated and succeeded has not failed. The first reply to a message has its waiting time.
std::vector<store::HeardMessage> heard(const std::vector<gateway::GatewayMessage>& history);

// Sessions that no person takes part in: the agent's own tasks and its helpers.
bool is_machinery(const std::string& session_key);

}  // namespace creel::transcripts
