// Reading a user's columns; shared by users.cpp and credentials.cpp only.
#pragma once

#include "controller/store/users.hpp"

namespace creel::store {

// For "SELECT <columns> FROM users u".
inline constexpr const char* kUserColumns =
    "u.id, u.email, u.password_hash, u.admin, u.plan, u.subscription_status, u.created_at";

// corrupt: the id has the wrong form.
Result<User> user_of(const Rows::Row& row);
// nullopt when there is no row.
Result<std::optional<User>> first_user(const Rows& rows);

}  // namespace creel::store
