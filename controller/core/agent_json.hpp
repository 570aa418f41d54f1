// JSON forms of the core values, as they are kept in PostgreSQL. Reading is strict about types and lenient about
// missing fields (a row written by an older release lacks the newer ones): from_json throws nlohmann::json::exception,
// so callers outside core use parse_stored(), which turns that into ErrorKind::corrupt.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "controller/core/agent.hpp"
#include "controller/core/orphans.hpp"
#include "controller/core/result.hpp"

namespace creel {

void to_json(nlohmann::json& json, const Resources& value);
void from_json(const nlohmann::json& json, Resources& value);
void to_json(nlohmann::json& json, const WorkloadSpec& value);
void from_json(const nlohmann::json& json, WorkloadSpec& value);
void to_json(nlohmann::json& json, const VolumeFile& value);
void from_json(const nlohmann::json& json, VolumeFile& value);
void to_json(nlohmann::json& json, const FileSet& value);
void from_json(const nlohmann::json& json, FileSet& value);
void to_json(nlohmann::json& json, const Readiness& value);
void from_json(const nlohmann::json& json, Readiness& value);
void to_json(nlohmann::json& json, const Condition& value);
void from_json(const nlohmann::json& json, Condition& value);
void to_json(nlohmann::json& json, const History& value);
void from_json(const nlohmann::json& json, History& value);
void to_json(nlohmann::json& json, const AgentStatus& value);
void from_json(const nlohmann::json& json, AgentStatus& value);
void to_json(nlohmann::json& json, const OrphanReport& value);
void from_json(const nlohmann::json& json, OrphanReport& value);

// Parses text written by to_json of T. `what` names the row for the error.
template <class T>
Result<T> parse_stored(const std::string& text, const char* what) {
  try {
    return nlohmann::json::parse(text).get<T>();
  } catch (const nlohmann::json::exception&) {
    // The exception's text may quote the content, which may be secret.
    return Error{ErrorKind::corrupt, std::string{"stored "} + what + " cannot be read back"};
  }
}

}  // namespace creel
