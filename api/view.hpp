// Views: agents as the documented API shows them. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "api/settings.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/events.hpp"
#include "controller/store/users.hpp"
#include "controller/store/verifications.hpp"

namespace creel::api {

// The reference of the image the agent runs by.
std::string image_of(const store::AgentRow& row);
// The documented word for what was last observed: provisioning, running, stopped, error.
std::string agent_status(const store::AgentRow& row);
// The container runs, for a person's eyes: the word is "running".
bool is_running(const store::AgentRow& row);
// Its gateway may be asked: one that is not ready now may be again, and says so itself.
bool can_talk(const store::AgentRow& row);
bool is_condition(const store::AgentRow& row, std::string_view type, std::string_view status);

std::string subdomain_of(const Settings& settings, const AgentId& id);
std::string url_of(const Settings& settings, const AgentId& id);
std::string websocket_url_of(const Settings& settings, const AgentId& id);

// Added to every view of an agent: phase, conditions, generation, observedGeneration, message, observedAt.
void add_state(nlohmann::json& object, const store::AgentRow& row);
// An element of a list, and the "agent" of provisioning.
nlohmann::json list_item(const store::AgentRow& row, const Settings& settings);
// The "agent" of GET /api/agents/:id, where running is called "active".
nlohmann::json agent_detail(const store::AgentRow& row, const std::optional<store::Verification>& verification,
                            const Settings& settings);
// GET /api/instance/:userId.
nlohmann::json instance_detail(const store::AgentRow& row, const Settings& settings);

// An element of GET /api/events, and the data of its stream.
nlohmann::json event_view(const store::StoredEvent& stored);

bool is_admin(const store::User& user, const Settings& settings);
nlohmann::json user_view(const store::User& user, const Settings& settings);

}  // namespace creel::api
