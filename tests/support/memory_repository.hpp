// MemoryRepository: rows in memory, for tests of the reconciler. Single-threaded; can be told to fail.
#pragma once

#include <map>
#include <vector>

#include "controller/core/ports.hpp"

namespace creel::test {

class MemoryRepository : public AgentRepository {
 public:
  std::map<AgentId, AgentRecord> rows;
  std::vector<Event> events;
  std::uint64_t term = 1;
  bool away = false;
  int writes = 0;

  Result<std::optional<AgentRecord>> load(const AgentId& id) override {
    if (away) return gone();
    const auto it = rows.find(id);
    if (it == rows.end()) return std::optional<AgentRecord>{};
    return std::optional<AgentRecord>{it->second};
  }
  Result<std::vector<AgentId>> list() override {
    if (away) return gone();
    std::vector<AgentId> ids;
    for (const auto& [id, row] : rows) ids.push_back(id);
    return ids;
  }
  Result<void> record(const AgentId& id, const AgentStatus& status, const History& history,
                      const std::vector<Event>& added, std::uint64_t by_term) override {
    if (away) return gone();
    if (by_term != term) return Error{ErrorKind::conflict, "outdated term", {}, {}};
    const auto it = rows.find(id);
    if (it == rows.end()) return Error{ErrorKind::not_found, "no such row", {}, {}};
    it->second.status = status;
    it->second.history = history;
    events.insert(events.end(), added.begin(), added.end());
    ++writes;
    return {};
  }
  Result<void> forget(const AgentId& id, std::uint64_t by_term) override {
    if (away) return gone();
    if (by_term != term) return Error{ErrorKind::conflict, "outdated term", {}, {}};
    rows.erase(id);
    return {};
  }

 private:
  static Error gone() { return {ErrorKind::unavailable, "the store is away", {}, {}}; }
};

}  // namespace creel::test
