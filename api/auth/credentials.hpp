// Credentials: who a request comes from, by API key or session cookie, and the CSRF rule for cookies.
//
// An API key is "sk_" + 64 hex digits, a session 64 hex digits; both are looked up by their SHA-256, never by
// themselves. With both in one request the key counts: browsers do not send keys by themselves.
// Errors: those of the store; a credential that is not valid is nullopt. Threads: any; find_caller() blocks on the
// store.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "api/http.hpp"
#include "api/settings.hpp"
#include "controller/core/clock.hpp"
#include "controller/store/pg.hpp"
#include "controller/store/users.hpp"

namespace creel::api {

// Over TLS the cookie has the prefix browsers guard: no subdomain, e.g. an agent's, can set it.
inline constexpr const char* kCookie = "creel-session";
inline constexpr const char* kSecureCookie = "__Host-creel-session";

struct Secret {
  std::string text;    // given out once
  std::string digest;  // stored
};
Secret new_session_secret();
Secret new_api_key();

// "Bearer <token>", the scheme in any case; "" when it is not that.
std::string bearer_of(const Request& request);
Caller caller_from(const store::User& user, const Settings& settings);
// The value of one cookie; "" when absent.
std::string find_cookie(const Request& request, std::string_view name);
std::string session_cookie(const Request& request, const std::string& value, std::chrono::seconds lifetime);

Result<std::optional<Caller>> find_caller(const Request& request, store::Database& db, const Settings& settings,
                                          TimePoint now);

// Whether a request that a cookie vouches for may change something: Sec-Fetch-Site says same-origin or none, or Origin
// names the host the request was sent to.
bool passes_csrf(const Request& request);

}  // namespace creel::api
