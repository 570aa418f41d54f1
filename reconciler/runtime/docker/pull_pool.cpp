#include "reconciler/runtime/docker/pull_pool.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace creel::docker {

PullPool::PullPool(Pull pull, std::size_t threads) : pull_(std::move(pull)) {
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this](std::stop_token stop) { run(stop); });
  }
}

PullPool::~PullPool() {
  for (auto& thread : threads_) thread.request_stop();
  threads_.clear();
}

void PullPool::start(const std::string& image) {
  std::lock_guard lock{mutex_};
  State& state = states_[image];
  if (state.under_way) return;
  state = {true, false, "waiting for its turn"};
  queue_.push_back(image);
  changed_.notify_all();
}

std::optional<PullPool::State> PullPool::state(const std::string& image) const {
  std::lock_guard lock{mutex_};
  const auto found = states_.find(image);
  if (found == states_.end()) return std::nullopt;
  return found->second;
}

std::size_t PullPool::under_way() const {
  std::lock_guard lock{mutex_};
  return static_cast<std::size_t>(
      std::count_if(states_.begin(), states_.end(), [](const auto& entry) { return entry.second.under_way; }));
}

bool PullPool::wait(const std::string& image, std::stop_token stop) {
  std::unique_lock lock{mutex_};
  return changed_.wait(lock, stop, [&] {
    const auto found = states_.find(image);
    return found == states_.end() || !found->second.under_way;
  });
}

void PullPool::run(std::stop_token stop) {
  std::unique_lock lock{mutex_};
  while (changed_.wait(lock, stop, [&] { return !queue_.empty(); }) && !stop.stop_requested()) {
    const std::string image = std::move(queue_.front());
    queue_.pop_front();
    states_[image].message = "asking the engine";
    lock.unlock();
    spdlog::info("pulling the image {}", image);
    const auto result = pull_(
        image,
        [&](const std::string& message) {
          std::lock_guard guard{mutex_};
          states_[image].message = message;
        },
        stop);
    if (result) {
      spdlog::info("pulled the image {}", image);
    } else if (result.error().kind != ErrorKind::cancelled) {
      spdlog::warn("{}", result.error().message);
    }
    lock.lock();
    states_[image] = {false, static_cast<bool>(result), result ? "" : result.error().message};
    changed_.notify_all();
  }
}

}  // namespace creel::docker
