#include "controller/store/orphans.hpp"

#include "controller/core/agent_json.hpp"
#include "controller/store/events.hpp"
#include "controller/store/lease.hpp"
#include "controller/store/text.hpp"

namespace creel::store {

Result<std::map<AgentId, Fate>> PgOrphanStore::fates(const std::vector<AgentId>& ids) {
  std::string asked = "{";
  for (const AgentId& id : ids) asked += (asked.size() > 1 ? "," : "") + id.str();  // hex digits
  CREEL_TRY(auto tx, database_.begin());
  CREEL_TRY(const auto rows, tx.exec("SELECT asked.id, a.id IS NOT NULL AS live, d.id IS NOT NULL AS deleted "
                                     "FROM unnest($1::text[]) AS asked (id) LEFT JOIN agents a ON a.id = asked.id "
                                     "LEFT JOIN deleted_agents d ON d.id = asked.id",
                                     {asked + "}"}));
  std::map<AgentId, Fate> fates;
  for (int i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    const auto id = AgentId::parse(row.text("id"));
    if (id) fates[*id] = row.boolean("live") ? Fate::live : row.boolean("deleted") ? Fate::deleted : Fate::unknown;
  }
  return fates;
}

Result<void> PgOrphanStore::note(const std::optional<OrphanReport>& report, const std::vector<Event>& events,
                                 std::uint64_t term) {
  CREEL_TRY(auto tx, database_.begin());
  CREEL_CHECK(check_term(tx, controller_id_, term));
  if (report) {
    CREEL_TRY([[maybe_unused]] const auto rows,
              tx.exec("INSERT INTO orphan_reports (controller_id, report, term) VALUES ($1, $2, $3) "
                      "ON CONFLICT (controller_id) DO UPDATE SET report = excluded.report, term = excluded.term",
                      {controller_id_, to_column(nlohmann::json(*report)), term}));
  }
  for (const auto& event : events) CREEL_CHECK(append_event(tx, event));
  return tx.commit();
}

Result<std::optional<OrphanReport>> orphan_report(Tx& tx, const std::string& controller_id) {
  CREEL_TRY(const auto rows, tx.exec("SELECT report FROM orphan_reports WHERE controller_id = $1", {controller_id}));
  if (rows.empty()) return std::optional<OrphanReport>{};
  CREEL_TRY(auto report, parse_stored<OrphanReport>(rows[0].text("report"), "report of orphans"));
  return std::optional{std::move(report)};
}

}  // namespace creel::store
