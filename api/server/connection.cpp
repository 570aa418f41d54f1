#include "api/server/connection.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream_base.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/write.hpp>
#include <utility>

#include "api/auth/rate_limit.hpp"
#include "api/server/answers.hpp"
#include "api/server/awaiting.hpp"
#include "api/server/framing.hpp"
#include "api/server/patience.hpp"
#include "api/server/tls_files.hpp"

namespace creel::api {
namespace {

namespace http = boost::beast::http;

// More than the largest head, so that the parser says "too large" and not the buffer.
constexpr std::size_t kBufferBytes = 64 * 1024;

// Little, because this is all that thousands of idle connections wait with.
constexpr std::size_t kFirstRead = 512;
// Bodies and answers up to this size always have room: who sends large ones must not keep others from small ones.
constexpr std::size_t kSmall = 16 * 1024;
// To one address; and the longest that one connection waits for that.
constexpr std::chrono::milliseconds kBetweenRefusals{20}, kLongestRest{1'000};
// Whose refusals are queued for so long is flooding us: his next connections wait, too, before we read from them.
constexpr std::chrono::milliseconds kFlood{200};
// Connections with TLS that owe us a request: what OpenSSL keeps for one takes some 75 KB.
constexpr std::size_t kMostWaitingTls = 1'000;
// Of one address. To read from somebody is to do the work of sending for him, on this machine's loopback at least.
constexpr std::size_t kMostLingering = 2;
// A pause that is shorter costs more than it saves.
constexpr std::chrono::milliseconds kWorthWaiting{5};
// Enough for a pipe that is never empty.
constexpr int kMostUnsent = 128 * 1024;

// Of the head alone, before the body is read: what stands behind a chunked body (trailers) is none of it.
Incoming incoming_of(const http::request<http::string_body>& message, const std::string& peer) {
  Incoming incoming;
  incoming.method = std::string{message.method_string()};
  incoming.target = std::string{message.target()};
  for (const auto& field : message)
    incoming.headers.emplace_back(std::string{field.name_string()}, std::string{field.value()});
  incoming.peer = peer;
  return incoming;
}

}  // namespace

Connection::Connection(std::shared_ptr<Hub> hub, asio::ip::tcp::socket socket, Listener listener, std::string address)
    : hub_(*hub),
      weak_hub_(hub),
      listener_(listener),
      client_(std::move(socket), hub->tls ? hub->tls->current() : nullptr),
      buffer_(kBufferBytes),
      ahead_(client_, buffer_),
      address_(std::move(address)),
      share_(address_.empty() ? nullptr : hub->share_of(address_)) {
  error_code ignored;
  client_.tcp().socket().set_option(asio::ip::tcp::no_delay{true}, ignored);
  client_.tcp().socket().set_option(asio::socket_base::keep_alive{true}, ignored);
  client_.keep_unsent_below(kMostUnsent);
  const auto endpoint = client_.tcp().socket().remote_endpoint(ignored);
  peer_ = ignored ? std::string{} : endpoint.address().to_string();
  hub_.connections.insert(this);
  ++hub_.count;
  if (share_) ++share_->connections;
}

Connection::~Connection() {
  if (events_) events_->shut();
  end_waiting();
  hub_.connections.erase(this);
  --hub_.count;
  count_body(0);
  // What an address has earned is not forgotten with its last connection.
  if (share_ && --share_->connections == 0 && share_->idle(std::chrono::steady_clock::now()))
    hub_.shares.erase(address_);
  if (hub_.draining && hub_.connections.empty() && hub_.on_empty) hub_.on_empty();
}

void Connection::start() {
  auto coroutine = run(shared_from_this());
  asio::co_spawn(hub_.io, std::move(coroutine), asio::detached);
}

void Connection::drain() {
  if (events_) events_->close();
  if (passage_) passage_->drain();
  if (idle_) abort();
}

void Connection::abort() {
  if (events_) events_->shut();
  client_.tcp().close();
}

asio::awaitable<void> Connection::run(std::shared_ptr<Connection> self) {
  try {
    bool more = true;
    if (share_ && share_->next_refusal > std::chrono::steady_clock::now() + kFlood) co_await rest();
    if (client_.is_to_begin_tls()) more = co_await shake_hands();
    while (more) {
      more = co_await await_first_byte();
      if (!more) break;
      more = co_await serve_one();
    }
  } catch (const std::exception& error) {
    // Out of memory, or a bug: this connection ends, the server goes on.
    spdlog::error("connection from {}: {}", peer_, error.what());
  }
  client_.tcp().close();
  self.reset();
}

asio::awaitable<bool> Connection::shake_hands() {
  client_.tcp().expires_after(hub_.settings.header_timeout);
  const auto space = buffer_.prepare(4096);
  const Tuple got = co_await client_.tcp().async_read_some(space, kToken);
  if (std::get<0>(got)) co_return false;
  buffer_.commit(std::get<1>(got));
  constexpr char kHandshake = 0x16;  // the type of TLS's first record
  if (*static_cast<const char*>(buffer_.data().data()) != kHandshake) {
    co_await refuse(400, "TLS_REQUIRED", "This address speaks TLS: use https:// or wss://");
    co_return false;
  }
  ClientStream::Tls& tls = client_.begin_tls();
  begin_waiting();
  const auto first = buffer_.data();
  const Tuple shaken = co_await tls.async_handshake(asio::ssl::stream_base::server, first, kToken);
  if (std::get<0>(shaken)) co_return false;
  buffer_.consume(std::get<1>(shaken));
  co_return buffer_.size() == 0;  // what comes after a handshake comes through it
}

asio::awaitable<bool> Connection::await_first_byte() {
  begin_waiting();
  if (buffer_.size() > 0) co_return true;  // pipelined
  idle_ = true;
  if (hub_.draining) co_return false;
  // Who connects and says nothing gets less patience than who has been a good client.
  const auto patience = first_ ? hub_.settings.header_timeout : hub_.settings.idle_timeout;
  first_ = false;
  if (ahead_.reading()) {
    asio::steady_timer woken{hub_.io, patience};
    ahead_.set_wake([&woken] { woken.cancel(); });
    co_await woken.async_wait(kToken);
    ahead_.set_wake(nullptr);
    idle_ = false;
    co_return !ahead_.reading() && !ahead_.left() && buffer_.size() > 0;
  }
  if (ahead_.left()) co_return false;
  buffer_.shrink_to_fit();
  client_.tcp().expires_after(patience);
  const auto space = buffer_.prepare(kFirstRead);
  const Tuple got = co_await client_.async_read_some(space, kToken);
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
  error_code error;
  bool late = false;
  {
    Patience patience{client_.tcp(), hub_.settings.header_timeout};
    const Tuple head = co_await http::async_read_header(client_, buffer_, parser, kToken);
    error = std::get<0>(head);
    late = patience.over();
  }
  if (error) {
    if (late) {
      co_await refuse(408, "REQUEST_TIMEOUT", "The head of the request did not come in time");
    } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      co_await refuse(431, "HEADERS_TOO_LARGE", "The request's head is too large");
    } else if (error != http::error::end_of_stream && error != http::error::partial_message &&
               error.category() == http::make_error_code(http::error::bad_method).category()) {
      co_await refuse(400, "BAD_REQUEST", "This is not a well-formed HTTP/1.1 request");
    }
    co_return false;  // otherwise it has left
  }
  const unsigned version = parser.get().version();
  if (const char* why = ambiguity(parser.get()); why[0] != '\0') {
    co_await refuse(400, "BAD_REQUEST", why);
    co_return false;
  }
  if (hub_.proxy != nullptr) {
    std::optional<Place> place =
        hub_.proxy->find(parser.get()[http::field::host], parser.get().target(), listener_ == Listener::gateway);
    if (place) {
      end_waiting();
      if (!passage_) passage_ = std::make_unique<AgentPassage>(weak_hub_.lock(), client_, buffer_, ahead_);
      const std::shared_ptr<void> alive = shared_from_this();
      co_return co_await passage_->serve(parser, *std::move(place), peer_, client_.tls() != nullptr, alive);
    }
  }
  if (listener_ == Listener::gateway) {
    co_await refuse(404, "NOT_FOUND", "Agents are reached at /agent/<id> here; the API is at another address");
    co_return false;
  }
  Incoming incoming = incoming_of(parser.get(), peer_);
  incoming.secure = client_.tls() != nullptr;
  const bool keep_alive = parser.get().keep_alive();
  const bool head_only = parser.get().method() == http::verb::head;
  const bool large = !parser.is_done() && parser.content_length().value_or(kSmall + 1) > kSmall;
  if (large) incoming.rate = hub_.dispatcher.take_rate(incoming);
  const bool unread = large && !incoming.rate->allowed;
  if (!unread) {
    if (!parser.is_done()) begin_waiting();
    const bool body_read = co_await read_body(parser);
    if (!body_read) co_return false;
    incoming.body = std::move(parser.get().body());
  }
  end_waiting();
  auto box = std::make_shared<Mailbox>();
  asio::steady_timer answered{hub_.io, asio::steady_timer::time_point::max()};
  box->wake = [&answered] { answered.cancel(); };
  dispatch(std::move(incoming), large && !unread, box);
  // The mailbox is filled on this thread, so nothing comes between the question and the waiting.
  while (!box->full()) co_await answered.async_wait(kToken);
  box->wake = nullptr;
  count_body(0);

