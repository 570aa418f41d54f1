// Logging: one sink, standard error, one line a message: text for people, JSON for collectors; with what the thread is
// at (core/log_context.hpp), as further members, or name=value at the end of the line. Set up once, first thing.
#pragma once

#include "controller/config/config.hpp"

namespace creel {

void set_up_logging(LogFormat format, LogLevel level);

}  // namespace creel
