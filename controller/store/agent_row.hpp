// Reading an agent's columns; shared by agents.cpp and agent_repository.cpp only.
#pragma once

#include "controller/store/agents.hpp"

namespace creel::store {

// For "SELECT <columns> FROM agents a JOIN agent_status s ON s.agent_id = a.id".
inline constexpr const char* kAgentColumns =
    "a.id, a.controller_id, a.owner_id, a.name, a.template_name, a.model, a.tier, a.image, a.version, a.desired, "
    "a.generation, a.restart_wish, a.repair_wish, a.purge, a.spec, a.spec_hash, a.readiness, a.files_hash, "
    "a.restart_files_hash, a.config_etag, a.reset_wish, a.memory_paths, a.update_wish, a.update_image,  a.created_at, "
    "a.updated_at, a.deleted_at, a.egress, a.egress_denied, "
    "s.status, s.history";

// corrupt: a column does not hold what it should.
Result<AgentRow> agent_of(const Rows::Row& row);

}  // namespace creel::store
