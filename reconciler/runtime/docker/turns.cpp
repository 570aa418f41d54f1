#include "reconciler/runtime/docker/turns.hpp"

#include <algorithm>

namespace creel::docker {

Turns::Held::~Held() {
  if (turns_ == nullptr) return;
  const std::lock_guard lock{turns_->mutex_};
  turns_->begun_.erase(place_);
  turns_->ended_.notify_all();
}

bool Turns::room(Clock::time_point now) const {
  const auto counted = std::count_if(begun_.begin(), begun_.end(),
                                     [&](const Clock::time_point& since) { return now - since <= longest_; });
  return static_cast<std::size_t>(counted) < at_once_;
}

Turns::Held Turns::take(const std::stop_token& stop) {
  std::unique_lock lock{mutex_};
  // One time for both questions: where there is no room, there is one that is counted.
  for (auto now = Clock::now(); !stop.stop_requested() && !room(now); now = Clock::now()) {
    // The next that stops counting, if none ends before. Others may begin meanwhile: whoever wakes looks again.
    const auto counted = std::find_if(begun_.begin(), begun_.end(),
                                      [&](const Clock::time_point& since) { return now - since <= longest_; });
    ended_.wait_until(lock, stop, *counted + longest_ + std::chrono::milliseconds{1},
                      [&] { return room(Clock::now()); });
  }
  return Held{*this, begun_.insert(begun_.end(), Clock::now())};
}

}  // namespace creel::docker
