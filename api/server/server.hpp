// Server: the HTTP/1.1 listeners, of the API and of the agents' gateways, with TLS if it is configured. One thread runs
// an io_context with every socket and timer; handlers run on the Pool.
//
// A connection is one coroutine that reads a request, hands it to the Dispatcher and writes the answer, one after the
// other (pipelined requests wait in the buffer). A request that waits for something (Later) holds no thread. Limits and
// deadlines are those of Settings: a client that is slow in sending or reading loses its connection.
//
// Errors: start() fails with one line that says what to do (port in use, no right, no such address). Threads: every
// method from any thread; stop() blocks until the requests under way are answered, at most Settings::drain_timeout.
// Pool, Dispatcher, Proxy and Metrics must outlive the Server; answers that come after it is gone are dropped.
#pragma once

#include <memory>
#include <string>

#include "api/dispatcher.hpp"
#include "api/pool.hpp"
#include "api/settings.hpp"
#include "controller/core/result.hpp"
#include "controller/metrics/metrics.hpp"

namespace creel::api {

class Proxy;

class Server {
 public:
  // `proxy`: to agents; null: their addresses are unknown ones.
  static Result<std::unique_ptr<Server>> start(const Settings& settings, Dispatcher& dispatcher, Pool& pool,
                                               Metrics& metrics, Proxy* proxy = nullptr);
  ~Server();  // stop()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Where it listens: "127.0.0.1:8080", with the real port when 0 was asked for.
  std::string address() const;
  std::string gateway_address() const;  // "" when there is none
  // No new connections; requests under way are answered, streams end, then everything is closed.
  void stop();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::api
