// Verification: what is known about an agent, a challenge to sign, the check itself, and taking it back. The owner's
// alone: an administrator who is not the owner may not either.
//
// A challenge is used up by the verification that it makes. A check that fails leaves it (and an earlier verification)
// as it is, so nothing is lost to a node that was away.
#include <memory>
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/verify/errors.hpp"
#include "api/verify/verifier.hpp"
#include "api/view.hpp"
#include "controller/store/verifications.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Failed to verify agent";
constexpr std::chrono::minutes kChallengeLifetime{10};
constexpr std::size_t kLongestAnswer = 256u << 10;  // of an authenticator

// The caller's own agent, or the answer that refuses it.
struct Owned {
  std::optional<store::AgentRow> row;
  Response refusal;
};

Result<Owned> find_owned(const Request& request, store::Tx& tx, bool for_update) {
  Owned owned;
  CREEL_TRY(owned.row, find_agent(tx, *request.caller, request.param("id"), for_update));
  if (!owned.row) {
    owned.refusal = agent_not_found(request);
  } else if (owned.row->owner != request.caller->id) {
    // Only an administrator comes here: there is nothing to hide from one.
    owned.row.reset();
    owned.refusal =
        error_answer(request, 403, "FORBIDDEN", "Only the agent's owner may see or change its verification");
  }
  return owned;
}

Response verify_error(const Request& request, const Error& error) {
  if (error.code == verify::kFailed)
    return error_answer(request, 422, error.code, error.message, json{{"reason", error.field}, {"verified", false}});
  if (error.code == verify::kUnreachable) return error_answer(request, 502, error.code, error.message);
  if (error.code == verify::kNotConfigured) return error_answer(request, 503, error.code, error.message);
  if (error.code == verify::kBusy) {
    Response response = error_answer(request, 503, error.code, error.message);
    response.headers.emplace_back("Retry-After", "5");
    return response;
  }
  return error_answer(request, error, kFailure);
}

Result<verify::Type> type_in(const json& body) {
  CREEL_TRY(const auto word, text_field(body, "verificationType"));
  const auto type = verify::parse_type(word.value_or(""));
  if (!type)
    return invalid("verificationType", "Invalid verification type; verificationType is eas, coinbase, ens or webauthn");
  return *type;
}

Result<std::optional<verify::Address>> wallet_in(const json& body) {
  CREEL_TRY(const auto text, text_field(body, "walletAddress"));
  if (!text || text->empty()) return std::optional<verify::Address>{};
  const auto wallet = verify::parse_address(*text);
  if (!wallet) return invalid("walletAddress", "The field walletAddress must be \"0x\" and 40 hex digits");
  return wallet;
}

Error missing(const char* field, verify::Type type) {
  return invalid(field, std::string{"The field "} + field + " is required for the type " + verify::to_string(type));
}

// Everything but what the challenge adds.
Result<verify::Claim> claim_in(const json& body) {
  using verify::Type;
  verify::Claim claim;
  CREEL_TRY(claim.type, type_in(body));
  CREEL_TRY(const auto uid, text_field(body, "attestationUid"));
  CREEL_TRY(const auto signature, text_field(body, "signature"));
  CREEL_TRY(claim.wallet, wallet_in(body));
  const bool has_signature = signature && !signature->empty();
  const auto attestation = verify::parse_word(uid.value_or(""));
  if (uid && !uid->empty() && !attestation)
    return invalid("attestationUid", "The field attestationUid must be \"0x\" and 64 hex digits");
  if (claim.type == Type::eas) {
    if (!attestation) return missing("attestationUid", claim.type);
    claim.attestation_uid = attestation;
  } else if (!has_signature) {
    return missing("signature", claim.type);
  }
  if (claim.type == Type::ens && !claim.wallet) return missing("walletAddress", claim.type);
  if (claim.type == Type::webauthn) {
    if (signature->size() > kLongestAnswer) return invalid("signature", "The field signature is too long");
    claim.registration = *signature;
  } else if (has_signature) {
    claim.signature = verify::parse_signature(*signature);
    if (!claim.signature)
      return invalid("signature", "The field signature must be \"0x\" and 130 hex digits: r, s and v of 65 bytes");
  }
  return claim;
}

bool needs_challenge(const verify::Claim& claim) {
  return claim.type == verify::Type::webauthn || claim.signature.has_value();
}

