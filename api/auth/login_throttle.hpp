// LoginThrottle: how many failed logins an address may try for one e-mail. In memory, for each replica.
//
// A success clears the count. Bounded: at most `max_entries` pairs are remembered; the one not seen for longest goes
// first. Threads: every method from any thread; the time is handed in.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>

namespace creel::api {

class LoginThrottle {
 public:
  using Time = std::chrono::steady_clock::time_point;

  LoginThrottle(int attempts, std::chrono::milliseconds window, std::size_t max_entries = 10'000);

  // Counts one attempt as failed, before it is known how it ends: so that attempts at the same time cannot slip
  // through. Zero: go on. Otherwise: refused, come back after so long.
  std::chrono::seconds begin(const std::string& address, const std::string& email, Time now);
  void succeeded(const std::string& address, const std::string& email);

 private:
  struct Entry {
    std::string key;
    std::deque<Time> failures;  // within the window, oldest first
  };

  const int attempts_;
  const std::chrono::milliseconds window_;
  const std::size_t max_entries_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // the one not seen for longest first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
};

}  // namespace creel::api
