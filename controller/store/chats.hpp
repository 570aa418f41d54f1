// Chats: a user's message on its way to the agent, its reply, and the conversations as people look back on them. The
// rows are those of messages.hpp.
//
// A message that is sent is pending for a while (`hold`) that its sender moves on as long as it is at work. When nobody
// does, the sender has died, and fail_lost_messages() says so in the message. A reply that comes after all still
// counts. Errors: see pg.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/store/messages.hpp"

namespace creel::store {

// Stores a message of a user as pending; its id.
Result<std::int64_t> send_message(Tx& tx, const Message& message, milliseconds hold);
Result<void> hold_messages(Tx& tx, const std::vector<std::int64_t>& ids, milliseconds hold);
// Stores the agent's reply, once however often it is called; `response_ms` is counted from the message. A reply that
// the agent's transcript has shown already is taken for this one. False: there is no such message any more.
Result<bool> answer_message(Tx& tx, std::int64_t id, const std::string& reply, TimePoint at);
// Fails what is pending beyond its time, with that error, unless the agent's transcript shows a reply; how many failed.
// First in its transaction: see lock_session_of().
Result<std::int64_t> fail_lost_messages(Tx& tx, const std::string& error);
// Messages of the session that failed on their way, though the agent's transcript (transcripts.hpp) shows a reply: the
// last thing the agent said before the user spoke again. A turn that its model failed stays failed.
Result<void> find_lost_replies(Tx& tx, const std::string& session_id);

// A session of its own: its key is its id.
Result<ChatSession> new_session(Tx& tx, const AgentId& agent, const std::string& platform, TimePoint now);
Result<std::optional<ChatSession>> session_of_key(Tx& tx, const AgentId& agent, const std::string& key);
// The one in which a user spoke last (or that was made later): a late reply does not bring another one to the front.
// platform "": whichever.
Result<std::optional<ChatSession>> latest_session(Tx& tx, const AgentId& agent, const std::string& platform);
// The agent has forgotten what was said in its sessions so far.
Result<void> end_sessions(Tx& tx, const AgentId& agent, TimePoint now);

struct SessionSummary {
  ChatSession session;
  std::int64_t messages = 0;
};
// The one spoken in last first.
Result<std::vector<SessionSummary>> list_sessions(Tx& tx, const AgentId& agent, std::size_t limit);
Result<std::int64_t> count_session_messages(Tx& tx, const std::string& session_id);
// Its last `limit` messages, the oldest first.
Result<std::vector<Message>> session_messages(Tx& tx, const std::string& session_id, std::size_t limit);

// What a user said through the chat routes, and what came of it: a reply, an error, or neither yet.
struct Exchange {
  Message message;
  std::string session_key;
  std::optional<std::string> reply;
  std::optional<TimePoint> replied_at;
  std::optional<std::int64_t> response_ms;
};
// Newest first; session_key "": of all sessions.
Result<std::vector<Exchange>> list_exchanges(Tx& tx, const AgentId& agent, const std::string& session_key,
                                             std::size_t limit, std::size_t offset);
Result<std::int64_t> count_exchanges(Tx& tx, const AgentId& agent, const std::string& session_key);

}  // namespace creel::store
