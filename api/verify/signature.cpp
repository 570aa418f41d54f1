#include "api/verify/signature.hpp"

#include <secp256k1.h>
#include <secp256k1_recovery.h>

#include <algorithm>
#include <string>

#include "api/verify/errors.hpp"

namespace creel::verify {
namespace {

constexpr const char* kReason = "signature_invalid";

// Verifying needs no secret, so the static context, which is never written, serves every thread.
const secp256k1_context* context() { return secp256k1_context_static; }

}  // namespace

std::optional<Signature> parse_signature(std::string_view text) {
  if (text.size() != 2 + 2 * std::tuple_size_v<Signature>) return std::nullopt;
  const auto bytes = bytes_of_hex(text);
  if (!bytes) return std::nullopt;
  Signature signature;
  std::copy(bytes->begin(), bytes->end(), signature.begin());
  return signature;
}

Word personal_message_hash(std::string_view message) {
  return keccak256(
      "\x19"
      "Ethereum Signed Message:\n" +
      std::to_string(message.size()) + std::string{message});
}

Result<Address> signer_of(std::string_view message, const Signature& signature) {
  const int v = signature[64];
  if (v != 0 && v != 1 && v != 27 && v != 28)
    return refused(kReason, "The last byte of the signature is " + std::to_string(v) + ", not one of 0, 1, 27, 28");

  secp256k1_ecdsa_recoverable_signature recoverable;
  if (secp256k1_ecdsa_recoverable_signature_parse_compact(context(), &recoverable, signature.data(), v % 27) != 1)
    return refused(kReason, "The signature holds a number that is out of range");
  secp256k1_ecdsa_signature plain;
  secp256k1_ecdsa_recoverable_signature_convert(context(), &plain, &recoverable);
  if (secp256k1_ecdsa_signature_normalize(context(), nullptr, &plain) != 0)
    return refused(kReason, "The signature has a high s; wallets make the low one");

  const Word hash = personal_message_hash(message);
  secp256k1_pubkey key;
  if (secp256k1_ecdsa_recover(context(), &key, &recoverable, hash.data()) != 1)
    return refused(kReason, "The signature fits no key");
  std::array<unsigned char, 65> serialized;
  std::size_t size = serialized.size();
  secp256k1_ec_pubkey_serialize(context(), serialized.data(), &size, &key, SECP256K1_EC_UNCOMPRESSED);
  // The address: the last 20 bytes of the hash of the point, without the byte that says how it is written.
  const Word digest = keccak256({reinterpret_cast<const char*>(serialized.data()) + 1, size - 1});
  Address address;
  std::copy(digest.end() - address.size(), digest.end(), address.begin());
  return address;
}

}  // namespace creel::verify
