// Dispatcher: everything between a socket and a handler. In this order: request id, client address, route (404, 405),
// rate limit (429), credentials (401, 403), CSRF (403), handler; then the headers every answer has, log and metrics.
//
// Errors: none leave it; every failure is an answer in the shape of api/error.hpp. A handler that throws is answered
// with 500 and logged. Threads: handle() on handler threads (it blocks on PostgreSQL), the rest from any thread.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/auth/client_address.hpp"
#include "api/auth/rate_limit.hpp"
#include "api/deps.hpp"
#include "api/http.hpp"
#include "api/router.hpp"

namespace creel::api {

// A request as it came from a socket.
struct Incoming {
  std::string method;
  std::string target;  // "/path?query"
  Headers headers;
  std::string body;
  std::string peer;                                 // address of who connected
  bool secure = false;                              // over TLS of our own
  std::optional<RateDecision> rate = std::nullopt;  // what Dispatcher::take_rate said of it before its body was read
};

// The client's own id if it is harmless in logs and headers, else a new one.
std::string request_id_of(std::string_view given);
// A method as a label of metrics: bounded, whatever clients send.
std::string known_method(const std::string& method);
// Counts an answer. `route` is the pattern ("/api/agents/:id"), never the path.
void count_request(Metrics& metrics, const std::string& method, const std::string& route, int status,
                   std::chrono::microseconds took);

class Dispatcher {
 public:
  // `proxies`: from Settings::trusted_proxies. `deps` and `routes` must outlive it.
  Dispatcher(Deps& deps, TrustedProxies proxies, const std::vector<Route>& routes);
  // With the product's own route table.
  Dispatcher(Deps& deps, TrustedProxies proxies);

  // How long a body may be there; for an unknown route the usual limit.
  std::size_t body_limit(std::string_view method, std::string_view target) const;

  // Route::at_once.
  bool at_once(std::string_view method, std::string_view target) const;

  // Asks the rate limit about a request of which only the head is there, so that a large body of somebody who has sent
  // too much already need not be read. To be given to handle() with the request.
  RateDecision take_rate(const Incoming& head);

  // For a Later, `complete` gets the finished answer.
  Reply handle(Incoming incoming);

  // What the server itself must answer (malformed request, body too long, too many connections), in our shape.
  static Response refuse(int status, const std::string& code, const std::string& message);

 private:
  struct Exchange;
  RateDecision take_rate(const Route* route, std::string_view path, const std::string& address);
  Reply route_and_run(Exchange& exchange);
  void finish(const Exchange& exchange, Response& response) const;

  Deps& deps_;
  const TrustedProxies proxies_;
  const Router router_;
  RateLimiter limiter_;
};

}  // namespace creel::api
