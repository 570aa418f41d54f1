#include "api/units.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace creel::api {
namespace {

template <std::size_t N>
std::string format_size(std::int64_t bytes, double step, double limit, const char* format,
                        const std::array<const char*, N>& names) {
  double size = static_cast<double>(std::max<std::int64_t>(bytes, 0));
  std::size_t unit = 0;
  while (size >= limit && unit + 1 < N) {
    size /= step;
    ++unit;
  }
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), format, size, names[unit]);
  return text.data();
}

}  // namespace

// docker stats: units.BytesSize = %.4g over 1024.
std::string format_iec(std::int64_t bytes) {
  return format_size(bytes, 1024.0, 1024.0, "%.4g%s", std::array{"B", "KiB", "MiB", "GiB", "TiB", "PiB"});
}

// docker stats: units.HumanSizeWithPrecision(…, 3) = %.3g over 1000; from 999.5 on the next unit, where docker itself
// would print "1e+03kB".
std::string format_si(std::int64_t bytes) {
  return format_size(bytes, 1000.0, 999.5, "%.3g%s", std::array{"B", "kB", "MB", "GB", "TB", "PB"});
}

std::string format_percent(double percent) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.2f%%", std::isfinite(percent) ? std::max(percent, 0.0) : 0.0);
  return text.data();
}

}  // namespace creel::api
