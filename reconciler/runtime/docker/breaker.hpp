// Breaker: stops asking an engine that does not answer, so that callers fail at once instead of each waiting for a
// deadline.
//
// Closed -> open after 5 failures in a row -> after 1 s one caller may probe -> closed, or open again for twice as
// long, at most 15 s. A state machine: the time is an argument. Threads: not safe by itself; Engine guards it with a
// mutex.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace creel::docker {

class Breaker {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::milliseconds;

  static constexpr int kThreshold = 5;
  static constexpr Duration kFirstPause{1'000};
  static constexpr Duration kLongestPause{15'000};

  enum class Verdict {
    go,      // ask
    probe,   // ask whether the engine is there, and report: nobody else gets this answer until then
    refuse,  // fail at once
  };

  Verdict admit(Time now);
  // After `go`: what became of the call. Only connection failures and timeouts are failures; any answer is a success.
  void succeeded();
  // `subject`: one container; that it is silent again and again says nothing new about the engine. "": the engine.
  void failed(Time now, std::string reason, std::string_view subject = {});
  // After `probe`: what became of it; `abandoned`: the prober was cancelled before it knew.
  void probe_succeeded() { succeeded(); }
  void probe_failed(Time now, std::string reason);
  void probe_abandoned() { probing_ = false; }

  bool is_open() const { return open_; }
  const std::string& reason() const { return reason_; }

 private:
  int failures_ = 0;
  bool open_ = false;
  bool probing_ = false;
  Duration pause_{0};
  Time next_probe_;
  std::string reason_;
  std::string subject_;  // of the last failure
};

}  // namespace creel::docker
