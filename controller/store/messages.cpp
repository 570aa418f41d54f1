#include "controller/store/messages.hpp"

#include "controller/store/message_row.hpp"
#include "controller/store/text.hpp"

namespace creel::store {

ChatSession session_of(const Rows::Row& row) {
  ChatSession session;
  session.id = row.text("id");
  if (const auto agent = AgentId::parse(row.text("agent_id"))) session.agent = *agent;
  session.key = row.text("key");
  session.platform = row.text("platform");
  session.created_at = row.time("created_at");
  session.last_activity_at = row.time("last_activity_at");
  session.ended_at = row.optional_time("ended_at");
  return session;
}

Message message_of(const Rows::Row& row) {
  Message message;
  message.id = row.integer("id");
  if (const auto agent = AgentId::parse(row.text("agent_id"))) message.agent = *agent;
  message.session_id = row.text("session_id");
  message.from_agent = row.text("sender") == "agent";
  message.platform = row.text("platform");
  message.content = row.text("content");
  message.at = row.time("at");
  if (!row.is_null("external_id")) message.external_id = row.text("external_id");
  if (!row.is_null("error")) message.error = row.text("error");
  if (!row.is_null("response_ms")) message.response_ms = row.integer("response_ms");
  message.pending_until = row.optional_time("pending_until");
  return message;
}

namespace {

std::optional<std::string> repaired(const std::optional<std::string>& text) {
  return text ? std::optional{repair_text(*text)} : std::nullopt;
}

}  // namespace

Result<ChatSession> ensure_session(Tx& tx, const AgentId& agent, const std::string& key, const std::string& platform,
                                   TimePoint now) {
  // The update changes nothing but makes the row that was there come back. Not of the key: that would lock out whoever
  // stores a message of the session.
  CREEL_TRY(
      const auto rows,
      tx.exec("INSERT INTO chat_sessions (id, agent_id, key, platform, created_at, last_activity_at) "
              "VALUES ($1, $2, $3, $4, $5, $5) "
              "ON CONFLICT (agent_id, key) DO UPDATE SET last_activity_at = chat_sessions.last_activity_at RETURNING *",
              {"sess_" + random_hex(8), agent, repair_text(key), platform, now}));
  return session_of(rows[0]);
}

Result<std::optional<ChatSession>> find_session(Tx& tx, const AgentId& agent, const std::string& id) {
  CREEL_TRY(const auto rows, tx.exec("SELECT * FROM chat_sessions WHERE agent_id = $1 AND id = $2", {agent, id}));
  if (rows.empty()) return std::nullopt;
  return session_of(rows[0]);
}

Result<std::optional<std::int64_t>> add_message(Tx& tx, const Message& message) {
  // The session first: see lock_session_of().
  CREEL_TRY([[maybe_unused]] const auto touched,
            tx.exec("UPDATE chat_sessions SET last_activity_at = greatest(last_activity_at, $2) WHERE id = $1",
                    {message.session_id, message.at}));
  CREEL_TRY(const auto rows,
            tx.exec("INSERT INTO messages (agent_id, session_id, sender, platform, content, at, external_id, error, "
                    "response_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
                    "ON CONFLICT (agent_id, external_id) DO NOTHING RETURNING id",
                    {message.agent, message.session_id, message.from_agent ? "agent" : "user", message.platform,
                     repair_text(message.content), message.at, repaired(message.external_id), repaired(message.error),
                     message.response_ms}));
  if (rows.empty()) return std::nullopt;
  return rows[0].integer("id");
}

Result<void> lock_session_of(Tx& tx, std::int64_t message) {
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec("SELECT 1 FROM chat_sessions WHERE id = (SELECT session_id FROM messages WHERE id = $1) "
                    "FOR NO KEY UPDATE",
                    {message}));
  return {};
}

Result<void> fail_message(Tx& tx, std::int64_t id, const std::string& error) {
  CREEL_CHECK(lock_session_of(tx, id));
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec("UPDATE messages SET error = $2, pending_until = NULL WHERE id = $1", {id, repair_text(error)}));
  return {};
}

Result<std::vector<Message>> list_messages(Tx& tx, const AgentId& agent, std::size_t limit, std::size_t offset) {
  CREEL_TRY(const auto rows,
            tx.exec("SELECT * FROM messages WHERE agent_id = $1 ORDER BY at DESC, id DESC LIMIT $2 OFFSET $3",
                    {agent, static_cast<std::uint64_t>(limit), static_cast<std::uint64_t>(offset)}));
  std::vector<Message> messages;
  for (int i = 0; i < rows.size(); ++i) messages.push_back(message_of(rows[i]));
  return messages;
}

Result<std::int64_t> count_messages(Tx& tx, const AgentId& agent) {
  CREEL_TRY(const auto rows, tx.exec("SELECT count(*) AS n FROM messages WHERE agent_id = $1", {agent}));
  return rows[0].integer("n");
}

}  // namespace creel::store
