// What becomes of headers on their way between a client and an agent. Pure.
//
// Neither side gets what is only between the other and Creel: hop-by-hop headers (RFC 9110, 7.6.1), Creel's credentials
// and cookies, and what only a proxy may say of a client. What belongs to the body (Content-Length, Transfer-Encoding)
// and an upgrade are the sockets' to set.
#pragma once

#include <string>

#include "api/auth/client_address.hpp"
#include "api/http.hpp"
#include "api/proxy/place.hpp"
#include "controller/gateway/relay.hpp"

namespace creel::api {

inline constexpr const char* kAgentCookie = "creel-agent";
inline constexpr const char* kSecureAgentCookie = "__Host-creel-agent";

Headers headers_for_agent(const Headers& sent, const Place& place, const gateway::Credentials& credentials,
                          const Client& client, const std::string& request_id);
Headers headers_for_client(const Headers& answered, const Place& place);

// The cookie by which a browser comes back to this agent. A name of its own has the prefix that browsers guard.
std::string agent_cookie(const Place& place, bool secure, const std::string& value, long lifetime_seconds);
const char* agent_cookie_name(const Place& place, bool secure);

}  // namespace creel::api
