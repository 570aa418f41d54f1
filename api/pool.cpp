#include "api/pool.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace creel::api {

struct Pool::Impl {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> queue;
  bool stopping = false;
  std::vector<std::thread> threads;

  void run() {
    std::unique_lock lock{mutex};
    for (;;) {
      changed.wait(lock, [&] { return stopping || !queue.empty(); });
      if (queue.empty()) return;
      auto work = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      try {
        work();
      } catch (const std::exception& error) {
        spdlog::error("handler pool: work threw: {}", error.what());
      } catch (...) {
        spdlog::error("handler pool: work threw");
      }
      work = nullptr;
      lock.lock();
    }
  }
};

Pool::Pool(std::size_t threads) : impl_(std::make_unique<Impl>()) {
  for (std::size_t i = 0; i < std::max<std::size_t>(threads, 1); ++i)
    impl_->threads.emplace_back([this] { impl_->run(); });
}

Pool::~Pool() { join(); }

void Pool::post(std::function<void()> work) {
  {
    const std::lock_guard lock{impl_->mutex};
    if (impl_->stopping) return;
    impl_->queue.push_back(std::move(work));
  }
  impl_->changed.notify_one();
}

void Pool::join() {
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->stopping = true;
  }
  impl_->changed.notify_all();
  for (auto& thread : impl_->threads) thread.join();
  impl_->threads.clear();
}

}  // namespace creel::api
