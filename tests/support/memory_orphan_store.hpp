// MemoryOrphanStore: which agents there are and were, as the test says. Single-threaded; can be told to fail.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "controller/core/orphans.hpp"

namespace creel::test {

struct MemoryOrphanStore : OrphanStore {
  std::map<AgentId, Fate> known;
  bool away = false;
  std::uint64_t term = 1;
  OrphanReport report;
  std::vector<Event> events;
  std::function<void()> before_fates;
  Result<std::map<AgentId, Fate>> fates(const std::vector<AgentId>& ids) override {
    if (before_fates) before_fates();
    if (away) return Error{ErrorKind::unavailable, "the store is away", {}, {}};
    std::map<AgentId, Fate> answer;
    for (const auto& id : ids) answer[id] = known.contains(id) ? known.at(id) : Fate::unknown;
    return answer;
  }
  Result<void> note(const std::optional<OrphanReport>& written, const std::vector<Event>& more,
                    std::uint64_t by) override {
    if (away) return Error{ErrorKind::unavailable, "the store is away", {}, {}};
    if (by != term) return Error{ErrorKind::conflict, "outdated term", {}, {}};
    if (written) report = *written;
    events.insert(events.end(), more.begin(), more.end());
    return {};
  }
  std::vector<std::string> reasons() const {
    std::vector<std::string> all;
    for (const auto& event : events) all.push_back(event.reason);
    return all;
  }
};

}  // namespace creel::test
