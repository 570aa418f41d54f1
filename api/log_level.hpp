// Log levels: what a line of an agent's output says about itself. Pure.
//
// A JSON line's "level" (word, or pino's number), else a leading word ("ERROR: …", "[warn] …", "2026-03-19T00:00:00Z
// INFO …"), else "warn" for stderr and "info" for stdout. Answers are one of "debug", "info", "warn", "error".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace creel::api {

// "WARNING" -> "warn", "fatal" -> "error", "trace" -> "debug"; nullopt: not a level.
std::optional<std::string> parse_level(std::string_view word);
std::string level_of(std::string_view line, bool is_stderr);

}  // namespace creel::api
