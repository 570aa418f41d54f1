// Connection: one client's socket, from accept to close. Inside api/server only; everything on the hub's io thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "api/server/agent_passage.hpp"
#include "api/server/client_stream.hpp"
#include "api/server/event_stream.hpp"
#include "api/server/hub.hpp"

namespace creel::api {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // `address`: whose share in Hub::shares it takes of, "" = nobody's.
  Connection(std::shared_ptr<Hub> hub, boost::asio::ip::tcp::socket socket, Listener listener, std::string address);
  ~Connection();

  // Starts serving; the connection keeps itself alive until it is closed.
  void start();
  // The server stops: an idle connection closes now, a stream ends, a request under way is answered first.
  void drain();
  // Closes whatever is going on.
  void abort();

  // "" when it may come: from a trusted proxy, or from an address that has not as many as it may; `address` is set
  // then. Else why not.
  static std::string_view objection(const Hub& hub, const boost::asio::ip::tcp::socket& socket, std::string& address);
  // Answers 503 to one that is too many, and closes.
  static boost::asio::awaitable<void> turn_away(Hub& hub, boost::asio::ip::tcp::socket socket, std::string_view why);

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  // What a handler answers with, brought to this thread.
  struct Mailbox {
    std::optional<Response> response;
    std::shared_ptr<AnswerRoom> room;  // of the response
    std::optional<Stream> stream;
    std::function<void()> wake;
    bool full() const { return response.has_value() || stream.has_value(); }
  };

  boost::asio::awaitable<void> run(std::shared_ptr<Connection> self);
  // TLS. False: there is none.
  boost::asio::awaitable<bool> shake_hands();
  // False: nothing more comes.
  boost::asio::awaitable<bool> await_first_byte();
  // False: the connection is to be closed; what there was to say has been said.
  boost::asio::awaitable<bool> serve_one();
  boost::asio::awaitable<bool> read_body(Parser& parser);
  // After so many bytes of a large body: those of one address come no faster than Share::after_reading() says, however
  // many connections they come by.
  boost::asio::awaitable<void> take_turn(std::size_t read);
  // Counts what the body of the request takes; false: all bodies together would take too much.
  bool count_body(std::size_t bytes);
  // With TLS, only so many may be waited for; when there are more, the one that has been for the longest is closed.
  void begin_waiting();
  void end_waiting();
  boost::asio::awaitable<void> write_stream(Stream stream, unsigned version, bool head_only);
  boost::asio::awaitable<bool> write_event(const std::string& text, bool chunked);
  boost::asio::awaitable<void> watch_for_leaving(std::shared_ptr<Connection> self, std::shared_ptr<EventStream> events);
  // Before or after a refusal: an address that earns many gets them one after the other, each of its connections waits
  // for its own, and nothing more is read from it meanwhile. Saying no to a flood costs those who flood.
  boost::asio::awaitable<void> rest();
  // linger(), for a few connections of an address at a time; the others are closed on who is still sending.
  boost::asio::awaitable<void> hear_out();
  boost::asio::awaitable<void> refuse(int status, std::string code, std::string message);
  void dispatch(Incoming incoming, bool large, std::shared_ptr<Mailbox> box);

  // Held weakly by those outside of the io thread. Here a plain reference: the hub holds what runs on its io_context.
  Hub& hub_;
  const std::weak_ptr<Hub> weak_hub_;
  const Listener listener_;
  ClientStream client_;
  boost::beast::flat_buffer buffer_;
  ReadAhead ahead_;
  std::unique_ptr<AgentPassage> passage_;  // once it has asked for an agent
  std::string peer_;
  const std::string address_;           // in Hub::shares
  const std::shared_ptr<Share> share_;  // null: it has none
  std::size_t body_bytes_ = 0;          // in Hub::body_bytes
  std::shared_ptr<EventStream> events_;
  std::optional<std::list<Connection*>::iterator> waiting_;  // in Hub::waiting_tls
  bool idle_ = true;
  bool first_ = true;
};

}  // namespace creel::api
