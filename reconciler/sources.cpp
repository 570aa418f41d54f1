#include "reconciler/sources.hpp"

#include <spdlog/spdlog.h>

#include <condition_variable>

namespace creel {
namespace {

milliseconds steady_now() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch());
}

// Sleeps, but not past a stop request.
void pause(milliseconds duration, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, duration, [] { return false; });
}

}  // namespace

void work_on(WorkQueue& queue, Reconciler& reconciler, const AgentId& id, std::stop_token stop) {
  const PassOutcome outcome = reconciler.reconcile(id, stop);
  queue.done(id);
  if (outcome.requeue_after) queue.add_after(id, *outcome.requeue_after);
}

Result<void> resync(WorkQueue& queue, AgentRepository& repository) {
  CREEL_TRY(const auto ids, repository.list());
  for (const AgentId& id : ids) queue.add(id, Priority::resync);
  return {};
}

ControlLoop::ControlLoop(Reconciler& reconciler, AgentRepository& repository, Runtime& runtime, Options options)
    : reconciler_(reconciler), repository_(repository), runtime_(runtime), options_(options), queue_(steady_now) {}

ControlLoop::~ControlLoop() { follow(); }

void ControlLoop::lead() {
  const std::lock_guard lock(mutex_);
  if (!threads_.empty()) return;
  leading_ = true;
  for (std::size_t i = 0; i < options_.workers; ++i)
    threads_.emplace_back([this](std::stop_token stop) { work(stop); });
  threads_.emplace_back([this](std::stop_token stop) { watch_engine(stop); });
  threads_.emplace_back([this](std::stop_token stop) { resync_forever(stop); });
}

void ControlLoop::follow() {
  const std::lock_guard lock(mutex_);
  leading_ = false;
  for (auto& thread : threads_) thread.request_stop();
  threads_.clear();  // joins
  queue_.clear();
}

void ControlLoop::on_wish(const std::string& payload) {
  if (!leading_) return;
  if (const auto id = AgentId::parse(payload))
    queue_.add(*id, Priority::wish);
  else
    resync_all();
}

void ControlLoop::work(std::stop_token stop) {
  while (const auto id = queue_.pop(stop)) work_on(queue_, reconciler_, *id, stop);
}

void ControlLoop::watch_engine(std::stop_token stop) {
  milliseconds delay{250};
  bool complained = false;
  while (!stop.stop_requested()) {
    auto ended = runtime_.watch(
        [&] {
          events_connected_ = true;
          delay = milliseconds{250};
          complained = false;
          // Whatever happened while nobody listened was not reported.
          resync_all();
        },
        [this](const AgentId& id) { queue_.add(id, Priority::wish); }, stop);
    events_connected_ = false;
    if (stop.stop_requested()) return;
    if (!ended && !complained) {
      complained = true;
      spdlog::warn("engine events: {}; trying again", ended.error().message);
    }
    pause(delay, stop);
    delay = std::min<milliseconds>(delay * 2, milliseconds{5'000});
  }
}

void ControlLoop::resync_forever(std::stop_token stop) {
  while (!stop.stop_requested()) {
    resync_all();
    pause(options_.resync, stop);
  }
}

void ControlLoop::resync_all() {
  if (const auto done = resync(queue_, repository_); !done)
    spdlog::warn("resync: agents not listed: {}", done.error().message);
}

}  // namespace creel
