#include "controller/core/clock.hpp"

#include <array>
#include <cstdio>
#include <utility>

namespace creel {
namespace {

// Reads exactly `count` digits at the front of `text` and drops them.
std::optional<int> take_digits(std::string_view& text, std::size_t count) {
  if (text.size() < count) return std::nullopt;
  int value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return value;
}

bool take(std::string_view& text, char expected) {
  if (text.empty() || text.front() != expected) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

TimePoint system_now() { return std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now()); }

std::string to_rfc3339(TimePoint time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{time - day};
  char buffer[64];
  const int millis = static_cast<int>(clock.subseconds().count());
  const int length = std::snprintf(
      buffer, sizeof buffer, "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
      static_cast<int>(clock.minutes().count()), static_cast<int>(clock.seconds().count()));
  std::string out(buffer, static_cast<std::size_t>(length));
  if (millis != 0) {
    std::snprintf(buffer, sizeof buffer, ".%03d", millis);
    out += buffer;
  }
  return out + "Z";
}

std::optional<TimePoint> parse_rfc3339(std::string_view text) {
  const auto year = take_digits(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day || text.empty() || (text.front() != 'T' && text.front() != 't' && text.front() != ' ')) return std::nullopt;
  text.remove_prefix(1);
  const auto hour = take_digits(text, 2);
  if (!hour || !take(text, ':')) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || !take(text, ':')) return std::nullopt;
  const auto second = take_digits(text, 2);
  if (!second) return std::nullopt;
  int millis = 0;
  if (take(text, '.')) {
    int scale = 100;
    bool any = false;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      millis += (text.front() - '0') * scale;
      scale /= 10;
      any = true;
      text.remove_prefix(1);
    }
    if (!any) return std::nullopt;
  }
  std::chrono::minutes offset{0};
  if (!take(text, 'Z') && !take(text, 'z')) {
    if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
    const int sign = text.front() == '-' ? -1 : 1;
    text.remove_prefix(1);
    const auto hours = take_digits(text, 2);
    if (!hours || !take(text, ':')) return std::nullopt;
    const auto minutes = take_digits(text, 2);
    if (!minutes) return std::nullopt;
    offset = std::chrono::minutes{sign * (*hours * 60 + *minutes)};
  }
  const std::chrono::year_month_day date{std::chrono::year{*year}, std::chrono::month{static_cast<unsigned>(*month)},
                                         std::chrono::day{static_cast<unsigned>(*day)}};
  if (!text.empty() || !date.ok() || *hour > 23 || *minute > 59 || *second > 60 || *year <= 1) return std::nullopt;
  return std::chrono::sys_days{date} + std::chrono::hours{*hour} + std::chrono::minutes{*minute} +
         std::chrono::seconds{*second} + milliseconds{millis} - offset;
}

std::string format_uptime(milliseconds duration) {
  const auto total = std::max<std::int64_t>(0, duration.count() / 1000);
  const std::array<std::pair<std::int64_t, char>, 4> units{{{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}}};
  for (std::size_t i = 0; i < units.size(); ++i) {
    const auto [size, letter] = units[i];
    if (total < size && i + 1 < units.size()) continue;
    std::string out = std::to_string(total / size) + letter;
    if (i + 1 < units.size()) out += ' ' + std::to_string(total % size / units[i + 1].first) + units[i + 1].second;
    return out;
  }
  return "0s";
}

}  // namespace creel
