// Signatures of wallets over a text (EIP-191, "personal_sign"). Pure. signature.cpp is the sole includer of
// libsecp256k1.
//
// 65 bytes r, s, v with v one of 0, 1, 27, 28. A high s is refused: each signature has a twin with the other s, and
// only one of the two may count (EIP-2). Threads: any.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "api/verify/ethereum.hpp"
#include "controller/core/result.hpp"

namespace creel::verify {

using Signature = std::array<std::uint8_t, 65>;

// "0x" and 130 hex digits, else nullopt.
std::optional<Signature> parse_signature(std::string_view text);

// What a wallet hashes when it is asked to sign this text.
Word personal_message_hash(std::string_view message);

// Whose key signed it. Any well-formed signature has a signer: compare it with the one that is expected. Errors: failed
// (VERIFICATION_FAILED, reason signature_invalid).
Result<Address> signer_of(std::string_view message, const Signature& signature);

}  // namespace creel::verify
