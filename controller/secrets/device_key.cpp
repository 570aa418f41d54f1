#include "controller/secrets/device_key.hpp"

#include <sodium.h>

#include <array>

#include "controller/core/ids.hpp"

namespace creel::secrets {
namespace {

std::string base64url(const unsigned char* bytes, std::size_t size) {
  std::string text(sodium_base64_encoded_len(size, sodium_base64_VARIANT_URLSAFE_NO_PADDING), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  text.pop_back();  // the terminating zero
  return text;
}

}  // namespace

struct DeviceKey::Secret {
  std::array<unsigned char, crypto_sign_SECRETKEYBYTES> key{};
  ~Secret() { sodium_memzero(key.data(), key.size()); }
};

std::string DeviceKey::make_seed() { return random_hex(crypto_sign_SEEDBYTES); }

Result<DeviceKey> DeviceKey::from_seed(std::string_view hex) {
  if (sodium_init() < 0) return Error{ErrorKind::internal, "libsodium cannot be initialised"};
  std::array<unsigned char, crypto_sign_SEEDBYTES> seed{};
  std::size_t length = 0;
  if (hex.size() != 2 * seed.size() ||
      sodium_hex2bin(seed.data(), seed.size(), hex.data(), hex.size(), nullptr, &length, nullptr) != 0 ||
      length != seed.size()) {
    return Error{ErrorKind::corrupt, "the stored device key of the agent is not a key"};
  }
  DeviceKey made;
  auto secret = std::make_shared<Secret>();
  std::array<unsigned char, crypto_sign_PUBLICKEYBYTES> raw{};
  crypto_sign_seed_keypair(raw.data(), secret->key.data(), seed.data());
  sodium_memzero(seed.data(), seed.size());
  made.id_ = sha256_hex({reinterpret_cast<const char*>(raw.data()), raw.size()});
  made.public_key_ = base64url(raw.data(), raw.size());
  made.token_ = sha256_hex("creel device token " + std::string{hex});
  made.secret_ = std::move(secret);
  return made;
}

std::string DeviceKey::sign(std::string_view text) const {
  std::array<unsigned char, crypto_sign_BYTES> signature{};
  crypto_sign_detached(signature.data(), nullptr, reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                       secret_->key.data());
  return base64url(signature.data(), signature.size());
}

}  // namespace creel::secrets
