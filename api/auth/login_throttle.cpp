#include "api/auth/login_throttle.hpp"

#include <algorithm>
#include <cctype>

#include "api/auth/rate_limit.hpp"

namespace creel::api {
namespace {

std::string key_of(const std::string& address, const std::string& email) {
  std::string key = rate_key(address) + " " + email;
  std::transform(key.begin(), key.end(), key.begin(), [](unsigned char c) { return std::tolower(c); });
  return key;
}

}  // namespace

LoginThrottle::LoginThrottle(int attempts, std::chrono::milliseconds window, std::size_t max_entries)
    : attempts_(attempts), window_(window), max_entries_(std::max<std::size_t>(max_entries, 1)) {}

std::chrono::seconds LoginThrottle::begin(const std::string& address, const std::string& email, Time now) {
  const std::string key = key_of(address, email);
  const std::lock_guard lock{mutex_};
  auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    if (entries_.size() >= max_entries_) {
      by_key_.erase(entries_.front().key);
      entries_.pop_front();
    }
    entries_.push_back(Entry{key, {}});
    found = by_key_.emplace(key, std::prev(entries_.end())).first;
  } else {
    entries_.splice(entries_.end(), entries_, found->second);
  }
  auto& failures = found->second->failures;
  while (!failures.empty() && now - failures.front() >= window_) failures.pop_front();
  if (failures.size() >= static_cast<std::size_t>(attempts_)) {
    const auto left = std::chrono::ceil<std::chrono::seconds>(failures.front() + window_ - now);
    return std::max(left, std::chrono::seconds{1});
  }
  failures.push_back(now);
  return std::chrono::seconds{0};
}

void LoginThrottle::succeeded(const std::string& address, const std::string& email) {
  const std::lock_guard lock{mutex_};
  const auto found = by_key_.find(key_of(address, email));
  if (found == by_key_.end()) return;
  entries_.erase(found->second);
  by_key_.erase(found);
}

}  // namespace creel::api
