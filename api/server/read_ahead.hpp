// ReadAhead: what a client says next, read while it is being answered, so that it is noticed when it leaves. Inside
// api/server only; everything on the hub's thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <functional>
#include <memory>

#include "api/server/client_stream.hpp"

namespace creel::api {

class ReadAhead {
 public:
  ReadAhead(ClientStream& stream, boost::beast::flat_buffer& buffer) : stream_(stream), buffer_(buffer) {}
  // Begins to read, unless something is there or on its way. `alive` is kept until that has ended.
  void start(std::shared_ptr<void> alive);
  // As long as this is true nobody else may read from the client, or touch the buffer.
  bool reading() const { return reading_; }
  // It has left, or its connection broke.
  bool left() const { return left_; }
  // Called once, when reading has ended; null: nobody waits.
  void set_wake(std::function<void()> wake) { wake_ = std::move(wake); }

 private:
  boost::asio::awaitable<void> read(std::shared_ptr<void> alive);
  ClientStream& stream_;
  boost::beast::flat_buffer& buffer_;
  bool reading_ = false;
  bool left_ = false;
  std::function<void()> wake_;
};

}  // namespace creel::api
