// Reading JSON that strangers wrote: what is missing, or of another type, reads as nothing. No function throws.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "controller/core/clock.hpp"

namespace creel::gateway {

// The member, or null when `json` is no object or has none of that name.
const nlohmann::json& member(const nlohmann::json& json, const char* name);
std::string text(const nlohmann::json& json);
bool truth(const nlohmann::json& json);
std::optional<std::int64_t> whole_number(const nlohmann::json& json);
// Milliseconds since 1970, or RFC 3339.
std::optional<TimePoint> moment(const nlohmann::json& json);
// A message's content: a string, or a list of parts of which the text ones count.
std::string content_text(const nlohmann::json& content);

}  // namespace creel::gateway
