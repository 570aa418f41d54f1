#include "controller/store/idempotency.hpp"

namespace creel::store {

Result<IdempotencyOutcome> begin_idempotent(Tx& tx, const UserId& user, std::string_view key,
                                            std::string_view body_digest) {
  // This key if it is too old to count, and others as they are met; those that somebody is using just now are left.
  CREEL_TRY([[maybe_unused]] const auto cleared,
            tx.exec("DELETE FROM idempotency_keys WHERE (user_id, key) IN (SELECT user_id, key FROM idempotency_keys "
                    "WHERE created_at < now() - interval '24 hours' ORDER BY (user_id = $1 AND key = $2) DESC "
                    "LIMIT 100 FOR UPDATE SKIP LOCKED)",
                    {user, key}));
  // ON CONFLICT waits for a transaction that has inserted the same key and not ended yet.
  CREEL_TRY(const auto inserted, tx.exec("INSERT INTO idempotency_keys (user_id, key, body_digest) VALUES ($1, $2, $3) "
                                         "ON CONFLICT (user_id, key) DO NOTHING",
                                         {user, key, body_digest}));
  using Kind = IdempotencyOutcome::Kind;
  if (inserted.affected() == 1) return IdempotencyOutcome{};
  CREEL_TRY(
      const auto rows,
      tx.exec("SELECT body_digest, status, body FROM idempotency_keys WHERE user_id = $1 AND key = $2", {user, key}));
  if (rows.empty()) {
    // Cleared between the two statements.
    return Error{ErrorKind::unavailable, "the idempotency key was just dropped; try again", {}, "STORE_UNAVAILABLE"};
  }
  const auto row = rows[0];
  if (row.text("body_digest") != body_digest) return IdempotencyOutcome{Kind::mismatch, 0, {}};
  if (row.is_null("status")) return IdempotencyOutcome{Kind::pending, 0, {}};
  return IdempotencyOutcome{Kind::replay, static_cast<int>(row.integer("status")), row.text("body")};
}

Result<void> finish_idempotent(Tx& tx, const UserId& user, std::string_view key, int status, std::string_view body) {
  CREEL_TRY(const auto rows,
            tx.exec("UPDATE idempotency_keys SET status = $3, body = $4 WHERE user_id = $1 AND key = $2",
                    {user, key, status, body}));
  if (rows.affected() == 0) return Error{ErrorKind::not_found, "no such idempotency key"};
  return {};
}

}  // namespace creel::store
