// What /api/agent asks of the running agent itself: its health, its skills, and switching a skill. Nothing is shown
// that the agent did not say; of one that does not run only what is known without it.
#include "api/handlers/agent_gateway.hpp"

#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Internal error";
using Skills = std::vector<gateway::GatewaySkill>;

json text_or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }

json skill_view(const gateway::GatewaySkill& skill) {
  return json{{"id", skill.id},
              {"name", skill.name},
              {"description", skill.description},
              {"enabled", skill.enabled},
              {"eligible", skill.eligible}};
}

// When it was last known to be ready, of an agent that is not now.
json last_seen(const store::AgentRow& row) {
  for (const auto& condition : row.status.conditions)
    if (condition.type == "Ready" && condition.status == "False" && row.status.started_at)
      return condition.last_transition.time_since_epoch().count();
  return nullptr;
}

json health_without_answer(const store::AgentRow& row) {
  return json{{"status", agent_status(row)},
              {"version", nullptr},
              {"apiVersion", kApiVersion},
              {"uptime", nullptr},
              {"model", nullptr},
              {"channels", json::array()},
              {"skills", json::array()},
              {"lastSeen", last_seen(row)},
              {"agentId", row.id.str()},
              {"phase", to_string(row.status.phase)}};
}

json health_view(const store::AgentRow& row, const gateway::GatewayHealth& health, const Result<Skills>& skills,
                 TimePoint now) {
  json view = health_without_answer(row);
  view["version"] = text_or_null(health.version);
  if (health.uptime) view["uptime"] = std::chrono::duration_cast<std::chrono::seconds>(*health.uptime).count();
  view["model"] = text_or_null(health.model);
  view["channelDetails"] = json::array();
  for (const auto& channel : health.channels) {
    if (channel.configured) view["channels"].push_back(channel.name);
    view["channelDetails"].push_back(json{{"name", channel.name},
                                          {"configured", channel.configured},
                                          {"running", channel.running},
                                          {"connected", channel.connected ? json(*channel.connected) : json(nullptr)},
                                          {"error", text_or_null(channel.error)}});
  }
  if (skills) {
    for (const auto& skill : *skills)
      if (skill.enabled && skill.eligible) view["skills"].push_back(skill.id);
  } else {
    view["skills"] = nullptr;
  }
  view["lastSeen"] = now.time_since_epoch().count();
  return view;
}

}  // namespace

Result<gateway::OperatorTarget> gateway_of(store::Tx& tx, const store::AgentRow& row, const Deps& deps) {
  const Template* tmpl = deps.templates.find(row.template_name);
  if (tmpl == nullptr) return template_missing(row);
  CREEL_TRY(const auto token, open_secret(tx, row.id, "gateway_token", deps.sealer));
  CREEL_TRY(const auto key, open_secret(tx, row.id, "device_key", deps.sealer));
  return gateway::OperatorTarget{row.id, tmpl->gateway, row.status.address, token.value_or(""), key.value_or("")};
}

Result<std::optional<Asked>> find_asked(const Request& request, const Deps& deps) {
  CREEL_TRY(auto tx, deps.db.begin());
  CREEL_TRY(auto row, find_own(tx, *request.caller, request.query_value("agentId")));
  if (!row) return std::optional<Asked>{};
  Asked asked{std::move(*row), {}};
  // Without its template nobody knows how to ask it; what is stored can be read all the same.
  if (can_talk(asked.row) && deps.templates.find(asked.row.template_name) != nullptr) {
    CREEL_TRY(asked.target, gateway_of(tx, asked.row, deps));
  }
  return std::optional{std::move(asked)};
}

Response gateway_failure(const Request& request, const AgentId& agent, const Error& error) {
  Error said = error;
  if (error.kind == ErrorKind::unavailable || error.kind == ErrorKind::timeout || error.kind == ErrorKind::failed)
    said.message += "; the agent's log may say more: GET /api/agents/" + agent.str() + "/logs";
  return upstream_error(request, said, "AGENT_UNREACHABLE");
}

