// What the simulated engine says when it fails. Private to runtime/sim/.
#pragma once

#include "reconciler/runtime/sim/sim_runtime.hpp"

namespace creel {

Error sim_error(SimFault fault);
Error sim_error(ErrorKind kind, const char* what);

}  // namespace creel
