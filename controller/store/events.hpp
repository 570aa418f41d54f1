// Events: what happened, for good. They outlive the agent they are about.
//
// Ids grow, but are given before commit: an event of a slower transaction can appear below ids already read. A follower
// therefore looks back a few ids and drops what it has seen. Text that is not UTF-8 is repaired, not refused.
#pragma once

#include <cstdint>
#include <optional>
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
};

Result<void> append_event(Tx& tx, const Event& event);
// Oldest first, ids above `after_id`. nullopt: of all agents and of the controller itself.
Result<std::vector<StoredEvent>> list_events(Tx& tx, const std::optional<AgentId>& agent, std::int64_t after_id,
                                             std::size_t limit);

}  // namespace creel::store
