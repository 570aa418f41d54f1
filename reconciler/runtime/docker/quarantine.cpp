#include "reconciler/runtime/docker/quarantine.hpp"

#include <algorithm>

namespace creel::docker {

std::optional<Quarantine::Duration> Quarantine::left(const std::string& key, Time now) const {
  const auto kept = kept_.find(key);
  if (kept == kept_.end() || now >= kept->second.until) return std::nullopt;
  return std::chrono::duration_cast<Duration>(kept->second.until - now);
}

void Quarantine::silent(const std::string& key, Time now) {
  // What nobody has asked about for long belongs to agents that are gone.
  std::erase_if(kept_, [&](const auto& kept) { return now - kept.second.until > kLongest * 2; });
  Kept& kept = kept_[key];
  kept.pause = kept.pause == Duration{0} ? kFirst : std::min(kept.pause * 2, kLongest);
  kept.until = now + kept.pause;
}

}  // namespace creel::docker
