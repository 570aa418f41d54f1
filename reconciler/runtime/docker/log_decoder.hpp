// Container logs as the engine streams them: frames (or raw bytes for a TTY) -> lines. Pure, incremental.
//
// Frame: stream type (1 stdout, 2 stderr, 3 an error of the engine itself), three zero bytes, length (32 bit, big
// endian), bytes (Engine API v1.41 ContainerAttach, "Stream format"). With timestamps=1 every message begins with an
// RFC 3339 time of nine fractional digits and a blank; a message longer than 16 KiB comes as several, only the last of
// which ends a line.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "controller/core/ports.hpp"
#include "controller/core/result.hpp"

namespace creel::docker {

struct RawLogLine {
  LogLine line;
  std::int64_t unix_nanoseconds = 0;  // exact, for the engine's `since`; 0 = no time was given
};

class LogDecoder {
 public:
  // Returns false to end the stream.
  using Sink = std::function<bool(RawLogLine)>;

  explicit LogDecoder(bool tty) : tty_(tty) {}

  // Takes any piece of the stream. True: go on; false: the sink has enough. failed: a malformed frame, or an error that
  // the engine put into the stream.
  Result<bool> push(std::string_view bytes, const Sink& sink);
  // The stream is at its end: an unfinished line is a line. False: the sink has enough.
  bool finish(const Sink& sink);

 private:
  struct Unfinished {
    std::string text;
    RawLogLine line;
    bool begun = false;
  };

  bool take_message(bool is_stderr, std::string_view message, const Sink& sink);
  bool end_line(bool is_stderr, const Sink& sink);

  bool tty_;
  std::string buffer_;
  Unfinished unfinished_[2];  // stdout, stderr
};

// Bytes that are not UTF-8 become U+FFFD.
std::string to_valid_utf8(std::string_view text);

}  // namespace creel::docker
