#include "api/dispatcher.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "api/auth/credentials.hpp"
#include "api/error.hpp"
#include "api/routes.hpp"
#include "api/target.hpp"
#include "controller/core/log_context.hpp"
#include "controller/secrets/redact.hpp"

namespace creel::api {
namespace {

using SteadyClock = std::chrono::steady_clock;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// "/api/agents/0123456789abcdef/config": the pattern with those parameters that have the form of an id. Whatever else
// stands in a path may be a key in the wrong place.
std::string place_of(std::string_view pattern, const std::map<std::string, std::string>& params) {
  std::string place;
  while (!pattern.empty()) {
    const auto end = std::min(pattern.find('/', 1), pattern.size());
    const std::string_view segment = pattern.substr(0, end);
    pattern.remove_prefix(end);
    const auto param = segment.starts_with("/:") ? params.find(std::string{segment.substr(2)}) : params.end();
    const bool id = param != params.end() && (AgentId::parse(param->second) || UserId::parse(param->second));
    place += id ? "/" + param->second : std::string{segment};
  }
  return place;
}

// The document's lifecycle shape, without disturbing what an error says already.
void add_lifecycle_fields(Response& response) {
  auto body = nlohmann::json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object()) return;
  if (!body.contains("success")) body["success"] = false;
  if (!body.contains("status")) body["status"] = "error";
  response.body = body.dump();
}

}  // namespace

std::string request_id_of(std::string_view given) {
  const auto harmless = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '_' ||
           c == '-';
  };
  if (!given.empty() && given.size() <= 64 && std::all_of(given.begin(), given.end(), harmless) &&
      secrets::redact(given) == given)
    return std::string{given};
  return "req_" + random_hex(8);
}

