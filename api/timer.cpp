#include "api/timer.hpp"

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

namespace creel::api {

using SteadyTime = std::chrono::steady_clock::time_point;

struct Timer::Impl {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::pair<SteadyTime, std::uint64_t>, std::function<void()>> calls;  // earliest first
  std::unordered_map<std::uint64_t, SteadyTime> due;
  std::uint64_t next_id = 1;
  bool stopping = false;
  std::thread thread;

  void run() {
    std::unique_lock lock{mutex};
    while (!stopping) {
      if (calls.empty()) {
        changed.wait(lock);
        continue;
      }
      const auto first = calls.begin();
      const SteadyTime at = first->first.first;
      if (std::chrono::steady_clock::now() < at) {
        changed.wait_until(lock, at);
        continue;
      }
      auto call = std::move(first->second);
      due.erase(first->first.second);
      calls.erase(first);
      lock.unlock();
      call();
      call = nullptr;  // what it holds is let go outside the lock
      lock.lock();
    }
  }
};

Timer::Timer() : impl_(std::make_unique<Impl>()) {
  impl_->thread = std::thread([this] { impl_->run(); });
}

Timer::~Timer() {
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->stopping = true;
  }
  impl_->changed.notify_one();
  impl_->thread.join();
}

std::uint64_t Timer::after(std::chrono::milliseconds delay, std::function<void()> call) {
  const SteadyTime at = std::chrono::steady_clock::now() + delay;
  std::uint64_t id = 0;
  bool first = false;
  {
    const std::lock_guard lock{impl_->mutex};
    id = impl_->next_id++;
    const auto place = impl_->calls.emplace(std::pair{at, id}, std::move(call)).first;
    impl_->due.emplace(id, at);
    first = place == impl_->calls.begin();
  }
  if (first) impl_->changed.notify_one();
  return id;
}

void Timer::cancel(std::uint64_t id) {
  std::function<void()> dropped;  // destroyed outside the lock
  const std::lock_guard lock{impl_->mutex};
  const auto found = impl_->due.find(id);
  if (found == impl_->due.end()) return;
  const auto call = impl_->calls.find({found->second, id});
  dropped = std::move(call->second);
  impl_->calls.erase(call);
  impl_->due.erase(found);
}

}  // namespace creel::api
