// Cut points: a scripted life in which the controller dies once, before or after each single engine call (and each part
// of an operation) and each store statement in turn.
#pragma once

namespace creel::sim {

// 0: every cut converged, with its figures printed; else the first that did not is told.
int run_cuts();

}  // namespace creel::sim