std::string known_method(const std::string& method) {
  static const std::set<std::string> known{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
  return known.contains(method) ? method : "other";
}

void count_request(Metrics& metrics, const std::string& method, const std::string& route, int status,
                   std::chrono::microseconds took) {
  const std::string known = known_method(method);
  metrics.count("creel_http_requests_total", {known, route, std::to_string(status)});
  metrics.observe("creel_http_request_duration_seconds", {known, route}, took);
}

struct Dispatcher::Exchange {
  Request request;
  const Route* route = nullptr;
  const char* pattern = nullptr;
  std::string method;  // as sent: HEAD is still HEAD
  RateDecision rate;
  SteadyClock::time_point began = SteadyClock::now();
};

Dispatcher::Dispatcher(Deps& deps, TrustedProxies proxies, const std::vector<Route>& routes)
    : deps_(deps), proxies_(std::move(proxies)), router_(routes), limiter_(deps.settings.rate) {}

Dispatcher::Dispatcher(Deps& deps, TrustedProxies proxies) : Dispatcher(deps, std::move(proxies), routes()) {}

std::size_t Dispatcher::body_limit(std::string_view method, std::string_view target) const {
  const auto parsed = parse_target(target);
  if (!parsed) return kBodyLimit;
  const Match match = router_.match(method, parsed->segments);
  return match.route != nullptr ? match.route->body_limit : kBodyLimit;
}

bool Dispatcher::at_once(std::string_view method, std::string_view target) const {
  const auto parsed = parse_target(target);
  if (!parsed) return false;
  const Match match = router_.match(method, parsed->segments);
  return match.route != nullptr && match.route->at_once;
}

RateDecision Dispatcher::take_rate(const Route* route, std::string_view path, const std::string& address) {
  // Addresses that lead nowhere count too: they are what a scanner asks for.
  const RateClass rate = route != nullptr ? route->rate : path.starts_with("/api/") ? RateClass::api : RateClass::none;
  return limiter_.take(rate, address, SteadyClock::now());
}

RateDecision Dispatcher::take_rate(const Incoming& head) {
  const auto target = parse_target(head.target);
  if (!target) return {};  // refused anyway
  const Match match = router_.match(head.method, target->segments);
  return take_rate(match.route, target->path, find_client(head.peer, head.headers, proxies_).address);
}

Response Dispatcher::refuse(int status, const std::string& code, const std::string& message) {
  Request nobody;
  nobody.request_id = request_id_of({});
  Response response = error_answer(nobody, status, code, message);
  set_header(response.headers, "X-Request-Id", nobody.request_id);
  set_header(response.headers, "Content-Type", "application/json");
  set_header(response.headers, "X-Content-Type-Options", "nosniff");
  set_header(response.headers, "Cache-Control", "no-store");
  return response;
}

Reply Dispatcher::handle(Incoming incoming) {
  auto exchange = std::make_shared<Exchange>();
  Request& request = exchange->request;
  exchange->method = incoming.method;
  request.method = incoming.method == "HEAD" ? "GET" : incoming.method;
  request.headers = std::move(incoming.headers);
  request.body = std::move(incoming.body);
  request.request_id = request_id_of(request.header("X-Request-Id"));
  const LogContext context{"request", request.request_id};
  const Client client = find_client(incoming.peer, request.headers, proxies_);
  request.remote_ip = client.address;
  request.secure = client.secure || incoming.secure;

  Reply reply;
  try {
    if (auto target = parse_target(incoming.target); !target) {
      request.path = "(malformed)";
      reply = error_answer(request, target.error());
    } else {
      request.path = std::move(target->path);
      request.query = std::move(target->query);
      Match match = router_.match(incoming.method, target->segments);
      exchange->route = match.route;
      exchange->pattern = match.pattern;
      request.params = std::move(match.params);
      if (match.pattern != nullptr) request.place = place_of(match.pattern, request.params);
      exchange->rate = incoming.rate ? *incoming.rate : take_rate(match.route, request.path, request.remote_ip);
      if (!exchange->rate.allowed) {
        const auto seconds = std::to_string(exchange->rate.retry_after.count());
        Response response = error_answer(request, 429, "RATE_LIMITED",
                                         "Too many requests from this address; try again in " + seconds + " s");
        response.headers.emplace_back("Retry-After", seconds);
        reply = std::move(response);
      } else if (incoming.method == "OPTIONS" && (request.path == "*" || !match.allow.empty())) {
        Response response;
        response.status = 204;
        if (!match.allow.empty()) response.headers.emplace_back("Allow", joined(match.allow));
        reply = std::move(response);
      } else if (match.allow.empty()) {
        reply = error_answer(request, 404, "NOT_FOUND", "There is nothing at this address");
      } else if (match.route == nullptr) {
        Response response =
            error_answer(request, 405, "METHOD_NOT_ALLOWED", "This address takes only " + joined(match.allow));
        response.headers.emplace_back("Allow", joined(match.allow));
        reply = std::move(response);
      } else {
        reply = route_and_run(*exchange);
      }
    }
  } catch (const std::exception& error) {
    spdlog::error("{} {} threw: {}", request.method, request.place, error.what());
    reply = error_answer(request, 500, "INTERNAL",
                         exchange->route != nullptr ? exchange->route->failure : "Internal server error");
  }

  if (auto* response = std::get_if<Response>(&reply)) {
    finish(*exchange, *response);
  } else if (auto* later = std::get_if<Later>(&reply)) {
    later->start = [this, exchange, start = std::move(later->start)](std::function<void(Response)> complete) {
      start([this, exchange, complete = std::move(complete)](Response response) {
        finish(*exchange, response);
        complete(std::move(response));
      });
    };
  } else if (auto* stream = std::get_if<Stream>(&reply)) {
    Response head;
    head.headers = std::move(stream->headers);
    head.headers.emplace_back("Content-Type", "text/event-stream");
    finish(*exchange, head);
    stream->headers = std::move(head.headers);
  }
  return reply;
}

Reply Dispatcher::route_and_run(Exchange& exchange) {
  Request& request = exchange.request;
  const Route& route = *exchange.route;

  if (route.who != Who::open) {
    CREEL_API_TRY(request.caller, request, route.failure,
                  find_caller(request, deps_.db, deps_.settings, deps_.clock()));
    if (!request.caller && route.who != Who::anonymous) {
      Response response = error_answer(request, 401, "UNAUTHORIZED", "Unauthorized");
      response.headers.emplace_back("WWW-Authenticate", "Bearer");
      return response;
    }
    // Where credentials are optional the cookie does not vouch for anything (logging in again).
    const bool cookie_vouches = route.who != Who::anonymous && request.caller->by_cookie;
    if (cookie_vouches && request.method != "GET" && !passes_csrf(request))
      return error_answer(request, 403, "CSRF", "This request did not come from Creel's own pages");
    if (route.who == Who::admin && !request.caller->admin)
      return error_answer(request, 403, "FORBIDDEN", "Only an administrator may do this");
  }
  return route.handler(request, deps_);
}

void Dispatcher::finish(const Exchange& exchange, Response& response) const {
  // An answer that was waited for comes on another thread.
  const LogContext context{"request", LogContext::current().empty() ? exchange.request.request_id : ""};
  if (response.status >= 400 && exchange.route != nullptr && exchange.route->lifecycle) add_lifecycle_fields(response);
  set_header(response.headers, "X-Request-Id", exchange.request.request_id);
  if (!response.body.empty() && find_header(response.headers, "Content-Type").empty())
    set_header(response.headers, "Content-Type", "application/json");
  set_header(response.headers, "X-Content-Type-Options", "nosniff");
  if (find_header(response.headers, "Cache-Control").empty()) set_header(response.headers, "Cache-Control", "no-store");
  if (exchange.rate.limit > 0) {
    set_header(response.headers, "RateLimit-Limit", std::to_string(exchange.rate.limit));
    set_header(response.headers, "RateLimit-Remaining", std::to_string(exchange.rate.remaining));
    set_header(response.headers, "RateLimit-Reset", std::to_string(exchange.rate.reset.count()));
  }

  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - exchange.began);
  const std::string method = known_method(exchange.method);
  count_request(deps_.metrics, method, exchange.pattern != nullptr ? exchange.pattern : "(none)", response.status,
                took);
  const auto level = response.status >= 500 ? spdlog::level::warn : spdlog::level::debug;
  spdlog::log(level, "{} {} {} {:.1f} ms from {}", method, exchange.request.place, response.status,
              static_cast<double>(took.count()) / 1000.0, exchange.request.remote_ip);
}

}  // namespace creel::api
