// Ethereum's values: 32-byte words, addresses, their hex forms, Keccak-256, the hashes of ENS names. Pure.
//
// Bytes travel in std::string. Hex is "0x" and digits of either case, as nodes and wallets write it. Errors: nullopt
// for text that has not that form. Threads: any. ethereum.cpp is the sole includer of Crypto++.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace creel::verify {

using Word = std::array<std::uint8_t, 32>;
using Address = std::array<std::uint8_t, 20>;

Word keccak256(std::string_view bytes);

// "0x" and an even number of hex digits.
std::optional<std::string> bytes_of_hex(std::string_view text);
std::optional<Word> parse_word(std::string_view text);
std::optional<Address> parse_address(std::string_view text);
std::string hex_of(std::string_view bytes);
std::string hex_of(const Word& word);
// With the capitals of EIP-55, by which people and programs notice a mistyped digit.
std::string hex_of(const Address& address);

template <std::size_t N>
bool is_zero(const std::array<std::uint8_t, N>& value) {
  return value == std::array<std::uint8_t, N>{};
}

// EIP-137. The name is hashed as it stands: whoever calls sees to it that it is in normal form.
Word namehash(std::string_view name);
// Of "<address without 0x, lower case>.addr.reverse".
Word reverse_node(const Address& address);

}  // namespace creel::verify
