// DeviceKey: the key by which the controller proves to an agent's gateway who it is. Ed25519 (libsodium); one a
// controller and agent, kept sealed as its seed, "device_key".
//
// The forms are OpenClaw's: id = SHA-256 of the raw public key in hex; public key and signatures in base64url without
// padding. Everything but the seed may be given to the agent. Threads: const after construction.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "controller/core/result.hpp"

namespace creel::secrets {

class DeviceKey {
 public:
  // A new seed: 32 random bytes as 64 lower-case hex digits.
  static std::string make_seed();
  // corrupt: not such a seed.
  static Result<DeviceKey> from_seed(std::string_view hex);

  const std::string& id() const { return id_; }
  const std::string& public_key() const { return public_key_; }
  // The token that the gateway's list of paired devices wants for this one. Derived from the seed, one-way.
  const std::string& token() const { return token_; }
  std::string sign(std::string_view text) const;

 private:
  struct Secret;
  DeviceKey() = default;
  std::string id_;
  std::string public_key_;
  std::string token_;
  std::shared_ptr<const Secret> secret_;
};

}  // namespace creel::secrets
