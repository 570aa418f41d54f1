#include "api/pool.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace creel::api {

struct Pool::Impl {
  std::mutex mutex;
  std::condition_variable changed;
  using Line = std::deque<std::function<void()>>;
  std::unordered_map<std::string, Line> lines;                       // none of them empty
  std::deque<std::unordered_map<std::string, Line>::pointer> turns;  // each line once; the first is next
  bool stopping = false;
  std::vector<std::thread> threads;

  std::function<void()> take() {
    const auto line = turns.front();
    turns.pop_front();
    auto work = std::move(line->second.front());
    line->second.pop_front();
    if (line->second.empty())
      lines.erase(lines.find(line->first));
    else
      turns.push_back(line);
    return work;
  }

  void run() {
    std::unique_lock lock{mutex};
    for (;;) {
      changed.wait(lock, [&] { return stopping || !turns.empty(); });
      if (turns.empty()) return;
      auto work = take();
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

void Pool::post(std::function<void()> work, const std::string& share) {
  {
    const std::lock_guard lock{impl_->mutex};
    if (impl_->stopping) return;
    // Elements of an unordered_map stay where they are while others come and go.
    auto& line = *impl_->lines.try_emplace(share).first;
    if (line.second.empty()) impl_->turns.push_back(&line);
    line.second.push_back(std::move(work));
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
