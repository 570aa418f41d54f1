// AgentPassage: brings one client's requests to agents' own gateways and what they answer back, as bytes come. Inside
// api/server only; everything on the hub's thread.
//
// The connection to the agent is kept for the client's next request to it. Nothing is buffered beyond one piece, so the
// slower side sets the pace. A request that asks for an upgrade becomes a tunnel.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/proxy/proxy.hpp"
#include "api/server/agent_link.hpp"
#include "api/server/agent_tunnel.hpp"
#include "api/server/client_stream.hpp"
#include "api/server/hub.hpp"
#include "api/server/read_ahead.hpp"
#include "api/server/splice.hpp"

namespace creel::api {

class AgentPassage {
 public:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  AgentPassage(std::shared_ptr<Hub> hub, ClientStream& client, boost::beast::flat_buffer& buffer, ReadAhead& ahead);
  ~AgentPassage();

  // The request whose head is in `parser` goes to `place`. False: the client's connection is to be closed. `alive`: the
  // connection, for what goes on beside.
  boost::asio::awaitable<bool> serve(Parser& parser, Place place, std::string peer, bool secure,
                                     std::shared_ptr<void> alive);
  // The server stops: a tunnel says so and ends.
  void drain();

 private:
  using AgentParser = boost::beast::http::response_parser<boost::beast::http::buffer_body>;
  struct Task;

  boost::asio::awaitable<Verdict> ask(const Place& place, const Incoming& incoming);
  boost::asio::awaitable<std::shared_ptr<AgentLink>> dial(const Passage& passage);
  // A connection to where the agent is, which `passage` then says; null: there is none, and `refusal` says why.
  boost::asio::awaitable<std::shared_ptr<AgentLink>> connect(const Place& place, const Incoming& incoming,
                                                             Passage& passage, Response& refusal);
  boost::asio::awaitable<bool> refuse(Response response, const Parser& parser);
  boost::asio::awaitable<bool> pass(Parser& parser, const Place& place, const Incoming& incoming, Passage& passage,
                                    std::shared_ptr<void> alive, int& status);
  std::unique_ptr<Splice> splice_for(std::uint64_t length);
  boost::asio::awaitable<void> send_body(std::shared_ptr<void> alive, std::shared_ptr<Task> task);
  boost::asio::awaitable<bool> answer(AgentLink& link, AgentParser& parser, const Passage& passage, unsigned version,
                                      bool head_only, bool keep_alive, const Task& task);
  boost::asio::awaitable<bool> tunnel(const Passage& passage, std::shared_ptr<AgentLink> link, AgentParser& parser,
                                      std::shared_ptr<void> alive);

  Hub& hub_;
  const std::weak_ptr<Hub> weak_hub_;
  ClientStream& client_;
  boost::beast::flat_buffer& buffer_;
  ReadAhead& ahead_;
  std::shared_ptr<AgentLink> link_;
  std::shared_ptr<AgentTunnel> tunnel_;
  std::string line_;               // of the pool's, in which its questions wait
  bool client_can_go_on_ = false;  // the answer under way leaves its connection open
};

}  // namespace creel::api
