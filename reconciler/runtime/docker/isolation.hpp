// The fingerprint of a container's limits and isolation, taken alike from what is sent and from what an inspect shows.
// Pure.
//
// Only fields that Creel sets are looked at, and only in forms that the engine hands back as it got them: it fills in
// defaults elsewhere ("IpcMode": "private").
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace creel::docker {

// 16 hex digits. `host_config`: the engine's HostConfig object; `user`: its Config.User.
std::string isolation_fingerprint(const nlohmann::json& host_config, const std::string& user, bool limits_swap,
                                  bool limits_pids);

}  // namespace creel::docker
