// Turns: so much at once and no more, but nobody is held up for long by one that hangs.
//
// Threads: any.
#pragma once

#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <stop_token>
#include <utility>

namespace creel::docker {

class Turns {
 public:
  using Clock = std::chrono::steady_clock;
  // `at_once`: how many have their turn together. One that has had it for longer than `longest` is not counted any
  // more.
  Turns(std::size_t at_once, std::chrono::milliseconds longest) : at_once_(at_once), longest_(longest) {}

  // A turn ends with it. It must not outlive the Turns.
  class Held {
   public:
    Held(Turns& turns, std::list<Clock::time_point>::iterator place) : turns_(&turns), place_(place) {}
    Held(Held&& other) noexcept : turns_(std::exchange(other.turns_, nullptr)), place_(other.place_) {}
    Held& operator=(Held&&) = delete;
    ~Held();

   private:
    Turns* turns_;
    std::list<Clock::time_point>::iterator place_;
  };
  // Waits for a turn, or until `stop` is asked for, and has it either way.
  Held take(const std::stop_token& stop);

 private:
  bool room(Clock::time_point now) const;

  const std::size_t at_once_;
  const std::chrono::milliseconds longest_;
  std::mutex mutex_;
  std::condition_variable_any ended_;
  std::list<Clock::time_point> begun_;  // under mutex_, the oldest first
};

}  // namespace creel::docker