  if (box->stream) {
    Stream stream = std::move(*box->stream);
    co_await write_stream(std::move(stream), version, head_only);
    co_return false;
  }
  Response response = std::move(*box->response);
  const auto room = std::move(box->room);  // until it is sent; none: there was none for it
  box.reset();
  const bool keep = keep_alive && room && !unread && !hub_.draining;
  const bool refused = response.status == 429;
  const bool written = co_await write_answer(hub_, client_, std::move(response), version, head_only, keep);
  if (refused) co_await rest();
  if (unread) co_await hear_out();
  co_return written;
}

asio::awaitable<void> Connection::rest() {
  if (!share_) co_return;
  const auto now = std::chrono::steady_clock::now();
  const auto turn = std::max(share_->next_refusal, now);
  share_->next_refusal = std::min(turn + kBetweenRefusals, now + kLongestRest);
  if (turn == now) co_return;
  asio::steady_timer over{hub_.io, turn};
  client_.tcp().expires_never();
  co_await over.async_wait(kToken);
}

asio::awaitable<void> Connection::take_turn(std::size_t read) {
  if (!share_) co_return;
  const auto now = std::chrono::steady_clock::now();
  const auto turn = share_->after_reading(read, now);
  if (turn - now < kWorthWaiting) co_return;
  asio::steady_timer over{hub_.io, turn};
  co_await over.async_wait(kToken);
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
    const bool told = co_await tell_to_go_on(hub_, client_);
    if (!told) co_return false;
  }
  error_code error;
  bool late = false, room = true;
  {
    // For the whole body, however many pieces it comes in.
    Patience patience{client_.tcp(), hub_.settings.body_timeout};
    while (!error && !late && room && !parser.is_done()) {
      // Beast reads as much at a time as the buffer holds: large pieces for those who have sent much, and no memory for
      // those who send byte by byte.
      buffer_.reserve(std::clamp(parser.get().body().size(), kFirstRead, kSmall));
      const Tuple piece = co_await http::async_read_some(client_, buffer_, parser, kToken);
      error = std::get<0>(piece);
      const std::size_t size = parser.get().body().size();
      const std::size_t more = size - std::min(size, body_bytes_);
      room = count_body(size);
      if (size > kSmall && room && !error) co_await take_turn(more);
      late = patience.over();
    }
  }
  if (!room) {
    co_await refuse(503, "BUSY", "Too much is being sent at this moment; try again");
    co_return false;
  }
  if (!error && parser.is_done()) co_return true;
  if (late) {
    co_await refuse(408, "REQUEST_TIMEOUT", "The body of the request did not come in time");
  } else if (error == http::error::body_limit) {
    co_await refuse(413, "BODY_TOO_LARGE", "The body is larger than " + std::to_string(limit) + " bytes");
  } else if (error != http::error::end_of_stream && error != http::error::partial_message &&
             error.category() == http::make_error_code(http::error::bad_chunk).category()) {
    co_await refuse(400, "BAD_REQUEST", "The body is not well-formed HTTP/1.1");
  }
  co_return false;
}

