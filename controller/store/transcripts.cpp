#include "controller/store/transcripts.hpp"

#include <set>

#include "controller/store/chats.hpp"
#include "controller/store/message_row.hpp"
#include "controller/store/text.hpp"

namespace creel::store {
namespace {

// Before and after a transcript's time, a chat route's time of the same message: a user's waits for its turn after it
// was stored, a reply is stored after it was written down. The clocks of agent and controller may differ a little.
constexpr std::chrono::minutes kWait{20};
constexpr std::chrono::minutes kSkew{1};

std::string array_of(const std::vector<HeardMessage>& messages) {
  std::string text = "{";
  for (const auto& message : messages) text += (text.size() > 1 ? "," : "") + message.external_id;  // hex digits and _
  return text + "}";
}

Result<std::set<std::string>> known_ids(Tx& tx, const Transcript& transcript) {
  CREEL_TRY(const auto rows,
            tx.exec("SELECT external_id FROM messages WHERE agent_id = $1 AND external_id = ANY($2::text[])",
                    {transcript.agent, array_of(transcript.messages)}));
  std::set<std::string> ids;
  for (int i = 0; i < rows.size(); ++i) ids.insert(rows[i].text("external_id"));
  return ids;
}

// Not locked: a chat route locks a user's message before its session, and so does keep_transcript().
Result<std::string> session_id(Tx& tx, const Transcript& transcript) {
  const std::string key = repair_text(transcript.key);
  CREEL_TRY(const auto rows, tx.exec("SELECT id FROM chat_sessions WHERE agent_id = $1 AND lower(key) = lower($2) "
                                     "ORDER BY last_activity_at DESC LIMIT 1",
                                     {transcript.agent, key}));
  if (!rows.empty()) return rows[0].text("id");
  CREEL_TRY(const auto made,
            ensure_session(tx, transcript.agent, key, transcript.platform, transcript.messages.front().at));
  return made.id;
}

// The stored message that this one is, now with its external_id. Of several of the same words the first; but one that
// failed on its way is not the one that was answered. What came by WhatsApp may have waited for days.
Result<bool> take_up(Tx& tx, const std::string& session, const HeardMessage& message) {
  const auto early = message.from_agent ? std::chrono::minutes{kSkew} : std::chrono::minutes{kWait};
  const auto late = message.from_agent ? std::chrono::minutes{kWait} : std::chrono::minutes{kSkew};
  CREEL_TRY(
      const auto rows,
      tx.exec(
          "UPDATE messages SET external_id = $5 WHERE id = (SELECT id FROM messages WHERE session_id = $1 "
          "AND sender = $2 AND external_id IS NULL AND (at BETWEEN $3 AND $4 OR (platform = 'whatsapp' AND at <= $4)) "
          "AND btrim(regexp_replace(content, '\\s+', ' ', 'g')) = btrim(regexp_replace($6, '\\s+', ' ', 'g')) "
          "ORDER BY (error IS NOT NULL) <> $7, at, id LIMIT 1) RETURNING id",
          {session, message.from_agent ? "agent" : "user", message.at - early, message.at + late, message.external_id,
           repair_text(message.content), message.error.has_value()}));
  return !rows.empty();
}

// A paragraph of a reply that was stored as a whole.
Result<bool> part_of_reply(Tx& tx, const std::string& session, const HeardMessage& message) {
  CREEL_TRY(
      const auto rows,
      tx.exec("SELECT 1 AS found FROM messages WHERE session_id = $1 AND sender = 'agent' AND response_ms IS NOT NULL "
              "AND at BETWEEN $2 AND $3 AND length(content) > length($4) "
              "AND position(E'\\n' || $4 || E'\\n' IN E'\\n' || content || E'\\n') > 0 LIMIT 1",
              {session, message.at - kSkew, message.at + kWait, repair_text(message.content)}));
  return !rows.empty();
}

Result<void> settle_error(Tx& tx, const AgentId& agent, const HeardMessage& user) {
  // What a chat route has found out for itself stays, and so does what it has yet to find out.
  const std::string sql =
      user.error
          ? "UPDATE messages SET error = $3 WHERE agent_id = $1 AND external_id = $2 AND error IS NULL AND "
            "pending_until IS NULL"
          : std::string{"UPDATE messages SET error = NULL WHERE agent_id = $1 AND external_id = $2 AND $3 = '' AND "} +
                kFailedByModel;
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec(sql, {agent, user.external_id, repair_text(user.error.value_or(""))}));
  return {};
}

}  // namespace

