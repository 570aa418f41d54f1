// Transcript: what was said in a session, from what is stored and what the agent's own transcript shows. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controller/gateway/operator.hpp"
#include "controller/store/messages.hpp"

namespace creel::api {

struct Line {
  std::string id;  // "msg-12" of a stored message, else the transcript's own
  bool from_agent = false;
  std::string content;
  TimePoint at;
  std::optional<std::string> error;
};

// What is stored, and after it what the transcript has that was not collected yet; each message once, the oldest first.
// A line of the transcript is a stored message when it has its id, or, as long as that is not known, when the same one
// said the same at about that time. About lines that are older than the newest stored message the collector has
// decided.
std::vector<Line> transcript(const std::vector<store::Message>& stored,
                             const std::vector<gateway::GatewayMessage>& shown);

}  // namespace creel::api
