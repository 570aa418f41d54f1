// creel_process_*: what this process uses, from /proc. What cannot be read is absent.
#pragma once

#include "controller/metrics/metrics.hpp"

namespace creel {

void add_process(Metrics::Page& page);

}  // namespace creel
