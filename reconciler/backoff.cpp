#include "reconciler/backoff.hpp"

#include <algorithm>

namespace creel {

milliseconds backoff_delay(int failures, const Policy& policy) {
  if (failures <= 0) return milliseconds{0};
  milliseconds delay = policy.backoff_min;
  for (int i = 1; i < failures && delay < policy.backoff_max; ++i) delay *= 2;
  return std::min(delay, policy.backoff_max);
}

milliseconds backoff_left(const History& history, const Policy& policy, TimePoint now) {
  if (!history.last_failure) return milliseconds{0};
  const milliseconds delay = backoff_delay(history.failures, policy);
  const milliseconds since = now - *history.last_failure;
  // A wall clock that jumped backwards must not turn seconds into hours.
  if (since < milliseconds{0}) return delay;
  return since >= delay ? milliseconds{0} : delay - since;
}

}  // namespace creel
