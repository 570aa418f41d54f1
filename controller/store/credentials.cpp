#include "controller/store/credentials.hpp"

#include "controller/store/cursor.hpp"
#include "controller/store/tickets.hpp"
#include "controller/store/user_row.hpp"

namespace creel::store {
namespace {

// A use is written when the last one written is older: a write a request would cost more than the request.
constexpr milliseconds kUseResolution = std::chrono::minutes{1};

}  // namespace

Result<void> create_session(Tx& tx, const UserId& user, std::string_view digest, TimePoint now) {
  // Sessions that nobody ends are cleared away when new ones come.
  CREEL_TRY([[maybe_unused]] const auto cleared,
            tx.exec("DELETE FROM sessions WHERE last_used_at < $1", {now - kSessionLifetime}));
  CREEL_TRY([[maybe_unused]] const auto inserted,
            tx.exec("INSERT INTO sessions (digest, user_id, created_at, last_used_at) VALUES ($1, $2, $3, $3)",
                    {digest, user, now}));
  return {};
}

Result<std::optional<User>> user_of_session(Tx& tx, std::string_view digest, TimePoint now) {
  CREEL_TRY(const auto rows, tx.exec(std::string{"SELECT "} + kUserColumns +
                                         ", k.last_used_at FROM sessions k JOIN users u ON u.id = k.user_id "
                                         "WHERE k.digest = $1 AND k.last_used_at > $2",
                                     {digest, now - kSessionLifetime}));
  if (!rows.empty() && now - rows[0].time("last_used_at") >= kUseResolution) {
    CREEL_TRY([[maybe_unused]] const auto slid,
              tx.exec("UPDATE sessions SET last_used_at = $2 WHERE digest = $1", {digest, now}));
  }
  return first_user(rows);
}

Result<void> delete_session(Tx& tx, std::string_view digest) {
  CREEL_TRY([[maybe_unused]] const auto rows, tx.exec("DELETE FROM sessions WHERE digest = $1", {digest}));
  return {};
}

Result<void> delete_sessions_of(Tx& tx, const UserId& user) {
  CREEL_TRY([[maybe_unused]] const auto rows, tx.exec("DELETE FROM sessions WHERE user_id = $1", {user}));
  return delete_tickets_of(tx, user);
}

Result<void> create_api_key(Tx& tx, const ApiKey& key, std::string_view digest) {
  // The lock makes creations of one user's keys come one after the other. NO KEY: it leaves rows that refer to the user
  // alone.
  CREEL_TRY(const auto user, tx.exec("SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE", {key.user}));
  if (user.empty()) return Error{ErrorKind::not_found, "no such user"};
  CREEL_TRY(const auto count, tx.exec("SELECT count(*) AS keys FROM api_keys WHERE user_id = $1", {key.user}));
  if (count[0].integer("keys") >= kApiKeysPerUser) {
    return Error{ErrorKind::limit,
                 "a user may have at most " + std::to_string(kApiKeysPerUser) + " API keys",
                 {},
                 "KEY_LIMIT_REACHED"};
  }
  CREEL_TRY(
      [[maybe_unused]] const auto rows,
      tx.exec("INSERT INTO api_keys (id, digest, user_id, name, prefix, created_at, expires_at, last_used_at) "
              "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
              {key.id, digest, key.user, key.name, key.prefix, key.created_at, key.expires_at, key.last_used_at}));
  return {};
}

Result<std::vector<ApiKey>> list_api_keys(Tx& tx, const UserId& user, std::size_t limit, const std::string& cursor) {
  std::string sql = "SELECT id, name, prefix, created_at, expires_at, last_used_at FROM api_keys WHERE user_id = $1 ";
  std::vector<Param> params{user, static_cast<std::uint64_t>(limit)};
  if (!cursor.empty()) {
    CREEL_TRY(const Place place, parse_cursor(cursor));
    params.emplace_back(place.at);
    params.emplace_back(place.id);
    sql += "AND (created_at, id) < ($3::timestamptz, $4) ";
  }
  CREEL_TRY(const auto rows, tx.exec(sql + "ORDER BY created_at DESC, id DESC LIMIT $2", params));
  std::vector<ApiKey> keys;
  for (int i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    keys.push_back({row.text("id"), user, row.text("name"), row.text("prefix"), row.time("created_at"),
                    row.optional_time("expires_at"), row.optional_time("last_used_at")});
  }
  return keys;
}

std::string cursor_after(const ApiKey& key) { return cursor_of({key.created_at, key.id}); }

Result<bool> delete_api_key(Tx& tx, const UserId& user, std::string_view id) {
  CREEL_TRY(const auto rows, tx.exec("DELETE FROM api_keys WHERE user_id = $1 AND id = $2", {user, id}));
  return rows.affected() > 0;
}

Result<std::optional<User>> user_of_api_key(Tx& tx, std::string_view digest, TimePoint now) {
  CREEL_TRY(const auto rows, tx.exec(std::string{"SELECT "} + kUserColumns +
                                         ", k.last_used_at FROM api_keys k JOIN users u ON u.id = k.user_id "
                                         "WHERE k.digest = $1 AND (k.expires_at IS NULL OR k.expires_at > $2)",
                                     {digest, now}));
  if (!rows.empty()) {
    const auto used = rows[0].optional_time("last_used_at");
    if (!used || now - *used >= kUseResolution) {
      CREEL_TRY([[maybe_unused]] const auto noted,
                tx.exec("UPDATE api_keys SET last_used_at = $2 WHERE digest = $1", {digest, now}));
    }
  }
  return first_user(rows);
}

}  // namespace creel::store
