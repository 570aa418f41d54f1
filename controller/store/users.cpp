#include "controller/store/users.hpp"

#include "controller/store/cursor.hpp"
#include "controller/store/user_row.hpp"

namespace creel::store {

Result<User> user_of(const Rows::Row& row) {
  const auto id = UserId::parse(row.text("id"));
  if (!id) return Error{ErrorKind::corrupt, "a stored user id has the wrong form"};
  return User{*id,
              row.text("email"),
              row.text("password_hash"),
              row.boolean("admin"),
              row.text("plan"),
              row.text("subscription_status"),
              row.time("created_at")};
}

Result<std::optional<User>> first_user(const Rows& rows) {
  if (rows.empty()) return std::optional<User>{};
  CREEL_TRY(auto user, user_of(rows[0]));
  return std::optional<User>{std::move(user)};
}

Result<void> create_user(Tx& tx, const User& user) {
  auto rows = tx.exec(
      "INSERT INTO users (id, email, password_hash, admin, plan, subscription_status, created_at) "
      "VALUES ($1, $2, $3, $4, $5, $6, $7)",
      {user.id, user.email, user.password_hash, user.admin, user.plan, user.subscription_status, user.created_at});
  if (!rows && rows.error().field == "users_email") {
    return Error{ErrorKind::conflict, "a user with this e-mail address exists already", "email"};
  }
  if (!rows) return rows.error();
  return {};
}

Result<std::optional<User>> find_user(Tx& tx, const UserId& id) {
  CREEL_TRY(const auto rows, tx.exec(std::string{"SELECT "} + kUserColumns + " FROM users u WHERE u.id = $1", {id}));
  return first_user(rows);
}

Result<std::optional<User>> find_user_by_email(Tx& tx, std::string_view email) {
  CREEL_TRY(const auto rows,
            tx.exec(std::string{"SELECT "} + kUserColumns + " FROM users u WHERE lower(u.email) = lower($1)", {email}));
  return first_user(rows);
}

Result<std::vector<User>> list_users(Tx& tx, std::size_t limit, const std::string& cursor) {
  std::string sql = std::string{"SELECT "} + kUserColumns + " FROM users u ";
  std::vector<Param> params{static_cast<std::uint64_t>(limit)};
  if (!cursor.empty()) {
    CREEL_TRY(const Place place, parse_cursor(cursor));
    params.emplace_back(place.at);
    params.emplace_back(place.id);
    sql += "WHERE (u.created_at, u.id) > ($2::timestamptz, $3) ";
  }
  CREEL_TRY(const auto rows, tx.exec(sql + "ORDER BY u.created_at, u.id LIMIT $1", params));
  std::vector<User> users;
  for (int i = 0; i < rows.size(); ++i) {
    CREEL_TRY(auto user, user_of(rows[i]));
    users.push_back(std::move(user));
  }
  return users;
}

std::string cursor_after(const User& user) { return cursor_of({user.created_at, user.id.str()}); }

Result<void> update_user(Tx& tx, const User& user) {
  auto rows = tx.exec(
      "UPDATE users SET email = $2, password_hash = $3, admin = $4, plan = $5, subscription_status = $6 WHERE id = $1",
      {user.id, user.email, user.password_hash, user.admin, user.plan, user.subscription_status});
  if (!rows && rows.error().field == "users_email") {
    return Error{ErrorKind::conflict, "a user with this e-mail address exists already", "email"};
  }
  if (!rows) return rows.error();
  if (rows->affected() == 0) return Error{ErrorKind::not_found, "no such user"};
  return {};
}

}  // namespace creel::store
