// Messages: what people and agents said, by session. Written by the chat routes, the channel bridges and the collector
// of transcripts; they go with the agent, or when they are older than the retention.
//
// A message is stored once: the same external_id of the same agent is not stored again. Times are the speaker's.
// Text that is not UTF-8 is repaired, not refused. Errors: conflict (no such agent); else see pg.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct ChatSession {
  std::string id;  // "sess_<16 hex>"
  AgentId agent;
  std::string key;       // what the gateway calls it: "topic:general", "whatsapp:491701234567"
  std::string platform;  // "api" | "telegram" | "discord" | "whatsapp" | …
  TimePoint created_at;
  TimePoint last_activity_at;
  std::optional<TimePoint> ended_at;  // the agent has forgotten what was said until then
};

struct Message {
  std::int64_t id = 0;  // given by add_message()
  AgentId agent;
  std::string session_id;
  bool from_agent = false;
  std::string platform;
  std::string content;
  TimePoint at;
  std::optional<std::string> external_id;
  std::optional<std::string> error;
  std::optional<std::int64_t> response_ms;
  std::optional<TimePoint> pending_until;  // on its way to the agent; see chats.hpp. Read only.
};

// The agent's session of that key, made if there is none; two callers at once get the same one.
Result<ChatSession> ensure_session(Tx& tx, const AgentId& agent, const std::string& key, const std::string& platform,
                                   TimePoint now);
Result<std::optional<ChatSession>> find_session(Tx& tx, const AgentId& agent, const std::string& id);
// Also moves the session's last activity. Its id; nullopt: this external_id is stored already.
Result<std::optional<std::int64_t>> add_message(Tx& tx, const Message& message);
// A transaction locks a session, then messages of it, then the totals of its agent, which go with each write of a
// message: in this order none waits for another that waits for it.
Result<void> lock_session_of(Tx& tx, std::int64_t message);
// Why the agent did not answer it.
Result<void> fail_message(Tx& tx, std::int64_t id, const std::string& error);
// Newest first.
Result<std::vector<Message>> list_messages(Tx& tx, const AgentId& agent, std::size_t limit, std::size_t offset);
Result<std::int64_t> count_messages(Tx& tx, const AgentId& agent);

}  // namespace creel::store
