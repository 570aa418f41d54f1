#include "api/server/server.hpp"

#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "api/auth/rate_limit.hpp"
#include "api/server/awaiting.hpp"
#include "api/server/connection.hpp"
#include "api/server/hub.hpp"
#include "api/server/tls_files.hpp"

namespace creel::api {
namespace {

using tcp = asio::ip::tcp;

// How many are told at a time that they are too many; further ones are closed without a word.
constexpr std::size_t kMaxTurnedAway = 128;

// Connections accepted in a row.
constexpr int kMostAtOnce = 64;

struct HostPort {
  std::string host;
  std::string port;
};

// "127.0.0.1:8080", "[::1]:8080", ":8080" (every address).
Result<HostPort> parse_listen(const char* setting, const std::string& text) {
  const auto colon = text.rfind(':');
  HostPort parsed;
  if (colon != std::string::npos) {
    parsed.host = text.substr(0, colon);
    parsed.port = text.substr(colon + 1);
    if (parsed.host.starts_with('[') && parsed.host.ends_with(']'))
      parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
    if (parsed.host.empty()) parsed.host = "0.0.0.0";
  }
  const bool digits = !parsed.port.empty() && parsed.port.size() <= 5 &&
                      parsed.port.find_first_not_of("0123456789") == std::string::npos &&
                      std::stoi(parsed.port) < 65536;
  if (!digits)
    return invalid(setting, std::string{setting} + ": '" + text + "' is not host:port, as in 127.0.0.1:8080");
  return parsed;
}

Error cannot_listen(const char* setting, const std::string& where, const error_code& error) {
  std::string message = "cannot listen on " + where + ": ";
  if (error == asio::error::address_in_use)
    message += "another process uses this port; stop it, or set " + std::string{setting} + " to another address";
  else if (error == asio::error::access_denied)
    message += "this user may not use this port; set " + std::string{setting} + " to a port from 1024 on";
  else if (error == boost::system::errc::address_not_available)
    message += "this machine has no such address; set " + std::string{setting} + " to one it has";
  else
    message += error.message() + "; set " + setting + " to another address";
  return Error{ErrorKind::unavailable, std::move(message), setting, {}};
}

// An address that clients may knock at.
struct Door {
  Door(asio::io_context& io, Listener leads_to) : listener(leads_to), acceptor(io) {}

