#include "api/verify/abi.hpp"

#include <algorithm>

namespace creel::verify {
namespace {

constexpr std::size_t kWord = 32;

Error corrupt(std::string message) { return Error{ErrorKind::corrupt, std::move(message), {}, {}}; }

bool starts_with_zeros(const Word& word, std::size_t count) {
  return std::all_of(word.begin(), word.begin() + static_cast<std::ptrdiff_t>(count),
                     [](auto byte) { return byte == 0; });
}

}  // namespace

std::string call_data(std::string_view function, std::initializer_list<Word> arguments) {
  const Word selector = keccak256(function);
  std::string data{selector.begin(), selector.begin() + 4};
  for (const Word& argument : arguments) data.append(argument.begin(), argument.end());
  return data;
}

Word word_of(const Address& address) {
  Word word{};
  std::copy(address.begin(), address.end(), word.end() - address.size());
  return word;
}

Result<Word> Reader::word(std::size_t index) const {
  // Divided, not multiplied: the index cannot overflow.
  if (index >= bytes_.size() / kWord) return corrupt("the answer of the contract is too short");
  Word word;
  const auto from = bytes_.substr(index * kWord, kWord);
  std::copy(from.begin(), from.end(), word.begin());
  return word;
}

Result<Address> Reader::address(std::size_t index) const {
  CREEL_TRY(const Word found, word(index));
  Address address;
  if (!starts_with_zeros(found, kWord - address.size())) return corrupt("the answer of the contract holds no address");
  std::copy(found.end() - address.size(), found.end(), address.begin());
  return address;
}

Result<std::uint64_t> Reader::number(std::size_t index) const {
  CREEL_TRY(const Word found, word(index));
  if (!starts_with_zeros(found, kWord - 8)) return corrupt("the answer of the contract holds too large a number");
  std::uint64_t number = 0;
  for (std::size_t i = kWord - 8; i < kWord; ++i) number = number << 8 | found[i];
  return number;
}

Result<bool> Reader::boolean(std::size_t index) const {
  CREEL_TRY(const std::uint64_t found, number(index));
  if (found > 1) return corrupt("the answer of the contract holds no truth value");
  return found == 1;
}

Result<Reader> Reader::tuple(std::size_t index) const {
  CREEL_TRY(const std::uint64_t offset, number(index));
  if (offset > bytes_.size()) return corrupt("the answer of the contract points outside itself");
  return Reader{bytes_.substr(offset)};
}

Result<std::string> Reader::text(std::size_t index, std::size_t most) const {
  CREEL_TRY(const Reader at, tuple(index));
  CREEL_TRY(const std::uint64_t length, at.number(0));
  if (length > most || length > at.bytes_.size() - kWord)
    return corrupt("the answer of the contract has a wrong length");
  return std::string{at.bytes_.substr(kWord, length)};
}

}  // namespace creel::verify
