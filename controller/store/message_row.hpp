// How rows of chat_sessions and messages are read; private to store/.
#pragma once

#include "controller/store/messages.hpp"

namespace creel::store {

// A condition on messages: the agent itself failed at it, as the gateways' adapters tell (controller/gateway/).
constexpr const char* kFailedByModel = "error LIKE 'The agent''s model failed%'";

// A row with every column of chat_sessions.
ChatSession session_of(const Rows::Row& row);
// A row with every column of messages.
Message message_of(const Rows::Row& row);

}  // namespace creel::store
