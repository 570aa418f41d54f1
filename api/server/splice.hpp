// Splice: what comes from one socket goes to another inside the kernel, by way of a pipe, without being copied to us
// and back. For bodies whose size is known, between sockets without TLS. Inside api/server only; on the hub's thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <chrono>
#include <cstdint>

namespace creel::api {

class Splice {
 public:
  // Less than this is sooner copied.
  static constexpr std::uint64_t kLeast = 64 * 1024;

  enum class End { done, source_left, sink_left };

  Splice();  // usable() unless there are no file descriptors left
  ~Splice();
  Splice(const Splice&) = delete;
  Splice& operator=(const Splice&) = delete;
  bool usable() const { return pipe_[0] >= 0; }

  // Moves `size` bytes. Either side may be silent for its time at most; then it has left.
  boost::asio::awaitable<End> move(boost::beast::tcp_stream& source, std::chrono::milliseconds source_time,
                                   boost::beast::tcp_stream& sink, std::chrono::milliseconds sink_time,
                                   std::uint64_t size);

 private:
  int pipe_[2] = {-1, -1};
};

}  // namespace creel::api
