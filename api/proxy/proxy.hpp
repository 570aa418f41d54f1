// Proxy: who may pass to an agent's own gateway, and with what. The sockets are api/server/passage.*.
//
// A caller shows Creel's credential (an API key as bearer, the session cookie), a ticket in ?token=, the cookie that a
// browser got for one, or the agent's own gateway token as bearer. Creel's credentials stay here: the agent is given
// its gateway's token instead. With a cookie, only what the agent's own pages ask for passes, and addresses that a
// person opens. What was found out serves for two seconds, so a key or an agent that is gone is let in no longer than
// that.
//
// Errors are answers: 401, 403 CSRF, 404, 409 AGENT_NOT_RUNNING, 503 AGENT_NOT_READY, 503 STORE_UNAVAILABLE.
// Threads: every method from any thread. admit() and is_at() block, on PostgreSQL and on the engine.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

#include "api/auth/client_address.hpp"
#include "api/deps.hpp"
#include "api/dispatcher.hpp"
#include "api/proxy/heads.hpp"
#include "api/proxy/place.hpp"

namespace creel::api {

struct Passage {
  Place place;
  std::string address;  // of the agent, as last observed
  gateway::Credentials credentials;
  Headers headers;  // as the agent is to get them
  std::string request_id;
  std::function<bool()> still_may;  // of an upgrade: whether the caller may go on; blocks on PostgreSQL
};

using Verdict = std::variant<Passage, Response>;

class Proxy {
 public:
  // `deps` must outlive it; `locator` may be null: addresses are taken as observed.
  Proxy(Deps& deps, TrustedProxies proxies, Locator* locator);

  std::optional<Place> find(std::string_view host, std::string_view target, bool by_path) const {
    return find_place(host, target, deps_.settings.agents_domain, by_path);
  }
  // `incoming` has no body. Without asking anybody, if the same was found out a moment ago; nullopt: admit() must.
  std::optional<Verdict> known(const Place& place, const Incoming& incoming);
  Verdict admit(const Place& place, const Incoming& incoming);
  // Whether the agent is at this address now. To be asked about a connection that was made before: one that stands can
  // then be nobody else's, because an address is given to another only after its holder is gone.
  bool is_at(const AgentId& agent, const std::string& address) const;
  // What is known of the agent is not true any more.
  void forget(const AgentId& agent);

  // An answer of the proxy's own, about what happened on the way.
  Response failure(const Passage& passage, int status, const std::string& code, const std::string& message) const;
  void done(const std::string& method, int status, std::chrono::microseconds took) const;

 private:
  enum class How { none, bearer, ticket, agent_cookie, session_cookie };
  struct Credential {
    How how = How::none;
    std::string text;
  };
  // What was found out about a credential and an agent.
  struct Grant {
    UserId user;
    std::string address;
    gateway::Credentials credentials;
    std::chrono::steady_clock::time_point until;
  };
  struct Known {
    std::string key;
    AgentId agent;
    Grant grant;
  };

  Request request_of(const Place& place, const Incoming& incoming) const;
  static Credential credential_of(const Request& request, const Place& place);
  // The refusal of what a cookie does not vouch for.
  static std::optional<Response> check_page(const Request& request, const Incoming& incoming, How how);
  std::variant<Grant, Response> find_out(const Request& request, const Place& place, const Credential& credential);
  Result<std::optional<Caller>> caller_of(const Place& place, const Credential& credential, const Request& request);
  Verdict pass(const Request& request, Place place, const Incoming& incoming, const Credential& credential,
               const Grant& grant);
  bool still_may(const Request& request, const Place& place, const Credential& credential, const UserId& user);
  Response let_browser_in(const Request& request, const Place& place, const UserId& user, const std::string& target);

  Deps& deps_;
  const TrustedProxies proxies_;
  Locator* const locator_;
  std::mutex mutex_;        // guards what follows
  std::list<Known> order_;  // the one used last first
  std::unordered_map<std::string, std::list<Known>::iterator> known_;
};

}  // namespace creel::api
