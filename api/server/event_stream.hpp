// EventStream: the bounded queue between whoever writes an event stream and the connection that sends it. Inside
// api/server only.
//
// Writers call the StreamSink side from any thread; the connection calls take(), shut() and set_wake() on its own.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "api/http.hpp"
#include "api/server/hub.hpp"

namespace creel::api {

class EventStream : public StreamSink, public std::enable_shared_from_this<EventStream> {
 public:
  EventStream(std::weak_ptr<Hub> hub, std::size_t buffer_bytes) : hub_(std::move(hub)), buffer_bytes_(buffer_bytes) {}

  bool send(std::string text) override;
  Offer offer(const std::string& text) override;
  bool drained() const override;
  void close() override;
  bool closed() const override;
  void on_close(std::function<void()> call) override;

  struct Taken {
    std::string text;   // everything queued
    bool last = false;  // nothing will follow
  };
  Taken take();
  // The connection is gone or going: writers are let go.
  void shut();
  // Called on the io thread when there is something to take.
  void set_wake(std::function<void()> wake) { wake_ = std::move(wake); }

 private:
  void wake_connection();

  const std::weak_ptr<Hub> hub_;
  const std::size_t buffer_bytes_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::string queued_;
  bool ended_ = false;  // by the writer
  bool shut_ = false;   // by the connection
  std::function<void()> on_close_;
  std::function<void()> wake_;  // io thread only
};

}  // namespace creel::api
