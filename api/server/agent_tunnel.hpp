// AgentTunnel: the bytes between a client and an agent after an upgrade, until either has had enough. Inside api/server
// only; everything on the hub's thread.
//
// In a WebSocket's tunnel the proxy says why it ends: 1012 the agent is gone or restarting, 1008 the caller may not any
// more, 1001 Creel stops or nothing was said for too long. A client that says nothing is asked whether it is there.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/proxy/proxy.hpp"
#include "api/server/agent_link.hpp"
#include "api/server/client_stream.hpp"
#include "controller/gateway/relay.hpp"

namespace creel::api {

class AgentTunnel : public std::enable_shared_from_this<AgentTunnel> {
 public:
  // `said`: what has come from the client already.
  AgentTunnel(std::shared_ptr<Hub> hub, ClientStream& client, boost::beast::flat_buffer& said,
              std::shared_ptr<AgentLink> link, const Passage& passage, bool websocket);

  // Returns when it is over; both connections are closed then. `alive` keeps what the references lead to.
  boost::asio::awaitable<void> run(std::shared_ptr<void> alive);
  // The server stops.
  void drain();

 private:
  boost::asio::awaitable<void> client_to_agent(std::shared_ptr<AgentTunnel> self, std::shared_ptr<void> alive);
  boost::asio::awaitable<void> agent_to_client(std::shared_ptr<AgentTunnel> self, std::shared_ptr<void> alive);
  boost::asio::awaitable<void> say(std::string frame);
  boost::asio::awaitable<void> watch();

  using Time = std::chrono::steady_clock::time_point;

  Hub& hub_;
  const std::weak_ptr<Hub> weak_hub_;
  ClientStream& client_;
  boost::beast::flat_buffer& buffer_;
  const std::shared_ptr<AgentLink> link_;
  const std::function<bool()> still_may_;
  std::optional<gateway::WebSocketRelay> relay_;   // none: something else than a WebSocket
  boost::asio::steady_timer changed_;              // cancelled when anything that watch() looks at has changed
  boost::asio::steady_timer free_;                 // cancelled when the agent has said something, or a write is over
  const std::string line_;                         // of the pool's: the server's own
  bool client_done_ = false, agent_done_ = false;  // says nothing any more
  bool writing_ = false;                           // to the client
  bool draining_ = false;
  bool over_ = false;
  Time last_client_ = std::chrono::steady_clock::now(), last_ = last_client_;
};

}  // namespace creel::api
