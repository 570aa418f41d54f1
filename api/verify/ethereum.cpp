#include "api/verify/ethereum.hpp"

#include <cryptopp/keccak.h>

#include <algorithm>

#include "controller/core/ids.hpp"

namespace creel::verify {
namespace {

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

template <std::size_t N>
std::optional<std::array<std::uint8_t, N>> parse_array(std::string_view text) {
  if (text.size() != 2 + 2 * N) return std::nullopt;
  const auto bytes = bytes_of_hex(text);
  if (!bytes) return std::nullopt;
  std::array<std::uint8_t, N> value;
  std::copy(bytes->begin(), bytes->end(), value.begin());
  return value;
}

template <std::size_t N>
std::string_view view_of(const std::array<std::uint8_t, N>& value) {
  return {reinterpret_cast<const char*>(value.data()), N};
}

}  // namespace

Word keccak256(std::string_view bytes) {
  Word digest;
  CryptoPP::Keccak_256 hash;
  hash.Update(reinterpret_cast<const CryptoPP::byte*>(bytes.data()), bytes.size());
  hash.Final(digest.data());
  return digest;
}

std::optional<std::string> bytes_of_hex(std::string_view text) {
  if (!text.starts_with("0x") || text.size() % 2 != 0) return std::nullopt;
  text.remove_prefix(2);
  std::string bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = digit_of(text[i]);
    const int low = digit_of(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes += static_cast<char>(high << 4 | low);
  }
  return bytes;
}

std::optional<Word> parse_word(std::string_view text) { return parse_array<32>(text); }

std::optional<Address> parse_address(std::string_view text) { return parse_array<20>(text); }

std::string hex_of(std::string_view bytes) { return "0x" + to_hex(bytes); }

std::string hex_of(const Word& word) { return hex_of(view_of(word)); }

std::string hex_of(const Address& address) {
  std::string digits = to_hex(view_of(address));
  const Word hash = keccak256(digits);
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const int nibble = i % 2 == 0 ? hash[i / 2] >> 4 : hash[i / 2] & 15;
    if (nibble >= 8 && digits[i] >= 'a') digits[i] = static_cast<char>(digits[i] - 'a' + 'A');
  }
  return "0x" + digits;
}

Word namehash(std::string_view name) {
  Word node{};
  while (!name.empty()) {
    const auto dot = name.rfind('.');
    const Word label = keccak256(dot == std::string_view::npos ? name : name.substr(dot + 1));
    node = keccak256(std::string{view_of(node)} + std::string{view_of(label)});
    name = dot == std::string_view::npos ? std::string_view{} : name.substr(0, dot);
  }
  return node;
}

Word reverse_node(const Address& address) { return namehash(to_hex(view_of(address)) + ".addr.reverse"); }

}  // namespace creel::verify
