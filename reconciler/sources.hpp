// ControlLoop: the threads around the reconciler. Sources (the store's wake-ups, engine events, the resync timer) put
// keys into the queue; N workers take them out. Hints may be lost: a lost one costs a resync period, never correctness.
//
// It runs only between lead() and follow(): a controller without the lease observes and acts on nothing.
// Threads: public methods from any thread; follow() and the destructor wait for the pass under way, whose engine calls
// are cancelled.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "reconciler/reconciler.hpp"
#include "reconciler/work_queue.hpp"

namespace creel {

// What a worker does with a key it has popped, and what the resync timer does; the simulation does both on virtual
// time.
void work_on(WorkQueue& queue, Reconciler& reconciler, const AgentId& id, std::stop_token stop);
Result<void> resync(WorkQueue& queue, AgentRepository& repository);

class ControlLoop {
 public:
  struct Options {
    std::size_t workers = 4;
    milliseconds resync{30'000};
  };
  ControlLoop(Reconciler& reconciler, AgentRepository& repository, Runtime& runtime, Options options);
  ~ControlLoop();

  void lead();
  void follow();
  // A wish changed; "" = anything may have (the listener reconnected).
  void on_wish(const std::string& payload);

  WorkQueue::Load queue_load() const { return queue_.load(); }
  bool engine_events_connected() const { return events_connected_; }

 private:
  void work(std::stop_token stop);
  void watch_engine(std::stop_token stop);
  void resync_forever(std::stop_token stop);
  void resync_all();

  Reconciler& reconciler_;
  AgentRepository& repository_;
  Runtime& runtime_;
  const Options options_;
  WorkQueue queue_;
  std::mutex mutex_;  // guards threads_
  std::vector<std::jthread> threads_;
  std::atomic<bool> leading_{false};
  std::atomic<bool> events_connected_{false};
};

}  // namespace creel