bool Connection::count_body(std::size_t bytes) {
  hub_.body_bytes += bytes - body_bytes_;
  if (share_) share_->body_bytes += bytes - body_bytes_;
  body_bytes_ = bytes;
  const std::size_t most = hub_.settings.max_body_bytes;
  return bytes <= kSmall || (hub_.body_bytes <= most && (!share_ || share_->body_bytes <= Share::most(most)));
}

void Connection::begin_waiting() {
  if (client_.tls() == nullptr) return;
  end_waiting();
  waiting_ = hub_.waiting_tls.insert(hub_.waiting_tls.end(), this);
  if (hub_.waiting_tls.size() <= kMostWaitingTls) return;
  Connection& longest = *hub_.waiting_tls.front();
  longest.end_waiting();
  longest.abort();
}

void Connection::end_waiting() {
  if (waiting_) hub_.waiting_tls.erase(*waiting_);
  waiting_.reset();
}

void Connection::dispatch(Incoming incoming, bool large, std::shared_ptr<Mailbox> box) {
  // What is posted to the pool may outlive this connection and the server.
  auto complete = [weak = weak_hub_, share = share_, box](Response response) {
    const auto hub = weak.lock();
    if (!hub) return;
    // Many who do not read their answers must not fill the memory with them.
    auto room = std::make_shared<AnswerRoom>(hub->answer_bytes, share, response.body.size());
    if (response.body.size() > kSmall && !room->within(hub->settings.max_answer_bytes)) {
      response = Dispatcher::refuse(503, "BUSY", "Too many answers wait to be read at this moment; try again");
      response.headers.emplace_back("Retry-After", "2");
      room.reset();
    }
    asio::post(hub->io, [box, room = std::move(room), response = std::move(response)]() mutable {
      if (box->full()) return;
      box->room = std::move(room);
      box->response = std::move(response);
      if (box->wake) box->wake();
    });
  };
  Pool& pool = hub_.dispatcher.at_once(incoming.method, incoming.target) ? *hub_.at_once
               : large                                                   ? *hub_.large
                                                                         : hub_.pool;
  const std::string line = hub_.line_of(incoming);
  auto work = [&dispatcher = hub_.dispatcher, weak = weak_hub_, box, complete = std::move(complete),
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
  };
  pool.post(std::move(work), line);
}

