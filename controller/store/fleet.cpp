#include "controller/store/fleet.hpp"

namespace creel::store {

Result<std::vector<FleetAgent>> list_fleet(Tx& tx, const std::string& controller_id) {
  CREEL_TRY(const auto rows, tx.exec("SELECT a.id, s.status->>'phase' AS phase, s.status->>'cause' AS cause, "
                                     "s.status->>'plan' = 'converged' AND "
                                     "(s.status->>'observedGeneration')::bigint >= a.generation AS settled, "
                                     "coalesce(m.asked, 0) AS messages, coalesce(m.failed, 0) AS failed "
                                     "FROM agents a JOIN agent_status s ON s.agent_id = a.id "
                                     "LEFT JOIN message_totals m ON m.agent_id = a.id "
                                     "WHERE a.controller_id = $1 ORDER BY a.id",
                                     {controller_id}));
  std::vector<FleetAgent> fleet;
  for (int i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    const auto id = AgentId::parse(row.text("id"));
    if (!id) return Error{ErrorKind::corrupt, "a stored agent id has the wrong form"};
    fleet.push_back({*id, parse_phase(row.text("phase")).value_or(Phase::unknown), row.text("cause"),
                     row.boolean("settled"), row.integer("messages"), row.integer("failed")});
  }
  return fleet;
}

}  // namespace creel::store
