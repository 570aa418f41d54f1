// Fingerprints by which drift is told.
//
// The spec hash goes into a label of the container and is compared with the desired one: never field by field, because
// the engine adds defaults to what it is sent.
#pragma once

#include <string>
#include <vector>

#include "controller/core/agent.hpp"

namespace creel {

// 16 hex digits over a canonical rendering of every field. Pure; stable across releases unless a field is added.
std::string spec_hash(const WorkloadSpec& spec);

// HMAC-SHA-256 over path, mode, owner and content of each file, so that the stored value says
// nothing about a secret. `only_restart`: only those files that need a restart. Empty list: "".
std::string files_hash(const std::vector<VolumeFile>& files, std::string_view key, bool only_restart);

}  // namespace creel
