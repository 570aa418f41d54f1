// Rate limits: token buckets, one for each class and client address, in bounded memory.
//
// Rates are requests a minute; a bucket holds that many and fills evenly. IPv6 clients count by their /64, which is
// what one customer gets. At most `max_clients` addresses are remembered; then those that are full again are dropped
// first, and if there are none, the one not seen for longest: an attacker with many addresses costs memory never.
//
// Threads: take() from any thread. Pure but for the state: the time is handed in.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "api/settings.hpp"
#include "controller/core/clock.hpp"

namespace creel::api {

enum class RateClass { none, api, instance, chat, provision };

struct RateDecision {
  bool allowed = true;
  int limit = 0;  // of the bucket that decides (the one with the least left); 0 = no limit applies
  int remaining = 0;
  std::chrono::seconds reset{0};  // until the bucket is full again
  std::chrono::seconds retry_after{0};
};

// "2001:db8:1:2::5" -> "2001:db8:1:2::/64"; IPv4 and IPv4-mapped addresses stand for themselves.
std::string rate_key(const std::string& address);

class RateLimiter {
 public:
  explicit RateLimiter(RateLimits limits, std::size_t max_clients = 20'000);

  // One request: every bucket of the class is asked (all /api/* routes count for `api` too); if one refuses, none pays.
  RateDecision take(RateClass rate_class, const std::string& address, std::chrono::steady_clock::time_point now);
  std::size_t clients() const;

 private:
  struct Bucket {
    std::string key;
    double tokens = 0;
    int limit = 0;
    std::chrono::steady_clock::time_point at;
  };
  Bucket& bucket(RateClass rate_class, const std::string& address, int limit,
                 std::chrono::steady_clock::time_point now);
  int limit_of(RateClass rate_class) const;

  const RateLimits limits_;
  const std::size_t max_clients_;
  mutable std::mutex mutex_;
  std::list<Bucket> buckets_;  // the one not seen for longest first
  std::unordered_map<std::string, std::list<Bucket>::iterator> by_key_;
};

}  // namespace creel::api