Response challenge_refused(const Request& request, const char* code, const std::string& what) {
  return error_answer(request, 409, code,
                      what + "; get a new one with POST /api/agents/" + request.param("id") + "/verify/challenge");
}

// Why this challenge cannot be answered, if it cannot.
std::optional<Response> challenge_problem(const Request& request, const std::optional<store::Challenge>& challenge,
                                          TimePoint now) {
  if (!challenge)
    return challenge_refused(request, "CHALLENGE_MISSING", "You have no challenge of this type for this agent");
  if (challenge->used) return challenge_refused(request, "CHALLENGE_USED", "The challenge has been used");
  if (challenge->expires_at <= now) return challenge_refused(request, "CHALLENGE_EXPIRED", "The challenge has expired");
  return std::nullopt;
}

std::string message_of(const store::Challenge& challenge, const Deps& deps) {
  std::string text = "Creel at " + deps.settings.public_url + " asks you to prove that this wallet is yours.\n\n";
  text += "Agent: " + challenge.agent.str() + "\nUser: " + challenge.user.str() + "\nVerification: " + challenge.type;
  if (challenge.wallet) text += "\nWallet: " + *challenge.wallet;
  return text + "\nChallenge: " + challenge.challenge + "\nExpires: " + to_rfc3339(challenge.expires_at) +
         "\n\nSigning costs nothing and moves nothing.";
}

json null_or(const std::optional<std::string>& text) { return text ? json(*text) : json(nullptr); }

json verification_view(const std::optional<store::Verification>& found) {
  if (!found)
    return json{{"verified", false},          {"verificationType", nullptr}, {"attestationUid", nullptr},
                {"verifierAddress", nullptr}, {"verifiedAt", nullptr},       {"metadata", nullptr}};
  json metadata = json::parse(found->metadata, nullptr, /*allow_exceptions=*/false);
  return json{{"verified", true},
              {"verificationType", found->type},
              {"attestationUid", null_or(found->attestation_uid)},
              {"verifierAddress", null_or(found->verifier_address)},
              {"verifiedAt", to_rfc3339(found->verified_at)},
              {"metadata", metadata.is_object() ? metadata : json(nullptr)}};
}

// What a check needs until it is stored.
struct Attempt {
  Request request;
  verify::Type type;
  std::optional<store::Challenge> challenge;
};

// The agent may have gone, and the challenge have been used, while the chain was read.
Response store_proof(const Attempt& attempt, const verify::Proof& proof, Deps& deps) {
  const Request& request = attempt.request;
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto owned, request, kFailure, find_owned(request, tx, true));
  if (!owned.row) return owned.refusal;
  const TimePoint now = deps.clock();
  if (attempt.challenge) {
    CREEL_API_TRY(const bool used, request, kFailure, store::use_challenge(tx, *attempt.challenge, now));
    if (!used) return challenge_refused(request, "CHALLENGE_USED", "The challenge has been used or replaced meanwhile");
  }
  const store::Verification verification{
      owned.row->id, verify::to_string(attempt.type), proof.attestation_uid, proof.verifier_address, now,
      proof.metadata};
  CREEL_API_CHECK(request, kFailure, store::put_verification(tx, verification));
  CREEL_API_CHECK(
      request, kFailure,
      record_event(tx, owned.row->id, "audit", "Verified", "Agent was verified: " + verification.type, request));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  json body = verification_view(verification);
  body["success"] = true;
  return json_answer(200, body);
}

}  // namespace

Reply get_verification(const Request& request, Deps& deps) {
  constexpr const char* kReadFailure = "Failed to fetch verification";
  CREEL_API_TRY(auto tx, request, kReadFailure, deps.db.begin());
  CREEL_API_TRY(const auto owned, request, kReadFailure, find_owned(request, tx, false));
  if (!owned.row) return owned.refusal;
  CREEL_API_TRY(const auto found, request, kReadFailure, store::get_verification(tx, owned.row->id));
  return json_answer(200, verification_view(found));
}

