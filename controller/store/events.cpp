#include "controller/store/events.hpp"

#include <algorithm>

#include "controller/store/text.hpp"

namespace creel::store {
namespace {

// $1: since when the oldest writing transaction of this database runs; null: there is none. $2: the newest id then.
const std::string kSelect =
    "SELECT e.id, e.at, e.agent_id, e.kind, e.reason, e.message, e.actor, e.source, e.duration_ms, "
    "coalesce(a.owner_id, d.owner_id) AS owner, "
    "(coalesce(e.at >= $1::timestamptz, false) OR e.id > $2) AS held FROM ";
const std::string kOwners =
    " e LEFT JOIN agents a ON a.id = e.agent_id LEFT JOIN deleted_agents d ON d.id = e.agent_id ";

// $1 and $2. In statements of their own, so that the events are read later than this: a transaction that ended in
// between is seen whole; of one that begins in between all ids are above $2, which is read first. Rounded as events.at
// is, which keeps the order.
Result<std::vector<Param>> where_to_end(Tx& tx) {
  // PostgreSQL keeps the activity as first seen until the transaction ends: a second look must see anew.
  CREEL_TRY(const auto newest,
            tx.exec("SELECT pg_stat_clear_snapshot(), CASE WHEN is_called THEN last_value ELSE 0 END "
                    "AS id FROM events_id_seq"));
  CREEL_TRY(const auto oldest,
            tx.exec("SELECT min(coalesce(xact_start, '-infinity'))::timestamptz(3) AS since FROM pg_stat_activity "
                    "WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()"));
  std::vector<Param> params{oldest[0].is_null("since") ? Param{std::nullopt} : Param{oldest[0].text("since")}};
  params.emplace_back(newest[0].integer("id"));
  return params;
}

// A few milliseconds: a transaction that writes holds back the newest events.
constexpr std::int64_t kDroppedAtOnce = 1'000;

Result<std::vector<StoredEvent>> listed(Tx& tx, const std::string& from, std::vector<Param> rest) {
  CREEL_TRY(auto params, where_to_end(tx));
  params.insert(params.end(), rest.begin(), rest.end());
  CREEL_TRY(const auto rows, tx.exec(kSelect + from, params));
  std::vector<StoredEvent> events;
  for (int i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    if (row.boolean("held")) break;
    StoredEvent stored;
    stored.id = row.integer("id");
    stored.at = row.time("at");
    if (const auto id = AgentId::parse(row.text("agent_id"))) stored.event.agent = *id;
    stored.event.kind = row.text("kind");
    stored.event.reason = row.text("reason");
    stored.event.message = row.text("message");
    stored.event.actor = row.text("actor");
    stored.event.source = row.text("source");
    if (!row.is_null("duration_ms")) stored.event.duration = milliseconds{row.integer("duration_ms")};
    stored.owner = UserId::parse(row.text("owner"));
    events.push_back(std::move(stored));
  }
  return events;
}

}  // namespace

Result<void> append_event(Tx& tx, const Event& event) {
  const std::optional<AgentId> agent = event.agent.empty() ? std::nullopt : std::optional{event.agent};
  const std::optional<std::string> source =
      event.source.empty() ? std::nullopt : std::optional{repair_text(event.source)};
  // A parameter at once: of an optional number g++ 12 thinks, with -O2, that it is read where there is none.
  const Param duration = event.duration ? Param{event.duration->count()} : Param{std::nullopt};
  // The condition is always true: it gives the transaction its number before the event gets its id, so that
  // where_to_end() knows of every id that was given.
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec("INSERT INTO events (agent_id, kind, reason, message, actor, source, duration_ms) "
                    "SELECT $1, $2, $3, $4, $5, $6, $7 WHERE pg_current_xact_id() IS NOT NULL "
                    "RETURNING pg_notify($8, coalesce(agent_id, ''))",
                    {agent, repair_text(event.kind), repair_text(event.reason), repair_text(event.message),
                     repair_text(event.actor), source, duration, kEventChannel}));
  return {};
}

