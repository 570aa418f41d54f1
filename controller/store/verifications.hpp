// Verifications of agents, and the challenges that owners sign for them.
//
// An agent has at most one verification; both tables' rows go with the agent. There is one challenge for each agent,
// user and type, the newest. Types are the API's words. Errors: see pg.hpp. Functions that write need the caller's
// commit().
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct Verification {
  AgentId agent;
  std::string type;  // "eas" | "coinbase" | "ens" | "webauthn"
  std::optional<std::string> attestation_uid;
  std::optional<std::string> verifier_address;
  TimePoint verified_at;
  std::string metadata;  // a JSON object
};

// nullopt: not verified.
Result<std::optional<Verification>> get_verification(Tx& tx, const AgentId& agent);
// Replaces what there was.
Result<void> put_verification(Tx& tx, const Verification& verification);
// False: there was none.
Result<bool> delete_verification(Tx& tx, const AgentId& agent);

struct Challenge {
  AgentId agent;
  UserId user;
  std::string type;
  std::string challenge;  // random
  std::string message;    // what a wallet signs; holds the challenge
  std::optional<std::string> wallet;
  TimePoint expires_at;
  bool used = false;
};

Result<void> put_challenge(Tx& tx, const Challenge& challenge);
Result<std::optional<Challenge>> get_challenge(Tx& tx, const AgentId& agent, const UserId& user, std::string_view type);
// Uses it up, for one caller only: false when another one was faster, or a newer challenge has taken its place.
Result<bool> use_challenge(Tx& tx, const Challenge& challenge, TimePoint now);

}  // namespace creel::store
