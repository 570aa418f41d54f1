#include "controller/gateway/websocket.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <charconv>
#include <deque>
#include <optional>
#include <thread>

namespace creel::gateway {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using boost::system::error_code;

constexpr std::chrono::seconds kGoodbye{1};

std::optional<asio::ip::tcp::endpoint> endpoint_of(const std::string& address) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  error_code failed;
  const auto ip = asio::ip::make_address(host, failed);
  std::uint16_t port = 0;
  const char* const end = address.data() + address.size();
  const auto [at, problem] = std::from_chars(address.data() + colon + 1, end, port);
  if (failed || problem != std::errc{} || at != end || port == 0) return std::nullopt;
  return asio::ip::tcp::endpoint{ip, port};
}

}  // namespace

struct WebSocket::Impl : std::enable_shared_from_this<WebSocket::Impl> {
  Impl(asio::io_context& io, std::string peer, std::size_t limit, Handlers what)
      : stream(io),
        timer(io),
        address(std::move(peer)),
        max_message(limit),
        handlers(std::make_shared<Handlers>(std::move(what))) {}

  websocket::stream<beast::tcp_stream> stream;
  asio::steady_timer timer;
  beast::flat_buffer buffer;
  std::deque<std::string> outgoing;
  const std::string address;
  const std::size_t max_message;
  std::shared_ptr<Handlers> handlers;  // null once ended; kept alive by whoever is calling one
  bool open = false;
  bool ended = false;
  bool timed_out = false;  // while connecting

  void start(milliseconds deadline) {
    const auto endpoint = endpoint_of(address);
    if (!endpoint) {
      asio::post(stream.get_executor(), [self = shared_from_this()] {
        self->end(Error{ErrorKind::unavailable, "\"" + self->address + "\" is not an address", {}, {}});
      });
      return;
    }
    timer.expires_after(deadline);
    timer.async_wait([self = shared_from_this()](error_code cancelled) {
      if (cancelled || self->open || self->ended) return;
      self->timed_out = true;
      self->drop();
    });
    beast::get_lowest_layer(stream).async_connect(*endpoint, [self = shared_from_this()](error_code failed) {
      if (failed) return self->fail(failed, "cannot be connected to");
      self->handshake();
    });
  }

  void handshake() {
    if (ended) return;
    beast::get_lowest_layer(stream).socket().set_option(asio::ip::tcp::no_delay(true));
    stream.read_message_max(max_message);
    stream.set_option(websocket::stream_base::decorator(
        [](websocket::request_type& request) { request.set(beast::http::field::user_agent, "creel"); }));
    stream.async_handshake(address, "/", [self = shared_from_this()](error_code failed) {
      if (failed) return self->fail(failed, "does not speak WebSocket");
      if (self->ended) return;
      self->open = true;
      self->timer.cancel();
      const auto told = self->handlers;
      told->open();
      self->write();
      self->read();
    });
  }

  void read() {
    if (ended) return;
    stream.async_read(buffer, [self = shared_from_this()](error_code failed, std::size_t) {
      if (failed) return self->fail(failed, "closed the connection");
      if (self->ended) return;
      const auto data = self->buffer.cdata();
      const auto told = self->handlers;
      told->message({static_cast<const char*>(data.data()), data.size()});
      self->buffer.consume(self->buffer.size());
      self->read();
    });
  }

  void send(std::string text) {
    if (ended) return;
    outgoing.push_back(std::move(text));
    if (open && outgoing.size() == 1) write();
  }

  void write() {
    if (ended || outgoing.empty()) return;
    stream.text(true);
    stream.async_write(asio::buffer(outgoing.front()), [self = shared_from_this()](error_code failed, std::size_t) {
      // The read fails too, and knows the peer's reason.
      if (failed || self->ended) return;
      self->outgoing.pop_front();
      self->write();
    });
  }

  void fail(error_code why, const char* what) {
    if (ended) return;
    if (timed_out) return end(Error{ErrorKind::timeout, address + " did not answer in time", {}, {}});
    if (why == websocket::error::message_too_big || why == websocket::error::buffer_overflow)
      return end(Error{ErrorKind::failed,
                       address + " sent a message of more than " + std::to_string(max_message) + " bytes",
                       {},
                       "MESSAGE_TOO_LONG"});
    // A peer that breaks the rules of the protocol, or of HTTP before it.
    const bool garbage = why.category() == websocket::make_error_code(websocket::error::closed).category() ||
                         why.category() == beast::http::make_error_code(beast::http::error::end_of_stream).category();
    const bool gone = why == websocket::error::closed || why == beast::http::error::end_of_stream;
    end(Error{garbage && !gone ? ErrorKind::failed : ErrorKind::unavailable,
              address + " " + (open && garbage && !gone ? "broke the protocol" : what) + ": " + why.message(),
              {},
              {}});
  }

  void end(Error why) {
    if (ended) return;
    ended = true;
    const int code = static_cast<int>(stream.reason().code);
    const auto told = std::move(handlers);
    drop();
    told->closed(why, code);
  }

  void close() {
    if (ended) return;
    ended = true;
    handlers.reset();
    if (!open) return drop();
    timer.expires_after(kGoodbye);
    timer.async_wait([self = shared_from_this()](error_code) { self->drop(); });
    // Of a pending write nothing more is sent: Beast queues the close frame behind it by itself.
    stream.async_close(websocket::close_code::normal,
                       [self = shared_from_this()](error_code) { self->timer.cancel(); });
  }

  void drop() {
    error_code ignored;
    beast::get_lowest_layer(stream).socket().close(ignored);
    beast::get_lowest_layer(stream).cancel();
    timer.cancel();
  }
};

WebSocket::~WebSocket() { close(); }
void WebSocket::send(std::string text) { impl_->send(std::move(text)); }
void WebSocket::close() { impl_->close(); }

struct SocketLoop::Impl {
  asio::io_context io{1};
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> guard{io.get_executor()};
  std::thread thread;
};

class SocketLoop::Timer {
 public:
  explicit Timer(asio::io_context& io) : timer(io) {}
  asio::steady_timer timer;
};

SocketLoop::SocketLoop() : impl_(std::make_unique<Impl>()) {
  impl_->thread = std::thread{[this] { impl_->io.run(); }};
}

SocketLoop::~SocketLoop() { join(); }

void SocketLoop::join() {
  impl_->guard.reset();
  if (impl_->thread.joinable()) impl_->thread.join();
}

void SocketLoop::post(std::function<void()> work) { asio::post(impl_->io, std::move(work)); }

std::unique_ptr<WebSocket> SocketLoop::connect(const std::string& address, milliseconds deadline,
                                               std::size_t max_message, WebSocket::Handlers handlers) {
  auto impl = std::make_shared<WebSocket::Impl>(impl_->io, address, max_message, std::move(handlers));
  impl->start(deadline);
  return std::unique_ptr<WebSocket>{new WebSocket{std::move(impl)}};
}

std::shared_ptr<SocketLoop::Timer> SocketLoop::after(milliseconds delay, std::function<void()> work) {
  auto timer = std::make_shared<Timer>(impl_->io);
  timer->timer.expires_after(delay);
  timer->timer.async_wait([work = std::move(work), alive = std::weak_ptr<Timer>{timer}](error_code cancelled) {
    if (!cancelled && !alive.expired()) work();
  });
  return timer;
}

}  // namespace creel::gateway
