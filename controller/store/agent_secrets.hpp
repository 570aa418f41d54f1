// Sealed secrets of agents, by name: "gateway_token", "config" (the owner's fragment), "files" (the rendered files as a
// JSON array of VolumeFile), "device_key" (the seed of a secrets::DeviceKey), "former" (see known_secrets.hpp), and
// providers' keys. Sealed under secrets::secret_context(agent, name).
//
// The store keeps them and cannot read them. Errors: conflict (no such agent), unavailable (put_secret: sealed
// with a key that a rotation has taken out of use, see master_key.hpp); else see pg.hpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

// Adds or replaces.
Result<void> put_secret(Tx& tx, const AgentId& agent, std::string_view name, const secrets::Sealed& sealed);
Result<std::optional<secrets::Sealed>> get_secret(Tx& tx, const AgentId& agent, std::string_view name);
// Sorted.
Result<std::vector<std::string>> secret_names(Tx& tx, const AgentId& agent);
// False: there was none.
Result<bool> delete_secret(Tx& tx, const AgentId& agent, std::string_view name);

}  // namespace creel::store
