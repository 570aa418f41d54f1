// Time: UTC wall-clock points in milliseconds, handed into pure code as an argument, read only at the edges.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace creel {

using std::chrono::milliseconds;
using TimePoint = std::chrono::sys_time<milliseconds>;

// Where code that may not read the clock itself gets the time from; tests pass their own.
using Clock = std::function<TimePoint()>;

TimePoint system_now();
// "2026-03-19T00:00:00Z" (milliseconds only when they are not zero).
std::string to_rfc3339(TimePoint time);
// Accepts RFC 3339 with any fraction and offset (Docker writes nanoseconds); nullopt when it is not one.
// Docker's "0001-01-01T00:00:00Z" (never) is nullopt too.
std::optional<TimePoint> parse_rfc3339(std::string_view text);
// The two largest units, as the API documents uptimes: "1d 0h", "3h 5m", "4m 2s", "9s".
std::string format_uptime(milliseconds duration);

}  // namespace creel
