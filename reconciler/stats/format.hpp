// Numbers as the docker command line writes them: memory in IEC units with four significant digits ("128MiB",
// "330.5MiB"), network in SI units with three ("1.2kB"), shares with two decimals. Pure, header only, no other include
// of the project.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace creel::stats {

namespace detail {

// Unlike printf's %g this never turns to an exponent: what rounds up to `base` becomes one of the next unit.
inline std::string significant(std::int64_t bytes, double base, int digits, const char* const units[], int unit_count) {
  double value = bytes < 0 ? 0.0 : static_cast<double>(bytes);
  int unit = 0;
  char text[32];
  for (;;) {
    while (value >= base && unit + 1 < unit_count) {
      value /= base;
      ++unit;
    }
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    double rounded = 0;
    std::sscanf(text, "%lf", &rounded);
    if (rounded < base || unit + 1 >= unit_count) break;
    value = base;
  }
  return std::string{text} + units[unit];
}

inline std::string percent(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%%", value > 0 ? value : 0.0);
  return text;
}

}  // namespace detail

// "128MiB"
inline std::string format_memory(std::int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  return detail::significant(bytes, 1024.0, 4, kUnits, 6);
}

// "128MiB / 2GiB"
inline std::string format_memory_usage(std::int64_t used, std::int64_t limit) {
  return format_memory(used) + " / " + format_memory(limit);
}

// "6.25%"; no limit: "0.00%"
inline std::string format_memory_percent(std::int64_t used, std::int64_t limit) {
  return detail::percent(limit > 0 ? static_cast<double>(used) / static_cast<double>(limit) * 100.0 : 0.0);
}

// "0.15%", of one core
inline std::string format_cpu(double percent_of_core) { return detail::percent(percent_of_core); }

// "1.2kB"
inline std::string format_bytes(std::int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  return detail::significant(bytes, 1000.0, 3, kUnits, 6);
}

// "1.2kB / 3.4kB"
inline std::string format_network(std::int64_t rx_bytes, std::int64_t tx_bytes) {
  return format_bytes(rx_bytes) + " / " + format_bytes(tx_bytes);
}

}  // namespace creel::stats
