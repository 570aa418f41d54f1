#include "api/server/splice.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <tuple>

#include "api/server/awaiting.hpp"
#include "api/server/patience.hpp"

namespace creel::api {
namespace {

using tcp = asio::ip::tcp;

// At a time: so much of a body, then whatever else there is to do.
constexpr std::uint64_t kPiece = 256 * 1024;

asio::awaitable<bool> ready(beast::tcp_stream& stream, tcp::socket::wait_type what, std::chrono::milliseconds longest) {
  Patience patience{stream, longest};
  const std::tuple<boost::system::error_code> waited = co_await stream.socket().async_wait(what, kToken);
  co_return !std::get<0>(waited) && !patience.over();
}

ssize_t splice_some(int from, int to, std::uint64_t most) {
  for (;;) {
    const auto moved =
        ::splice(from, nullptr, to, nullptr, static_cast<std::size_t>(most), SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved >= 0 || errno != EINTR) return moved;
  }
}

}  // namespace

Splice::Splice() {
  if (pipe2(pipe_, O_CLOEXEC | O_NONBLOCK) != 0) pipe_[0] = pipe_[1] = -1;
  // Where the system does not grant it, the pipe's usual 64 KB do, with more calls.
  if (usable()) fcntl(pipe_[1], F_SETPIPE_SZ, static_cast<int>(kPiece));
}

Splice::~Splice() {
  if (!usable()) return;
  close(pipe_[0]);
  close(pipe_[1]);
}

asio::awaitable<Splice::End> Splice::move(beast::tcp_stream& source, std::chrono::milliseconds source_time,
                                          beast::tcp_stream& sink, std::chrono::milliseconds sink_time,
                                          std::uint64_t size) {
  boost::system::error_code ignored;
  source.socket().native_non_blocking(true, ignored);
  sink.socket().native_non_blocking(true, ignored);
  std::uint64_t inside = 0, moved = 0;
  while (size > 0 || inside > 0) {
    if (inside == 0) {
      const auto in = splice_some(source.socket().native_handle(), pipe_[1], std::min(size, kPiece));
      if (in > 0) {
        inside = static_cast<std::uint64_t>(in);
        size -= inside;
      } else if (in == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
        co_return End::source_left;
      } else {
        const bool more = co_await ready(source, tcp::socket::wait_read, source_time);
        if (!more) co_return End::source_left;
        continue;
      }
    }
    const auto out = splice_some(pipe_[0], sink.socket().native_handle(), inside);
    if (out > 0) {
      inside -= static_cast<std::uint64_t>(out);
      moved += static_cast<std::uint64_t>(out);
    } else if (out == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
      co_return End::sink_left;
    } else {
      const bool room = co_await ready(sink, tcp::socket::wait_write, sink_time);
      if (!room) co_return End::sink_left;
    }
    if (moved >= kPiece) {
      moved = 0;
      co_await asio::post(source.get_executor(), kToken);
    }
  }
  co_return End::done;
}

}  // namespace creel::api
