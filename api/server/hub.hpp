// Hub: what the connections of one server share. Inside api/server only.
//
// Everything but `io` (to post to it), `count` and `answer_bytes` belongs to the thread that runs `io`. Others hold a
// weak_ptr: an answer that comes after the server is gone finds nothing to post to.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "api/auth/client_address.hpp"
#include "api/dispatcher.hpp"
#include "api/pool.hpp"
#include "api/settings.hpp"

namespace creel::api {

class Connection;
class TlsFiles;
class Proxy;

enum class Listener { api, gateway };

// What one answer takes of Hub::answer_bytes.
class AnswerShare {
 public:
  AnswerShare(std::shared_ptr<std::atomic<std::size_t>> all, std::size_t bytes) : all_(std::move(all)), bytes_(bytes) {
    *all_ += bytes_;
  }
  ~AnswerShare() { *all_ -= bytes_; }
  AnswerShare(const AnswerShare&) = delete;
  AnswerShare& operator=(const AnswerShare&) = delete;

 private:
  const std::shared_ptr<std::atomic<std::size_t>> all_;  // answers may outlive the hub
  const std::size_t bytes_;
};

struct Hub {
  Hub(const Settings& settings, TrustedProxies proxies, Dispatcher& dispatcher, Proxy* proxy, Pool& pool);
  ~Hub();

  const Settings settings;
  const TrustedProxies proxies;
  Dispatcher& dispatcher;
  Proxy* const proxy;  // null: there are no agents' addresses
  Pool& pool;
  Pool* at_once = nullptr;        // of one thread, for routes that wait for nothing
  std::unique_ptr<TlsFiles> tls;  // null: none
  std::unordered_set<Connection*> connections;
  std::atomic<std::size_t> count{0};                        // of connections, for metrics
  std::atomic<std::size_t> tunnels{0};                      // to agents, for metrics
  std::size_t turning_away = 0;                             // connections that are being told that they are too many
  std::unordered_map<std::string, std::size_t> by_address;  // connections of each, but of trusted proxies
  std::size_t body_bytes = 0;                               // of requests that are being read or handled
  // Of answers from when they are made until they are sent.
  const std::shared_ptr<std::atomic<std::size_t>> answer_bytes = std::make_shared<std::atomic<std::size_t>>(0);
  bool draining = false;
  std::function<void()> on_empty;  // the last connection is gone while draining
  std::string date;                // of the Date header, made once a second
  std::int64_t date_second = 0;
  // Last, so that it goes first: the coroutines it still holds use what stands above.
  boost::asio::io_context io{1};
};

}  // namespace creel::api
