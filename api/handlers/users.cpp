// Users, made by administrators.
#include "controller/store/users.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/accounts.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"
#include "controller/secrets/password.hpp"

namespace creel::api {

using nlohmann::json;

Result<std::string> email_of(const json& body) {
  CREEL_TRY(const auto given, text_field(body, "email"));
  std::string email = trimmed(given.value_or(""));
  if (email.empty()) return invalid("email", "The field email is required");
  const auto at = email.find('@');
  const bool good = plain_text(email, 3, kMaxEmail) && email.size() <= kMaxEmail && at != std::string::npos && at > 0 &&
                    at + 1 < email.size() && email.find('@', at + 1) == std::string::npos &&
                    email.find_first_of(" ,;<>") == std::string::npos;
  if (!good) return invalid("email", "The field email is not an e-mail address");
  return email;
}

Result<std::optional<std::string>> password_of(const json& body) {
  CREEL_TRY(auto password, text_field(body, "password"));
  if (password && (password->size() < kMinPassword || password->size() > kMaxPassword))
    return invalid("password", "The field password must have " + std::to_string(kMinPassword) + " to " +
                                   std::to_string(kMaxPassword) + " characters");
  return password;
}

Response account_error(const Request& request, const Error& error) {
  if (error.kind == ErrorKind::conflict)
    return error_answer(request, 409, "EMAIL_TAKEN", "There is already a user with this e-mail address");
  return error_answer(request, error, "Failed to create user");
}

Reply list_users(const Request& request, Deps& deps) {
  const std::size_t limit = limit_of(request, kMaxListed, kMaxListed);
  CREEL_API_TRY(auto tx, request, "Failed to list users", deps.db.begin());
  CREEL_API_TRY(auto users, request, "Failed to list users",
                store::list_users(tx, limit + 1, request.query_value("cursor")));
  json answer{{"users", json::array()}};
  cut_page(answer, users, limit);
  for (const auto& user : users) {
    json item = user_view(user, deps.settings);
    item["createdAt"] = to_rfc3339(user.created_at);
    answer["users"].push_back(std::move(item));
  }
  answer["count"] = users.size();
  return json_answer(200, answer);
}

Reply create_user(const Request& request, Deps& deps) {
  CREEL_API_TRY(const json body, request, "", json_object(request));
  store::User user;
  CREEL_API_TRY(user.email, request, "", email_of(body));
  CREEL_API_TRY(const auto password, request, "", password_of(body));
  CREEL_API_TRY(const auto admin, request, "", bool_field(body, "admin"));
  CREEL_API_TRY(const auto plan, request, "", text_field(body, "plan"));
  CREEL_API_TRY(const auto subscription, request, "", text_field(body, "subscriptionStatus"));
  user.plan = plan.value_or("free");
  user.subscription_status = subscription.value_or("inactive");
  if (!deps.plans.known(user.plan)) return invalid_answer(request, "plan", "There is no such plan");
  constexpr std::array kStates{"active", "inactive", "past_due", "cancelled"};
  if (std::find(kStates.begin(), kStates.end(), user.subscription_status) == kStates.end())
    return invalid_answer(request, "subscriptionStatus",
                          "The field subscriptionStatus must be active, inactive, past_due or cancelled");
  user.id = new_user_id();
  user.admin = admin.value_or(false);
  user.created_at = deps.clock();
  if (password) {
    CREEL_API_TRY(user.password_hash, request, "Failed to create user", secrets::hash_password(*password));
  }
  CREEL_API_TRY(auto tx, request, "Failed to create user", deps.db.begin());
  if (const auto created = store::create_user(tx, user); !created) return account_error(request, created.error());
  CREEL_API_CHECK(
      request, "Failed to create user",
      record_event(tx, AgentId{}, "audit", "UserCreated", "User " + user.id.str() + " was created", request));
  CREEL_API_CHECK(request, "Failed to create user", tx.commit());
  return json_answer(201, json{{"success", true}, {"user", user_view(user, deps.settings)}});
}

}  // namespace creel::api
