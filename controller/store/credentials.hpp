// Credentials: sessions and API keys. Only SHA-256 digests (64 hex digits) of the secrets are stored.
//
// `now` is the caller's clock, so that expiry can be tested. A session lives 30 days from its last use; that use is
// written at most once a minute. Errors: limit (an 11th key, code KEY_LIMIT_REACHED), invalid (bad cursor, code
// INVALID_QUERY); else see pg.hpp. Functions that
// may write need the caller's commit().
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/store/pg.hpp"
#include "controller/store/users.hpp"

namespace creel::store {

inline constexpr std::chrono::hours kSessionLifetime{24 * 30};
inline constexpr int kApiKeysPerUser = 10;

Result<void> create_session(Tx& tx, const UserId& user, std::string_view digest, TimePoint now);
// nullopt: unknown or expired.
Result<std::optional<User>> user_of_session(Tx& tx, std::string_view digest, TimePoint now);
Result<void> delete_session(Tx& tx, std::string_view digest);
// The tickets too.
Result<void> delete_sessions_of(Tx& tx, const UserId& user);

struct ApiKey {
  std::string id;  // "key_" + 16 hex digits by convention; unique
  UserId user;
  std::string name;
  std::string prefix;  // first characters of the key, for recognition
  TimePoint created_at;
  std::optional<TimePoint> expires_at;
  std::optional<TimePoint> last_used_at;
};

// Waits for a concurrent create_api_key of the same user, so that the limit cannot be raced. Expired keys count.
Result<void> create_api_key(Tx& tx, const ApiKey& key, std::string_view digest);
// Newest first, after the place `cursor` ("" = from the start).
Result<std::vector<ApiKey>> list_api_keys(Tx& tx, const UserId& user, std::size_t limit = kApiKeysPerUser,
                                          const std::string& cursor = {});
// The cursor that continues after this key.
std::string cursor_after(const ApiKey& key);
// False: the user has no such key.
Result<bool> delete_api_key(Tx& tx, const UserId& user, std::string_view id);
Result<std::optional<User>> user_of_api_key(Tx& tx, std::string_view digest, TimePoint now);

}  // namespace creel::store
