#include "reconciler/work_queue.hpp"

#include <algorithm>

namespace creel {

WorkQueue::WorkQueue(std::function<milliseconds()> now) : now_(std::move(now)) {}

void WorkQueue::put(const AgentId& key, Entry entry) {
  if (const auto busy = working_.find(key); busy != working_.end()) {
    auto& later = busy->second;
    if (!later || entry.due < later->due) later = entry;
    return;
  }
  if (const auto it = waiting_.find(key); it != waiting_.end()) {
    Entry& old = it->second;
    const Entry merged{std::min(old.due, entry.due), std::min(old.order, entry.order)};
    by_due_.erase({old.due, key});
    by_order_.erase({old.order, key});
    old = merged;
  } else {
    waiting_.emplace(key, entry);
  }
  const Entry& now_waiting = waiting_.at(key);
  if (now_waiting.due <= now_())
    by_order_.insert({now_waiting.order, key});
  else
    by_due_.insert({now_waiting.due, key});
  wake_.notify_one();
}

void WorkQueue::add(const AgentId& key, Priority priority) {
  const std::lock_guard lock(mutex_);
  const milliseconds now = now_();
  put(key, {now, priority == Priority::wish ? now - kHeadStart : now});
}

void WorkQueue::add_after(const AgentId& key, milliseconds delay) {
  const std::lock_guard lock(mutex_);
  const milliseconds due = now_() + std::max(delay, milliseconds{0});
  put(key, {due, due});
}

std::optional<AgentId> WorkQueue::take_locked() {
  const milliseconds now = now_();
  while (!by_due_.empty() && by_due_.begin()->first <= now) {
    const AgentId key = by_due_.begin()->second;
    by_due_.erase(by_due_.begin());
    by_order_.insert({waiting_.at(key).order, key});
  }
  if (by_order_.empty()) return std::nullopt;
  const AgentId key = by_order_.begin()->second;
  by_order_.erase(by_order_.begin());
  waiting_.erase(key);
  working_.emplace(key, std::nullopt);
  return key;
}

std::optional<AgentId> WorkQueue::try_pop() {
  const std::lock_guard lock(mutex_);
  return take_locked();
}

std::optional<AgentId> WorkQueue::pop(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (auto key = take_locked()) return key;
    if (by_due_.empty()) {
      wake_.wait(lock, stop, [this] { return !by_order_.empty() || !by_due_.empty(); });
    } else {
      const milliseconds next = by_due_.begin()->first;
      const milliseconds left = next - now_();
      wake_.wait_for(lock, stop, std::max(left, milliseconds{1}),
                     [this, next] { return !by_order_.empty() || by_due_.empty() || by_due_.begin()->first < next; });
    }
  }
  return std::nullopt;
}

void WorkQueue::done(const AgentId& key) {
  const std::lock_guard lock(mutex_);
  const auto it = working_.find(key);
  if (it == working_.end()) return;
  const std::optional<Entry> again = it->second;
  working_.erase(it);
  if (again) put(key, *again);
}

void WorkQueue::clear() {
  const std::lock_guard lock(mutex_);
  waiting_.clear();
  by_due_.clear();
  by_order_.clear();
  for (auto& [key, again] : working_) again.reset();
}

std::size_t WorkQueue::depth() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

milliseconds WorkQueue::oldest_age() const { return load().oldest_age; }

WorkQueue::Load WorkQueue::load() const {
  const std::lock_guard lock(mutex_);
  Load load;
  const milliseconds now = now_();
  for (const auto& [key, entry] : waiting_) {
    ++(entry.due <= now ? load.due : load.delayed);
    load.oldest_age = std::max(load.oldest_age, now - entry.due);
  }
  return load;
}

std::optional<milliseconds> WorkQueue::next_due() const {
  const std::lock_guard lock(mutex_);
  if (!by_order_.empty()) return now_();
  if (by_due_.empty()) return std::nullopt;
  return by_due_.begin()->first;
}

}  // namespace creel