asio::awaitable<void> Connection::write_stream(Stream stream, unsigned version, bool head_only) {
  const bool chunked = version >= 11;
  http::response<http::empty_body> message{http::status::ok, version};
  for (const auto& [name, value] : stream.headers) message.insert(name, one_line(value));
  message.set(http::field::date, date_header(hub_));
  message.set("X-Accel-Buffering", "no");
  message.keep_alive(false);
  message.chunked(chunked);
  http::response_serializer<http::empty_body> serializer{message};
  client_.tcp().expires_after(hub_.settings.write_timeout);
  const Tuple head = co_await http::async_write_header(client_, serializer, kToken);
  if (std::get<0>(head) || head_only) co_return;

  auto events = std::make_shared<EventStream>(weak_hub_, hub_.settings.stream_buffer_bytes);
  events_ = events;
  if (hub_.draining) events->close();
  asio::steady_timer woken{hub_.io};
  events->set_wake([&woken] { woken.cancel(); });
  client_.tcp().expires_never();
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
      const bool written = co_await write_event(taken.text, chunked);
      if (!written) break;
      continue;
    }
    if (taken.last) {
      if (chunked) {
        const auto end = http::make_chunk_last();
        client_.tcp().expires_after(hub_.settings.write_timeout);
        co_await asio::async_write(client_, end, kToken);
      }
      break;
    }
    woken.expires_after(hub_.settings.heartbeat);
    const std::tuple<error_code> ended = co_await woken.async_wait(kToken);
    if (!std::get<0>(ended)) {
      static const std::string beat = ": keep-alive\n\n";
      const bool written = co_await write_event(beat, chunked);
      if (!written) break;
    }
  }
  events->set_wake(nullptr);
  events->shut();
}