Reply verification_challenge(const Request& request, Deps& deps) {
  constexpr const char* kChallengeFailure = "Failed to make a challenge";
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY(const verify::Type type, request, "", type_in(body));
  CREEL_API_TRY(const auto wallet, request, "", wallet_in(body));
  CREEL_API_TRY(auto tx, request, kChallengeFailure, deps.db.begin());
  CREEL_API_TRY(const auto owned, request, kChallengeFailure, find_owned(request, tx, false));
  if (!owned.row) return owned.refusal;
  if (auto configured = deps.verifier.check_configured(type); !configured)
    return verify_error(request, configured.error());

  store::Challenge challenge;
  challenge.agent = owned.row->id;
  challenge.user = request.caller->id;
  challenge.type = verify::to_string(type);
  challenge.challenge = random_hex(32);  // hex digits are base64url as well, which is what WebAuthn wants
  if (wallet) challenge.wallet = verify::hex_of(*wallet);
  challenge.expires_at = deps.clock() + kChallengeLifetime;
  challenge.message = message_of(challenge, deps);
  CREEL_API_CHECK(request, kChallengeFailure, store::put_challenge(tx, challenge));
  CREEL_API_CHECK(request, kChallengeFailure, tx.commit());
  json answer{{"challenge", challenge.challenge},
              {"message", challenge.message},
              {"expiresAt", to_rfc3339(challenge.expires_at)},
              {"verificationType", challenge.type}};
  if (type == verify::Type::webauthn)
    answer["options"] =
        json::parse(verify::creation_options(deps.verifier.relying_party(), challenge.challenge,
                                             request.caller->id.str(), request.caller->email, kChallengeLifetime));
  return json_answer(200, answer);
}

Reply verify_agent(const Request& request, Deps& deps) {
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY(verify::Claim claim, request, "", claim_in(body));
  claim.now = deps.clock();
  auto attempt = std::make_shared<Attempt>(Attempt{without_body(request), claim.type, std::nullopt});
  {
    CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
    CREEL_API_TRY(const auto owned, request, kFailure, find_owned(request, tx, false));
    if (!owned.row) return owned.refusal;
    // Before the challenge: nobody is to sign something for nothing.
    if (auto configured = deps.verifier.check_configured(claim.type); !configured)
      return verify_error(request, configured.error());
    if (needs_challenge(claim)) {
      CREEL_API_TRY(attempt->challenge, request, kFailure,
                    store::get_challenge(tx, owned.row->id, request.caller->id, verify::to_string(claim.type)));
      if (auto problem = challenge_problem(request, attempt->challenge, claim.now)) return std::move(*problem);
      claim.message = attempt->challenge->message;
      claim.challenge = attempt->challenge->challenge;
      // A challenge that was asked for with a wallet is answered by that wallet.
      if (attempt->challenge->wallet) {
        const auto asked = verify::parse_address(*attempt->challenge->wallet);
        if (claim.wallet && claim.wallet != asked)
          return verify_error(request, verify::refused("wrong_signer", "The challenge was made for the wallet " +
                                                                           *attempt->challenge->wallet));
        claim.wallet = asked;
      }
    }
  }
  Later later;
  later.start = [&deps, attempt, claim = std::move(claim)](std::function<void(Response)> complete) {
    deps.verifier.check(claim, [&deps, attempt, complete = std::move(complete)](Result<verify::Proof> proof) {
      if (!proof) return complete(verify_error(attempt->request, proof.error()));
      // PostgreSQL is asked from where it may be waited for.
      deps.post(
          [&deps, attempt, complete, proof = std::move(*proof)] { complete(store_proof(*attempt, proof, deps)); });
    });
  };
  return later;
}

Reply remove_verification(const Request& request, Deps& deps) {
  constexpr const char* kRemoveFailure = "Failed to remove verification";
  CREEL_API_TRY(auto tx, request, kRemoveFailure, deps.db.begin());
  CREEL_API_TRY(const auto owned, request, kRemoveFailure, find_owned(request, tx, true));
  if (!owned.row) return owned.refusal;
  CREEL_API_TRY(const bool removed, request, kRemoveFailure, store::delete_verification(tx, owned.row->id));
  if (removed) {
    CREEL_API_CHECK(request, kRemoveFailure,
                    record_event(tx, owned.row->id, "audit", "Unverified", "The verification was removed", request));
    CREEL_API_CHECK(request, kRemoveFailure, tx.commit());
  }
  return json_answer(200, json{{"success", true}});
}

}  // namespace creel::api
