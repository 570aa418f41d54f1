#include "api/server/connection.hpp"

#include <spdlog/spdlog.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/version.hpp>
#include <ctime>
#include <utility>
#include <vector>

// Trap of this compiler (g++ 12): an aggregate or capturing lambda written inside a co_await expression is destroyed
// twice. Every operand below has a name of its own.

namespace creel::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Tuple = std::tuple<error_code, std::size_t>;

// Errors come back as values.
constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

// More than the largest head, so that the parser says "too large" and not the buffer.
constexpr std::size_t kBufferBytes = 64 * 1024;

const std::string& date_header(Hub& hub) {
  const std::time_t now = std::time(nullptr);
  if (now != hub.date_second) {
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[40];
    // "C" locale names: the program never calls setlocale().
    hub.date.assign(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
    hub.date_second = now;
  }
  return hub.date;
}

// A header value must not break out of its line, whatever a handler put there.
std::string one_line(std::string value) {
  for (char& c : value)
    if (c == '\r' || c == '\n' || c == '\0') c = ' ';
  return value;
}

template <class Body>
void fill_head(http::response<Body>& message, const Headers& headers, Hub& hub) {
  for (const auto& [name, value] : headers) message.insert(name, one_line(value));
  message.set(http::field::date, date_header(hub));
}

Incoming incoming_of(http::request<http::string_body> message, const std::string& peer) {
  Incoming incoming;
  incoming.method = std::string{message.method_string()};
  incoming.target = std::string{message.target()};
  for (const auto& field : message)
    incoming.headers.emplace_back(std::string{field.name_string()}, std::string{field.value()});
  incoming.body = std::move(message.body());
  incoming.peer = peer;
  return incoming;
}

// Closing while the client still sends would reset the connection and lose our answer: what comes is read and dropped,
// for a while and up to a size.
asio::awaitable<void> linger(beast::tcp_stream& stream) {
  constexpr std::size_t kMost = 16 * 1024 * 1024;
  std::size_t dropped = 0;
  std::vector<char> bytes(16 * 1024);
  const auto space = asio::buffer(bytes);
  stream.expires_after(std::chrono::seconds{2});
  while (dropped < kMost) {
    const Tuple got = co_await stream.async_read_some(space, kToken);
    if (std::get<0>(got)) break;
    dropped += std::get<1>(got);
  }
}

}  // namespace

Connection::Connection(std::shared_ptr<Hub> hub, asio::ip::tcp::socket socket)
    : hub_(*hub), weak_hub_(hub), stream_(std::move(socket)), buffer_(kBufferBytes) {
  error_code ignored;
  stream_.socket().set_option(asio::ip::tcp::no_delay{true}, ignored);
  stream_.socket().set_option(asio::socket_base::keep_alive{true}, ignored);
  const auto endpoint = stream_.socket().remote_endpoint(ignored);
  peer_ = ignored ? std::string{} : endpoint.address().to_string();
  hub_.connections.insert(this);
  ++hub_.count;
}

Connection::~Connection() {
  if (events_) events_->shut();
  hub_.connections.erase(this);
  --hub_.count;
  if (hub_.draining && hub_.connections.empty() && hub_.on_empty) hub_.on_empty();
}

void Connection::start() {
  auto coroutine = run(shared_from_this());
  asio::co_spawn(hub_.io, std::move(coroutine), asio::detached);
}

void Connection::drain() {
  if (events_) events_->close();
  if (idle_) abort();
}

void Connection::abort() {
  if (events_) events_->shut();
  stream_.close();
}

asio::awaitable<void> Connection::run(std::shared_ptr<Connection> self) {
  try {
    bool more = true;
    while (more) {
      more = co_await await_first_byte();
      if (!more) break;
      more = co_await serve_one();
    }
  } catch (const std::exception& error) {
    // Out of memory, or a bug: this connection ends, the server goes on.
    spdlog::error("connection from {}: {}", peer_, error.what());
  }
  stream_.close();
  self.reset();
}

asio::awaitable<bool> Connection::await_first_byte() {
  if (buffer_.size() > 0) co_return true;  // pipelined
  buffer_.shrink_to_fit();
  idle_ = true;
  if (hub_.draining) co_return false;
  // Who connects and says nothing gets less patience than who has been a good client.
  stream_.expires_after(first_ ? hub_.settings.header_timeout : hub_.settings.idle_timeout);
  first_ = false;
  const auto space = buffer_.prepare(4096);
  const Tuple got = co_await stream_.async_read_some(space, kToken);
  idle_ = false;
  if (std::get<0>(got)) co_return false;
  buffer_.commit(std::get<1>(got));
  co_return true;
}

