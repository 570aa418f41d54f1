#include "controller/secrets/hmac.hpp"

#include <sodium.h>

#include <array>

namespace creel::secrets {
namespace {

using Mac = std::array<unsigned char, crypto_auth_hmacsha256_BYTES>;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

Mac hmac(std::string_view key, std::string_view message) {
  crypto_auth_hmacsha256_state state;
  Mac mac{};
  crypto_auth_hmacsha256_init(&state, bytes_of(key), key.size());
  crypto_auth_hmacsha256_update(&state, bytes_of(message), message.size());
  crypto_auth_hmacsha256_final(&state, mac.data());
  sodium_memzero(&state, sizeof state);
  return mac;
}

}  // namespace

std::string hmac_sha256_hex(std::string_view key, std::string_view message) {
  const Mac mac = hmac(key, message);
  std::string hex(2 * mac.size() + 1, '\0');
  sodium_bin2hex(hex.data(), hex.size(), mac.data(), mac.size());
  hex.pop_back();
  return hex;
}

bool is_hmac_sha256(std::string_view hex, std::string_view key, std::string_view message) {
  Mac sent{};
  std::size_t length = 0;
  if (hex.size() != 2 * sent.size() ||
      sodium_hex2bin(sent.data(), sent.size(), hex.data(), hex.size(), nullptr, &length, nullptr) != 0 ||
      length != sent.size())
    return false;
  const Mac mac = hmac(key, message);
  return sodium_memcmp(mac.data(), sent.data(), mac.size()) == 0;
}

bool same_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace creel::secrets
