#include "api/proxy/proxy.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/auth/credentials.hpp"
#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/agent_gateway.hpp"
#include "api/handlers/support.hpp"
#include "api/target.hpp"
#include "api/view.hpp"
#include "controller/secrets/hmac.hpp"
#include "controller/store/tickets.hpp"

namespace creel::api {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kServes{2};
constexpr std::size_t kMostKnown = 4'096;
constexpr const char* kFailure = "Failed to reach the agent";

bool is_upgrade(const Incoming& incoming) { return !find_header(incoming.headers, "Upgrade").empty(); }

bool is_safe(const std::string& method) { return method == "GET" || method == "HEAD"; }

Response unauthorized(const Request& request, const Place& place) {
  Response response =
      error_answer(request, 401, "UNAUTHORIZED",
                   "Unauthorized; send an API key, or open the address with a ticket of POST /api/agents/" +
                       place.agent.str() + "/ticket");
  response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

// What the dispatcher does for its own answers.
Response finished(const Request& request, Response response) {
  set_header(response.headers, "X-Request-Id", request.request_id);
  if (!response.body.empty()) set_header(response.headers, "Content-Type", "application/json");
  set_header(response.headers, "X-Content-Type-Options", "nosniff");
  set_header(response.headers, "Cache-Control", "no-store");
  return response;
}

}  // namespace

Proxy::Proxy(Deps& deps, TrustedProxies proxies, Locator* locator)
    : deps_(deps), proxies_(std::move(proxies)), locator_(locator) {}

Request Proxy::request_of(const Place& place, const Incoming& incoming) const {
  Request request;
  request.method = incoming.method;
  request.path = place.target.substr(0, place.target.find('?'));
  request.place = "/agent/" + place.agent.str();
  request.headers = incoming.headers;
  request.request_id = request_id_of(find_header(incoming.headers, "X-Request-Id"));
  const Client client = find_client(incoming.peer, incoming.headers, proxies_);
  request.remote_ip = client.address;
  request.secure = client.secure || incoming.secure;
  return request;
}

Proxy::Credential Proxy::credential_of(const Request& request, const Place& place) {
  if (!request.header("Authorization").empty()) return {How::bearer, bearer_of(request)};
  const std::string ticket = without_query(place.target, "token").value;
  if (!ticket.empty()) return {How::ticket, ticket};
  if (auto cookie = find_cookie(request, agent_cookie_name(place, request.secure)); !cookie.empty())
    return {How::agent_cookie, std::move(cookie)};
  if (auto cookie = find_cookie(request, request.secure ? kSecureCookie : kCookie); !cookie.empty())
    return {How::session_cookie, std::move(cookie)};
  return {};
}

std::optional<Response> Proxy::check_page(const Request& request, const Incoming& incoming, How how) {
  if (how != How::agent_cookie && how != How::session_cookie) return std::nullopt;
  const std::string site = trimmed(request.header("Sec-Fetch-Site"));
  // Agents' names are of one site: a page of one must not ask another in its visitor's name.
  const bool own = site.empty() || site == "same-origin" || site == "none" ||
                   (request.header("Sec-Fetch-Mode") == "navigate" && request.header("Sec-Fetch-Dest") == "document");
  const bool changes = !is_safe(incoming.method) || is_upgrade(incoming);
  if (changes ? passes_csrf(request) : own) return std::nullopt;
  return error_answer(request, 403, "CSRF", "This request did not come from the agent's own pages");
}

std::optional<Verdict> Proxy::known(const Place& place, const Incoming& incoming) {
  const Request request = request_of(place, incoming);
  const Credential credential = credential_of(request, place);
  if (credential.how == How::none) return Verdict{finished(request, unauthorized(request, place))};
  if (auto refused = check_page(request, incoming, credential.how))
    return Verdict{finished(request, *std::move(refused))};
  const std::string key = std::to_string(static_cast<int>(credential.how)) + place.agent.str() + credential.text;
  Grant grant;
  {
    const std::lock_guard lock{mutex_};
    const auto found = known_.find(key);
    if (found == known_.end() || found->second->grant.until < SteadyClock::now()) return std::nullopt;
    order_.splice(order_.begin(), order_, found->second);
    grant = found->second->grant;
  }
  // A browser that comes with a ticket is to be given a cookie, which is kept.
  Verdict verdict = pass(request, place, incoming, credential, grant);
  if (std::holds_alternative<Response>(verdict)) return std::nullopt;
  return verdict;
}

Verdict Proxy::admit(const Place& place, const Incoming& incoming) {
  const Request request = request_of(place, incoming);
  const Credential credential = credential_of(request, place);
  if (credential.how == How::none) return finished(request, unauthorized(request, place));
  if (auto refused = check_page(request, incoming, credential.how)) return finished(request, *std::move(refused));
  auto found = find_out(request, place, credential);
  if (auto* refused = std::get_if<Response>(&found)) return finished(request, std::move(*refused));
  Grant& grant = std::get<Grant>(found);
  grant.until = SteadyClock::now() + kServes;
  {
    const std::string key = std::to_string(static_cast<int>(credential.how)) + place.agent.str() + credential.text;
    const std::lock_guard lock{mutex_};
    if (const auto before = known_.find(key); before != known_.end()) {
      order_.erase(before->second);
      known_.erase(before);
    }
    order_.push_front({key, place.agent, grant});
    known_[key] = order_.begin();
    if (order_.size() > kMostKnown) {
      known_.erase(order_.back().key);
      order_.pop_back();
    }
  }
  const Stripped stripped = without_query(place.target, "token");
  const bool opened = request.header("Sec-Fetch-Mode").empty()
                          ? request.header("Accept").find("text/html") != std::string_view::npos
                          : request.header("Sec-Fetch-Mode") == "navigate";
  if (credential.how == How::ticket && incoming.method == "GET" && !is_upgrade(incoming) && opened)
    return finished(request, let_browser_in(request, place, grant.user, stripped.target));
  return pass(request, place, incoming, credential, grant);
}

Result<std::optional<Caller>> Proxy::caller_of(const Place& place, const Credential& credential,
                                               const Request& request) {
  if (credential.how == How::bearer || credential.how == How::session_cookie)
    return find_caller(request, deps_.db, deps_.settings, deps_.clock());
  CREEL_TRY(auto tx, deps_.db.begin());
  const auto kind = credential.how == How::ticket ? store::TicketKind::ticket : store::TicketKind::cookie;
  CREEL_TRY(const auto user, store::user_of_ticket(tx, kind, place.agent, sha256_hex(credential.text), deps_.clock()));
  if (!user) return std::optional<Caller>{};
  return std::optional{caller_from(*user, deps_.settings)};
}

std::variant<Proxy::Grant, Response> Proxy::find_out(const Request& request, const Place& place,
                                                     const Credential& credential) {
  CREEL_API_TRY(const auto caller, request, kFailure, caller_of(place, credential, request));
  CREEL_API_TRY(auto tx, request, kFailure, deps_.db.begin());
  std::optional<store::AgentRow> row;
  if (caller) {
    CREEL_API_TRY(row, request, kFailure, find_agent(tx, *caller, place.agent.str()));
  } else if (credential.how == How::bearer) {
    // Who has the gateway's own token need not be told that there is Creel in between.
    CREEL_API_TRY(row, request, kFailure, store::get_agent(tx, place.agent));
    if (row && row->desired == DesiredState::deleted) row.reset();
    if (row) {
      CREEL_API_TRY(const auto token, request, kFailure, open_secret(tx, row->id, "gateway_token", deps_.sealer));
      if (!token || !secrets::same_secret(*token, credential.text)) row.reset();
    }
  }
  if (!row) {
    return caller ? agent_not_found(request) : unauthorized(request, place);
  }
  if (row->desired == DesiredState::stopped) return not_running(request, *row);
  if (row->status.address.empty()) {
    Response response = error_answer(request, 503, "AGENT_NOT_READY",
                                     "The agent is not running yet; GET /api/agents/" + row->id.str() + " says why");
    response.headers.emplace_back("Retry-After", "2");
    return response;
  }
  CREEL_API_TRY(auto target, request, kFailure, gateway_of(tx, *row, deps_));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  Grant grant;
  grant.user = caller ? caller->id : row->owner;
  grant.address = std::move(target.address);
  grant.credentials = {std::move(target.kind), std::move(target.token), std::move(target.device_key)};
  return grant;
}

Verdict Proxy::pass(const Request& request, Place place, const Incoming& incoming, const Credential& credential,
                    const Grant& grant) {
  if (credential.how == How::ticket) place.target = without_query(place.target, "token").target;
  Passage passage;
  const Client client{request.remote_ip, request.secure};
  if (is_upgrade(incoming))
    passage.still_may = [this, request, place, credential, user = grant.user] {
      return still_may(request, place, credential, user);
    };
  passage.headers = headers_for_agent(incoming.headers, place, grant.credentials, client, request.request_id);
  passage.place = std::move(place);
  passage.address = grant.address;
  passage.credentials = grant.credentials;
  passage.request_id = request.request_id;
  return passage;
}

bool Proxy::still_may(const Request& request, const Place& place, const Credential& credential, const UserId& user) {
  if (credential.how != How::ticket) {
    const auto found = find_out(request, place, credential);
    const auto* refused = std::get_if<Response>(&found);
    return refused == nullptr || (refused->status != 401 && refused->status != 404);
  }
  // The ticket is over; whom it was for is not.
  auto tx = deps_.db.begin();
  if (!tx) return true;
  const auto owner = store::find_user(*tx, user);
  if (!owner) return true;
  if (!*owner) return false;
  const auto row = find_agent(*tx, caller_from(**owner, deps_.settings), place.agent.str());
  return !row || row->has_value();
}

Response Proxy::let_browser_in(const Request& request, const Place& place, const UserId& user,
                               const std::string& target) {
  const Secret secret = new_session_secret();
  CREEL_API_TRY(auto tx, request, kFailure, deps_.db.begin());
  CREEL_API_CHECK(request, kFailure,
                  store::create_ticket(tx, store::TicketKind::cookie, place.agent, user, secret.digest, deps_.clock()));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  Response response;
  response.status = 303;
  response.headers.emplace_back("Location", place.prefix + target);
  const std::chrono::seconds lifetime = store::kTicketCookieLifetime;
  response.headers.emplace_back("Set-Cookie", agent_cookie(place, request.secure, secret.text, lifetime.count()));
  return response;
}

bool Proxy::is_at(const AgentId& agent, const std::string& address) const {
  return locator_ == nullptr || locator_->locate(agent, address) == address;
}

void Proxy::forget(const AgentId& agent) {
  const std::lock_guard lock{mutex_};
  for (auto known = order_.begin(); known != order_.end();) {
    if (known->agent == agent) {
      known_.erase(known->key);
      known = order_.erase(known);
    } else {
      ++known;
    }
  }
}

Response Proxy::failure(const Passage& passage, int status, const std::string& code, const std::string& message) const {
  Request request;
  request.request_id = passage.request_id;
  return finished(request, error_answer(request, status, code, message));
}

void Proxy::done(const std::string& method, int status, std::chrono::microseconds took) const {
  count_request(deps_.metrics, method, "/agent/:id", status, took);
}

}  // namespace creel::api
