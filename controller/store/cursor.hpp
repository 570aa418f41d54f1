// Cursors of lists ordered by time and id: "<milliseconds since 1970>.<id>" of the last element seen. They name a
// place, not a row: what is added or removed in between moves nobody, and the row itself may be gone. Pure.
//
// Errors: invalid (field "cursor", code INVALID_QUERY).
#pragma once

#include <string>

#include "controller/core/clock.hpp"
#include "controller/core/result.hpp"

namespace creel::store {

struct Place {
  TimePoint at;
  std::string id;
  bool operator==(const Place&) const = default;
};

std::string cursor_of(const Place& place);
Result<Place> parse_cursor(const std::string& cursor);

}  // namespace creel::store