asio::awaitable<bool> Connection::write_event(const std::string& text, bool chunked) {
  // Only writes get a deadline: the reading beside it waits for as long as the stream lasts.
  client_.tcp().expires_after(hub_.settings.write_timeout);
  co_return co_await write_bytes(client_, text, chunked);
}

asio::awaitable<void> Connection::watch_for_leaving(std::shared_ptr<Connection> self,
                                                    std::shared_ptr<EventStream> events) {
  char bytes[512];
  const auto space = asio::buffer(bytes);
  error_code gone;
  while (!gone && !events->closed()) {
    // On the socket itself: the stream's deadline is the writer's.
    const Tuple got = co_await client_.tcp().socket().async_read_some(space, kToken);
    gone = std::get<0>(got);
  }
  if (gone) {
    events->shut();
    asio::post(hub_.io, [events] { events->close(); });  // wakes the writer
  }
  self.reset();
}

asio::awaitable<void> Connection::hear_out() {
  if (share_ && share_->lingering >= kMostLingering) co_return;
  struct Counted {
    Share* share;
    explicit Counted(Share* of) : share(of) {
      if (share != nullptr) ++share->lingering;
    }
    ~Counted() {
      if (share != nullptr) --share->lingering;
    }
  };
  const Counted counted{share_.get()};
  co_await linger(hub_, client_, share_.get());
}

asio::awaitable<void> Connection::refuse(int status, std::string code, std::string message) {
  co_await rest();
  Response response = Dispatcher::refuse(status, code, message);
  co_await write_answer(hub_, client_, std::move(response), 11, false, false);
  co_await hear_out();
}

std::string_view Connection::objection(const Hub& hub, const asio::ip::tcp::socket& socket, std::string& address) {
  if (hub.connections.size() >= hub.settings.max_connections) return "Too many connections; try again later";
  error_code unknown;
  const auto endpoint = socket.remote_endpoint(unknown);
  const auto parsed = unknown ? std::nullopt : Address::parse(endpoint.address().to_string());
  if (!parsed || hub.proxies.contains(*parsed)) return {};
  // Whoever has one IPv6 address has a whole /64 of them.
  address = rate_key(parsed->text());
  const auto found = hub.shares.find(address);
  if (found == hub.shares.end() || found->second->connections < hub.settings.max_address_connections) return {};
  return "Too many connections from this address; close some, or try again later";
}

asio::awaitable<void> Connection::turn_away(Hub& hub, asio::ip::tcp::socket socket, std::string_view why) {
  ++hub.turning_away;
  ClientStream client{std::move(socket), nullptr};
  Response response = Dispatcher::refuse(503, "TOO_MANY_CONNECTIONS", std::string{why});
  response.headers.emplace_back("Retry-After", "2");
  client.tcp().expires_after(std::chrono::seconds{2});
  co_await write_answer(hub, client, std::move(response), 11, false, false);
  co_await linger(hub, client, nullptr);
  --hub.turning_away;
}

}  // namespace creel::api
