#include "controller/store/cursor.hpp"

#include <charconv>

#include "controller/core/ids.hpp"

namespace creel::store {
namespace {

constexpr std::int64_t kLatest = 99'999'999'999'999;  // in the year 5138; std::chrono counts years to 32767

// Of an agent, a user or a key.
bool an_id(std::string_view id) {
  for (const std::string_view prefix : {"key_", "user_"})
    if (id.starts_with(prefix)) id.remove_prefix(prefix.size());
  return AgentId::parse(std::string{id}).has_value();
}

}  // namespace

std::string cursor_of(const Place& place) {
  return std::to_string(place.at.time_since_epoch().count()) + "." + place.id;
}

Result<Place> parse_cursor(const std::string& cursor) {
  const Error bad{ErrorKind::invalid, "The query parameter cursor must be the nextCursor of an earlier answer",
                  "cursor", "INVALID_QUERY"};
  const auto dot = cursor.find('.');
  if (dot == std::string::npos) return bad;
  std::int64_t at = 0;
  const char* end = cursor.data() + dot;
  const auto parsed = std::from_chars(cursor.data(), end, at);
  if (parsed.ec != std::errc{} || parsed.ptr != end || at < 0 || at > kLatest) return bad;
  std::string id = cursor.substr(dot + 1);
  if (!an_id(id)) return bad;
  return Place{TimePoint{milliseconds{at}}, std::move(id)};
}

}  // namespace creel::store
