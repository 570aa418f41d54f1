#include "api/streams.hpp"

#include <spdlog/spdlog.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace creel::api {

struct Streams::Impl {
  explicit Impl(std::size_t max) : max_streams(max) {}

  const std::size_t max_streams;
  mutable std::mutex mutex;
  std::unordered_map<std::uint64_t, std::jthread> running;
  std::vector<std::jthread> finished;  // joined by whoever comes next
  std::uint64_t next_id = 1;
  bool stopping = false;

  void finish(std::uint64_t id) {
    const std::lock_guard lock{mutex};
    // stop() may have taken the thread away already.
    if (const auto found = running.find(id); found != running.end()) {
      finished.push_back(std::move(found->second));
      running.erase(found);
    }
  }
};

Streams::Streams(std::size_t max_streams) : impl_(std::make_unique<Impl>(max_streams)) {}

Streams::~Streams() { stop(); }

bool Streams::full() const {
  const std::lock_guard lock{impl_->mutex};
  return impl_->stopping || impl_->running.size() >= impl_->max_streams;
}

bool Streams::start(std::shared_ptr<StreamSink> sink, std::function<void(StreamSink&, std::stop_token)> run) {
  std::vector<std::jthread> ended;  // joined outside the lock; they have nothing left to do
  std::stop_source source;
  {
    const std::lock_guard lock{impl_->mutex};
    if (impl_->stopping || impl_->running.size() >= impl_->max_streams) return false;
    ended.swap(impl_->finished);
    const std::uint64_t id = impl_->next_id++;
    std::jthread thread([impl = impl_.get(), id, sink, run = std::move(run)](std::stop_token stop) {
      try {
        run(*sink, stop);
      } catch (const std::exception& error) {
        spdlog::error("event stream: {}", error.what());
      }
      sink->close();
      impl->finish(id);
    });
    source = thread.get_stop_source();
    impl_->running.emplace(id, std::move(thread));
  }
  sink->on_close([source]() mutable { source.request_stop(); });
  return true;
}

void Streams::stop() {
  std::unordered_map<std::uint64_t, std::jthread> running;
  std::vector<std::jthread> finished;
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->stopping = true;
    running.swap(impl_->running);
    finished.swap(impl_->finished);
  }
  for (auto& [id, thread] : running) thread.request_stop();
}  // jthread joins

}  // namespace creel::api
