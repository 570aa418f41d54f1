// Patience: how long the other side may take to say something, or to take something in. When it is over, what the
// stream waits for is cancelled, and the stream stays open for an answer, unlike with the stream's own deadline, which
// closes it. Inside api/server only; on the hub's thread. The stream must outlive it, and has no deadline of its own
// meanwhile.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <chrono>
#include <memory>

namespace creel::api {

class Patience {
 public:
  Patience(boost::beast::tcp_stream& stream, std::chrono::milliseconds longest);
  ~Patience();
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

  bool over() const;

 private:
  struct State;
  boost::asio::steady_timer timer_;
  std::shared_ptr<State> state_;  // the timer's handler may come when this is gone
};

}  // namespace creel::api
