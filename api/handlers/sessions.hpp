// Sessions as /api/agent shows them.
#pragma once

#include <string>

#include "controller/core/clock.hpp"
#include "controller/store/messages.hpp"

namespace creel::api {

// A session in which nothing was said for so long is idle: whoever names none begins a new one.
inline constexpr std::chrono::hours kSessionIdle{24};

// "active", "idle", or "completed" once the agent has forgotten what was said in it.
const char* session_state(const store::ChatSession& session, TimePoint now);

}  // namespace creel::api
