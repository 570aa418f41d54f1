#include "api/server/agent_tunnel.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "api/server/awaiting.hpp"
#include "controller/core/clock.hpp"
#include "controller/gateway/frames.hpp"

namespace creel::api {
namespace {

using tcp = asio::ip::tcp;
using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kGoodbye{2};  // for a client to take its leave, too
constexpr std::uint16_t kGoingAway = 1001, kPolicy = 1008, kServiceRestart = 1012;

}  // namespace

AgentTunnel::AgentTunnel(std::shared_ptr<Hub> hub, ClientStream& client, boost::beast::flat_buffer& said,
                         std::shared_ptr<AgentLink> link, const Passage& passage, bool websocket)
    : hub_(*hub),
      weak_hub_(hub),
      client_(client),
      buffer_(said),
      link_(std::move(link)),
      still_may_(passage.still_may),
      changed_(hub->io),
      free_(hub->io, SteadyClock::time_point::max()),
      draining_(hub->draining) {
  if (websocket) relay_.emplace(passage.credentials);
}

void AgentTunnel::drain() {
  draining_ = true;
  changed_.cancel();
}

asio::awaitable<void> AgentTunnel::run(std::shared_ptr<void> alive) {
  client_.tcp().expires_never();
  link_->stream.expires_never();
  auto up = client_to_agent(shared_from_this(), alive);
  auto down = agent_to_client(shared_from_this(), alive);
  asio::co_spawn(hub_.io, std::move(up), asio::detached);
  asio::co_spawn(hub_.io, std::move(down), asio::detached);
  ++hub_.tunnels;
  co_await watch();
  --hub_.tunnels;
  over_ = true;
  link_->stream.close();
  client_.tcp().close();
  changed_.cancel();
  free_.cancel();
}

asio::awaitable<void> AgentTunnel::client_to_agent(std::shared_ptr<AgentTunnel> self, std::shared_ptr<void> alive) {
  Piece piece;
  auto& agent = link_->stream;
  while (!over_) {
    std::string_view bytes;
    std::string first;
    if (relay_ && relay_->waits_for_agent()) {
      co_await free_.async_wait(kToken);
    } else if (buffer_.size() > 0) {
      first.assign(static_cast<const char*>(buffer_.data().data()), buffer_.size());
      buffer_.consume(buffer_.size());
      bytes = first;
    } else {
      const auto space = piece.space();
      const Tuple got = co_await client_.async_read_some(space, kToken);
      if (std::get<0>(got)) break;
      bytes = piece.taken(std::get<1>(got));
      last_ = last_client_ = SteadyClock::now();
    }
    const std::size_t size = bytes.size();
    if (relay_) bytes = relay_->from_client(bytes, system_now());
    if (!bytes.empty()) {
      const auto out = asio::buffer(bytes);
      const Tuple sent = co_await asio::async_write(agent, out, kToken);
      if (std::get<0>(sent)) break;
    }
    piece.fit(size);
  }
  error_code ignored;
  if (agent.socket().is_open()) agent.socket().shutdown(tcp::socket::shutdown_send, ignored);
  client_done_ = true;
  changed_.cancel();
  self.reset();
  alive.reset();
}

asio::awaitable<void> AgentTunnel::agent_to_client(std::shared_ptr<AgentTunnel> self, std::shared_ptr<void> alive) {
  Piece piece;
  AgentLink& link = *link_;
  while (!over_) {
    std::string_view bytes;
    std::string first;
    if (link.buffer.size() > 0) {
      first.assign(static_cast<const char*>(link.buffer.data().data()), link.buffer.size());
      link.buffer.consume(link.buffer.size());
      bytes = first;
    } else {
      const auto space = piece.space();
      const Tuple got = co_await link.stream.async_read_some(space, kToken);
      if (std::get<0>(got)) break;
      bytes = piece.taken(std::get<1>(got));
    }
    last_ = SteadyClock::now();
    const std::size_t size = bytes.size();
    while (writing_ && !over_) co_await free_.async_wait(kToken);
    if (relay_) {
      bytes = relay_->from_agent(bytes);
      free_.cancel();
    }
    if (!bytes.empty()) {
      writing_ = true;
      const auto out = asio::buffer(bytes);
      const Tuple sent = co_await asio::async_write(client_, out, kToken);
      writing_ = false;
      if (std::get<0>(sent)) break;
    }
    piece.fit(size);
  }
  error_code ignored;
  if (!relay_ && client_.tls() == nullptr && client_.tcp().socket().is_open())
    client_.tcp().socket().shutdown(tcp::socket::shutdown_send, ignored);
  agent_done_ = true;
  changed_.cancel();
  self.reset();
  alive.reset();
}

// A frame of the proxy's own, where one may stand.
asio::awaitable<void> AgentTunnel::say(std::string frame) {
  if (!relay_ || writing_ || !relay_->at_boundary()) co_return;
  writing_ = true;
  asio::steady_timer limit{hub_.io, kGoodbye};
  // One that takes nothing in is not waited for.
  limit.async_wait([this](error_code late) {
    if (!late) client_.tcp().close();
  });
  const auto bytes = asio::buffer(frame);
  co_await asio::async_write(client_, bytes, kToken);
  limit.cancel();
  writing_ = false;
  free_.cancel();
}

// Ends when the tunnel has.
asio::awaitable<void> AgentTunnel::watch() {
  const Settings& settings = hub_.settings;
  const auto beat =
      std::min({settings.agent_idle, settings.agent_ping, settings.agent_check}) / 4 + std::chrono::milliseconds{1};
  auto checked = SteadyClock::now();
  std::uint16_t code = 0;
  std::string reason;
  while (code == 0) {
    if (client_done_ && agent_done_) co_return;
    if (relay_ && (client_done_ || agent_done_)) break;
    changed_.expires_after(beat);
    co_await changed_.async_wait(kToken);
    const auto now = SteadyClock::now();
    if (draining_) {
      code = kGoingAway;
      reason = "Creel is stopping; connect again";
    } else if (now - last_ > settings.agent_idle) {
      code = kGoingAway;
      reason = "nothing was said for too long";
    } else if (relay_ && now - last_client_ > settings.agent_ping * 3) {
      co_return;  // whoever does not answer pings is gone
    } else if (relay_ && now - last_client_ > settings.agent_ping) {
      std::string ping = gateway::make_frame(gateway::Opcode::ping, {});
      co_await say(std::move(ping));
    }
    if (code == 0 && now - checked > settings.agent_check) {
      checked = now;
      auto may = std::make_shared<bool>(true);
      const std::function<void()> work = [still_may = still_may_, may] { *may = still_may(); };
      co_await on_pool(hub_, weak_hub_, work, line_);
      if (!*may) {
        code = kPolicy;
        reason = "access was taken away";
      }
    }
  }
  if (code == 0 && agent_done_) {
    code = kServiceRestart;
    reason = "the agent has closed, is restarting or was stopped; connect again";
  }
  if (code != 0) {
    std::string frame = gateway::close_frame(code, reason);
    co_await say(std::move(frame));
  }
  // For the last words of either side.
  error_code ignored;
  if (agent_done_ && client_.tls() == nullptr && client_.tcp().socket().is_open())
    client_.tcp().socket().shutdown(tcp::socket::shutdown_send, ignored);
  const auto end = SteadyClock::now() + kGoodbye;
  while (!(client_done_ && agent_done_) && SteadyClock::now() < end) {
    changed_.expires_at(end);
    co_await changed_.async_wait(kToken);
  }
}

}  // namespace creel::api
