#include "api/auth/rate_limit.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "api/auth/client_address.hpp"

namespace creel::api {

std::string rate_key(const std::string& address) {
  auto parsed = Address::parse(address);
  if (!parsed) return address;
  if (parsed->is_v4()) return parsed->text();
  return parsed->network(64).text() + "/64";
}

RateLimiter::RateLimiter(RateLimits limits, std::size_t max_clients)
    : limits_(limits), max_clients_(std::max<std::size_t>(max_clients, 8)) {}

int RateLimiter::limit_of(RateClass rate_class) const {
  switch (rate_class) {
    case RateClass::none:
      return 0;
    case RateClass::api:
      return limits_.api;
    case RateClass::instance:
      return limits_.instance;
    case RateClass::chat:
      return limits_.chat;
    case RateClass::provision:
      return limits_.provision;
  }
  return 0;
}

RateLimiter::Bucket& RateLimiter::bucket(RateClass rate_class, const std::string& address, int limit,
                                         std::chrono::steady_clock::time_point now) {
  std::string key = std::to_string(static_cast<int>(rate_class)) + " " + address;
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    const auto place = found->second;
    buckets_.splice(buckets_.end(), buckets_, place);
    const double minutes = std::chrono::duration<double>(now - place->at).count() / 60.0;
    place->tokens = std::min<double>(limit, place->tokens + std::max(minutes, 0.0) * limit);
    place->at = now;
    return *place;
  }
  // Buckets untouched for a minute are full: forgetting them changes nothing. They stand at the front. The bucket that
  // is being made, and its sibling made just before, stand at the back and are never dropped here.
  while (!buckets_.empty() &&
         (buckets_.size() >= max_clients_ || now - buckets_.front().at > std::chrono::minutes{1})) {
    by_key_.erase(buckets_.front().key);
    buckets_.pop_front();
  }
  buckets_.push_back(Bucket{key, static_cast<double>(limit), limit, now});
  by_key_.emplace(std::move(key), std::prev(buckets_.end()));
  return buckets_.back();
}

RateDecision RateLimiter::take(RateClass rate_class, const std::string& address,
                               std::chrono::steady_clock::time_point now) {
  RateDecision decision;
  if (rate_class == RateClass::none) return decision;
  const std::string client = rate_key(address);
  const std::lock_guard lock{mutex_};
  std::array<Bucket*, 2> asked{};
  std::size_t count = 0;
  for (const RateClass each : {RateClass::api, rate_class}) {
    if (count == 1 && each == RateClass::api) break;  // the class is `api` itself
    if (const int limit = limit_of(each); limit > 0) asked[count++] = &bucket(each, client, limit, now);
    if (rate_class == RateClass::api) break;
  }
  if (count == 0) return decision;
  const auto end = asked.begin() + static_cast<std::ptrdiff_t>(count);
  decision.allowed = std::all_of(asked.begin(), end, [](const Bucket* b) { return b->tokens >= 1.0; });
  if (decision.allowed)
    for (auto it = asked.begin(); it != end; ++it) (*it)->tokens -= 1.0;
  const Bucket& tightest =
      **std::min_element(asked.begin(), end, [](const Bucket* a, const Bucket* b) { return a->tokens < b->tokens; });
  const double per_second = tightest.limit / 60.0;
  decision.limit = tightest.limit;
  decision.remaining = static_cast<int>(tightest.tokens);
  decision.reset =
      std::chrono::seconds{static_cast<std::int64_t>(std::ceil((tightest.limit - tightest.tokens) / per_second))};
  if (!decision.allowed) {
    const double missing = std::max(0.0, 1.0 - tightest.tokens);
    decision.retry_after =
        std::chrono::seconds{std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(missing / per_second)))};
  }
  return decision;
}

std::size_t RateLimiter::clients() const {
  const std::lock_guard lock{mutex_};
  return buckets_.size();
}

}  // namespace creel::api
