#include "controller/exporter/process_numbers.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace creel {
namespace {

std::string first_line(const char* file) {
  std::ifstream stream{file};
  std::string line;
  std::getline(stream, line);
  return line;
}

// Unix time; 0 = unknown.
double booted_at() {
  std::ifstream stream{"/proc/stat"};
  double at = 0;
  for (std::string word; stream >> word;)
    if (word == "btime" && stream >> at) return at;
  return 0;
}

}  // namespace

void add_process(Metrics::Page& page) {
  // proc(5): fields 14 utime, 15 stime, 22 starttime, 24 rss; the second, a name in parentheses, may hold anything.
  const std::string line = first_line("/proc/self/stat");
  const auto name_end = line.rfind(')');
  if (name_end != std::string::npos) {
    std::istringstream words{line.substr(name_end + 1)};
    const std::vector<std::string> fields{std::istream_iterator<std::string>{words}, {}};
    const auto field = [&](std::size_t number) { return std::strtod(fields[number - 3].c_str(), nullptr); };
    const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    if (fields.size() > 24 - 3 && ticks > 0) {
      page.add("creel_process_cpu_seconds_total", (field(14) + field(15)) / ticks);
      page.add("creel_process_resident_memory_bytes", field(24) * static_cast<double>(sysconf(_SC_PAGESIZE)));
      static const double boot = booted_at();
      if (boot > 0) page.add("creel_process_start_time_seconds", boot + field(22) / ticks);
    }
  }
  std::error_code failed;
  const std::filesystem::directory_iterator open{"/proc/self/fd", failed};
  if (!failed) page.add("creel_process_open_fds", static_cast<double>(std::distance(begin(open), end(open))));
}

}  // namespace creel
