// The small notations: durations, sizes, addresses, database URLs.
#include <charconv>
#include <cmath>
#include <limits>

#include "controller/config/config.hpp"

namespace creel {

std::string HostPort::str() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

namespace config {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

// Reads "<number><letters>" from the front; no sign, no exponent.
bool take_number(std::string_view& text, double& number, std::string_view& unit) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (problem != std::errc{} || text[0] == '-' || !std::isfinite(number)) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  std::size_t letters = 0;
  while (letters < text.size() &&
         ((text[letters] >= 'a' && text[letters] <= 'z') || (text[letters] >= 'A' && text[letters] <= 'Z'))) {
    ++letters;
  }
  unit = text.substr(0, letters);
  text.remove_prefix(letters);
  return true;
}

template <std::size_t N>
const Unit* find_unit(const Unit (&units)[N], std::string_view name) {
  for (const auto& unit : units) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

constexpr Unit kDurations[] = {{"ms", 1}, {"s", 1e3}, {"", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
constexpr double kKi = 1024, kMi = kKi * 1024, kGi = kMi * 1024, kTi = kGi * 1024;
constexpr Unit kSizes[] = {{"", 1},     {"b", 1},   {"B", 1},     {"k", kKi},   {"K", kKi}, {"KiB", kKi}, {"Ki", kKi},
                           {"m", kMi},  {"M", kMi}, {"MiB", kMi}, {"Mi", kMi},  {"g", kGi}, {"G", kGi},   {"GiB", kGi},
                           {"Gi", kGi}, {"t", kTi}, {"T", kTi},   {"TiB", kTi}, {"Ti", kTi}};

}  // namespace

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const Error wrong =
      invalid("", "\"" + std::string{text} + "\" is not a duration; write for example 90s, 5m, 1h30m, 7d, or seconds");
  if (text.empty()) return wrong;
  double total = 0;
  for (bool first = true; !text.empty(); first = false) {
    double number = 0;
    std::string_view unit_name;
    if (!take_number(text, number, unit_name)) return wrong;
    const Unit* unit = find_unit(kDurations, unit_name);
    // Bare seconds stand alone: "1h30" could be minutes or seconds.
    if (unit == nullptr || (unit_name.empty() && (!first || !text.empty()))) return wrong;
    total += number * unit->factor;
  }
  if (total > 100.0 * 365 * 86400e3) return wrong;
  return std::chrono::milliseconds{std::llround(total)};
}

Result<std::int64_t> parse_bytes(std::string_view text) {
  const Error wrong =
      invalid("", "\"" + std::string{text} + "\" is not a size; write for example 512MiB, 2GiB, or bytes");
  double number = 0;
  std::string_view unit_name;
  if (text.empty() || !take_number(text, number, unit_name) || !text.empty()) return wrong;
  const Unit* unit = find_unit(kSizes, unit_name);
  if (unit == nullptr || number * unit->factor > 1e18) return wrong;
  return std::llround(number * unit->factor);
}

Result<HostPort> parse_host_port(std::string_view text) {
  const Error wrong = invalid(
      "", "\"" + std::string{text} + "\" is not an address; write HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080");
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return wrong;
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  const bool brackets = host.front() == '[' && host.back() == ']' && host.size() > 2;
  if (brackets) host = host.substr(1, host.size() - 2);
  // An IPv6 address without brackets would give its last group away as the port.
  if ((host.find(':') != std::string_view::npos) != brackets) return wrong;
  for (const char c : host) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && c != '.' && c != '-' && c != '_' && !(brackets && (c == ':' || c == '%'))) return wrong;
  }
  unsigned port = 0;
  const auto [end, problem] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (problem != std::errc{} || end != port_text.data() + port_text.size() || port > 65535) return wrong;
  return HostPort{std::string{host}, static_cast<std::uint16_t>(port)};
}

std::string mask_database_url(std::string_view text) {
  std::string masked{text};
  if (const auto scheme = masked.find("://"); scheme != std::string::npos) {
    const auto end = masked.find_first_of("/?#", scheme + 3);
    const auto at = masked.rfind('@', end);
    const auto colon = masked.find(':', scheme + 3);
    if (at != std::string::npos && at > scheme && colon < at) masked.replace(colon + 1, at - colon - 1, "****");
  }
  for (std::size_t at = 0; (at = masked.find("password", at)) != std::string::npos;) {
    at += 8;
    while (at < masked.size() && masked[at] == ' ') ++at;
    if (at >= masked.size() || masked[at] != '=') continue;
    ++at;
    while (at < masked.size() && masked[at] == ' ') ++at;
    std::size_t end = at;
    if (end < masked.size() && masked[end] == '\'') {
      for (++end; end < masked.size() && masked[end] != '\''; ++end) {
        if (masked[end] == '\\') ++end;
      }
      end = std::min(end + 1, masked.size());
    } else {
      while (end < masked.size() && masked[end] != ' ' && masked[end] != '&') ++end;
    }
    masked.replace(at, end - at, "****");
  }
  return masked;
}

}  // namespace config
}  // namespace creel