asio::awaitable<bool> Connection::serve_one() {
  idle_ = false;
  Parser parser;
  parser.header_limit(static_cast<std::uint32_t>(hub_.settings.max_header_bytes));
  parser.body_limit(boost::none);  // known with the route only
  stream_.expires_after(hub_.settings.header_timeout);
  const Tuple head = co_await http::async_read_header(stream_, buffer_, parser, kToken);
  if (const error_code error = std::get<0>(head); error) {
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      co_await refuse(431, "HEADERS_TOO_LARGE", "The request's head is too large");
    } else if (error != http::error::end_of_stream && error != http::error::partial_message &&
               error.category() == http::make_error_code(http::error::bad_method).category()) {
      co_await refuse(400, "BAD_REQUEST", "This is not a well-formed HTTP/1.1 request");
    }
    co_return false;  // otherwise it has left, or was too slow
  }
  const unsigned version = parser.get().version();
  if (version >= 11 && parser.get().count(http::field::host) != 1) {
    co_await refuse(400, "BAD_REQUEST", "A request must have one Host header");
    co_return false;
  }
  const bool body_read = co_await read_body(parser);
  if (!body_read) co_return false;

  const bool keep_alive = parser.get().keep_alive();
  const bool head_only = parser.get().method() == http::verb::head;
  Incoming incoming = incoming_of(parser.release(), peer_);
  auto box = std::make_shared<Mailbox>();
  asio::steady_timer answered{hub_.io, asio::steady_timer::time_point::max()};
  box->wake = [&answered] { answered.cancel(); };
  dispatch(std::move(incoming), box);
  // The mailbox is filled on this thread, so nothing comes between the question and the waiting.
  while (!box->full()) co_await answered.async_wait(kToken);
  box->wake = nullptr;

  if (box->stream) {
    Stream stream = std::move(*box->stream);
    co_await write_stream(std::move(stream), version, head_only);
    co_return false;
  }
  Response response = std::move(*box->response);
  box.reset();
  const bool written = co_await write(std::move(response), version, head_only, keep_alive && !hub_.draining);
  co_return written;
}

asio::awaitable<bool> Connection::read_body(Parser& parser) {
  const std::size_t limit = hub_.dispatcher.body_limit(parser.get().method_string(), parser.get().target());
  const auto length = parser.content_length();
  if (length && *length > limit) {
    co_await refuse(413, "BODY_TOO_LARGE", "The body is larger than " + std::to_string(limit) + " bytes");
    co_return false;
  }
  if (parser.is_done()) co_return true;
  parser.body_limit(limit);
  if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    stream_.expires_after(hub_.settings.write_timeout);
    const auto text = asio::buffer(go_on);
    const Tuple told = co_await asio::async_write(stream_, text, kToken);
    if (std::get<0>(told)) co_return false;
  }
  stream_.expires_after(hub_.settings.body_timeout);
  const Tuple body = co_await http::async_read(stream_, buffer_, parser, kToken);
  const error_code error = std::get<0>(body);
  if (!error) co_return true;
  if (error == http::error::body_limit) {
    co_await refuse(413, "BODY_TOO_LARGE", "The body is larger than " + std::to_string(limit) + " bytes");
  } else if (error != http::error::end_of_stream && error != http::error::partial_message &&
             error.category() == http::make_error_code(http::error::bad_chunk).category()) {
    co_await refuse(400, "BAD_REQUEST", "The body is not well-formed HTTP/1.1");
  }
  co_return false;
}

void Connection::dispatch(Incoming incoming, std::shared_ptr<Mailbox> box) {
  // What is posted to the pool may outlive this connection and the server.
  auto complete = [weak = weak_hub_, box](Response response) {
    const auto hub = weak.lock();
    if (!hub) return;
    asio::post(hub->io, [box, response = std::move(response)]() mutable {
      if (box->full()) return;
      box->response = std::move(response);
      if (box->wake) box->wake();
    });
  };
  hub_.pool.post([&dispatcher = hub_.dispatcher, weak = weak_hub_, box, complete = std::move(complete),
                  incoming = std::move(incoming)]() mutable {
    Reply reply = dispatcher.handle(std::move(incoming));
    if (auto* response = std::get_if<Response>(&reply)) {
      complete(std::move(*response));
    } else if (auto* later = std::get_if<Later>(&reply)) {
      try {
        later->start(complete);
      } catch (const std::exception& error) {
        spdlog::error("a waiting request threw: {}", error.what());
        complete(Dispatcher::refuse(500, "INTERNAL", "Internal server error"));
      }
    } else if (const auto hub = weak.lock()) {
      asio::post(hub->io, [box, stream = std::get<Stream>(std::move(reply))]() mutable {
        box->stream = std::move(stream);
        if (box->wake) box->wake();
      });
    }
  });
}