  Result<void> open(const char* setting, const std::string& text) {
    CREEL_TRY(const HostPort where, parse_listen(setting, text));
    error_code error;
    tcp::resolver resolver{acceptor.get_executor()};
    const auto found =
        resolver.resolve(where.host, where.port, tcp::resolver::passive | tcp::resolver::numeric_service, error);
    if (error || found.empty())
      return Error{ErrorKind::unavailable,
                   "cannot listen on " + text + ": the name '" + where.host + "' is not known; set " + setting +
                       " to an address of this machine",
                   setting,
                   {}};
    const tcp::endpoint endpoint = *found.begin();
    acceptor.open(endpoint.protocol(), error);
    // So that a restart does not wait for connections the kernel still remembers.
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address{true}, error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
    if (!error) acceptor.non_blocking(true, error);
    if (error) return cannot_listen(setting, text, error);
    const auto local = acceptor.local_endpoint(error);
    const std::string host = local.address().to_string();
    address = (local.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(local.port());
    return {};
  }

  const Listener listener;
  tcp::acceptor acceptor;
  std::string address;
};

}  // namespace

Hub::Hub(const Settings& settings, TrustedProxies proxies, Dispatcher& dispatcher, Proxy* proxy, Pool& pool)
    : settings(settings), proxies(std::move(proxies)), dispatcher(dispatcher), proxy(proxy), pool(pool) {}
Hub::~Hub() = default;

std::shared_ptr<Share> Hub::share_of(const std::string& address) {
  // Those that were kept for what they had earned.
  if (shares.size() > 2 * connections.size() + 1'000)
    std::erase_if(shares, [now = std::chrono::steady_clock::now()](const auto& one) { return one.second->idle(now); });
  auto& share = shares[address];
  if (!share) share = std::make_shared<Share>();
  return share;
}

std::string Hub::line_of(const Incoming& incoming) const {
  return rate_key(find_client(incoming.peer, incoming.headers, proxies).address);
}

struct Server::Impl {
  Impl(const Settings& settings, TrustedProxies proxies, Dispatcher& dispatcher, Proxy* proxy, Pool& pool)
      : hub(std::make_shared<Hub>(settings, std::move(proxies), dispatcher, proxy, pool)),
        api(hub->io, Listener::api),
        gateway(hub->io, Listener::gateway),
        work(hub->io.get_executor()) {
    hub->at_once = &at_once;
    hub->large = &large;
  }

  std::shared_ptr<Hub> hub;
  Door api, gateway;
  asio::executor_work_guard<asio::io_context::executor_type> work;
  std::thread thread;
  std::mutex mutex;
  std::condition_variable emptied;
  bool empty = false;
  bool stopped = false;
  Pool at_once{1};
  // To take a large body apart is work, not waiting. It gets one processor, so that there is one for everybody else.
  Pool large{1};

  Result<void> open() {
    const Settings& settings = hub->settings;
    if (!settings.tls_certificate.empty()) {
      CREEL_TRY(hub->tls, TlsFiles::open(settings.tls_certificate, settings.tls_key));
    }
    CREEL_CHECK(api.open("CREEL_LISTEN", settings.listen));
    if (!settings.gateway_listen.empty()) CREEL_CHECK(gateway.open("CREEL_GATEWAY_LISTEN", settings.gateway_listen));
    return {};
  }

  asio::awaitable<void> accept(Door& door) {
    asio::steady_timer pause{hub->io};
    while (true) {
      tcp::socket socket{hub->io};
      const std::tuple<error_code> accepted = co_await door.acceptor.async_accept(socket, kToken);
      const error_code error = std::get<0>(accepted);
      if (error == asio::error::operation_aborted || !door.acceptor.is_open()) co_return;
      if (error) {
        // Mostly: no file descriptors left. Connections that end give some back.
        spdlog::warn("cannot accept a connection: {}", error.message());
        pause.expires_after(std::chrono::milliseconds{100});
        co_await pause.async_wait(kToken);
        continue;
      }
      welcome(door, std::move(socket));
      // Whoever knocks behind many others must not wait for a round of all other work for each of them.
      for (int more = 0; more < kMostAtOnce; ++more) {
        tcp::socket next{hub->io};
        error_code none;
        door.acceptor.accept(next, none);
        if (none) break;
        welcome(door, std::move(next));
      }
    }
  }

  void welcome(const Door& door, tcp::socket socket) {
    std::string address;
    if (const auto why = Connection::objection(*hub, socket, address); !why.empty()) {
      if (hub->turning_away < kMaxTurnedAway) {
        auto goodbye = Connection::turn_away(*hub, std::move(socket), why);
        asio::co_spawn(hub->io, std::move(goodbye), asio::detached);
      }
      return;
    }
    const auto connection = std::make_shared<Connection>(hub, std::move(socket), door.listener, std::move(address));
    connection->start();
  }

  void run() {
    for (Door* door : {&api, &gateway}) {
      if (!door->acceptor.is_open()) continue;
      auto accepting = accept(*door);
      asio::co_spawn(hub->io, std::move(accepting), asio::detached);
    }
    thread = std::thread([this] {
      // splice() to a socket that is gone raises it, unlike Asio's own writes.
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
      while (true) {
        try {
          hub->io.run();
          return;
        } catch (const std::exception& error) {
          // Nothing above is meant to throw; one that does must not take every connection along.
          spdlog::error("server thread: {}", error.what());
        }
      }
    });
  }

  void drain() {
    error_code ignored;
    api.acceptor.close(ignored);
    gateway.acceptor.close(ignored);
    hub->draining = true;
    hub->on_empty = [this] {
      const std::lock_guard lock{mutex};
      empty = true;
      emptied.notify_all();
    };
    // drain() may end a connection, which takes itself out of the set.
    const std::vector<Connection*> all{hub->connections.begin(), hub->connections.end()};
    for (Connection* connection : all) connection->drain();
    if (hub->connections.empty()) hub->on_empty();
  }

  void abort() {
    const std::vector<Connection*> all{hub->connections.begin(), hub->connections.end()};
    for (Connection* connection : all) connection->abort();
  }
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::start(const Settings& settings, Dispatcher& dispatcher, Pool& pool,
                                              Metrics& metrics, Proxy* proxy) {
  CREEL_TRY(auto proxies, TrustedProxies::parse(settings.trusted_proxies));
  auto impl = std::make_unique<Impl>(settings, std::move(proxies), dispatcher, proxy, pool);
  CREEL_CHECK(impl->open());
  metrics.collect([weak = std::weak_ptr{impl->hub}](Metrics::Page& page) {
    const auto hub = weak.lock();
    if (!hub) return;
    page.add("creel_gateway_tunnels", static_cast<double>(hub->tunnels.load()));
    page.add("creel_http_connections", static_cast<double>(hub->count.load()));
  });
  impl->run();
  return std::unique_ptr<Server>{new Server(std::move(impl))};
}

std::string Server::address() const { return impl_->api.address; }
std::string Server::gateway_address() const { return impl_->gateway.address; }

void Server::stop() {
  {
    const std::lock_guard lock{impl_->mutex};
    if (std::exchange(impl_->stopped, true)) return;
  }
  asio::post(impl_->hub->io, [impl = impl_.get()] { impl->drain(); });
  {
    std::unique_lock lock{impl_->mutex};
    if (!impl_->emptied.wait_for(lock, impl_->hub->settings.drain_timeout, [&] { return impl_->empty; }))
      spdlog::warn("{} connections were still busy and are cut", impl_->hub->count.load());
  }
  asio::post(impl_->hub->io, [impl = impl_.get()] {
    impl->abort();
    impl->hub->io.stop();
  });
  impl_->thread.join();
  impl_->hub->on_empty = nullptr;
}

}  // namespace creel::api
