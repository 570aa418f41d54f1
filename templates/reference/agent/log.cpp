#include "log.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "json.hpp"

namespace agent {

void log_open() {
  struct stat status;
  // Only a pipe: the flag belongs to the open file, and a terminal is shared with whoever started us.
  if (fstat(STDOUT_FILENO, &status) == 0 && S_ISFIFO(status.st_mode))
    fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
}

long long wall_ms() {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

long long monotonic_ms() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void add_time(Text& out, long long wall) {
  const time_t seconds = wall / 1000;
  struct tm utc;
  gmtime_r(&seconds, &utc);
  char buffer[80];
  const int size =
      snprintf(buffer, sizeof buffer, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1,
               utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, static_cast<int>(wall % 1000));
  out.add(Slice(buffer, static_cast<size_t>(size)));
}

void log_fields(Level level, Slice message, const Field* fields, size_t count) {
  static const char* const names[] = {"info", "warn", "error"};
  Text line;
  line.add("{\"time\":\"");
  add_time(line, wall_ms());
  line.add("\",\"level\":\"").add(Slice::of(names[static_cast<int>(level)])).add("\",\"message\":");
  add_json_string(line, message);
  for (size_t i = 0; i < count; ++i) {
    line.add(",\"").add(Slice::of(fields[i].name)).add("\":");
    if (fields[i].is_number) {
      line.add_number(fields[i].number);
    } else {
      add_json_string(line, fields[i].text);
    }
  }
  line.add("}\n");
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t n = write(STDOUT_FILENO, line.data() + sent, line.size() - sent);
    if (n < 0 && errno != EINTR) return;
    if (n > 0) sent += static_cast<size_t>(n);
  }
}

}  // namespace agent
