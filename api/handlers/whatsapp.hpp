// An agent's WhatsApp channel, as its owner sees it.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "api/deps.hpp"
#include "controller/store/agents.hpp"

namespace creel::api {

// "whatsapp": what Meta must be told, and how the channel does; for the owner alone, null for everybody else and
// without a token.
Result<void> add_whatsapp(nlohmann::json& object, store::Tx& tx, const store::AgentRow& row, const Caller& caller,
                          const Deps& deps);

}  // namespace creel::api
