// Users: who may own agents. E-mail addresses are unique regardless of case, and kept as they were given.
//
// Errors: conflict (e-mail taken), not_found (update of nobody), invalid (bad cursor, code INVALID_QUERY); else see
// pg.hpp. Everything happens in the caller's transaction.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct User {
  UserId id;
  std::string email;
  std::string password_hash;  // secrets/password.hpp; "" = cannot log in with a password
  bool admin = false;
  std::string plan = "free";
  std::string subscription_status = "inactive";  // "active", "inactive", "past_due", "cancelled"
  TimePoint created_at;
};

Result<void> create_user(Tx& tx, const User& user);
Result<std::optional<User>> find_user(Tx& tx, const UserId& id);
Result<std::optional<User>> find_user_by_email(Tx& tx, std::string_view email);
// Oldest first, after the place `cursor` ("" = from the start).
Result<std::vector<User>> list_users(Tx& tx, std::size_t limit, const std::string& cursor = {});
// The cursor that continues after this user.
std::string cursor_after(const User& user);
// Writes everything but id and created_at.
Result<void> update_user(Tx& tx, const User& user);

}  // namespace creel::store
