// Agents: the row that says what an owner wants. A wish is a transaction that ends in save_wish() or insert_agent().
//
// A row holds the rendered spec and the hashes of the rendered files; the files themselves, the gateway token and the
// owner's configuration are sealed in agent_secrets. A deleted agent stays as a tombstone (desired = deleted) until the
// reconciler has removed everything of it (AgentRepository::forget); `deleted_agents` then remembers its id and owner.
//
// Errors: limit (code AGENT_LIMIT_REACHED), not_found, conflict (id taken), invalid (bad cursor, code INVALID_QUERY),
// corrupt (row cannot be read back); else see pg.hpp. NOTIFY goes out with the caller's commit().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/core/agent.hpp"
#include "controller/core/egress.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

// A wish of this agent changed; payload: agent id.
inline constexpr const char* kAgentChannel = "creel_agent";
// A status was recorded, or the row is gone; payload: agent id.
inline constexpr const char* kStatusChannel = "creel_status";

struct AgentRow {
  AgentId id;
  std::string controller_id = "creel";  // which controller runs it
  UserId owner;
  std::string name;
  std::string template_name;
  std::string model;
  std::string tier;     // name of the effective plan
  std::string image;    // wished otherwise than the template's, or ""
  std::string version;  // of the agent software
  DesiredState desired = DesiredState::running;
  std::uint64_t generation = 1;
  std::uint64_t restart_wish = 0;
  std::uint64_t repair_wish = 0;
  std::uint64_t reset_wish = 0;
  std::uint64_t update_wish = 0;
  std::string update_image;               // of the newest update asked for
  std::vector<std::string> memory_paths;  // what a reset clears; of the template, written with the wish
  bool purge = false;
  WorkloadSpec spec;
  std::string spec_hash;
  Readiness readiness;
  std::string files_hash;
  std::string restart_files_hash;
  std::string config_etag;
  std::optional<EgressWish> egress;  // nullopt: as the template says
  std::uint64_t egress_denied = 0;   // how often it was refused to go somewhere; read only
  TimePoint created_at;
  TimePoint updated_at;
  std::optional<TimePoint> deleted_at;
  AgentStatus status;  // read only: written by AgentRepository::record(), but for insert_agent()
};

// Locks the owner until commit, counts, inserts row and status, notifies. A limit below 0 is none.
Result<void> insert_agent(Tx& tx, const AgentRow& row, int limit);
// Live agents (not deleted) of the user, whatever controller runs them.
Result<int> count_agents(Tx& tx, const UserId& owner);
// Tombstones too. With for_update the row is locked until commit: wishes about one agent come one after the other.
Result<std::optional<AgentRow>> get_agent(Tx& tx, const AgentId& id, bool for_update = false);
// Live agents, newest first, after the place `cursor` ("" = from the start). nullopt as owner: everybody's.
Result<std::vector<AgentRow>> list_agents(Tx& tx, const std::optional<UserId>& owner, std::size_t limit,
                                          const std::string& cursor = {});
// The cursor that continues after this row.
std::string cursor_after(const AgentRow& row);
Result<std::optional<AgentRow>> oldest_live_agent(Tx& tx, const UserId& owner);
// Writes every wish column (not id, controller, owner, created_at, status), takes generation one up in row and table,
// sets updated_at, notifies. The caller holds the row locked by get_agent(…, true).
Result<void> save_wish(Tx& tx, AgentRow& row);
// Adds to AgentRow::egress_denied; an agent that is gone is passed over.
Result<void> count_denied(Tx& tx, const AgentId& id, std::uint64_t times);
// The id was an agent of this user (nullopt: of anybody) and is gone for good (so that a repeated DELETE can get the
// same answer).
Result<bool> was_agent_of(Tx& tx, const AgentId& id, const std::optional<UserId>& owner);

}  // namespace creel::store
