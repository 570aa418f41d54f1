// HMAC: what other services sign their webhooks with. Pure.
//
// Comparisons take the same time wherever two values differ; only their lengths show. Keys and signatures never appear
// in an error text.
#pragma once

#include <string>
#include <string_view>

namespace creel::secrets {

// 64 lower-case hex digits. The key may have any length.
std::string hmac_sha256_hex(std::string_view key, std::string_view message);
// `hex`: the signature as it was sent, 64 hex digits of either case; anything else does not match.
bool is_hmac_sha256(std::string_view hex, std::string_view key, std::string_view message);
bool same_secret(std::string_view a, std::string_view b);

}  // namespace creel::secrets
