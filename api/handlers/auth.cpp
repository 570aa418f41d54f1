// Sessions: log in, log out, who am I, sign up.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <semaphore>

#include "api/auth/credentials.hpp"
#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/accounts.hpp"
#include "api/handlers/handlers.hpp"
#include "api/view.hpp"
#include "controller/secrets/password.hpp"
#include "controller/store/credentials.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

// Each hash takes 64 MiB while it runs: two at a time, whatever the number of handler threads.
constexpr std::chrono::seconds kLongestTurn{2};
std::counting_semaphore<2> g_hashing{2};

class HashingTurn {
 public:
  HashingTurn() : taken_(g_hashing.try_acquire_for(kLongestTurn)) {}
  ~HashingTurn() {
    if (taken_) g_hashing.release();
  }
  HashingTurn(const HashingTurn&) = delete;
  HashingTurn& operator=(const HashingTurn&) = delete;
  explicit operator bool() const { return taken_; }

 private:
  const bool taken_;
};

Response busy(const Request& request) {
  Response response = error_answer(request, 503, "BUSY", "Too many people are logging in; try again in a moment");
  response.headers.emplace_back("Retry-After", "2");
  return response;
}

std::optional<Response> throttled(const Request& request, Deps& deps, const std::string& email) {
  const auto wait = deps.login_throttle.begin(request.remote_ip, email, std::chrono::steady_clock::now());
  if (wait.count() == 0) return std::nullopt;
  Response response = error_answer(request, 429, "RATE_LIMITED", "Too many attempts; try again later");
  response.headers.emplace_back("Retry-After", std::to_string(wait.count()));
  return response;
}

// 200/201 {user} with a new session's cookie.
Reply open_session(const Request& request, Deps& deps, store::Tx tx, const store::User& user, int status) {
  const Secret secret = new_session_secret();
  CREEL_API_CHECK(request, "Failed to log in", store::create_session(tx, user.id, secret.digest, deps.clock()));
  CREEL_API_CHECK(request, "Failed to log in", tx.commit());
  Response response = json_answer(status, json{{"user", user_view(user, deps.settings)}});
  response.headers.emplace_back("Set-Cookie", session_cookie(request, secret.text, store::kSessionLifetime));
  return response;
}

}  // namespace

Reply login(const Request& request, Deps& deps) {
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY(const auto email_given, request, "", text_field(body, "email"));
  CREEL_API_TRY(const auto password, request, "", text_field(body, "password"));
  const std::string email = trimmed(email_given.value_or(""));
  if (email.empty()) return invalid_answer(request, "email", "The field email is required");
  if (!password || password->empty()) return invalid_answer(request, "password", "The field password is required");
  if (email.size() > kMaxEmail || password->size() > kMaxPassword)
    return error_answer(request, 401, "INVALID_CREDENTIALS", "Invalid email or password");
  if (auto refused = throttled(request, deps, email)) return *refused;

  std::optional<store::User> user;
  {
    // The connection goes back before the slow hash: 64 MiB and tens of milliseconds hold no connection.
    CREEL_API_TRY(auto tx, request, "Failed to log in", deps.db.begin());
    CREEL_API_TRY(user, request, "Failed to log in", store::find_user_by_email(tx, email));
  }
  bool good = false;
  const HashingTurn turn;
  if (!turn) return busy(request);
  if (user && !user->password_hash.empty())
    good = secrets::verify_password(*password, user->password_hash);
  else
    secrets::verify_nobody(*password);  // the same time, so that time does not tell who has an account
  if (!good) return error_answer(request, 401, "INVALID_CREDENTIALS", "Invalid email or password");
  deps.login_throttle.succeeded(request.remote_ip, email);
  CREEL_API_TRY(auto tx, request, "Failed to log in", deps.db.begin());
  return open_session(request, deps, std::move(tx), *user, 200);
}

Reply logout(const Request& request, Deps& deps) {
  if (request.caller->by_cookie) {
    CREEL_API_TRY(auto tx, request, "Failed to log out", deps.db.begin());
    CREEL_API_CHECK(request, "Failed to log out", store::delete_session(tx, request.caller->session_digest));
    CREEL_API_CHECK(request, "Failed to log out", tx.commit());
  }
  Response response = json_answer(200, json{{"success", true}});
  response.headers.emplace_back("Set-Cookie", session_cookie(request, "", std::chrono::seconds{0}));
  return response;
}

Reply session(const Request& request, Deps&) {
  if (!request.caller) return json_answer(200, json{{"user", nullptr}});
  const Caller& caller = *request.caller;
  Response response = json_answer(200, json{{"user",
                                             {{"id", caller.id.str()},
                                              {"email", caller.email},
                                              {"role", caller.admin ? "admin" : "user"},
                                              {"plan", caller.plan},
                                              {"subscriptionStatus", caller.subscription_status}}}});
  // The store's 30 days begin anew with each use; the browser's do here.
  if (caller.by_cookie) {
    const std::string value = find_cookie(request, request.secure ? kSecureCookie : kCookie);
    response.headers.emplace_back("Set-Cookie", session_cookie(request, value, store::kSessionLifetime));
  }
  return response;
}

Reply signup(const Request& request, Deps& deps) {
  if (!deps.settings.signup) return error_answer(request, 404, "NOT_FOUND", "Sign-up is not open here");
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY(const std::string email, request, "", email_of(body));
  CREEL_API_TRY(const auto password, request, "", password_of(body));
  if (!password) return invalid_answer(request, "password", "The field password is required");
  // One sign-up costs a hash: an address may try as often as it may log in.
  if (auto refused = throttled(request, deps, "sign-up")) return *refused;
  store::User user;
  user.id = new_user_id();
  user.email = email;
  user.created_at = deps.clock();
  {
    const HashingTurn turn;
    if (!turn) return busy(request);
    CREEL_API_TRY(user.password_hash, request, "Failed to sign up", secrets::hash_password(*password));
  }
  CREEL_API_TRY(auto tx, request, "Failed to sign up", deps.db.begin());
  if (const auto created = store::create_user(tx, user); !created) return account_error(request, created.error());
  return open_session(request, deps, std::move(tx), user, 201);
}

}  // namespace creel::api
