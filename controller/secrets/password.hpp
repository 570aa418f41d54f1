// Passwords: argon2id (libsodium crypto_pwhash_str, INTERACTIVE limits: 64 MiB and tens of milliseconds each).
//
// Threads: any; each call holds 64 MiB while it runs, so callers limit how many run at once (the API's login limiter).
#pragma once

#include <string>
#include <string_view>

#include "controller/core/result.hpp"

namespace creel::secrets {

// The hash as text, with salt and limits inside. unavailable: not enough memory.
Result<std::string> hash_password(std::string_view password);
// False also for a hash that cannot be read, after the same time.
bool verify_password(std::string_view password, const std::string& hash);
// Takes the time of a verification and always fails: called for an unknown user, so that time does not tell.
void verify_nobody(std::string_view password);

}  // namespace creel::secrets
