#include "api/auth/credentials.hpp"

#include <algorithm>

#include "api/body.hpp"
#include "api/view.hpp"
#include "controller/store/credentials.hpp"

namespace creel::api {
namespace {

bool is_hex(std::string_view text, std::size_t length) {
  return text.size() == length &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// "http://a:80" -> "a"; the default port of either scheme is left out, because a proxy may speak another one inside.
std::string host_of_origin(std::string_view origin) {
  const auto scheme = origin.find("://");
  return scheme == std::string_view::npos ? std::string{} : std::string{origin.substr(scheme + 3)};
}

std::string without_default_port(std::string host) {
  for (const char* port : {":80", ":443"})
    if (host.ends_with(port)) host.erase(host.size() - std::string_view{port}.size());
  return host;
}

}  // namespace

std::string bearer_of(const Request& request) {
  const std::string value = trimmed(request.header("Authorization"));
  const auto blank = value.find(' ');
  if (blank == std::string::npos || !same_ignoring_case(std::string_view{value}.substr(0, blank), "bearer")) return {};
  return trimmed(std::string_view{value}.substr(blank));
}

Caller caller_from(const store::User& user, const Settings& settings) {
  Caller caller;
  caller.id = user.id;
  caller.email = user.email;
  caller.admin = is_admin(user, settings);
  caller.plan = user.plan;
  caller.subscription_status = user.subscription_status;
  return caller;
}

Secret new_session_secret() {
  Secret secret;
  secret.text = random_hex(32);
  secret.digest = sha256_hex(secret.text);
  return secret;
}

Secret new_api_key() {
  Secret secret;
  secret.text = "sk_" + random_hex(32);
  secret.digest = sha256_hex(secret.text);
  return secret;
}

std::string find_cookie(const Request& request, std::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (!same_ignoring_case(key, "Cookie")) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto semicolon = rest.find(';');
      const std::string pair = trimmed(rest.substr(0, semicolon));
      rest.remove_prefix(semicolon == std::string_view::npos ? rest.size() : semicolon + 1);
      const auto equals = pair.find('=');
      if (equals != std::string::npos && std::string_view{pair}.substr(0, equals) == name)
        return pair.substr(equals + 1);
    }
  }
  return {};
}

std::string session_cookie(const Request& request, const std::string& value, std::chrono::seconds lifetime) {
  std::string cookie = std::string{request.secure ? kSecureCookie : kCookie} + "=" + value +
                       "; Path=/; HttpOnly; SameSite=Lax; Max-Age=" + std::to_string(lifetime.count());
  if (request.secure) cookie += "; Secure";
  return cookie;
}

Result<std::optional<Caller>> find_caller(const Request& request, store::Database& db, const Settings& settings,
                                          TimePoint now) {
  std::optional<Caller> nobody;
  const std::string key = bearer_of(request);
  if (!key.empty() || !request.header("Authorization").empty()) {
    // A header that was sent and is not a key is an error of the program that sent it: the cookie does not stand in.
    if (!key.starts_with("sk_") || !is_hex(std::string_view{key}.substr(3), 64)) return nobody;
    CREEL_TRY(auto tx, db.begin());
    CREEL_TRY(const auto user, store::user_of_api_key(tx, sha256_hex(key), now));
    CREEL_CHECK(tx.commit());
    if (!user) return nobody;
    return std::optional{caller_from(*user, settings)};
  }
  const std::string session = find_cookie(request, request.secure ? kSecureCookie : kCookie);
  if (!is_hex(session, 64)) return nobody;
  std::string digest = sha256_hex(session);
  CREEL_TRY(auto tx, db.begin());
  CREEL_TRY(const auto user, store::user_of_session(tx, digest, now));
  CREEL_CHECK(tx.commit());
  if (!user) return nobody;
  Caller caller = caller_from(*user, settings);
  caller.by_cookie = true;
  caller.session_digest = std::move(digest);
  return std::optional{std::move(caller)};
}

bool passes_csrf(const Request& request) {
  const std::string site = trimmed(request.header("Sec-Fetch-Site"));
  if (site == "same-origin" || site == "none") return true;
  const std::string origin = without_default_port(host_of_origin(trimmed(request.header("Origin"))));
  const std::string host = without_default_port(trimmed(request.header("Host")));
  return !origin.empty() && same_ignoring_case(origin, host);
}

}  // namespace creel::api
