#include "controller/store/live_streams.hpp"

#include "controller/store/agents.hpp"
#include "controller/store/text.hpp"

namespace creel::store {
namespace {

constexpr const char* kColumns =
    "s.agent_id, s.stream_id, s.maybe_made, s.attempts, s.last_error, "
    "EXISTS (SELECT 1 FROM agents a WHERE a.id = s.agent_id AND a.desired <> 'deleted') AS wanted";

constexpr const char* kDue =
    "s.controller_id = $1 AND s.next_attempt_at <= clock_timestamp() AND (s.stream_id IS NULL "
    "OR NOT EXISTS (SELECT 1 FROM agents a WHERE a.id = s.agent_id AND a.desired <> 'deleted'))";

Result<std::optional<LiveStream>> first_stream(const Rows& rows) {
  if (rows.empty()) return std::optional<LiveStream>{};
  const auto row = rows[0];
  const auto agent = AgentId::parse(row.text("agent_id"));
  if (!agent) return Error{ErrorKind::corrupt, "a stored agent id has the wrong form"};
  return std::optional{LiveStream{*agent, row.text("stream_id"), row.boolean("maybe_made"),
                                  static_cast<int>(row.integer("attempts")), row.text("last_error"),
                                  row.boolean("wanted")}};
}

Result<void> run(Tx& tx, std::string_view sql, const std::vector<Param>& params) {
  CREEL_TRY([[maybe_unused]] const auto rows, tx.exec(sql, params));
  return {};
}

// Requests that wait for the agent look again.
Result<void> notify(Tx& tx, const AgentId& agent) {
  return run(tx, "SELECT pg_notify($1, $2)", {kStatusChannel, agent});
}

}  // namespace

Result<void> want_live_stream(Tx& tx, const AgentId& agent, const std::string& controller_id) {
  return run(tx, "INSERT INTO live_streams (agent_id, controller_id) VALUES ($1, $2)", {agent, controller_id});
}

Result<std::optional<LiveStream>> get_live_stream(Tx& tx, const AgentId& agent) {
  CREEL_TRY(const auto rows,
            tx.exec(std::string{"SELECT "} + kColumns + " FROM live_streams s WHERE s.agent_id = $1", {agent}));
  return first_stream(rows);
}

Result<int> count_due_live_streams(Tx& tx, const std::string& controller_id) {
  CREEL_TRY(const auto rows,
            tx.exec(std::string{"SELECT count(*) AS n FROM live_streams s WHERE "} + kDue, {controller_id}));
  return static_cast<int>(rows[0].integer("n"));
}

Result<std::optional<LiveStream>> claim_live_stream(Tx& tx, const std::string& controller_id,
                                                    std::chrono::milliseconds hold) {
  CREEL_TRY(const auto due, tx.exec(std::string{"SELECT s.agent_id FROM live_streams s WHERE "} + kDue +
                                        " ORDER BY s.next_attempt_at, s.agent_id LIMIT 1 FOR UPDATE SKIP LOCKED",
                                    {controller_id}));
  if (due.empty()) return std::optional<LiveStream>{};
  CREEL_TRY(const auto rows,
            tx.exec(std::string{"UPDATE live_streams s SET next_attempt_at = clock_timestamp() + $2 * interval '1 ms' "
                                "WHERE s.agent_id = $1 RETURNING "} +
                        kColumns,
                    {due[0].text("agent_id"), static_cast<std::int64_t>(hold.count())}));
  return first_stream(rows);
}

Result<void> expect_live_stream(Tx& tx, const AgentId& agent) {
  CREEL_TRY(const auto rows, tx.exec("UPDATE live_streams SET maybe_made = true WHERE agent_id = $1", {agent}));
  if (rows.affected() == 0) return Error{ErrorKind::not_found, "the live stream is not wanted any more"};
  return {};
}

Result<bool> keep_live_stream(Tx& tx, const AgentId& agent, const std::string& stream_id, bool maybe_made) {
  CREEL_CHECK(run(tx,
                  "UPDATE live_streams SET stream_id = $2, maybe_made = $3, attempts = 0, last_error = NULL, "
                  "next_attempt_at = clock_timestamp() WHERE agent_id = $1",
                  {agent, stream_id, maybe_made}));
  CREEL_CHECK(notify(tx, agent));
  CREEL_TRY(const auto agents, tx.exec("SELECT id FROM agents WHERE id = $1 FOR KEY SHARE", {agent}));
  return !agents.empty();
}

Result<void> fail_live_stream(Tx& tx, const AgentId& agent, const std::string& error, bool maybe_made,
                              std::chrono::milliseconds retry_in) {
  CREEL_CHECK(run(tx,
                  "UPDATE live_streams SET last_error = $2, maybe_made = $3, attempts = attempts + 1, "
                  "next_attempt_at = clock_timestamp() + $4 * interval '1 ms' WHERE agent_id = $1",
                  {agent, repair_text(error), maybe_made, static_cast<std::int64_t>(retry_in.count())}));
  return notify(tx, agent);
}

Result<void> drop_live_stream(Tx& tx, const AgentId& agent) {
  return run(tx, "DELETE FROM live_streams WHERE agent_id = $1", {agent});
}

Result<void> drop_unmade_live_stream(Tx& tx, const AgentId& agent) {
  return run(tx, "DELETE FROM live_streams WHERE agent_id = $1 AND stream_id IS NULL AND NOT maybe_made", {agent});
}

}  // namespace creel::store
