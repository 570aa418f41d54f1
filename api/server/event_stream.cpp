#include "api/server/event_stream.hpp"

#include <boost/asio/post.hpp>
#include <utility>

namespace creel::api {

bool EventStream::send(std::string text) {
  bool wake = false;
  {
    std::unique_lock lock{mutex_};
    // One message larger than the buffer still goes through, alone.
    room_.wait(lock,
               [&] { return shut_ || ended_ || queued_.empty() || queued_.size() + text.size() <= buffer_bytes_; });
    if (shut_ || ended_) return false;
    wake = queued_.empty();
    queued_ += text;
  }
  if (wake) wake_connection();
  return true;
}

StreamSink::Offer EventStream::offer(const std::string& text) {
  bool wake = false;
  {
    const std::lock_guard lock{mutex_};
    if (shut_ || ended_) return Offer::closed;
    if (!queued_.empty() && queued_.size() + text.size() > buffer_bytes_) return Offer::full;
    wake = queued_.empty();
    queued_ += text;
  }
  if (wake) wake_connection();
  return Offer::taken;
}

bool EventStream::drained() const {
  const std::lock_guard lock{mutex_};
  return queued_.empty();
}

void EventStream::close() {
  std::function<void()> call;
  {
    const std::lock_guard lock{mutex_};
    if (ended_) return;
    ended_ = true;
    call = std::move(on_close_);
    on_close_ = nullptr;
  }
  room_.notify_all();
  wake_connection();
  if (call) call();
}

bool EventStream::closed() const {
  const std::lock_guard lock{mutex_};
  return ended_ || shut_;
}

void EventStream::on_close(std::function<void()> call) {
  {
    const std::lock_guard lock{mutex_};
    if (!ended_ && !shut_) {
      on_close_ = std::move(call);
      return;
    }
  }
  call();
}

EventStream::Taken EventStream::take() {
  Taken taken;
  {
    const std::lock_guard lock{mutex_};
    taken.text.swap(queued_);
    taken.last = ended_ || shut_;
  }
  room_.notify_all();
  return taken;
}

void EventStream::shut() {
  std::function<void()> call;
  {
    const std::lock_guard lock{mutex_};
    if (shut_) return;
    shut_ = true;
    call = std::move(on_close_);
    on_close_ = nullptr;
  }
  room_.notify_all();
  if (call) call();
}

void EventStream::wake_connection() {
  const auto hub = hub_.lock();
  if (!hub) return;
  boost::asio::post(hub->io, [self = shared_from_this()] {
    if (self->wake_) self->wake_();
  });
}

}  // namespace creel::api
