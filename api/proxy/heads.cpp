#include "api/proxy/heads.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "api/auth/credentials.hpp"
#include "api/body.hpp"

namespace creel::api {
namespace {

bool one_of(std::string_view name, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* each) { return same_ignoring_case(name, each); });
}

bool begins_with(std::string_view name, std::string_view prefix) {
  return name.size() >= prefix.size() && same_ignoring_case(name.substr(0, prefix.size()), prefix);
}

// Those that Connection names are between two neighbours, too.
std::vector<std::string> named_by_connection(const Headers& headers) {
  std::vector<std::string> names;
  for (const auto& [name, value] : headers) {
    if (!same_ignoring_case(name, "Connection")) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto comma = rest.find(',');
      if (auto word = trimmed(rest.substr(0, comma)); !word.empty()) names.push_back(std::move(word));
      rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    }
  }
  return names;
}

bool between_neighbours(std::string_view name, const std::vector<std::string>& named) {
  if (one_of(name, {"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE",
                    "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length"}))
    return true;
  return std::any_of(named.begin(), named.end(), [&](const auto& each) { return same_ignoring_case(name, each); });
}

bool is_ours(std::string_view cookie) { return cookie.starts_with("creel-") || cookie.starts_with("__Host-creel-"); }

// The cookies that are the agent's own.
std::string foreign_cookies(std::string_view cookies) {
  std::string kept;
  while (!cookies.empty()) {
    const auto semicolon = cookies.find(';');
    const std::string pair = trimmed(cookies.substr(0, semicolon));
    if (!pair.empty() && !is_ours(pair)) kept += (kept.empty() ? "" : "; ") + pair;
    cookies.remove_prefix(semicolon == std::string_view::npos ? cookies.size() : semicolon + 1);
  }
  return kept;
}

}  // namespace

Headers headers_for_agent(const Headers& sent, const Place& place, const gateway::Credentials& credentials,
                          const Client& client, const std::string& request_id) {
  Headers headers;
  const auto named = named_by_connection(sent);
  for (const auto& [name, value] : sent) {
    if (between_neighbours(name, named) || begins_with(name, "X-Forwarded-") || begins_with(name, "Tailscale-") ||
        one_of(name, {"Authorization", "Expect", "Forwarded", "X-Real-IP", "X-Request-Id"}))
      continue;
    // The relay reads what is said first, and could not if it were compressed.
    if (credentials.kind == "openclaw" && same_ignoring_case(name, "Sec-WebSocket-Extensions")) continue;
    if (credentials.kind == "openclaw" && same_ignoring_case(name, "Origin"))
      headers.emplace_back(name, gateway::kOpenclawOrigin);
    else if (!same_ignoring_case(name, "Cookie"))
      headers.emplace_back(name, value);
    else if (auto kept = foreign_cookies(value); !kept.empty())
      headers.emplace_back(name, std::move(kept));
  }
  headers.emplace_back("Authorization", "Bearer " + credentials.token);
  headers.emplace_back("X-Forwarded-For", client.address);
  headers.emplace_back("X-Forwarded-Proto", client.secure ? "https" : "http");
  headers.emplace_back("X-Forwarded-Host", std::string{find_header(sent, "Host")});
  if (!place.prefix.empty()) headers.emplace_back("X-Forwarded-Prefix", place.prefix);
  headers.emplace_back("X-Request-Id", request_id);
  return headers;
}

Headers headers_for_client(const Headers& answered, const Place& place) {
  Headers headers;
  const auto named = named_by_connection(answered);
  for (const auto& [name, value] : answered) {
    // An agent shares its host's name with others, or at least a domain: it does not speak for them.
    if (between_neighbours(name, named) || one_of(name, {"Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc"}))
      continue;
    if (same_ignoring_case(name, "Set-Cookie") && is_ours(trimmed(value))) continue;
    const bool here = same_ignoring_case(name, "Location") && value.starts_with('/') && !value.starts_with("//") &&
                      !value.starts_with(place.prefix + "/");
    headers.emplace_back(name, here ? place.prefix + value : value);
  }
  return headers;
}

const char* agent_cookie_name(const Place& place, bool secure) {
  return secure && place.prefix.empty() ? kSecureAgentCookie : kAgentCookie;
}

std::string agent_cookie(const Place& place, bool secure, const std::string& value, long lifetime_seconds) {
  return std::string{agent_cookie_name(place, secure)} + "=" + value +
         "; Path=" + (place.prefix.empty() ? "/" : place.prefix) +
         "; HttpOnly; SameSite=Lax; Max-Age=" + std::to_string(lifetime_seconds) + (secure ? "; Secure" : "");
}

}  // namespace creel::api
