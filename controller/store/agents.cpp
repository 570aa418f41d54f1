#include "controller/store/agents.hpp"

#include "controller/core/agent_json.hpp"
#include "controller/store/agent_row.hpp"
#include "controller/store/cursor.hpp"
#include "controller/store/text.hpp"

namespace creel::store {
namespace {

std::string select_agents(const std::string& rest) {
  return std::string{"SELECT "} + kAgentColumns + " FROM agents a JOIN agent_status s ON s.agent_id = a.id " + rest;
}

Result<std::optional<AgentRow>> first_agent(const Rows& rows) {
  if (rows.empty()) return std::optional<AgentRow>{};
  CREEL_TRY(auto agent, agent_of(rows[0]));
  return std::optional<AgentRow>{std::move(agent)};
}

Result<void> notify_wish(Tx& tx, const AgentId& id) {
  CREEL_TRY([[maybe_unused]] const auto rows, tx.exec("SELECT pg_notify($1, $2)", {kAgentChannel, id}));
  return {};
}

Param egress_column(const AgentRow& row) { return row.egress ? Param{to_column(*row.egress)} : Param{std::nullopt}; }

}  // namespace

Result<AgentRow> agent_of(const Rows::Row& row) {
  const auto id = AgentId::parse(row.text("id"));
  const auto owner = UserId::parse(row.text("owner_id"));
  const auto desired = parse_desired_state(row.text("desired"));
  if (!id || !owner || !desired)
    return Error{ErrorKind::corrupt, "a stored agent's id, owner or state has the wrong form"};
  AgentRow agent;
  agent.id = *id;
  agent.controller_id = row.text("controller_id");
  agent.owner = *owner;
  agent.name = row.text("name");
  agent.template_name = row.text("template_name");
  agent.model = row.text("model");
  agent.tier = row.text("tier");
  agent.image = row.text("image");
  agent.version = row.text("version");
  agent.desired = *desired;
  agent.generation = row.unsigned_integer("generation");
  agent.restart_wish = row.unsigned_integer("restart_wish");
  agent.repair_wish = row.unsigned_integer("repair_wish");
  agent.reset_wish = row.unsigned_integer("reset_wish");
  agent.update_wish = row.unsigned_integer("update_wish");
  agent.update_image = row.text("update_image");
  CREEL_TRY(agent.memory_paths, parse_stored<std::vector<std::string>>(row.text("memory_paths"), "memory_paths"));
  agent.purge = row.boolean("purge");
  CREEL_TRY(agent.spec, parse_stored<WorkloadSpec>(row.text("spec"), "spec"));
  agent.spec_hash = row.text("spec_hash");
  CREEL_TRY(agent.readiness, parse_stored<Readiness>(row.text("readiness"), "readiness"));
  agent.files_hash = row.text("files_hash");
  agent.restart_files_hash = row.text("restart_files_hash");
  agent.config_etag = row.text("config_etag");
  if (!row.is_null("egress")) {
    CREEL_TRY(agent.egress, parse_stored<EgressWish>(row.text("egress"), "egress"));
  }
  agent.egress_denied = row.unsigned_integer("egress_denied");
  agent.created_at = row.time("created_at");
  agent.updated_at = row.time("updated_at");
  agent.deleted_at = row.optional_time("deleted_at");
  CREEL_TRY(agent.status, parse_stored<AgentStatus>(row.text("status"), "status"));
  return agent;
}

Result<void> insert_agent(Tx& tx, const AgentRow& row, int limit) {
  // The owner's row is locked, so that count and insert of one owner come one after the other. NO KEY: rows that only
  // refer to the user (sessions, keys) are not held up.
  CREEL_TRY(const auto owner, tx.exec("SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE", {row.owner}));
  if (owner.empty()) return Error{ErrorKind::not_found, "no such user"};
  if (limit >= 0) {
    CREEL_TRY(const auto count, count_agents(tx, row.owner));
    if (count >= limit) {
      return Error{ErrorKind::limit, "the plan allows " + std::to_string(limit) + " agents", {}, "AGENT_LIMIT_REACHED"};
    }
  }
  CREEL_TRY(
      [[maybe_unused]] const auto inserted,
      tx.exec(
          "INSERT INTO agents (id, controller_id, owner_id, name, template_name, model, tier, image, version, "
          "desired, generation, restart_wish, repair_wish, purge, spec, spec_hash, readiness, files_hash, "
          "restart_files_hash, config_etag, created_at, updated_at, deleted_at, egress) VALUES ($1, $2, $3, $4, $5, "
          "$6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)",
          {row.id,
           row.controller_id,
           row.owner,
           row.name,
           row.template_name,
           row.model,
           row.tier,
           row.image,
           row.version,
           to_string(row.desired),
           row.generation,
           row.restart_wish,
           row.repair_wish,
           row.purge,
           to_column(row.spec),
           row.spec_hash,
           to_column(row.readiness),
           row.files_hash,
           row.restart_files_hash,
           row.config_etag,
           row.created_at,
           row.updated_at,
           row.deleted_at,
           egress_column(row)}));
  CREEL_TRY([[maybe_unused]] const auto status,
            tx.exec("INSERT INTO agent_status (agent_id, status, history) VALUES ($1, $2, $3)",
                    {row.id, to_column(row.status), to_column(History{})}));
  return notify_wish(tx, row.id);
}

Result<int> count_agents(Tx& tx, const UserId& owner) {
  CREEL_TRY(const auto rows,
            tx.exec("SELECT count(*) AS agents FROM agents WHERE owner_id = $1 AND desired <> 'deleted'", {owner}));
  return static_cast<int>(rows[0].integer("agents"));
}

Result<std::optional<AgentRow>> get_agent(Tx& tx, const AgentId& id, bool for_update) {
  // Only the wish is locked: the reconciler may go on recording the status meanwhile.
  CREEL_TRY(const auto rows,
            tx.exec(select_agents(for_update ? "WHERE a.id = $1 FOR NO KEY UPDATE OF a" : "WHERE a.id = $1"), {id}));
  return first_agent(rows);
}

Result<std::vector<AgentRow>> list_agents(Tx& tx, const std::optional<UserId>& owner, std::size_t limit,
                                          const std::string& cursor) {
  std::string where = "WHERE a.desired <> 'deleted' ";
  std::vector<Param> params{static_cast<std::uint64_t>(limit)};
  if (owner) {
    params.emplace_back(*owner);
    where += "AND a.owner_id = $" + std::to_string(params.size()) + " ";
  }
  if (!cursor.empty()) {
    CREEL_TRY(const Place place, parse_cursor(cursor));
    params.emplace_back(place.at);
    where += "AND (a.created_at, a.id) < ($" + std::to_string(params.size()) + "::timestamptz, ";
    params.emplace_back(place.id);
    where += "$" + std::to_string(params.size()) + ") ";
  }
  CREEL_TRY(const auto rows, tx.exec(select_agents(where + "ORDER BY a.created_at DESC, a.id DESC LIMIT $1"), params));
  std::vector<AgentRow> agents;
  for (int i = 0; i < rows.size(); ++i) {
    CREEL_TRY(auto agent, agent_of(rows[i]));
    agents.push_back(std::move(agent));
  }
  return agents;
}

std::string cursor_after(const AgentRow& row) { return cursor_of({row.created_at, row.id.str()}); }

Result<std::optional<AgentRow>> oldest_live_agent(Tx& tx, const UserId& owner) {
  CREEL_TRY(const auto rows, tx.exec(select_agents("WHERE a.owner_id = $1 AND a.desired <> 'deleted' "
                                                   "ORDER BY a.created_at, a.id LIMIT 1"),
                                     {owner}));
  return first_agent(rows);
}

Result<void> save_wish(Tx& tx, AgentRow& row) {
  CREEL_TRY(const auto rows,
            tx.exec("UPDATE agents SET name = $2, template_name = $3, model = $4, tier = $5, image = $6, version = $7, "
                    "desired = $8, generation = generation + 1, restart_wish = $9, repair_wish = $10, purge = $11, "
                    "spec = $12, spec_hash = $13, readiness = $14, files_hash = $15, restart_files_hash = $16, "
                    "config_etag = $17, reset_wish = $19, memory_paths = $20, update_wish = $21, update_image = $22, "
                    "egress = $23, "
                    "updated_at = clock_timestamp(), "
                    "deleted_at = CASE WHEN $8 = 'deleted' THEN coalesce($18, clock_timestamp()) END "
                    "WHERE id = $1 RETURNING generation, updated_at, deleted_at",
                    {row.id,
                     row.name,
                     row.template_name,
                     row.model,
                     row.tier,
                     row.image,
                     row.version,
                     to_string(row.desired),
                     row.restart_wish,
                     row.repair_wish,
                     row.purge,
                     to_column(row.spec),
                     row.spec_hash,
                     to_column(row.readiness),
                     row.files_hash,
                     row.restart_files_hash,
                     row.config_etag,
                     row.deleted_at,
                     row.reset_wish,
                     to_column(row.memory_paths),
                     row.update_wish,
                     row.update_image,
                     egress_column(row)}));
  if (rows.empty()) return Error{ErrorKind::not_found, "no such agent"};
  row.generation = rows[0].unsigned_integer("generation");
  row.updated_at = rows[0].time("updated_at");
  row.deleted_at = rows[0].optional_time("deleted_at");
  return notify_wish(tx, row.id);
}

Result<void> count_denied(Tx& tx, const AgentId& id, std::uint64_t times) {
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec("UPDATE agents SET egress_denied = egress_denied + $2 WHERE id = $1", {id, times}));
  return {};
}

Result<bool> was_agent_of(Tx& tx, const AgentId& id, const std::optional<UserId>& owner) {
  CREEL_TRY(const auto rows, tx.exec("SELECT 1 AS found FROM deleted_agents WHERE id = $1 AND owner_id = "
                                     "coalesce($2, owner_id)",
                                     {id, owner}));
  return !rows.empty();
}

}  // namespace creel::store
