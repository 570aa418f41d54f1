// Sealer: secrets at rest. XChaCha20-Poly1305 (libsodium) under a key derived from the master key, with a random
// 24-byte nonce for each sealing.
//
// The context ("<agent id>/<name>") is authenticated with the text, so that a sealed row copied to another agent or
// name does not open. The key id says which master key sealed a row; it is derived one-way and may be shown. `nonce`
// and `ciphertext` are raw bytes.
//
// A Sealer holds a ring of keys: one seals, all open. Which one seals is at first the ring's first, then what use()
// says (the database knows: store/master_key.hpp). While the master key is rotated the ring holds the new one and the
// one before it; keys are only ever added to a ring, so that what was read before a rotation ended still opens after
// it.
//
// Errors: invalid (not a key), corrupt (another key, another context, damaged), failed (file). No error text holds a
// secret. Threads: all methods from any thread; copies share the ring, which is wiped with the last copy.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

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
  // Keys of 32 bytes in base64 (standard alphabet, with or without padding), one or several with blanks, line breaks or
  // commas between them. The first is the one that is to seal.
  static Result<Sealer> from_base64(std::string text);
  // Reads the key file, one key a line, the first of which is to seal; makes it (0600, complete or not at all, folder
  // included) when there is none. A file that group or others may read is refused.
  static Result<Sealer> load_or_create(const std::string& path);
  // What the settings CREEL_MASTER_KEY, CREEL_MASTER_KEY_PREVIOUS and CREEL_MASTER_KEY_FILE say. The file counts when
  // there is no key; it is then read again by refresh() and when a key is missing.
  static Result<Sealer> load(const std::string& key, const std::string& previous, const std::string& path);

  // A Sealer of its own that opens what either opens and seals with this one's key.
  Sealer with_old_key(const Sealer& old) const;
  // Reads the key file again and takes in what it holds. Failed: the ring stays as it is.
  Result<void> refresh() const;
  // From now on this key seals; false: the ring does not hold it.
  bool use(std::string_view key_id);

  Sealed seal(std::string_view plain, std::string_view context) const;
  Result<std::string> open(const Sealed& sealed, std::string_view context) const;

  // 16 hex digits naming the key that seals. Not secret.
  std::string key_id() const;
  // Of the whole ring; first the one that is to seal according to the file or the setting.
  std::vector<std::string> key_ids() const;
  // 32 bytes for files_hash(): secret, and useless for opening anything. The same through all rotations once the
  // database has told it (keep_hash_key); before, that of the key named, or of the one that seals.
  std::string hash_key() const;
  std::string hash_key_of(std::string_view key_id) const;
  void keep_hash_key(std::string hash_key);

 private:
  struct Keys;
  struct Ring;
  explicit Sealer(std::shared_ptr<const Keys> keys);
  std::shared_ptr<const Keys> keys() const;
  std::shared_ptr<Ring> ring_;
};

// Puts a new key before those in the file, whole or not at all; mode and owner stay. Failed: the file is as it was.
Result<void> add_master_key(const std::string& path);
// Leaves only this key in the file. Each other one is moved to "<path>.old-<key id>" first (0600): it opens backups of
// the database from before. invalid: the file does not hold the key.
Result<void> keep_master_key(const std::string& path, std::string_view key_id);

// The context under which an agent's secret is sealed.
std::string secret_context(std::string_view agent_id, std::string_view name);

}  // namespace creel::secrets
