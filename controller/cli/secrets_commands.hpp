// creel secrets: the master key, seen and rotated while controllers serve. Through PostgreSQL and the key file, so on a
// machine that has both. Threads: one.
#pragma once

#include <chrono>

#include "controller/cli/cli.hpp"
#include "controller/config/config.hpp"
#include "controller/core/result.hpp"

namespace creel::cli {

// How many values are sealed under which key, and which controllers hold which keys.
Result<void> secrets_status(const Config& config, Io& io, bool json);
// Seals everything under a new key: one made now and put into the key file, or the one that CREEL_MASTER_KEY names
// since the controllers were restarted with it. Goes on with a rotation that was interrupted. `patience`: how long
// controllers may take to learn of the key. unavailable: one of them has not; nothing is lost, and the command can be
// run again.
Result<void> rotate_master_key(const Config& config, Io& io, std::chrono::seconds patience, bool json);

}  // namespace creel::cli
