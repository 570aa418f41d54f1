// LogContext: what the lines of the log that this thread writes belong to, a request or a pass of the reconciler, so
// that lines of one are found together whoever writes them. Given as names and values, never secrets.
//
// Threads: each has its own; contexts nest, and end in the order opposite to that in which they began.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace creel {

class LogContext {
 public:
  using Fields = std::vector<std::pair<const char*, std::string>>;

  // `name`: a literal, "request" say. An empty value says nothing.
  LogContext(const char* name, std::string value);
  ~LogContext();
  LogContext(const LogContext&) = delete;
  LogContext& operator=(const LogContext&) = delete;

  // Of the thread that asks, the outermost first.
  static const Fields& current();

 private:
  bool given_;
};

}  // namespace creel
