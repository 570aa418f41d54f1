// The lines of an agent's log that say why it ended, made fit to be shown. Pure.
#pragma once

#include <string>
#include <vector>

#include "controller/core/agent.hpp"
#include "controller/core/ports.hpp"

namespace creel {

// The last `count` lines that are not blank, oldest first, each at most 400 bytes, with secrets taken out: whatever
// looks like a token, each of `secrets`, and every long word that also stands in one of the agent's files (what Creel
// makes of its tokens and keys, such as a device's token, is delivered there too).
std::vector<std::string> telling_lines(const std::vector<LogLine>& lines, const std::vector<VolumeFile>& files,
                                       std::vector<std::string> secrets, std::size_t count);
// The last of them; "" when there is none.
std::string telling_line(const std::vector<LogLine>& lines, const std::vector<VolumeFile>& files,
                         std::vector<std::string> secrets);

}  // namespace creel
