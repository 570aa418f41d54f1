// What passages and tunnels share: the connection to an agent, pieces of what goes through, and work that blocks.
// Inside api/server only; everything on the hub's thread.
#pragma once

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/server/awaiting.hpp"
#include "api/server/hub.hpp"
#include "controller/core/ids.hpp"

namespace creel::api {

struct AgentLink {
  explicit AgentLink(boost::asio::io_context& io) : stream(io) {}
  boost::beast::tcp_stream stream;
  boost::beast::flat_buffer buffer;  // read, and not used as yet
  AgentId agent;
  std::string address;
  bool used = false;  // something was asked through it
};

// Pieces as large as the traffic wants them: most tunnels say little, and there may be thousands.
class Piece {
 public:
  static constexpr std::size_t kLeast = 16 * 1024, kMost = 256 * 1024;
  // `expected`: how much is to come, if it is known.
  explicit Piece(std::uint64_t expected = kLeast)
      : bytes_(static_cast<std::size_t>(std::clamp<std::uint64_t>(expected, kLeast, kMost))) {}
  boost::asio::mutable_buffer space(std::uint64_t most = kMost) {
    return boost::asio::buffer(bytes_.data(), static_cast<std::size_t>(std::min<std::uint64_t>(most, bytes_.size())));
  }
  std::string_view taken(std::size_t size) const { return {bytes_.data(), size}; }
  char* data() { return bytes_.data(); }
  // After `size` bytes were done with.
  void fit(std::size_t size) {
    if (size == bytes_.size() && size < kMost) {
      bytes_.resize(size * 2);
    } else if (size * 8 < bytes_.size() && bytes_.size() > kLeast) {
      bytes_ = std::vector<char>(kLeast);
    }
  }

 private:
  std::vector<char> bytes_;
};

// All of `bytes`, in as few writes as the socket allows: Asio's own loop writes 64 KiB at a time.
template <class Stream>
boost::asio::awaitable<bool> write_all(Stream& stream, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto rest = boost::asio::buffer(bytes.data(), bytes.size());
    const Tuple written = co_await stream.async_write_some(rest, kToken);
    if (std::get<0>(written)) co_return false;
    bytes.remove_prefix(std::get<1>(written));
  }
  co_return true;
}

// Runs `work` on the handler pool, in the line of `line`, and waits. Whatever it uses must outlive the wait: the server
// may stop meanwhile.
boost::asio::awaitable<void> on_pool(Hub& hub, std::weak_ptr<Hub> weak_hub, const std::function<void()>& work,
                                     const std::string& line);

}  // namespace creel::api
