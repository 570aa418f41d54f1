#include "api/server/agent_passage.hpp"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/write.hpp>
#include <charconv>
#include <utility>
#include <vector>

#include "api/server/answers.hpp"
#include "api/server/awaiting.hpp"

namespace creel::api {
namespace {

namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kConnect{3};
constexpr std::size_t kMaxAgentHead = 64 * 1024;
constexpr int kMostUnsent = 1024 * 1024;

std::optional<tcp::endpoint> endpoint_of(std::string_view address) {
  const auto colon = address.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string host{address.substr(0, colon)};
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const auto digits = address.substr(colon + 1);
  const auto [end, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (wrong != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  error_code error;
  const auto ip = asio::ip::make_address(host, error);
  if (error) return std::nullopt;
  return tcp::endpoint{ip, port};
}

// Neither end-of-file nor anything that nobody has asked for waits to be read.
bool still_open(beast::tcp_stream& stream) {
  if (!stream.socket().is_open()) return false;
  char byte = 0;
  return recv(stream.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
         (errno == EAGAIN || errno == EWOULDBLOCK);
}

Headers headers_of(const http::fields& fields) {
  Headers headers;
  for (const auto& field : fields) headers.emplace_back(std::string{field.name_string()}, std::string{field.value()});
  return headers;
}

bool safe_to_repeat(const Incoming& incoming) { return incoming.method == "GET" || incoming.method == "HEAD"; }

}  // namespace

// A request whose body is on its way.
struct AgentPassage::Task {
  std::shared_ptr<AgentLink> link;
  std::uint64_t length = 0;  // still to be sent, when it is known
  std::optional<http::request_parser<http::buffer_body>> chunked;
  bool sent = false;
  bool client_left = false;
  bool malformed = false;
};

AgentPassage::AgentPassage(std::shared_ptr<Hub> hub, ClientStream& client, beast::flat_buffer& buffer, ReadAhead& ahead)
    : hub_(*hub), weak_hub_(hub), client_(client), buffer_(buffer), ahead_(ahead) {
  client_.keep_unsent_below(kMostUnsent);
}

AgentPassage::~AgentPassage() = default;

void AgentPassage::drain() {
  if (tunnel_) tunnel_->drain();
}

asio::awaitable<void> on_pool(Hub& hub, std::weak_ptr<Hub> weak_hub, const std::function<void()>& work,
                              const std::string& line) {
  struct State {
    bool done = false;
    std::function<void()> wake;
  };
  auto state = std::make_shared<State>();
  asio::steady_timer woken{hub.io, asio::steady_timer::time_point::max()};
  state->wake = [&woken] { woken.cancel(); };
  auto posted = [state, work, weak = std::move(weak_hub)] {
    try {
      work();
    } catch (const std::exception& error) {
      spdlog::error("a passage to an agent: {}", error.what());
    }
    if (const auto hub = weak.lock())
      asio::post(hub->io, [state] {
        state->done = true;
        if (state->wake) state->wake();
      });
  };
  hub.pool.post(std::move(posted), line);
  while (!state->done) co_await woken.async_wait(kToken);
  state->wake = nullptr;
}

asio::awaitable<Verdict> AgentPassage::ask(const Place& place, const Incoming& incoming) {
  std::optional<Verdict> known = hub_.proxy->known(place, incoming);
  if (known) co_return std::move(*known);
  auto found = std::make_shared<std::optional<Verdict>>();
  const std::function<void()> work = [proxy = hub_.proxy, place, incoming, found] {
    *found = proxy->admit(place, incoming);
  };
  co_await on_pool(hub_, weak_hub_, work, line_);
  if (!found->has_value()) {
    Response broken = Dispatcher::refuse(500, "INTERNAL", "Failed to reach the agent");
    co_return Verdict{std::move(broken)};
  }
  co_return std::move(**found);
}

asio::awaitable<std::shared_ptr<AgentLink>> AgentPassage::dial(const Passage& passage) {
  std::shared_ptr<AgentLink> none;
  const auto endpoint = endpoint_of(passage.address);
  if (!endpoint) co_return none;
  auto link = std::make_shared<AgentLink>(hub_.io);
  link->agent = passage.place.agent;
  link->address = passage.address;
  link->stream.expires_after(kConnect);
  const std::tuple<error_code> connected = co_await link->stream.async_connect(*endpoint, kToken);
  if (std::get<0>(connected)) co_return none;
  error_code ignored;
  link->stream.socket().set_option(tcp::no_delay{true}, ignored);
  auto there = std::make_shared<bool>(false);
  const std::function<void()> work = [proxy = hub_.proxy, agent = link->agent, address = link->address, there] {
    *there = proxy->is_at(agent, address);
  };
  co_await on_pool(hub_, weak_hub_, work, line_);
  co_return *there ? link : none;
}

asio::awaitable<std::shared_ptr<AgentLink>> AgentPassage::connect(const Place& place, const Incoming& incoming,
                                                                  Passage& passage, Response& refusal) {
  if (link_ && link_->agent == place.agent && link_->address == passage.address && still_open(link_->stream))
    co_return link_;
  link_.reset();
  for (int tries = 0; tries < 2; ++tries) {
    link_ = co_await dial(passage);
    if (link_) co_return link_;
    hub_.proxy->forget(place.agent);
    // It may be somewhere else by now.
    Verdict verdict = co_await ask(place, incoming);
    if (auto* refused = std::get_if<Response>(&verdict)) {
      refusal = std::move(*refused);
      co_return link_;
    }
    passage = std::get<Passage>(std::move(verdict));
  }
  refusal = hub_.proxy->failure(
      passage, 502, "AGENT_UNREACHABLE",
      "The agent's gateway cannot be reached; GET /api/agents/" + place.agent.str() + " says how it is");
  refusal.headers.emplace_back("Retry-After", "2");
  co_return link_;
}

asio::awaitable<bool> AgentPassage::serve(Parser& parser, Place place, std::string peer, bool secure,
                                          std::shared_ptr<void> alive) {
  const auto began = SteadyClock::now();
  Incoming incoming;
  incoming.method = std::string{parser.get().method_string()};
  incoming.target = std::string{parser.get().target()};
  incoming.headers = headers_of(parser.get());
  incoming.peer = std::move(peer);
  incoming.secure = secure;
  line_ = hub_.line_of(incoming);
  const bool by_path = !place.prefix.empty() && incoming.target.substr(0, incoming.target.find('?')) == place.prefix;
  const bool wants_upgrade = parser.get().count(http::field::upgrade) > 0;
  Verdict verdict = co_await ask(place, incoming);
  int status = 0;
  bool more = false;
  if (auto* refused = std::get_if<Response>(&verdict)) {
    status = refused->status;
    more = co_await refuse(std::move(*refused), parser);
  } else if (by_path && !wants_upgrade && safe_to_repeat(incoming)) {
    // So that what a page names relative to itself is found.
    Response moved;
    moved.status = 308;
    const auto question = incoming.target.find('?');
    moved.headers.emplace_back(
        "Location", place.prefix + "/" + (question == std::string::npos ? "" : incoming.target.substr(question)));
    status = moved.status;
    more = co_await refuse(std::move(moved), parser);
  } else {
    Passage passage = std::get<Passage>(std::move(verdict));
    more = co_await pass(parser, place, incoming, passage, alive, status);
  }
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - began);
  hub_.proxy->done(incoming.method, status, took);
  co_return more;
}

asio::awaitable<bool> AgentPassage::refuse(Response response, const Parser& parser) {
  const bool whole = parser.is_done();  // else its body comes after our answer
  const bool keep = whole && parser.get().keep_alive() && !hub_.draining;
  const bool head_only = parser.get().method() == http::verb::head;
  co_return co_await write_answer(hub_, client_, std::move(response), parser.get().version(), head_only, keep);
}

asio::awaitable<bool> AgentPassage::pass(Parser& parser, const Place& place, const Incoming& incoming, Passage& passage,
                                         std::shared_ptr<void> alive, int& status) {
  const std::string upgrade{parser.get()[http::field::upgrade]};
  const bool has_body = !parser.is_done();
  const unsigned version = parser.get().version();
  const bool keep_alive = parser.get().keep_alive();
  const bool head_only = parser.get().method() == http::verb::head;
  if (!upgrade.empty() && has_body) {
    Response refused = hub_.proxy->failure(passage, 400, "BAD_REQUEST", "A request for an upgrade must have no body");
    status = refused.status;
    co_return co_await refuse(std::move(refused), parser);
  }
  for (int tries = 0;; ++tries) {
    Response refusal;
    const std::shared_ptr<AgentLink> link = co_await connect(place, incoming, passage, refusal);
    if (!link) {
      status = refusal.status;
      co_return co_await refuse(std::move(refusal), parser);
    }
    const bool reused = std::exchange(link->used, true);

    http::request<http::empty_body> head;
    head.method_string(incoming.method);
    head.target(passage.place.target);
    head.version(11);
    for (const auto& [name, value] : passage.headers) head.insert(name, value);
    if (head.count(http::field::host) == 0) head.set(http::field::host, passage.address);
    if (!upgrade.empty()) {
      head.set(http::field::connection, "Upgrade");
      head.set(http::field::upgrade, upgrade);
    }
    const auto length = parser.content_length();
    if (has_body && length)
      head.content_length(*length);
    else if (has_body)
      head.chunked(true);
    http::request_serializer<http::empty_body> serializer{head};
    link->stream.expires_after(hub_.settings.write_timeout);
    const Tuple written = co_await http::async_write_header(link->stream, serializer, kToken);
    error_code error = std::get<0>(written);

    auto task = std::make_shared<Task>();
    task->link = link;
    task->sent = !has_body;
    if (!error && has_body) {
      if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
        const bool told = co_await tell_to_go_on(hub_, client_);
        if (!told) co_return false;
      }
      if (length)
        task->length = *length;
      else
        task->chunked.emplace(std::move(parser));
      auto sending = send_body(alive, task);
      asio::co_spawn(hub_.io, std::move(sending), asio::detached);
    } else if (!error && upgrade.empty()) {
      ahead_.set_wake([this, link] {
        if (ahead_.left()) link->stream.close();
      });
      ahead_.start(alive);
    }

    std::optional<AgentParser> answered;
    while (!error) {
      answered.emplace();
      answered->header_limit(kMaxAgentHead);
      answered->body_limit(boost::none);
      answered->skip(head_only);
      link->stream.expires_after(hub_.settings.agent_timeout);
      const Tuple got = co_await http::async_read_header(link->stream, link->buffer, *answered, kToken);
      error = std::get<0>(got);
      if (error || answered->get().result_int() >= 200 || answered->get().result_int() == 101) break;
    }
    if (error) {
      ahead_.set_wake(nullptr);
      link_.reset();
      link->stream.close();
      if (task->malformed) {
        Response refused =
            hub_.proxy->failure(passage, 400, "BAD_REQUEST", "The body of the request is not well-formed HTTP/1.1");
        status = refused.status;
        co_await write_answer(hub_, client_, std::move(refused), version, head_only, false);
        co_await linger(hub_, client_, nullptr);
        co_return false;
      }
      if (ahead_.left() || task->client_left) co_return false;
      // The agent had closed the connection, which nobody could know as yet.
      if (reused && tries == 0 && !has_body && safe_to_repeat(incoming)) continue;
      const bool late = error == beast::error::timeout;
      Response failed = hub_.proxy->failure(
          passage, late ? 504 : 502, late ? "AGENT_TIMEOUT" : "AGENT_UNREACHABLE",
          late ? "The agent did not answer in time; it may still be at work"
               : "The agent's gateway broke the connection off; it may be restarting, try again in a moment");
      status = failed.status;
      // A body that is still under way cannot be told from another request.
      co_await write_answer(hub_, client_, std::move(failed), version, head_only, task->sent && keep_alive && !late);
      co_return task->sent&& keep_alive && !late;
    }
    status = static_cast<int>(answered->get().result_int());
    if (status == 101) co_return co_await tunnel(passage, link, *answered, alive);
    const bool whole = co_await answer(*link, *answered, passage, version, head_only, keep_alive, *task);
    ahead_.set_wake(nullptr);
    if (!whole || !answered->keep_alive() || !task->sent || link->buffer.size() > 0) {
      link->stream.close();
      link_.reset();
    }
    co_return whole && task->sent&& keep_alive && !hub_.draining && client_can_go_on_;
  }
}

// Null: the body goes through us.
std::unique_ptr<Splice> AgentPassage::splice_for(std::uint64_t length) {
  if (client_.tls() != nullptr || length < Splice::kLeast) return nullptr;
  auto splice = std::make_unique<Splice>();
  if (!splice->usable()) splice.reset();
  return splice;
}

// The body of a request. When the client leaves, the agent is left, too.
asio::awaitable<void> AgentPassage::send_body(std::shared_ptr<void> alive, std::shared_ptr<Task> task) {
  beast::tcp_stream& agent = task->link->stream;
  const auto splice = splice_for(task->length);
  Piece piece{splice ? 0 : task->length};
  bool broken = false;
  while (!broken && !task->chunked && task->length > 0) {
    std::size_t size = 0;
    if (buffer_.size() > 0) {  // what came with the head
      size = static_cast<std::size_t>(std::min<std::uint64_t>(task->length, buffer_.size()));
      const auto bytes = asio::buffer(buffer_.data(), size);
      agent.expires_after(hub_.settings.write_timeout);
      const Tuple written = co_await asio::async_write(agent, bytes, kToken);
      broken = static_cast<bool>(std::get<0>(written));
      buffer_.consume(size);
    } else if (splice) {
      const auto end = co_await splice->move(client_.tcp(), hub_.settings.body_timeout, agent,
                                             hub_.settings.write_timeout, task->length);
      task->client_left = end == Splice::End::source_left;
      broken = end == Splice::End::sink_left;
      if (task->client_left) break;
      size = broken ? 0 : static_cast<std::size_t>(task->length);
    } else {
      const auto space = piece.space(task->length);
      client_.tcp().expires_after(hub_.settings.body_timeout);
      const Tuple got = co_await client_.async_read_some(space, kToken);
      task->client_left = static_cast<bool>(std::get<0>(got));
      if (task->client_left) break;
      size = std::get<1>(got);
      agent.expires_after(hub_.settings.write_timeout);
      const bool written = co_await write_all(agent, piece.taken(size));
      broken = !written;
      piece.fit(size);
    }
    task->length -= size;
  }
  while (!broken && task->chunked && !task->sent) {
    auto& body = task->chunked->get().body();
    const auto space = piece.space();
    body.data = space.data();
    body.size = space.size();
    client_.tcp().expires_after(hub_.settings.body_timeout);
    const Tuple got = co_await http::async_read_some(client_, buffer_, *task->chunked, kToken);
    const error_code error = std::get<0>(got);
    task->client_left = error && error != http::error::need_buffer;
    task->malformed = task->client_left && error != http::error::end_of_stream &&
                      error != http::error::partial_message &&
                      error.category() == http::make_error_code(http::error::bad_chunk).category();
    if (task->client_left) break;
    const std::size_t size = space.size() - body.size;
    agent.expires_after(hub_.settings.write_timeout);
    if (size > 0) {
      const auto bytes = http::make_chunk(asio::buffer(piece.data(), size));
      const Tuple written = co_await asio::async_write(agent, bytes, kToken);
      broken = static_cast<bool>(std::get<0>(written));
      piece.fit(size);
    }
    if (!broken && task->chunked->is_done()) {
      const auto end = http::make_chunk_last();
      const Tuple written = co_await asio::async_write(agent, end, kToken);
      broken = static_cast<bool>(std::get<0>(written));
      task->sent = !broken;
    }
  }
  if (!task->chunked) task->sent = !broken && task->length == 0;
  // An agent that answers without taking the body in is read on.
  if (task->client_left) agent.close();
  alive.reset();
}

// The agent's answer, whose head is in `parser`. False: it did not get through whole.
asio::awaitable<bool> AgentPassage::answer(AgentLink& link, AgentParser& parser, const Passage& passage,
                                           unsigned version, bool head_only, bool keep_alive, const Task& task) {
  const int status = static_cast<int>(parser.get().result_int());
  const bool no_body = head_only || status == 204 || status == 304;
  const auto length = parser.content_length();
  const bool known = no_body || length;
  const bool chunked = !known && version >= 11;
  const bool keep = keep_alive && (known || chunked) && !hub_.draining && task.sent;
  client_can_go_on_ = keep;

  http::response<http::empty_body> head{static_cast<http::status>(status), version};
  head.reason(parser.get().reason());
  const Headers headers = headers_for_client(headers_of(parser.get()), passage.place);
  for (const auto& [name, value] : headers) head.insert(name, value);
  head.keep_alive(keep);
  if (const auto told = parser.get()[http::field::content_length]; !told.empty())
    head.set(http::field::content_length, told);
  if (chunked) head.chunked(true);
  http::response_serializer<http::empty_body> serializer{head};
  client_.tcp().expires_after(hub_.settings.write_timeout);
  const Tuple written = co_await http::async_write_header(client_, serializer, kToken);
  if (std::get<0>(written)) co_return false;
  if (no_body) co_return true;

  const auto splice = splice_for(length.value_or(0));
  Piece piece{splice ? 0 : length.value_or(0)};
  if (length) {
    // Raw: what is counted need not be looked at.
    std::uint64_t left = *length;
    while (left > 0) {
      std::size_t size = 0;
      bool sent = false;
      if (link.buffer.size() > 0) {
        size = static_cast<std::size_t>(std::min<std::uint64_t>(left, link.buffer.size()));
        client_.tcp().expires_after(hub_.settings.write_timeout);
        sent = co_await write_all(client_, {static_cast<const char*>(link.buffer.data().data()), size});
        link.buffer.consume(size);
      } else if (splice) {
        const auto end = co_await splice->move(link.stream, hub_.settings.agent_timeout, client_.tcp(),
                                               hub_.settings.write_timeout, left);
        co_return end == Splice::End::done;
      } else {
        const auto space = piece.space(left);
        link.stream.expires_after(hub_.settings.agent_timeout);
        const Tuple got = co_await link.stream.async_read_some(space, kToken);
        if (std::get<0>(got)) co_return false;
        size = std::get<1>(got);
        client_.tcp().expires_after(hub_.settings.write_timeout);
        sent = co_await write_all(client_, piece.taken(size));
        piece.fit(size);
      }
      if (!sent) co_return false;
      left -= size;
    }
    co_return true;
  }
  while (!parser.is_done()) {
    auto& body = parser.get().body();
    const auto space = piece.space();
    body.data = space.data();
    body.size = space.size();
    link.stream.expires_after(hub_.settings.agent_timeout);
    const Tuple got = co_await http::async_read_some(link.stream, link.buffer, parser, kToken);
    if (std::get<0>(got) && std::get<0>(got) != http::error::need_buffer) co_return false;
    const std::size_t size = space.size() - body.size;
    if (size == 0) continue;
    client_.tcp().expires_after(hub_.settings.write_timeout);
    const bool through = co_await write_bytes(client_, {piece.data(), size}, chunked);
    if (!through) co_return false;
    piece.fit(size);
  }
  if (!chunked) co_return true;
  const auto end = http::make_chunk_last();
  const Tuple last = co_await asio::async_write(client_, end, kToken);
  co_return !std::get<0>(last);
}

asio::awaitable<bool> AgentPassage::tunnel(const Passage& passage, std::shared_ptr<AgentLink> link, AgentParser& parser,
                                           std::shared_ptr<void> alive) {
  http::response<http::empty_body> head{http::status::switching_protocols, 11};
  head.reason(parser.get().reason());
  const Headers headers = headers_for_client(headers_of(parser.get()), passage.place);
  for (const auto& [name, value] : headers) head.insert(name, value);
  const std::string protocol{parser.get()[http::field::upgrade]};
  head.set(http::field::connection, "Upgrade");
  head.set(http::field::upgrade, protocol);
  http::response_serializer<http::empty_body> serializer{head};
  client_.tcp().expires_after(hub_.settings.write_timeout);
  const Tuple written = co_await http::async_write_header(client_, serializer, kToken);
  if (std::get<0>(written)) co_return false;

  tunnel_ = std::make_shared<AgentTunnel>(weak_hub_.lock(), client_, buffer_, std::move(link), passage,
                                          beast::iequals(protocol, "websocket"));
  link_.reset();
  const std::shared_ptr<AgentTunnel> tunnel = tunnel_;
  co_await tunnel->run(std::move(alive));
  tunnel_.reset();
  co_return false;
}

}  // namespace creel::api
