// `creel doctor`: looks at everything a controller needs and says what to do about what is missing. Changes nothing
// that lasts: an embedded cluster that is not running is started for the moment. Threads: one.
#pragma once

#include <string>
#include <vector>

#include "controller/cli/cli.hpp"
#include "controller/config/config.hpp"

namespace creel::cli {

struct Check {
  std::string name;  // "postgresql"
  bool ok = false;
  std::string detail;  // what was found, or what is wrong and what to do
};

std::vector<Check> examine(const Config& config, Io& io);
// Prints one line a check; returns the exit code: 1 if any failed.
int doctor(const Config& config, Io& io, bool json);

// Pure: the engine's answer to GET /version.
Check judge_engine(int status, const std::string& body);
// Pure: the database's clock beside ours, in milliseconds since the epoch; `round_trip` is how long asking took.
Check judge_clock(std::int64_t database_ms, std::int64_t local_ms, std::int64_t round_trip_ms);

}  // namespace creel::cli
