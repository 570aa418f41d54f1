#include "api/verify/attestation.hpp"

#include <algorithm>

#include "api/verify/abi.hpp"
#include "api/verify/errors.hpp"

namespace creel::verify {
namespace {

// Calls a contract that the configuration names: what it answers badly is the configuration's fault.
Result<std::string> call_configured(const Node& node, const Address& contract, const char* setting,
                                    std::string_view data, const Until& until) {
  auto answer = node.call(contract, data, until);
  if (!answer && answer.error().code == kReverted)
    return unreachable(std::string{"The contract of "} + setting +
                       " refused the call; is it the right one for the chain of " + node.setting() + "?");
  return answer;
}

Error wrong_contract(const Node& node, const char* setting) {
  return unreachable(std::string{"The contract of "} + setting +
                     " did not answer as it should; is it the right one for " + "the chain of " + node.setting() + "?");
}

template <class T>
bool contains(const std::vector<T>& all, const T& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

Result<Attestation> decode_attestation(std::string_view answer) {
  CREEL_TRY(const Reader tuple, Reader{answer}.tuple(0));
  Attestation attestation;
  CREEL_TRY(attestation.uid, tuple.word(0));
  CREEL_TRY(attestation.schema, tuple.word(1));
  CREEL_TRY(attestation.time, tuple.number(2));
  CREEL_TRY(attestation.expires, tuple.number(3));
  CREEL_TRY(attestation.revoked, tuple.number(4));
  // Word 5 is the attestation that this one refers to.
  CREEL_TRY(attestation.recipient, tuple.address(6));
  CREEL_TRY(attestation.attester, tuple.address(7));
  CREEL_TRY([[maybe_unused]] const bool revocable, tuple.boolean(8));
  // The data says nothing to Creel, but an answer that ends within it is not whole.
  CREEL_TRY([[maybe_unused]] const std::string data, tuple.text(9, answer.size()));
  return attestation;
}

Result<std::optional<Attestation>> get_attestation(const Node& node, const Address& contract, const char* setting,
                                                   const Word& uid, const Until& until) {
  CREEL_TRY(const std::string answer,
            call_configured(node, contract, setting, call_data("getAttestation(bytes32)", {uid}), until));
  auto attestation = decode_attestation(answer);
  if (!attestation) return wrong_contract(node, setting);
  // The contract answers with zeros about what it does not know.
  if (is_zero(attestation->uid)) return std::optional<Attestation>{};
  if (attestation->uid != uid) return wrong_contract(node, setting);
  return std::optional{*attestation};
}

Result<std::optional<Word>> indexed_uid(const Node& node, const Address& indexer, const char* setting,
                                        const Address& recipient, const Word& schema, const Until& until) {
  CREEL_TRY(const std::string answer,
            call_configured(node, indexer, setting,
                            call_data("getAttestationUid(address,bytes32)", {word_of(recipient), schema}), until));
  const auto uid = Reader{answer}.word(0);
  if (!uid) return wrong_contract(node, setting);
  return is_zero(*uid) ? std::optional<Word>{} : std::optional{*uid};
}

Result<void> check_attestation(const Attestation& attestation, const Wanted& wanted, TimePoint now) {
  if (!contains(wanted.schemas, attestation.schema))
    return refused("wrong_schema",
                   "The attestation's schema " + hex_of(attestation.schema) + " is not one that counts here");
  if (!contains(wanted.attesters, attestation.attester))
    return refused("wrong_attester",
                   "The attester " + hex_of(attestation.attester) + " is not one that is trusted here");
  if (wanted.recipient && *wanted.recipient != attestation.recipient)
    return refused("wrong_recipient", "The attestation is about " + hex_of(attestation.recipient) + ", not about " +
                                          hex_of(*wanted.recipient));
  if (attestation.revoked != 0) return refused("attestation_revoked", "The attestation has been revoked");
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  if (attestation.expires != 0 && attestation.expires <= static_cast<std::uint64_t>(std::max<std::int64_t>(seconds, 0)))
    return refused("attestation_expired", "The attestation has expired");
  return {};
}

}  // namespace creel::verify
