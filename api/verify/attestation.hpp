// Attestations of the Ethereum Attestation Service, and Coinbase's index of its own.
//
// get_attestation() and indexed_uid() ask a node; the rest is pure. Times are seconds since 1970, as the contract keeps
// them. Errors: see errors.hpp. Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "api/verify/ethereum.hpp"
#include "api/verify/node.hpp"
#include "controller/core/clock.hpp"
#include "controller/core/result.hpp"

namespace creel::verify {

struct Attestation {
  Word uid{};
  Word schema{};
  std::uint64_t time = 0;
  std::uint64_t expires = 0;  // 0: never
  std::uint64_t revoked = 0;  // 0: not
  Address recipient{};
  Address attester{};
};

// What getAttestation(bytes32) answers.
Result<Attestation> decode_attestation(std::string_view answer);

// nullopt: the contract knows no such attestation. `setting` holds the contract, for the message of a wrong one.
Result<std::optional<Attestation>> get_attestation(const Node& node, const Address& contract, const char* setting,
                                                   const Word& uid, const Until& until);
// The uid of the newest attestation of that schema for the recipient; nullopt: none.
Result<std::optional<Word>> indexed_uid(const Node& node, const Address& indexer, const char* setting,
                                        const Address& recipient, const Word& schema, const Until& until);

struct Wanted {
  std::vector<Word> schemas;
  std::vector<Address> attesters;
  std::optional<Address> recipient;  // nullopt: anybody
};
// Holds now, and is what is wanted; else VERIFICATION_FAILED with the reason.
Result<void> check_attestation(const Attestation& attestation, const Wanted& wanted, TimePoint now);

}  // namespace creel::verify