Result<std::vector<StoredEvent>> list_events(Tx& tx, const std::optional<AgentId>& agent, std::int64_t after_id,
                                             std::size_t limit) {
  std::vector<Param> params{after_id, static_cast<std::uint64_t>(limit)};
  if (agent) params.emplace_back(*agent);
  return listed(
      tx, "events" + kOwners + "WHERE e.id > $3 " + (agent ? "AND e.agent_id = $5 " : "") + "ORDER BY e.id LIMIT $4",
      std::move(params));
}

Result<std::vector<StoredEvent>> list_events_of(Tx& tx, const UserId& owner, std::int64_t after_id, std::size_t limit) {
  // The first `limit` events of each agent hold the first of all: no agent with a long history is read to its end.
  return listed(tx,
                "(SELECT id FROM agents WHERE owner_id = $5 UNION SELECT id FROM deleted_agents WHERE owner_id = $5) "
                "mine CROSS JOIN LATERAL (SELECT * FROM events WHERE agent_id = mine.id AND id > $3 "
                "ORDER BY id LIMIT $4)" +
                    kOwners + "ORDER BY e.id LIMIT $4",
                {after_id, static_cast<std::uint64_t>(limit), owner});
}

Result<std::vector<StoredEvent>> newest_events(Tx& tx, const std::optional<AgentId>& agent,
                                               const std::optional<UserId>& owner, std::int64_t after_id,
                                               std::int64_t before_id, std::size_t limit) {
  // Where listings end is the end for this, too: what comes after it may not be the newest for long.
  CREEL_TRY(const std::int64_t end, newest_event(tx));
  std::vector<Param> params{after_id, static_cast<std::uint64_t>(limit), std::min(before_id - 1, end)};
  std::string from = "(SELECT * FROM events WHERE id > $3 AND id <= $5 ";
  if (agent) {
    from += "AND agent_id = $6 ";
    params.emplace_back(*agent);
  } else if (owner) {
    from =
        "(SELECT last.* FROM (SELECT id FROM agents WHERE owner_id = $6 UNION SELECT id FROM deleted_agents "
        "WHERE owner_id = $6) mine CROSS JOIN LATERAL (SELECT * FROM events WHERE agent_id = mine.id AND id > $3 "
        "AND id <= $5 ORDER BY id DESC LIMIT $4) last ";
    params.emplace_back(*owner);
  }
  return listed(tx, from + "ORDER BY id DESC LIMIT $4)" + kOwners + "ORDER BY e.id", std::move(params));
}

Result<std::int64_t> newest_event(Tx& tx) {
  CREEL_TRY(const auto params, where_to_end(tx));
  // What is held back is among the newest. The place is that of an event that is there: what has an id between it and
  // the first that is held back may still come.
  CREEL_TRY(
      const auto rows,
      tx.exec("SELECT coalesce(max(id), 0) AS id FROM events WHERE id < coalesce((SELECT min(id) FROM (SELECT id, "
              "at FROM events ORDER BY id DESC LIMIT 5000) newest WHERE at >= $1::timestamptz OR id > $2), "
              "9223372036854775807)",
              params));
  return rows[0].integer("id");
}

Result<void> drop_events(Database& database, TimePoint before, std::stop_token stop) {
  // Not from the beginning each time: what was dropped a moment ago still stands in the way.
  std::int64_t after = 0;
  bool more = true;
  while (more && !stop.stop_requested()) {
    CREEL_TRY(auto tx, database.begin());
    // Of several controllers that do this at once, one is enough.
    CREEL_TRY(const auto lock, tx.exec("SELECT pg_try_advisory_xact_lock(hashtext('creel events')) AS alone"));
    if (!lock[0].boolean("alone")) return {};
    // By id, which grows as `at` does: the primary key leads to the oldest, whatever there is.
    CREEL_TRY(const auto rows,
              tx.exec("WITH dropped AS (DELETE FROM events WHERE ctid = ANY (ARRAY(SELECT ctid FROM (SELECT ctid, at "
                      "FROM events WHERE id > $2 ORDER BY id LIMIT $3) oldest WHERE at < $1)) RETURNING id) "
                      "SELECT max(id) AS newest FROM dropped",
                      {before, after, kDroppedAtOnce}));
    CREEL_CHECK(tx.commit());
    after = rows[0].integer("newest");
    more = after > 0;
  }
  return {};
}

}  // namespace creel::store