Reply agent_health(const Request& request, Deps& deps) {
  CREEL_API_TRY(auto asked, request, kFailure, find_asked(request, deps));
  if (!asked) return own_agent_not_found(request, request.query_value("agentId"));
  if (!asked->target) return json_answer(200, health_without_answer(asked->row));
  Later later;
  later.start = [&deps, brief = without_body(request), row = std::move(asked->row),
                 target = *std::move(asked->target)](std::function<void(Response)> complete) {
    deps.gateways.health(target, [=, &deps](Result<gateway::GatewayHealth> health) {
      if (!health) return deps.post([=, error = health.error()] { complete(gateway_failure(brief, row.id, error)); });
      deps.gateways.skills(target, [=, &deps, health = std::move(*health)](Result<Skills> skills) {
        deps.post([=, &deps] { complete(json_answer(200, health_view(row, health, skills, deps.clock()))); });
      });
    });
  };
  return later;
}

Reply agent_skills(const Request& request, Deps& deps) {
  CREEL_API_TRY(auto asked, request, kFailure, find_asked(request, deps));
  if (!asked) return own_agent_not_found(request, request.query_value("agentId"));
  json answer{{"skills", json::array()}, {"count", 0}, {"agentId", asked->row.id.str()}};
  answer["status"] = agent_status(asked->row);
  if (!asked->target) {
    answer["message"] = "The agent's skills are known while it runs; start it with POST /api/instance/" +
                        asked->row.id.str() + "/start";
    return json_answer(200, answer);
  }
  Later later;
  later.start = [&deps, brief = without_body(request), agent = asked->row.id, answer = std::move(answer),
                 target = *std::move(asked->target)](std::function<void(Response)> complete) {
    deps.gateways.skills(target, [=, &deps](Result<Skills> skills) {
      deps.post([=] {
        if (!skills) return complete(gateway_failure(brief, agent, skills.error()));
        json full = answer;
        for (const auto& skill : *skills) full["skills"].push_back(skill_view(skill));
        full["count"] = skills->size();
        complete(json_answer(200, full));
      });
    });
  };
  return later;
}

Reply update_skill(const Request& request, const json& body, Deps& deps) {
  CREEL_API_TRY(const auto skill_field, request, "", text_field(body, "skillId"));
  const std::string skill = trimmed(skill_field.value_or(""));
  if (!plain_text(skill, 1, 128))
    return invalid_answer(request, "skillId", "The field skillId is required: one of GET /api/agent?action=skills");
  CREEL_API_TRY(const auto enabled, request, "", bool_field(body, "enabled"));
  if (!enabled) return invalid_answer(request, "enabled", "The field enabled is required: true or false");
  CREEL_API_TRY(const auto agent, request, "", agent_id_of(request, body));
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_own(tx, *request.caller, agent));
  if (!row) return own_agent_not_found(request, agent);
  if (row->desired == DesiredState::stopped) return not_running(request, *row);
  CREEL_API_TRY(const auto target, request, kFailure, gateway_of(tx, *row, deps));
  if (!can_talk(*row))
    return gateway_failure(request, row->id,
                           Error{ErrorKind::unavailable, "The agent is not ready yet; try again when it is", {}, {}});

  Later later;
  later.start = [&deps, brief = without_body(request), id = row->id, skill, enabled = *enabled,
                 target](std::function<void(Response)> complete) {
    deps.gateways.set_skill(target, skill, enabled, [=, &deps](Result<gateway::GatewaySkill> set) {
      deps.post([=, &deps] {
        if (!set && set.error().kind == ErrorKind::not_found)
          return complete(error_answer(brief, 404, "SKILL_NOT_FOUND",
                                       "The agent has no such skill; GET /api/agent?action=skills lists those it has"));
        if (!set) return complete(gateway_failure(brief, id, set.error()));
        const auto recorded = [&]() -> Result<void> {
          CREEL_TRY(auto event_tx, deps.db.begin());
          CREEL_CHECK(record_event(event_tx, id, "audit", set->enabled ? "SkillEnabled" : "SkillDisabled",
                                   "The skill " + skill + (set->enabled ? " was enabled" : " was disabled"), brief));
          return event_tx.commit();
        }();
        if (!recorded) spdlog::warn("agent {}: {}", id.str(), recorded.error().message);
        complete(json_answer(
            200, json{{"success", true}, {"skillId", set->id}, {"enabled", set->enabled}, {"agentId", id.str()}}));
      });
    });
  };
  return later;
}

}  // namespace creel::api
