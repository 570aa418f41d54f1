#include "controller/core/ids.hpp"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstdlib>

namespace creel {
namespace {

bool is_lower_hex(std::string_view text, std::size_t length) {
  return text.size() == length &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

constexpr std::string_view kUserPrefix = "user_";

}  // namespace

bool AgentTag::valid(std::string_view text) { return is_lower_hex(text, 16); }

bool UserTag::valid(std::string_view text) {
  return text.starts_with(kUserPrefix) && is_lower_hex(text.substr(kUserPrefix.size()), 16);
}

std::string to_hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (unsigned char byte : bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

std::string random_hex(std::size_t bytes) {
  std::string raw(bytes, '\0');
  // Without randomness no id or token is safe: there is no sensible way on.
  if (RAND_bytes(reinterpret_cast<unsigned char*>(raw.data()), static_cast<int>(bytes)) != 1) std::abort();
  return to_hex(raw);
}

std::string sha256_hex(std::string_view data) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(data.data(), data.size(), digest, &size, EVP_sha256(), nullptr) != 1) std::abort();
  return to_hex({reinterpret_cast<const char*>(digest), size});
}

AgentId new_agent_id() { return *AgentId::parse(random_hex(8)); }
UserId new_user_id() { return *UserId::parse(std::string{kUserPrefix} + random_hex(8)); }

}  // namespace creel
