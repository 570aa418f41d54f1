#include "controller/store/chats.hpp"

#include <algorithm>

#include "controller/store/message_row.hpp"
#include "controller/store/text.hpp"

namespace creel::store {
namespace {

constexpr const char* kPendingUntil = "clock_timestamp() + $2 * interval '1 ms'";
constexpr const char* kExchanges =
    "FROM messages m JOIN chat_sessions s ON s.id = m.session_id LEFT JOIN messages r ON r.reply_to = m.id "
    "WHERE m.agent_id = $1 AND m.sender = 'user' AND m.platform = 'api' AND ($2 = '' OR s.key = $2)";

Result<void> run(Tx& tx, std::string_view sql, const std::vector<Param>& params) {
  CREEL_TRY([[maybe_unused]] const auto rows, tx.exec(sql, params));
  return {};
}

std::string array_of(const std::vector<std::int64_t>& ids) {
  std::string text = "{";
  for (const auto id : ids) text += (text.size() > 1 ? "," : "") + std::to_string(id);
  return text + "}";
}

Result<std::optional<ChatSession>> first_session(const Rows& rows) {
  if (rows.empty()) return std::optional<ChatSession>{};
  return std::optional{session_of(rows[0])};
}

// `which` chooses among users' messages m that the transcript shows, too.
Result<void> link_lost_replies(Tx& tx, const std::string& which, const std::vector<Param>& params) {
  return run(tx,
             "WITH lost AS (SELECT m.id, m.session_id, m.at, (SELECT min(n.at) FROM messages n "
             "WHERE n.session_id = m.session_id AND n.sender = 'user' AND (n.at, n.id) > (m.at, m.id)) AS until "
             "FROM messages m WHERE m.sender = 'user' AND m.platform = 'api' AND m.external_id IS NOT NULL "
             "AND NOT EXISTS (SELECT 1 FROM messages r WHERE r.reply_to = m.id) AND " +
                 which +
                 "), found AS (SELECT lost.id, (SELECT r.id FROM messages r "
                 "WHERE r.session_id = lost.session_id AND r.sender = 'agent' AND r.reply_to IS NULL "
                 "AND r.external_id IS NOT NULL AND r.at >= lost.at - interval '2 s' AND (lost.until IS NULL OR r.at < "
                 "lost.until) "
                 "ORDER BY r.at DESC, r.id DESC LIMIT 1) AS reply FROM lost), "
                 "linked AS (UPDATE messages r SET reply_to = found.id FROM found WHERE r.id = found.reply RETURNING "
                 "found.id) "
                 "UPDATE messages m SET error = NULL, pending_until = NULL FROM linked WHERE m.id = linked.id",
             params);
}

}  // namespace

Result<std::int64_t> send_message(Tx& tx, const Message& message, milliseconds hold) {
  CREEL_TRY(const auto id, add_message(tx, message));
  if (!id) return Error{ErrorKind::conflict, "this message is stored already"};
  CREEL_CHECK(run(tx, std::string{"UPDATE messages SET pending_until = "} + kPendingUntil + " WHERE id = $1",
                  {*id, static_cast<std::int64_t>(hold.count())}));
  return *id;
}

Result<void> hold_messages(Tx& tx, const std::vector<std::int64_t>& ids, milliseconds hold) {
  // What was answered or failed meanwhile stays so.
  return run(tx,
             std::string{"UPDATE messages SET pending_until = "} + kPendingUntil +
                 " WHERE id = ANY($1::bigint[]) AND pending_until IS NOT NULL",
             {array_of(ids), static_cast<std::int64_t>(hold.count())});
}

Result<bool> answer_message(Tx& tx, std::int64_t id, const std::string& reply, TimePoint at) {
  CREEL_CHECK(lock_session_of(tx, id));
  // The row stays locked until commit, so that one reply is stored by one caller.
  CREEL_TRY(const auto asked,
            tx.exec("UPDATE messages SET pending_until = NULL, error = NULL WHERE id = $1 RETURNING *", {id}));
  if (asked.empty()) return false;
  CREEL_TRY(const auto answered, tx.exec("SELECT 1 AS found FROM messages WHERE reply_to = $1", {id}));
  if (!answered.empty()) return true;
  const Message message = message_of(asked[0]);
  const std::string content = repair_text(reply);
  const std::int64_t took = std::max<std::int64_t>((at - message.at).count(), 0);
  // The clocks of agent and controller may differ a little.
  CREEL_TRY(const auto seen,
            tx.exec("UPDATE messages SET reply_to = $1, response_ms = $4 WHERE id = (SELECT id FROM messages "
                    "WHERE session_id = $2 AND sender = 'agent' AND reply_to IS NULL AND content = $3 AND at >= $5 "
                    "ORDER BY at, id LIMIT 1) RETURNING id",
                    {id, message.session_id, content, took, message.at - std::chrono::seconds{2}}));
  if (!seen.empty()) return true;
  Message said;
  said.agent = message.agent;
  said.session_id = message.session_id;
  said.from_agent = true;
  said.platform = message.platform;
  said.content = content;
  said.at = at;
  said.response_ms = took;
  CREEL_TRY(const auto stored, add_message(tx, said));
  CREEL_CHECK(run(tx, "UPDATE messages SET reply_to = $1 WHERE id = $2", {id, stored.value_or(0)}));
  return true;
}

Result<std::int64_t> fail_lost_messages(Tx& tx, const std::string& error) {
  // A session in which something is being stored at this moment has its turn with the next pass.
  CREEL_TRY(const auto locked, tx.exec("SELECT id FROM chat_sessions WHERE id IN (SELECT session_id FROM messages "
                                       "WHERE pending_until < clock_timestamp()) ORDER BY id "
                                       "FOR NO KEY UPDATE SKIP LOCKED"));
  std::string sessions = "{";  // "sess_" and hex digits
  for (int i = 0; i < locked.size(); ++i) sessions += (i > 0 ? "," : "") + locked[i].text("id");
  sessions += "}";
  CREEL_CHECK(
      link_lost_replies(tx, "m.pending_until < clock_timestamp() AND m.session_id = ANY($1::text[])", {sessions}));
  CREEL_TRY(const auto rows, tx.exec("UPDATE messages SET pending_until = NULL, error = $1 "
                                     "WHERE pending_until < clock_timestamp() AND session_id = ANY($2::text[])",
                                     {error, sessions}));
  return rows.affected();
}

Result<void> find_lost_replies(Tx& tx, const std::string& session_id) {
  return link_lost_replies(tx, "m.session_id = $1 AND m.error IS NOT NULL AND NOT m." + std::string{kFailedByModel},
                           {session_id});
}

Result<ChatSession> new_session(Tx& tx, const AgentId& agent, const std::string& platform, TimePoint now) {
  CREEL_TRY(const auto rows,
            tx.exec("INSERT INTO chat_sessions (id, agent_id, key, platform, created_at, last_activity_at) "
                    "VALUES ($1, $2, $1, $3, $4, $4) RETURNING *",
                    {"sess_" + random_hex(8), agent, platform, now}));
  return session_of(rows[0]);
}

Result<std::optional<ChatSession>> session_of_key(Tx& tx, const AgentId& agent, const std::string& key) {
  CREEL_TRY(const auto rows, tx.exec("SELECT * FROM chat_sessions WHERE agent_id = $1 AND key = $2", {agent, key}));
  return first_session(rows);
}

Result<std::optional<ChatSession>> latest_session(Tx& tx, const AgentId& agent, const std::string& platform) {
  CREEL_TRY(const auto rows,
            tx.exec("SELECT s.* FROM chat_sessions s WHERE s.agent_id = $1 AND ($2 = '' OR s.platform = $2) "
                    "ORDER BY greatest(s.created_at, (SELECT max(m.at) FROM messages m "
                    "WHERE m.session_id = s.id AND m.sender = 'user')) DESC, s.id LIMIT 1",
                    {agent, platform}));
  return first_session(rows);
}

Result<void> end_sessions(Tx& tx, const AgentId& agent, TimePoint now) {
  return run(tx, "UPDATE chat_sessions SET ended_at = $2 WHERE agent_id = $1", {agent, now});
}

Result<std::vector<SessionSummary>> list_sessions(Tx& tx, const AgentId& agent, std::size_t limit) {
  CREEL_TRY(const auto rows, tx.exec("SELECT s.*, (SELECT count(*) FROM messages m WHERE m.session_id = s.id) AS said "
                                     "FROM chat_sessions s WHERE s.agent_id = $1 "
                                     "ORDER BY s.last_activity_at DESC, s.created_at DESC, s.id LIMIT $2",
                                     {agent, static_cast<std::uint64_t>(limit)}));
  std::vector<SessionSummary> sessions;
  for (int i = 0; i < rows.size(); ++i) sessions.push_back({session_of(rows[i]), rows[i].integer("said")});
  return sessions;
}

Result<std::int64_t> count_session_messages(Tx& tx, const std::string& session_id) {
  CREEL_TRY(const auto rows, tx.exec("SELECT count(*) AS n FROM messages WHERE session_id = $1", {session_id}));
  return rows[0].integer("n");
}

Result<std::vector<Message>> session_messages(Tx& tx, const std::string& session_id, std::size_t limit) {
  CREEL_TRY(const auto rows, tx.exec("SELECT * FROM messages WHERE session_id = $1 ORDER BY at DESC, id DESC LIMIT $2",
                                     {session_id, static_cast<std::uint64_t>(limit)}));
  std::vector<Message> messages;
  for (int i = rows.size(); i-- > 0;) messages.push_back(message_of(rows[i]));
  return messages;
}

Result<std::vector<Exchange>> list_exchanges(Tx& tx, const AgentId& agent, const std::string& session_key,
                                             std::size_t limit, std::size_t offset) {
  CREEL_TRY(const auto rows,
            tx.exec(std::string{"SELECT m.*, s.key AS session_key, r.id AS reply_id, r.content AS reply, "
                                "r.at AS replied_at, r.response_ms AS reply_ms "} +
                        kExchanges + " ORDER BY m.at DESC, m.id DESC LIMIT $3 OFFSET $4",
                    {agent, session_key, static_cast<std::uint64_t>(limit), static_cast<std::uint64_t>(offset)}));
  std::vector<Exchange> exchanges;
  for (int i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    Exchange exchange{message_of(row), row.text("session_key"), {}, {}, {}};
    if (!row.is_null("reply_id")) {
      exchange.reply = row.text("reply");
      exchange.replied_at = row.time("replied_at");
      if (!row.is_null("reply_ms")) exchange.response_ms = row.integer("reply_ms");
    }
    exchanges.push_back(std::move(exchange));
  }
  return exchanges;
}

Result<std::int64_t> count_exchanges(Tx& tx, const AgentId& agent, const std::string& session_key) {
  CREEL_TRY(const auto rows, tx.exec(std::string{"SELECT count(*) AS n "} + kExchanges, {agent, session_key}));
  return rows[0].integer("n");
}

}  // namespace creel::store
