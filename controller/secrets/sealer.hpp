// Sealer: secrets at rest. XChaCha20-Poly1305 (libsodium) under a key derived from the master key, with a random
// 24-byte nonce for each sealing.
//
// The context ("<agent id>/<name>") is authenticated with the text, so that a sealed row copied to another agent or
// name does not open. The key id says which master key sealed a row; it is derived one-way and may be shown. `nonce`
// and `ciphertext` are raw bytes. A Sealer holds one key that seals and any number that only open (rotation).
//
// Errors: invalid (not a key), corrupt (another key, another context, damaged), failed (file). No error text holds a
// secret. Threads: after construction all methods are const and may be called from any thread; copies share the keys,
// which are wiped with the last copy.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "controller/core/result.hpp"

namespace creel::secrets {

struct Sealed {
  std::string key_id;
  std::string nonce;
  std::string ciphertext;
  bool operator==(const Sealed&) const = default;
};

class Sealer {
 public:
  // 32 bytes in base64 (standard alphabet, with or without padding, surrounding blanks allowed).
  static Result<Sealer> from_base64(std::string text);
  // Reads the key file; makes it (0600, complete or not at all, folder included) when there is none. A file that group
  // or others may read is refused.
  static Result<Sealer> load_or_create(const std::string& path);

  // A Sealer that opens what either opens and seals with this one's key.
  Sealer with_old_key(const Sealer& old) const;

  Sealed seal(std::string_view plain, std::string_view context) const;
  Result<std::string> open(const Sealed& sealed, std::string_view context) const;

  // 16 hex digits naming the key that seals. Not secret.
  std::string key_id() const;
  // 32 bytes for files_hash(): secret, and useless for opening anything.
  std::string hash_key() const;

 private:
  struct Keys;
  explicit Sealer(std::shared_ptr<const Keys> keys) : keys_(std::move(keys)) {}
  std::shared_ptr<const Keys> keys_;
};

// The context under which an agent's secret is sealed.
std::string secret_context(std::string_view agent_id, std::string_view name);

}  // namespace creel::secrets