asio::awaitable<bool> Connection::write(Response response, unsigned version, bool head_only, bool keep_alive) {
  http::response<http::string_body> message{static_cast<http::status>(response.status), version};
  fill_head(message, response.headers, hub_);
  message.keep_alive(keep_alive);
  message.body() = std::move(response.body);
  if (response.status != 204 && response.status != 304) message.content_length(message.body().size());
  http::response_serializer<http::string_body> serializer{message};
  stream_.expires_after(hub_.settings.write_timeout);
  Tuple written;
  if (head_only || response.status == 204 || response.status == 304)
    written = co_await http::async_write_header(stream_, serializer, kToken);
  else
    written = co_await http::async_write(stream_, serializer, kToken);
  if (std::get<0>(written)) co_return false;
  if (!keep_alive) {
    error_code ignored;
    stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  }
  co_return keep_alive;
}

asio::awaitable<void> Connection::write_stream(Stream stream, unsigned version, bool head_only) {
  const bool chunked = version >= 11;
  http::response<http::empty_body> message{http::status::ok, version};
  fill_head(message, stream.headers, hub_);
  message.set("X-Accel-Buffering", "no");
  message.keep_alive(false);
  message.chunked(chunked);
  http::response_serializer<http::empty_body> serializer{message};
  stream_.expires_after(hub_.settings.write_timeout);
  const Tuple head = co_await http::async_write_header(stream_, serializer, kToken);
  if (std::get<0>(head) || head_only) co_return;

  auto events = std::make_shared<EventStream>(weak_hub_, hub_.settings.stream_buffer_bytes);
  events_ = events;
  if (hub_.draining) events->close();
  asio::steady_timer woken{hub_.io};
  events->set_wake([&woken] { woken.cancel(); });
  stream_.expires_never();
  auto watching = watch_for_leaving(shared_from_this(), events);
  asio::co_spawn(hub_.io, std::move(watching), asio::detached);
  hub_.pool.post([start = std::move(stream.start), events] {
    try {
      start(events);
    } catch (const std::exception& error) {
      spdlog::error("an event stream did not start: {}", error.what());
      events->close();
    }
  });

  while (true) {
    const EventStream::Taken taken = events->take();
    if (!taken.text.empty()) {
      const bool written = co_await write_piece(taken.text, chunked);
      if (!written) break;
      continue;
    }
    if (taken.last) {
      if (chunked) {
        const auto end = http::make_chunk_last();
        stream_.expires_after(hub_.settings.write_timeout);
        co_await asio::async_write(stream_, end, kToken);
      }
      break;
    }
    woken.expires_after(hub_.settings.heartbeat);
    const std::tuple<error_code> ended = co_await woken.async_wait(kToken);
    if (!std::get<0>(ended)) {
      static const std::string beat = ": keep-alive\n\n";
      const bool written = co_await write_piece(beat, chunked);
      if (!written) break;
    }
  }
  events->set_wake(nullptr);
  events->shut();
}

asio::awaitable<bool> Connection::write_piece(const std::string& text, bool chunked) {
  // Only writes get a deadline: the reading beside it waits for as long as the stream lasts.
  stream_.expires_after(hub_.settings.write_timeout);
  Tuple written;
  if (chunked) {
    const auto piece = http::make_chunk(asio::buffer(text));
    written = co_await asio::async_write(stream_, piece, kToken);
  } else {
    const auto piece = asio::buffer(text);
    written = co_await asio::async_write(stream_, piece, kToken);
  }
  co_return !std::get<0>(written);
}

asio::awaitable<void> Connection::watch_for_leaving(std::shared_ptr<Connection> self,
                                                    std::shared_ptr<EventStream> events) {
  char bytes[512];
  const auto space = asio::buffer(bytes);
  error_code gone;
  while (!gone && !events->closed()) {
    // On the socket itself: the stream's deadline is the writer's.
    const Tuple got = co_await stream_.socket().async_read_some(space, kToken);
    gone = std::get<0>(got);
  }
  if (gone) {
    events->shut();
    asio::post(hub_.io, [events] { events->close(); });  // wakes the writer
  }
  self.reset();
}

asio::awaitable<void> Connection::refuse(int status, std::string code, std::string message) {
  Response response = Dispatcher::refuse(status, code, message);
  co_await write(std::move(response), 11, false, false);
  co_await linger(stream_);
}

asio::awaitable<void> Connection::turn_away(Hub& hub, asio::ip::tcp::socket socket) {
  ++hub.turning_away;
  beast::tcp_stream stream{std::move(socket)};
  Response response = Dispatcher::refuse(503, "TOO_MANY_CONNECTIONS", "Too many connections; try again later");
  response.headers.emplace_back("Retry-After", "2");
  http::response<http::string_body> message{http::status::service_unavailable, 11};
  fill_head(message, response.headers, hub);
  message.keep_alive(false);
  message.body() = std::move(response.body);
  message.prepare_payload();
  http::response_serializer<http::string_body> serializer{message};
  stream.expires_after(std::chrono::seconds{2});
  const Tuple written = co_await http::async_write(stream, serializer, kToken);
  if (!std::get<0>(written)) {
    error_code ignored;
    stream.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    co_await linger(stream);
  }
  --hub.turning_away;
}

}  // namespace creel::api
