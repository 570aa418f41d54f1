#include "api/server/read_ahead.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <utility>

#include "api/server/awaiting.hpp"

namespace creel::api {
void ReadAhead::start(std::shared_ptr<void> alive) {
  if (reading_ || left_ || buffer_.size() > 0) return;
  reading_ = true;
  stream_.tcp().expires_never();
  auto reading = read(std::move(alive));
  asio::co_spawn(stream_.get_executor(), std::move(reading), asio::detached);
}

asio::awaitable<void> ReadAhead::read(std::shared_ptr<void> alive) {
  const auto space = buffer_.prepare(4096);
  const Tuple got = co_await stream_.async_read_some(space, kToken);
  reading_ = false;
  if (std::get<0>(got))
    left_ = true;
  else
    buffer_.commit(std::get<1>(got));
  if (const auto wake = std::exchange(wake_, nullptr)) wake();
  alive.reset();
}

}  // namespace creel::api
