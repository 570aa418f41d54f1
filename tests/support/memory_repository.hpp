// MemoryRepository: rows in memory, for tests of the reconciler. Single-threaded; can be told to fail.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "controller/core/ports.hpp"

namespace creel::test {

class MemoryRepository : public AgentRepository {
 public:
  std::map<AgentId, AgentRecord> rows;
  std::vector<Event> events;
  std::map<AgentId, FileSet> taken;  // what agents took in last
  std::vector<std::string> known;    // secrets of every agent
  std::uint64_t term = 1;
  bool away = false;
  int writes = 0;
  std::function<void()> written;  // called after each record()

  Result<std::optional<AgentRecord>> load(const AgentId& id) override {
    if (away) return gone();
    const auto it = rows.find(id);
    if (it == rows.end()) return std::optional<AgentRecord>{};
    AgentRecord record = it->second;
    const auto kept = taken.find(id);
    if (kept != taken.end() && record.history.taken_files_hash != record.desired.files_hash)
      record.desired.last_good = kept->second;
    return std::optional<AgentRecord>{std::move(record)};
  }
  Result<std::vector<std::string>> secrets(const AgentId&) override { return known; }
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
    const DesiredAgent& desired = it->second.desired;
    if (history.taken_files_hash != it->second.history.taken_files_hash &&
        history.taken_files_hash == desired.files_hash)
      taken[id] = {desired.files, desired.files_hash, desired.restart_files_hash};
    it->second.status = status;
    it->second.history = history;
    events.insert(events.end(), added.begin(), added.end());
    ++writes;
    if (written) written();
    return {};
  }
  Result<void> forget(const AgentId& id, std::uint64_t by_term) override {
    if (away) return gone();
    if (by_term != term) return Error{ErrorKind::conflict, "outdated term", {}, {}};
    const auto it = rows.find(id);
    if (it != rows.end() && it->second.desired.state != DesiredState::deleted)
      return Error{ErrorKind::conflict, "the agent is not to be deleted", {}, {}};
    rows.erase(id);
    return {};
  }

 private:
  static Error gone() { return {ErrorKind::unavailable, "the store is away", {}, {}}; }
};

}  // namespace creel::test