Result<std::vector<TalkingAgent>> talking_agents(Tx& tx, const std::string& controller_id) {
  CREEL_TRY(const auto rows,
            tx.exec("SELECT a.id, a.template_name, s.status->>'address' AS address FROM agents a "
                    "JOIN agent_status s ON s.agent_id = a.id WHERE a.controller_id = $1 AND a.desired = 'running' "
                    "AND s.status->>'phase' IN ('Ready', 'Unready') AND s.status->>'address' <> '' ORDER BY a.id",
                    {controller_id}));
  std::vector<TalkingAgent> agents;
  for (int i = 0; i < rows.size(); ++i)
    if (const auto id = AgentId::parse(rows[i].text("id")))
      agents.push_back({*id, rows[i].text("template_name"), rows[i].text("address")});
  return agents;
}

Result<std::map<std::string, TimePoint>> transcript_marks(Tx& tx, const AgentId& agent) {
  CREEL_TRY(const auto rows, tx.exec("SELECT key, read_to FROM transcripts WHERE agent_id = $1", {agent}));
  std::map<std::string, TimePoint> marks;
  for (int i = 0; i < rows.size(); ++i) marks.emplace(rows[i].text("key"), rows[i].time("read_to"));
  return marks;
}

Result<std::size_t> unknown_messages(Tx& tx, const Transcript& transcript) {
  CREEL_TRY(const auto known, known_ids(tx, transcript));
  return transcript.messages.size() - known.size();
}

Result<std::size_t> keep_transcript(Tx& tx, const Transcript& transcript, TimePoint read_to) {
  std::size_t kept = 0;
  if (!transcript.messages.empty()) {
    CREEL_TRY(const std::string session, session_id(tx, transcript));
    // A chat route holds the message that it answers: its reply is here or will see ours, never both unseen.
    CREEL_TRY([[maybe_unused]] const auto held,
              tx.exec("SELECT id FROM messages WHERE session_id = $1 AND sender = 'user' AND at >= $2 ORDER BY id "
                      "FOR UPDATE",
                      {session, transcript.messages.front().at - kWait}));
    CREEL_TRY(const auto known, known_ids(tx, transcript));
    for (const auto& heard : transcript.messages) {
      if (!known.contains(heard.external_id)) {
        CREEL_TRY(bool done, take_up(tx, session, heard));
        if (!done && heard.from_agent) {
          CREEL_TRY(const bool part, part_of_reply(tx, session, heard));
          if (part) continue;
        }
        if (!done) {
          Message message;
          message.agent = transcript.agent;
          message.session_id = session;
          message.from_agent = heard.from_agent;
          message.platform = transcript.platform;
          message.content = heard.content;
          message.at = heard.at;
          message.external_id = heard.external_id;
          message.response_ms = heard.response_ms;
          CREEL_TRY([[maybe_unused]] const auto id, add_message(tx, message));
        }
        ++kept;
      }
      if (!heard.from_agent) CREEL_CHECK(settle_error(tx, transcript.agent, heard));
    }
    if (kept > 0) CREEL_CHECK(find_lost_replies(tx, session));
  }
  CREEL_TRY([[maybe_unused]] const auto marked,
            tx.exec("INSERT INTO transcripts (agent_id, key, read_to) VALUES ($1, lower($2), $3) "
                    "ON CONFLICT (agent_id, key) DO UPDATE SET read_to = excluded.read_to",
                    {transcript.agent, repair_text(transcript.key), read_to}));
  return kept;
}

Result<std::int64_t> drop_messages_before(Tx& tx, TimePoint before, std::size_t limit) {
  CREEL_TRY(const auto rows, tx.exec("DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE at < $1 "
                                     "ORDER BY at LIMIT $2)",
                                     {before, static_cast<std::uint64_t>(limit)}));
  return rows.affected();
}

}  // namespace creel::store
