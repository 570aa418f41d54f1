#include "controller/store/events.hpp"

#include "controller/store/text.hpp"

namespace creel::store {

Result<void> append_event(Tx& tx, const Event& event) {
  const std::optional<AgentId> agent = event.agent.empty() ? std::nullopt : std::optional{event.agent};
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec("INSERT INTO events (agent_id, kind, reason, message, actor) VALUES ($1, $2, $3, $4, $5)",
                    {agent, repair_text(event.kind), repair_text(event.reason), repair_text(event.message),
                     repair_text(event.actor)}));
  return {};
}

Result<std::vector<StoredEvent>> list_events(Tx& tx, const std::optional<AgentId>& agent, std::int64_t after_id,
                                             std::size_t limit) {
  std::vector<Param> params{after_id, static_cast<std::uint64_t>(limit)};
  if (agent) params.emplace_back(*agent);
  CREEL_TRY(const auto rows,
            tx.exec(std::string{"SELECT id, at, agent_id, kind, reason, message, actor FROM events WHERE id > $1 "} +
                        (agent ? "AND agent_id = $3 " : "") + "ORDER BY id LIMIT $2",
                    params));
  std::vector<StoredEvent> events;
  for (int i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    StoredEvent stored;
    stored.id = row.integer("id");
    stored.at = row.time("at");
    if (const auto id = AgentId::parse(row.text("agent_id"))) stored.event.agent = *id;
    stored.event.kind = row.text("kind");
    stored.event.reason = row.text("reason");
    stored.event.message = row.text("message");
    stored.event.actor = row.text("actor");
    events.push_back(std::move(stored));
  }
  return events;
}

}  // namespace creel::store
