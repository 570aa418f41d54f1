#include "controller/cli/account_commands.hpp"

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "controller/cli/format.hpp"
#include "controller/cli/local_store.hpp"
#include "controller/config/template_file.hpp"
#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/secrets/password.hpp"
#include "controller/store/credentials.hpp"
#include "controller/store/migrate.hpp"
#include "controller/store/users.hpp"

namespace creel::cli {
namespace {

constexpr std::size_t kShortestPassword = 8;
constexpr std::size_t kLongestPassword = 1024;
constexpr std::size_t kLongestKeyName = 64;

Result<std::string> read_password(Io& io) {
  std::string password;
  std::getline(io.in, password);
  if (!password.empty() && password.back() == '\r') password.pop_back();
  if (password.size() < kShortestPassword || password.size() > kLongestPassword) {
    return invalid("--password-stdin",
                   "the password must have 8 to 1024 bytes; write it as one line to standard input");
  }
  return password;
}

Result<void> check_email(const std::string& email) {
  const auto at = email.find('@');
  const bool visible =
      std::none_of(email.begin(), email.end(), [](unsigned char c) { return c <= ' ' || c == 0x7f || c == ','; });
  if (!visible || at == std::string::npos || at == 0 || at + 1 == email.size() || email.size() > 254) {
    return invalid("--email", "\"" + printable(email) + "\" is not an e-mail address");
  }
  return {};
}

Result<void> apply(const Config& config, Io& io, const UserOptions& options, store::User& user) {
  if (!options.plan.empty()) {
    CREEL_TRY(const auto catalog, config::load_catalog(config));
    if (!catalog.plans.known(options.plan))
      return invalid("--plan", "there is no plan \"" + options.plan + "\"; plans.yaml lists them");
    user.plan = options.plan;
  }
  if (!options.subscription.empty()) user.subscription_status = options.subscription;
  if (options.admin) user.admin = *options.admin;
  if (options.password_from_stdin) {
    CREEL_TRY(const std::string password, read_password(io));
    CREEL_TRY(user.password_hash, secrets::hash_password(password));
  }
  return {};
}

Result<store::User> user_by_email(store::Tx& tx, const std::string& email) {
  CREEL_TRY(const auto user, store::find_user_by_email(tx, email));
  if (!user)
    return Error{
        ErrorKind::not_found, "there is no user " + printable(email) + "; `creel user list` shows them", {}, {}};
  return *user;
}

nlohmann::ordered_json user_json(const store::User& user) {
  return {{"id", user.id.str()},
          {"email", user.email},
          {"admin", user.admin},
          {"plan", user.plan},
          {"subscriptionStatus", user.subscription_status},
          {"createdAt", to_rfc3339(user.created_at)}};
}

// The id alone, for scripts without a JSON reader.
void print_user(Io& io, const store::User& user, bool json) {
  if (json)
    io.out << user_json(user).dump(2) << "\n";
  else
    io.out << user.id.str() << "\n";
}

}  // namespace

Result<void> migrate_database(const Config& config, Io& io, bool json) {
  CREEL_TRY(const LocalStore local, find_store(config, io));
  CREEL_TRY(const int applied, store::migrate(local.conninfo));
  if (json) {
    io.out << nlohmann::ordered_json{{"applied", applied}}.dump() << "\n";
    return {};
  }
  io.out << (applied == 0 ? std::string{"the database is up to date"} : std::to_string(applied) + " migrations applied")
         << "\n";
  return {};
}

Result<void> add_user(const Config& config, Io& io, const UserOptions& options, bool json) {
  store::User user;
  user.id = new_user_id();
  user.email = options.email;
  user.created_at = system_now();
  CREEL_CHECK(check_email(user.email));
  CREEL_CHECK(apply(config, io, options, user));
  CREEL_TRY(const LocalStore local, open_store(config, io));
  CREEL_TRY(auto tx, local.database->begin());
  if (const auto created = store::create_user(tx, user); !created) {
    if (created.error().kind != ErrorKind::conflict) return created.error();
    return Error{ErrorKind::conflict,
                 "there is a user " + printable(user.email) + " already; change it with `creel user set`",
                 {},
                 {}};
  }
  CREEL_CHECK(tx.commit());
  print_user(io, user, json);
  return {};
}

Result<void> set_user(const Config& config, Io& io, const UserOptions& options, bool json) {
  if (!options.password_from_stdin && !options.admin && options.plan.empty() && options.subscription.empty()) {
    return invalid("", "nothing to change; give --plan, --subscription, --admin, --no-admin or --password-stdin");
  }
  CREEL_TRY(const LocalStore local, open_store(config, io));
  CREEL_TRY(auto tx, local.database->begin());
  CREEL_TRY(store::User user, user_by_email(tx, options.email));
  CREEL_CHECK(apply(config, io, options, user));
  CREEL_CHECK(store::update_user(tx, user));
  if (options.password_from_stdin) CREEL_CHECK(store::delete_sessions_of(tx, user.id));
  CREEL_CHECK(tx.commit());
  print_user(io, user, json);
  return {};
}

Result<void> list_users(const Config& config, Io& io, bool json) {
  CREEL_TRY(const LocalStore local, open_store(config, io));
  CREEL_TRY(auto tx, local.database->begin());
  CREEL_TRY(const auto users, store::list_users(tx, 100'000));
  auto list = nlohmann::ordered_json::array();
  std::vector<Row> rows;
  for (const auto& user : users) {
    list.push_back(user_json(user));
    rows.push_back({user.id.str(), user.email, user.admin ? "admin" : "user", user.plan, user.subscription_status,
                    to_rfc3339(user.created_at)});
  }
  if (json)
    io.out << list.dump(2) << "\n";
  else
    io.out << table(
        {{"ID"}, {"EMAIL", 1}, {"ROLE", 2}, {"PLAN", 3}, {"SUBSCRIPTION", 4}, {"CREATED", 5, nullptr, true}}, rows,
        io.width, io.colors);
  return {};
}

Result<void> create_key(const Config& config, Io& io, const std::string& email, const std::string& name,
                        const std::string& expires, bool json) {
  if (name.empty() || name.size() > kLongestKeyName || printable(name) != name) {
    return invalid("--name", "the key's name must have 1 to 64 printable characters");
  }
  store::ApiKey key;
  key.created_at = system_now();
  if (!expires.empty()) {
    const auto duration = config::parse_duration(expires);
    if (!duration) return invalid("--expires", "--expires: " + duration.error().message);
    key.expires_at = key.created_at + *duration;
  }
  CREEL_TRY(const LocalStore local, open_store(config, io));
  CREEL_TRY(auto tx, local.database->begin());
  CREEL_TRY(const store::User user, user_by_email(tx, email));
  const std::string secret = "sk_" + random_hex(32);
  key.id = "key_" + random_hex(8);
  key.user = user.id;
  key.name = name;
  key.prefix = secret.substr(0, 8);
  if (const auto created = store::create_api_key(tx, key, sha256_hex(secret)); !created) {
    if (created.error().kind != ErrorKind::limit) return created.error();
    return Error{ErrorKind::limit,
                 printable(user.email) + " has 10 API keys, which is the most; delete one (DELETE /api/keys/ID)",
                 {},
                 {}};
  }
  CREEL_CHECK(tx.commit());
  if (json)
    io.out << nlohmann::ordered_json{{"id", key.id},
                                     {"name", key.name},
                                     {"prefix", key.prefix},
                                     {"createdAt", to_rfc3339(key.created_at)},
                                     {"expiresAt", key.expires_at ? nlohmann::ordered_json(to_rfc3339(*key.expires_at))
                                                                  : nlohmann::ordered_json(nullptr)},
                                     {"key", secret}}
                  .dump(2)
           << "\n";
  else
    io.out << secret << "\n";
  return {};
}

}  // namespace creel::cli
