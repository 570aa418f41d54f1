#include "controller/gateway/json.hpp"

#include <nlohmann/json.hpp>

namespace creel::gateway {

using Json = nlohmann::json;

const Json& member(const Json& json, const char* name) {
  static const Json none;
  if (!json.is_object()) return none;
  const auto found = json.find(name);
  return found == json.end() ? none : *found;
}

std::string text(const Json& json) { return json.is_string() ? json.get<std::string>() : std::string{}; }

bool truth(const Json& json) { return json.is_boolean() && json.get<bool>(); }

std::optional<std::int64_t> whole_number(const Json& json) {
  if (!json.is_number()) return std::nullopt;
  const double value = json.get<double>();
  // What a double can hold exactly, which is all that JavaScript writes.
  if (!(value > -9.0e15 && value < 9.0e15)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

std::optional<TimePoint> moment(const Json& json) {
  if (json.is_string()) return parse_rfc3339(json.get<std::string>());
  const auto number = whole_number(json);
  if (!number || *number <= 0) return std::nullopt;
  return TimePoint{milliseconds{*number}};
}

std::string content_text(const Json& content) {
  if (!content.is_array()) return text(content);
  std::string joined;
  for (const auto& part : content) {
    if (text(member(part, "type")) != "text") continue;
    const std::string more = text(member(part, "text"));
    if (!joined.empty() && !more.empty()) joined += '\n';
    joined += more;
  }
  return joined;
}

}  // namespace creel::gateway
