// The calls and answers of contracts, as the Solidity ABI lays them out. Pure.
//
// Calls take words only, which is all that Creel asks with. Answers come from machines and contracts that are not ours:
// every offset and length is checked against what is there. Errors: corrupt, for an answer that is too short or holds
// what its type cannot. Threads: any.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "api/verify/ethereum.hpp"
#include "controller/core/result.hpp"

namespace creel::verify {

// "getAttestation(bytes32)" and its arguments -> the bytes to send.
std::string call_data(std::string_view function, std::initializer_list<Word> arguments);
// An address as an argument: 12 zero bytes before it.
Word word_of(const Address& address);

// A tuple of the answer; the answer itself is one. `index` counts its words from 0. It looks into the given bytes,
// which must outlive it.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  Result<Word> word(std::size_t index) const;
  Result<Address> address(std::size_t index) const;
  Result<std::uint64_t> number(std::size_t index) const;  // above 64 bits: corrupt
  Result<bool> boolean(std::size_t index) const;
  // What the offset at `index` points to: a tuple with dynamic members, or a string or bytes of at most `most` bytes.
  Result<Reader> tuple(std::size_t index) const;
  Result<std::string> text(std::size_t index, std::size_t most) const;

 private:
  std::string_view bytes_;
};

}  // namespace creel::verify
