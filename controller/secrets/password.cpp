#include "controller/secrets/password.hpp"

#include <sodium.h>

#include <array>

namespace creel::secrets {
namespace {

bool sodium_ready() {
  static const bool ready = sodium_init() >= 0;
  return ready;
}

// The hash of 32 random bytes that were thrown away, with the limits that real hashes have. A constant, so that the
// first unknown user costs no more time than the second.
constexpr const char* kNobodysHash =
    "$argon2id$v=19$m=65536,t=2,p=1$rhCS8qNb3uAx8y2YJzVmUw$O5c+uQMfDOZTF8Zcn1ZlaQP8GJsfa0bwFHvZM9JlVe8";

}  // namespace

Result<std::string> hash_password(std::string_view password) {
  if (!sodium_ready()) return Error{ErrorKind::internal, "libsodium cannot be initialised"};
  std::array<char, crypto_pwhash_STRBYTES> hash{};
  if (crypto_pwhash_str(hash.data(), password.data(), password.size(), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                        crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0) {
    return Error{ErrorKind::unavailable, "not enough memory to hash a password (64 MiB are needed)"};
  }
  return std::string{hash.data()};
}

bool verify_password(std::string_view password, const std::string& hash) {
  if (!sodium_ready()) return false;
  // An unreadable hash fails at once in libsodium, which would tell such accounts apart.
  if (hash.empty() || hash.size() >= crypto_pwhash_STRBYTES ||
      crypto_pwhash_str_needs_rehash(hash.c_str(), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                                     crypto_pwhash_MEMLIMIT_INTERACTIVE) == -1) {
    verify_nobody(password);
    return false;
  }
  return crypto_pwhash_str_verify(hash.c_str(), password.data(), password.size()) == 0;
}

void verify_nobody(std::string_view password) {
  if (!sodium_ready()) return;
  // The answer is thrown away on purpose: only the time counts.
  if (crypto_pwhash_str_verify(kNobodysHash, password.data(), password.size()) == 0) return;
}

}  // namespace creel::secrets
