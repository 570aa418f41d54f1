// What of an agent must not be shown, in the clear: for taking it out of text that the agent printed
// (secrets/redact.hpp).
//
// Its own tokens and keys, and the texts in the owner's fragment whose name says that they are secret ("apiKey",
// "botToken", …). Ids of people, servers and numbers are kept with the secrets but are none: they are what one looks
// for in a log. What was replaced or removed stays known for a while (sealed, as "former"): an agent's log holds it as
// long as it holds what was printed then. Errors: corrupt (a secret that does not open); else see pg.hpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

Result<std::vector<std::string>> known_secrets(Tx& tx, const AgentId& agent, const secrets::Sealer& sealer);

// To be called before the value of this name is replaced or removed: what is secret in it stays known. Of the former
// ones the last 32 are kept.
Result<void> keep_former(Tx& tx, const AgentId& agent, std::string_view name, const secrets::Sealer& sealer);

}  // namespace creel::store
