// The line of an agent's log that says why it ended, made fit to be shown. Pure.
#pragma once

#include <string>
#include <vector>

#include "controller/core/agent.hpp"
#include "controller/core/ports.hpp"

namespace creel {

// The last line that is not blank, at most 400 bytes, with secrets taken out: whatever looks like a token, and every
// long word that also stands in one of the agent's files (its own tokens and keys are delivered there).
std::string telling_line(const std::vector<LogLine>& lines, const std::vector<VolumeFile>& files);

}  // namespace creel
