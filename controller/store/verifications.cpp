#include "controller/store/verifications.hpp"

namespace creel::store {
namespace {

std::optional<std::string> optional_text(const Rows::Row& row, const char* column) {
  return row.is_null(column) ? std::nullopt : std::optional{row.text(column)};
}

}  // namespace

Result<std::optional<Verification>> get_verification(Tx& tx, const AgentId& agent) {
  CREEL_TRY(const auto rows, tx.exec("SELECT type, attestation_uid, verifier_address, verified_at, metadata "
                                     "FROM verifications WHERE agent_id = $1",
                                     {agent}));
  if (rows.empty()) return std::optional<Verification>{};
  const auto row = rows[0];
  return std::optional{Verification{agent, row.text("type"), optional_text(row, "attestation_uid"),
                                    optional_text(row, "verifier_address"), row.time("verified_at"),
                                    row.text("metadata")}};
}

Result<void> put_verification(Tx& tx, const Verification& verification) {
  CREEL_TRY(
      [[maybe_unused]] const auto rows,
      tx.exec("INSERT INTO verifications (agent_id, type, attestation_uid, verifier_address, verified_at, metadata) "
              "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (agent_id) DO UPDATE SET type = EXCLUDED.type, "
              "attestation_uid = EXCLUDED.attestation_uid, verifier_address = EXCLUDED.verifier_address, "
              "verified_at = EXCLUDED.verified_at, metadata = EXCLUDED.metadata",
              {verification.agent, verification.type, verification.attestation_uid, verification.verifier_address,
               verification.verified_at, verification.metadata}));
  return {};
}

Result<bool> delete_verification(Tx& tx, const AgentId& agent) {
  CREEL_TRY(const auto rows, tx.exec("DELETE FROM verifications WHERE agent_id = $1", {agent}));
  return rows.affected() > 0;
}

Result<void> put_challenge(Tx& tx, const Challenge& challenge) {
  CREEL_TRY(
      [[maybe_unused]] const auto rows,
      tx.exec("INSERT INTO verification_challenges (agent_id, user_id, type, challenge, message, wallet, expires_at) "
              "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (agent_id, user_id, type) DO UPDATE SET "
              "challenge = EXCLUDED.challenge, message = EXCLUDED.message, wallet = EXCLUDED.wallet, "
              "expires_at = EXCLUDED.expires_at, used_at = NULL",
              {challenge.agent, challenge.user, challenge.type, challenge.challenge, challenge.message,
               challenge.wallet, challenge.expires_at}));
  return {};
}

Result<std::optional<Challenge>> get_challenge(Tx& tx, const AgentId& agent, const UserId& user,
                                               std::string_view type) {
  CREEL_TRY(const auto rows, tx.exec("SELECT challenge, message, wallet, expires_at, used_at FROM "
                                     "verification_challenges WHERE agent_id = $1 AND user_id = $2 AND type = $3",
                                     {agent, user, type}));
  if (rows.empty()) return std::optional<Challenge>{};
  const auto row = rows[0];
  return std::optional{Challenge{agent, user, std::string{type}, row.text("challenge"), row.text("message"),
                                 optional_text(row, "wallet"), row.time("expires_at"), !row.is_null("used_at")}};
}

Result<bool> use_challenge(Tx& tx, const Challenge& challenge, TimePoint now) {
  CREEL_TRY(const auto rows, tx.exec("UPDATE verification_challenges SET used_at = $5 WHERE agent_id = $1 AND "
                                     "user_id = $2 AND type = $3 AND challenge = $4 AND used_at IS NULL",
                                     {challenge.agent, challenge.user, challenge.type, challenge.challenge, now}));
  return rows.affected() == 1;
}

}  // namespace creel::store
