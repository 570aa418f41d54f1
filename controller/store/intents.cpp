#include "controller/store/intents.hpp"

namespace creel::store {

Result<void> put_intent(Tx& tx, const AgentId& agent, std::string_view operation, std::string_view object) {
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec("INSERT INTO intents (agent_id, operation, object) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    {agent, operation, object}));
  return {};
}

Result<void> clear_intent(Tx& tx, const AgentId& agent, std::string_view operation, std::string_view object) {
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec("DELETE FROM intents WHERE agent_id = $1 AND operation = $2 AND object = $3",
                    {agent, operation, object}));
  return {};
}

Result<std::vector<Intent>> list_intents(Tx& tx, std::string_view controller_id) {
  CREEL_TRY(const auto rows,
            tx.exec("SELECT i.agent_id, i.operation, i.object, i.created_at FROM intents i JOIN agents a ON a.id = "
                    "i.agent_id WHERE a.controller_id = $1 ORDER BY i.created_at, i.agent_id, i.operation",
                    {controller_id}));
  std::vector<Intent> intents;
  for (int i = 0; i < rows.size(); ++i) {
    const auto agent = AgentId::parse(rows[i].text("agent_id"));
    if (!agent) return Error{ErrorKind::corrupt, "a stored agent id has the wrong form"};
    intents.push_back({*agent, rows[i].text("operation"), rows[i].text("object"), rows[i].time("created_at")});
  }
  return intents;
}

}  // namespace creel::store
