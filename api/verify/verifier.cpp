#include "api/verify/verifier.hpp"

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/verify/ens.hpp"
#include "api/verify/errors.hpp"

namespace creel::verify {
namespace {

using nlohmann::json;

// Checked by the configuration; what is wrong nevertheless matches nothing.
Address address_of(const std::string& text) { return parse_address(text).value_or(Address{}); }
Word uid_of(const std::string& text) { return parse_word(text).value_or(Word{}); }

// The signer, where the claim has a wallet's signature; one that is not of the wallet that was named is refused.
Result<std::optional<Address>> signer_in(const Claim& claim) {
  if (!claim.signature) return std::optional<Address>{};
  CREEL_TRY(const Address signer, signer_of(claim.message, *claim.signature));
  if (claim.wallet && *claim.wallet != signer)
    return refused("wrong_signer", "The signature is not one of " + hex_of(*claim.wallet) +
                                       " over the message of the newest challenge for this agent");
  return std::optional{signer};
}

// Takes one of a bounded number of places, and gives it back when the last copy goes.
std::shared_ptr<void> take_place(std::atomic<std::size_t>& taken, std::size_t most) {
  if (taken.fetch_add(1) >= most) {
    taken.fetch_sub(1);
    return nullptr;
  }
  return {&taken, [](std::atomic<std::size_t>* count) { count->fetch_sub(1); }};
}

}  // namespace

const char* to_string(Type type) {
  switch (type) {
    case Type::eas:
      return "eas";
    case Type::coinbase:
      return "coinbase";
    case Type::ens:
      return "ens";
    case Type::webauthn:
      return "webauthn";
  }
  return "";
}

std::optional<Type> parse_type(std::string_view word) {
  for (const Type type : {Type::eas, Type::coinbase, Type::ens, Type::webauthn})
    if (word == to_string(type)) return type;
  return std::nullopt;
}

Verifier::Verifier(http::Client& http, Settings settings, Post post)
    : settings_(std::move(settings)),
      ethereum_(http, "ETH_RPC_URL", settings_.eth_rpc_url),
      base_(http, "BASE_RPC_URL", settings_.base_rpc_url),
      post_(std::move(post)) {}

Result<void> Verifier::check_configured(Type type) const {
  const auto missing = [type](const std::string& setting) {
    return not_configured("Verifications of the type " + std::string{to_string(type)} +
                          " are not set up here; the operator sets " + setting);
  };
  switch (type) {
    case Type::eas:
      if (!eas_node().configured()) return missing(eas_node().setting());
      // Anybody can attest anything: without these lists an attestation would prove nothing.
      if (settings_.eas_schemas.empty()) return missing("CREEL_EAS_SCHEMAS");
      if (settings_.eas_attesters.empty()) return missing("CREEL_EAS_ATTESTERS");
      return {};
    case Type::coinbase:
      if (!base_.configured()) return missing(base_.setting());
      return {};
    case Type::ens:
      return {};
    case Type::webauthn:
      if (settings_.webauthn_rp_id.empty() || settings_.webauthn_origins.empty())
        return missing("CREEL_WEBAUTHN_RP_ID and CREEL_WEBAUTHN_ORIGINS");
      return {};
  }
  return {};
}

void Verifier::check(Claim claim, std::function<void(Result<Proof>)> done) {
  if (auto configured = check_configured(claim.type); !configured) return done(configured.error());
  if (claim.type == Type::webauthn) return done(check_webauthn(claim));
  const auto signer = signer_in(claim);
  if (!signer) return done(signer.error());
  if (claim.type != Type::eas && !*signer)
    return done(Error{ErrorKind::internal, "a claim that needs a signature came without one", {}, {}});
  if (claim.type == Type::ens && !ethereum_.configured()) {
    const std::string wallet = hex_of(**signer);
    const json metadata{{"walletAddress", wallet}, {"ensName", nullptr}, {"checks", json::array({"signature"})}};
    return done(Proof{std::nullopt, wallet, metadata.dump()});
  }

  const auto place = take_place(waiting_, settings_.most_waiting);
  if (!place)
    return done(Error{ErrorKind::unavailable, "Too many verifications are under way; try again in a while", {}, kBusy});
  // Counted from now: time in the queue is time too.
  Until until{std::chrono::steady_clock::now() + settings_.deadline, stop_.get_token()};
  post_([this, place, claim = std::move(claim), signer = *signer, until = std::move(until), done = std::move(done)] {
    done(read_chain(claim, signer, until));
  });
}

Result<Proof> Verifier::read_chain(const Claim& claim, const std::optional<Address>& signer, const Until& until) const {
  if (claim.type == Type::eas) return check_eas(claim, signer, until);
  if (claim.type == Type::coinbase) return check_coinbase(*signer, claim.now, until);
  return check_ens(*signer, until);
}

Result<Proof> Verifier::check_eas(const Claim& claim, const std::optional<Address>& signer, const Until& until) const {
  const Node& node = eas_node();
  Wanted wanted;
  for (const auto& schema : settings_.eas_schemas) wanted.schemas.push_back(uid_of(schema));
  for (const auto& attester : settings_.eas_attesters) wanted.attesters.push_back(address_of(attester));
  wanted.recipient = signer ? signer : claim.wallet;
  const Word uid = claim.attestation_uid.value_or(Word{});
  CREEL_TRY(const auto found,
            get_attestation(node, address_of(settings_.eas_contract), "CREEL_EAS_CONTRACT", uid, until));
  if (!found)
    return refused("attestation_missing", "There is no attestation with this uid on the chain that counts here");
  CREEL_CHECK(check_attestation(*found, wanted, claim.now));
  CREEL_TRY(const std::uint64_t chain, node.chain_id(until));
  json checks = json::array({"attestation"});
  if (signer) checks.push_back("signature");
  const json metadata{{"schema", hex_of(found->schema)},
                      {"attester", hex_of(found->attester)},
                      {"recipient", hex_of(found->recipient)},
                      {"walletAddress", signer ? json(hex_of(*signer)) : json(nullptr)},
                      {"chainId", chain},
                      {"checks", checks}};
  return Proof{hex_of(uid), hex_of(found->attester), metadata.dump()};
}

Result<Proof> Verifier::check_coinbase(const Address& signer, TimePoint now, const Until& until) const {
  const Word schema = uid_of(settings_.coinbase_schema);
  CREEL_TRY(const auto uid, indexed_uid(base_, address_of(settings_.coinbase_indexer), "CREEL_COINBASE_INDEXER", signer,
                                        schema, until));
  const Error none = refused("attestation_missing", "Coinbase has not attested the account of " + hex_of(signer) +
                                                        "; the wallet's owner can ask for it at Coinbase");
  if (!uid) return none;
  // The index only says where to look; what counts is the attestation itself.
  CREEL_TRY(const auto found, get_attestation(base_, address_of(settings_.coinbase_eas_contract),
                                              "CREEL_COINBASE_EAS_CONTRACT", *uid, until));
  if (!found) return none;
  CREEL_CHECK(check_attestation(*found, Wanted{{schema}, {address_of(settings_.coinbase_attester)}, signer}, now));
  CREEL_TRY(const std::uint64_t chain, base_.chain_id(until));
  const json metadata{{"walletAddress", hex_of(signer)},
                      {"schema", hex_of(found->schema)},
                      {"attester", hex_of(found->attester)},
                      {"chainId", chain},
                      {"checks", json::array({"signature", "attestation"})}};
  return Proof{hex_of(*uid), hex_of(found->attester), metadata.dump()};
}

Result<Proof> Verifier::check_ens(const Address& signer, const Until& until) const {
  CREEL_TRY(const std::string name, primary_name(ethereum_, address_of(settings_.ens_registry), signer, until));
  CREEL_TRY(const std::uint64_t chain, ethereum_.chain_id(until));
  const std::string wallet = hex_of(signer);
  const json metadata{{"walletAddress", wallet},
                      {"ensName", name},
                      {"chainId", chain},
                      {"checks", json::array({"signature", "primaryName"})}};
  return Proof{std::nullopt, wallet, metadata.dump()};
}

Result<Proof> Verifier::check_webauthn(const Claim& claim) const {
  CREEL_TRY(const Registration found, check_registration(claim.registration, claim.challenge, relying_party()));
  const json metadata{{"credentialId", found.credential_id},
                      {"publicKey", found.public_key},
                      {"algorithm", found.algorithm},
                      {"aaguid", found.aaguid},
                      {"signCount", found.sign_count},
                      {"userVerified", found.user_verified},
                      {"backupEligible", found.backup_eligible},
                      {"attestation", found.attestation},
                      {"origin", found.origin},
                      {"checks", json::array({"registration"})}};
  return Proof{std::nullopt, std::nullopt, metadata.dump()};
}

}  // namespace creel::verify
