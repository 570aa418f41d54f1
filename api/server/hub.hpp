// Hub: what the connections of one server share. Inside api/server only.
//
// Everything but `io` (to post to it), `count` and `answer_bytes` belongs to the thread that runs `io`. Others hold a
// weak_ptr: an answer that comes after the server is gone finds nothing to post to.
#pragma once

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <list>
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

// What the connections of one address (IPv6: of one /64) take of what there is for all.
struct Share {
  std::size_t connections = 0;
  std::size_t body_bytes = 0;
  std::size_t lingering = 0;
  std::chrono::steady_clock::time_point next_refusal;
  std::chrono::steady_clock::time_point next_piece;  // of large bodies, and of what is dropped
  std::atomic<std::size_t> answer_bytes{0};          // of any thread

  bool idle(std::chrono::steady_clock::time_point now) const {
    return connections == 0 && next_refusal <= now && next_piece <= now;
  }

  // So many bytes have been read. Returns when more may be: a megabyte a quarter of a second.
  std::chrono::steady_clock::time_point after_reading(std::size_t bytes, std::chrono::steady_clock::time_point now) {
    constexpr std::int64_t kBytesPerMs = 4 * 1024;
    next_piece =
        std::max(next_piece, now) + std::chrono::microseconds{static_cast<std::int64_t>(bytes) * 1'000 / kBytesPerMs};
    return next_piece;
  }

  // No address gets more than a quarter of the memory that there is for all bodies, or for all answers; but enough for
  // a large one.
  static std::size_t most(std::size_t all) { return std::max(all / 4, std::min<std::size_t>(all, 2 * 1024 * 1024)); }
};

// What one answer takes of Hub::answer_bytes and of its client's share.
class AnswerRoom {
 public:
  // `share`: null = nobody's.
  AnswerRoom(std::shared_ptr<std::atomic<std::size_t>> all, std::shared_ptr<Share> share, std::size_t bytes)
      : all_(std::move(all)), share_(std::move(share)), bytes_(bytes) {
    *all_ += bytes_;
    if (share_) share_->answer_bytes += bytes_;
  }
  ~AnswerRoom() {
    *all_ -= bytes_;
    if (share_) share_->answer_bytes -= bytes_;
  }
  AnswerRoom(const AnswerRoom&) = delete;
  AnswerRoom& operator=(const AnswerRoom&) = delete;

  bool within(std::size_t most) const {
    return *all_ <= most && (!share_ || share_->answer_bytes <= Share::most(most));
  }

 private:
  const std::shared_ptr<std::atomic<std::size_t>> all_;  // answers may outlive the hub
  const std::shared_ptr<Share> share_;
  const std::size_t bytes_;
};

struct Hub {
  Hub(const Settings& settings, TrustedProxies proxies, Dispatcher& dispatcher, Proxy* proxy, Pool& pool);
  ~Hub();
  std::shared_ptr<Share> share_of(const std::string& address);
  // In whose line of the pool's a request waits: the client's, who may stand behind a trusted proxy with many others.
  std::string line_of(const Incoming& incoming) const;

  const Settings settings;
  const TrustedProxies proxies;
  Dispatcher& dispatcher;
  Proxy* const proxy;  // null: there are no agents' addresses
  Pool& pool;
  Pool* at_once = nullptr;        // of one thread, for routes that wait for nothing
  Pool* large = nullptr;          // for requests with large bodies
  std::unique_ptr<TlsFiles> tls;  // null: none
  std::unordered_set<Connection*> connections;
  std::list<Connection*> waiting_tls;   // who owes us a request, and takes much memory; longest first
  std::atomic<std::size_t> count{0};    // of connections, for metrics
  std::atomic<std::size_t> tunnels{0};  // to agents, for metrics
  std::size_t turning_away = 0;         // connections that are being told that they are too many
  std::unordered_map<std::string, std::shared_ptr<Share>> shares;  // of addresses, but of trusted proxies
  std::size_t body_bytes = 0;                                      // of requests that are being read or handled
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
