// Hub: what the connections of one server share. Inside api/server only.
//
// Everything but `io` (to post to it) and `count` belongs to the thread that runs `io`. Others hold a weak_ptr: an
// answer that comes after the server is gone finds nothing to post to.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>

#include "api/dispatcher.hpp"
#include "api/pool.hpp"
#include "api/settings.hpp"

namespace creel::api {

class Connection;
class TlsFiles;
class Proxy;

enum class Listener { api, gateway };

struct Hub {
  Hub(const Settings& settings, Dispatcher& dispatcher, Proxy* proxy, Pool& pool);
  ~Hub();

  const Settings settings;
  Dispatcher& dispatcher;
  Proxy* const proxy;  // null: there are no agents' addresses
  Pool& pool;
  std::unique_ptr<TlsFiles> tls;  // null: none
  std::unordered_set<Connection*> connections;
  std::atomic<std::size_t> count{0};    // of connections, for metrics
  std::atomic<std::size_t> tunnels{0};  // to agents, for metrics
  std::size_t turning_away = 0;         // connections that are being told that they are too many
  bool draining = false;
  std::function<void()> on_empty;  // the last connection is gone while draining
  std::string date;                // of the Date header, made once a second
  std::int64_t date_second = 0;
  // Last, so that it goes first: the coroutines it still holds use what stands above.
  boost::asio::io_context io{1};
};

}  // namespace creel::api
