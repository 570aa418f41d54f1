// Timer: one thread and a heap of calls that are due later. For deadlines of requests that hold no thread.
//
// Threads: after() and cancel() from any thread. Calls run on the timer's own thread and must be short: they post work
// to the pool. Destruction drops what is not yet due and joins the thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

namespace creel::api {

class Timer {
 public:
  Timer();
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  std::uint64_t after(std::chrono::milliseconds delay, std::function<void()> call);
  // Forgets the call if it has not begun yet; harmless otherwise.
  void cancel(std::uint64_t id);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::api
