// Events: what happened. They outlive the agent they are about, and are only ever added, or dropped when they are old.
//
// Ids grow, but are given before commit. So that whoever reads "after id N" misses none of a slower transaction, the
// listings end before the first event that is not older than every transaction now writing to this database, or whose
// id was given after those were looked at: a lower id can only come from one of them. A long writing transaction
// delays the newest events. This takes the server's clock not to be set back while events are written, and all
// controllers to sign in to PostgreSQL as the same role. Text that is not UTF-8 is repaired, not refused.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/ports.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct StoredEvent {
  std::int64_t id = 0;
  TimePoint at;
  Event event;
  std::optional<UserId> owner;  // of the agent, also when that is gone
};

// Something was appended; payload: agent id or "".
inline constexpr const char* kEventChannel = "creel_event";

Result<void> append_event(Tx& tx, const Event& event);
// Oldest first, ids above `after_id`. nullopt: of all agents and of the controller itself.
Result<std::vector<StoredEvent>> list_events(Tx& tx, const std::optional<AgentId>& agent, std::int64_t after_id,
                                             std::size_t limit);
// The same of all agents that the user owns or owned.
Result<std::vector<StoredEvent>> list_events_of(Tx& tx, const UserId& owner, std::int64_t after_id, std::size_t limit);
// The newest `limit` of those that the two would list with ids between `after_id` and `before_id` (both left out),
// oldest first. Either of `agent` and `owner`, or neither.
Result<std::vector<StoredEvent>> newest_events(Tx& tx, const std::optional<AgentId>& agent,
                                               const std::optional<UserId>& owner, std::int64_t after_id,
                                               std::int64_t before_id, std::size_t limit);
// The place at which listings end now, to read on from; 0: there is no event.
Result<std::int64_t> newest_event(Tx& tx);

// Drops those from before `before`, of the oldest thousand by id, in one transaction, and so on until none was among
// them. Locks nothing that anybody else writes; whoever reads on from the id of one that is gone gets the oldest that
// is left.
Result<void> drop_events(Database& database, TimePoint before, std::stop_token stop);

}  // namespace creel::store
