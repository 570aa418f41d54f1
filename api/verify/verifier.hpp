// Verifier: finds out whether what an owner claims about an agent holds. Nothing is called verified without it.
//
// What needs no node (signatures, WebAuthn) is checked at once on the caller's thread; what must be read from a chain
// is done on threads of the verifier's own, a bounded number at a time and within a deadline, so that a slow node holds
// up nothing but the verifications that need it.
//
// Errors: see errors.hpp; invalid for a WebAuthn answer that is none. Threads: any. `done` is called exactly once, from
// any thread, perhaps before check() returns; it must not block for long. stop() ends what is under way with an error.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "api/verify/attestation.hpp"
#include "api/verify/ethereum.hpp"
#include "api/verify/node.hpp"
#include "api/verify/signature.hpp"
#include "api/verify/webauthn.hpp"
#include "controller/core/clock.hpp"
#include "controller/core/result.hpp"
#include "controller/http/client.hpp"

namespace creel::verify {

enum class Type { eas, coinbase, ens, webauthn };
const char* to_string(Type type);
std::optional<Type> parse_type(std::string_view word);

// From the configuration, whose checks have seen to the form of addresses and uids.
struct Settings {
  std::string eth_rpc_url;
  std::string base_rpc_url;
  std::string eas_chain = "ethereum";  // or "base": whose node is asked
  std::string eas_contract;
  std::vector<std::string> eas_schemas;
  std::vector<std::string> eas_attesters;
  std::string coinbase_eas_contract;
  std::string coinbase_indexer;
  std::string coinbase_attester;
  std::string coinbase_schema;
  std::string ens_registry;
  std::string webauthn_rp_id;  // "": WebAuthn cannot be used
  std::vector<std::string> webauthn_origins;
  std::chrono::milliseconds deadline{20'000};  // all chain reads of one verification
  std::size_t most_waiting = 64;               // verifications that read chains at a time, queued ones included
};

// What is claimed. `message` and `challenge`: of the challenge that the owner was given; "" when the type needs none.
struct Claim {
  Type type = Type::eas;
  std::string message;
  std::string challenge;
  std::optional<Signature> signature;
  std::optional<Address> wallet;
  std::optional<Word> attestation_uid;
  std::string registration;  // WebAuthn's answer
  TimePoint now;
};

// What was found to hold.
struct Proof {
  std::optional<std::string> attestation_uid;
  std::optional<std::string> verifier_address;  // who vouches: the attester, or the wallet that signed
  std::string metadata;                         // a JSON object
};

class Verifier {
 public:
  using Post = std::function<void(std::function<void()>)>;

  // `post` runs work on threads that may block; they are joined before the verifier goes.
  Verifier(http::Client& http, Settings settings, Post post);

  const Settings& settings() const { return settings_; }
  RelyingParty relying_party() const { return {settings_.webauthn_rp_id, settings_.webauthn_origins}; }
  // VERIFIER_NOT_CONFIGURED, naming the setting, when this type cannot be checked here.
  Result<void> check_configured(Type type) const;
  void check(Claim claim, std::function<void(Result<Proof>)> done);
  void stop() { stop_.request_stop(); }

 private:
  Result<Proof> check_webauthn(const Claim& claim) const;
  Result<Proof> read_chain(const Claim& claim, const std::optional<Address>& signer, const Until& until) const;
  Result<Proof> check_eas(const Claim& claim, const std::optional<Address>& signer, const Until& until) const;
  Result<Proof> check_coinbase(const Address& signer, TimePoint now, const Until& until) const;
  Result<Proof> check_ens(const Address& signer, const Until& until) const;
  const Node& eas_node() const { return settings_.eas_chain == "base" ? base_ : ethereum_; }

  const Settings settings_;
  const Node ethereum_;
  const Node base_;
  const Post post_;
  std::stop_source stop_;
  std::atomic<std::size_t> waiting_{0};
};

}  // namespace creel::verify
