#include "reconciler/backoff.hpp"

#include <algorithm>

namespace creel {

const BackoffRule& backoff_rule(const std::string& reason, const Policy& policy) {
  if (reason == "ImageUnavailable" || reason == "ImageAskedForAgain") return policy.image;
  if (reason == "NotReady") return policy.not_ready;
  if (reason == "EngineTimeout" || reason == "EngineUnavailable") return policy.engine;
  if (reason == "Exited") return policy.exited;
  if (reason == "OOMKilled") return policy.oom_killed;
  if (reason == "ConfigRefused") return policy.refused;
  return policy.actions;
}

milliseconds backoff_delay(int failures, const BackoffRule& rule) {
  if (failures <= 0) return milliseconds{0};
  milliseconds delay = rule.first;
  for (int i = 1; i < failures && delay < rule.most; ++i) delay *= 2;
  return std::min(delay, rule.most);
}

milliseconds left_of(milliseconds delay, TimePoint from, TimePoint now) {
  const milliseconds since = now - from;
  // A wall clock that jumped backwards must not turn seconds into hours.
  if (since < milliseconds{0}) return delay;
  return since >= delay ? milliseconds{0} : delay - since;
}

milliseconds backoff_left(const History& history, const Policy& policy, TimePoint now) {
  if (!history.last_failure) return milliseconds{0};
  const BackoffRule& rule = backoff_rule(history.last_failure_reason, policy);
  return left_of(backoff_delay(history.failures, rule), *history.last_failure, now);
}

}  // namespace creel
