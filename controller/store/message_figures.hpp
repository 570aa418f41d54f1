// MessageFigures: how an agent does its work, computed from its recorded messages.
//
// A look costs one row of message_totals (kept by triggers on messages) and the index entries of one hour's messages,
// however many there are. Errors: see pg.hpp.
#pragma once

#include <cstdint>
#include <optional>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct MessageFigures {
  std::int64_t processed = 0;                       // messages of users, all that are kept
  std::int64_t last_hour = 0;                       // of those, the ones of the last 60 minutes
  std::int64_t failed = 0;                          // of those, the ones that got an error instead of a reply
  std::optional<std::int64_t> average_response_ms;  // over replies whose time is known; nullopt: there are none
};

Result<MessageFigures> message_figures(Tx& tx, const AgentId& agent, TimePoint now);

}  // namespace creel::store
