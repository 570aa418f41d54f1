// Quarantine: leaves alone for a growing time what the engine does not answer about, so that one container that hangs
// takes a worker's time now and then, and not always.
//
// 5 s after the first silence, twice as long after each further one, at most 5 min; then one call is let through. An
// answer ends it. A state machine: the time is an argument. Threads: not safe by itself; DockerRuntime guards it.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

namespace creel::docker {

class Quarantine {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::milliseconds;

  static constexpr Duration kFirst{5'000};
  static constexpr Duration kLongest{300'000};

  // How long it is to be left alone still; nullopt: ask.
  std::optional<Duration> left(const std::string& key, Time now) const;
  void silent(const std::string& key, Time now);
  void answered(const std::string& key) { kept_.erase(key); }
  std::size_t size() const { return kept_.size(); }

 private:
  struct Kept {
    Duration pause{0};
    Time until;
  };
  std::map<std::string, Kept> kept_;
};

}  // namespace creel::docker
