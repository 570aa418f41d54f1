// Job: work that is done again and again on a thread of its own: when its period has passed, and at once after wake().
//
// One pass at a time; wakes during a pass make one more pass. `may_run` is asked before each pass (the lease: only one
// controller does such work); while it says no, nothing is done but asking again after the period.
//
// Threads: wake() from any thread; `pass` is called on the job's own thread and should end early when `stop` is asked
// for: the destructor waits for it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

namespace creel {

class Job {
 public:
  struct Options {
    std::string name;  // for the log
    std::chrono::milliseconds period{1'000};
    std::function<bool()> may_run{};  // empty: always
  };
  Job(Options options, std::function<void(std::stop_token)> pass);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  void wake();

 private:
  void run(std::stop_token stop);

  const Options options_;
  const std::function<void(std::stop_token)> pass_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool woken_ = true;  // the first pass is made at once
  std::jthread thread_;
};

}  // namespace creel
