// The log: one JSON object a line on stdout, {"time","level","message"} and whatever the caller adds. Never a secret:
// callers pass routes, statuses and reasons, not headers or bodies.
#pragma once

#include "text.hpp"

namespace agent {

enum class Level { info, warn, error };

// A field more for the line.
struct Field {
  const char* name;
  Slice text;
  long long number = 0;
  bool is_number = false;
};

// Call once, first: keeps a reader that has stopped reading (a Docker engine that hangs) from stopping the agent.
// Lines that do not fit the pipe are dropped.
void log_open();
void log_fields(Level level, Slice message, const Field* fields, size_t count);

inline void log_line(Level level, Slice message) { log_fields(level, message, nullptr, 0); }

template <size_t N>
void log_line(Level level, Slice message, const Field (&fields)[N]) {
  log_fields(level, message, fields, N);
}

long long wall_ms();                       // since 1970
long long monotonic_ms();                  // for intervals
void add_time(Text& out, long long wall);  // RFC 3339, UTC, milliseconds, without quotes

}  // namespace agent
