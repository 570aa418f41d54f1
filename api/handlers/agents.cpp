// Agents as their owners see them: lists, details, the plan, deletion.
#include "controller/store/agents.hpp"

#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"
#include "controller/store/cursor.hpp"
#include "controller/store/verifications.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr std::chrono::seconds kLongestWait{180};

// Members "agents" and "count", and "nextCursor" where the list goes on.
Result<json> listed(const Request& request, Deps& deps) {
  const Caller& caller = *request.caller;
  const std::size_t limit = limit_of(request, kMaxListed, kMaxListed);
  CREEL_TRY(auto tx, deps.db.begin());
  const std::optional<UserId> owner = caller.admin ? std::nullopt : std::optional{caller.id};
  CREEL_TRY(auto rows, store::list_agents(tx, owner, limit + 1, request.query_value("cursor")));
  json answer;
  cut_page(answer, rows, limit);
  answer["agents"] = json::array();
  for (const auto& row : rows) answer["agents"].push_back(list_item(row, deps.settings));
  answer["count"] = rows.size();
  return Result<json>{boost::system::in_place_value, std::move(answer)};
}

Response deleted_answer(const std::string& id, bool pending) {
  json body{{"success", true}, {"deleted", id}};
  if (pending) body["pending"] = true;
  return json_answer(200, body);
}

}  // namespace

Reply list_agents(const Request& request, Deps& deps) {
  // What is asked wrongly is wrong for nobody too.
  if (const std::string cursor = request.query_value("cursor"); !cursor.empty())
    CREEL_API_CHECK(request, "", store::parse_cursor(cursor));
  if (!request.caller) return json_answer(200, json{{"agents", json::array()}, {"count", 0}, {"status", "ok"}});
  CREEL_API_TRY(json answer, request, "Failed to fetch agents", listed(request, deps));
  answer["status"] = "ok";
  return json_answer(200, answer);
}

Reply list_provisioned(const Request& request, Deps& deps) {
  CREEL_API_TRY(json answer, request, "Failed to list agents", listed(request, deps));
  answer["success"] = true;
  return json_answer(200, answer);
}

Reply get_agent(const Request& request, Deps& deps) {
  CREEL_API_TRY(auto tx, request, "Failed to fetch agent", deps.db.begin());
  CREEL_API_TRY(const auto row, request, "Failed to fetch agent", find_agent(tx, *request.caller, request.param("id")));
  if (!row) return agent_not_found(request);
  CREEL_API_TRY(const auto verification, request, "Failed to fetch agent", store::get_verification(tx, row->id));
  return json_answer(200, json{{"agent", agent_detail(*row, verification, deps.settings)}, {"status", "ok"}});
}

namespace {

// The lines of to_string(Plan): "create: no container exists", "wait: why", "converged".
json actions_of(const std::string& plan) {
  json actions = json::array();
  for (std::size_t at = 0; at < plan.size();) {
    const std::size_t end = std::min(plan.find('\n', at), plan.size());
    const std::string line = plan.substr(at, end - at);
    const auto colon = line.find(": ");
    if (colon != std::string::npos && !line.starts_with("wait: "))
      actions.push_back({{"action", line.substr(0, colon)}, {"why", line.substr(colon + 2)}});
    at = end + 1;
  }
  return actions;
}

json waiting_for(const std::string& plan) {
  const std::size_t at = plan.starts_with("wait: ") ? 0 : plan.find("\nwait: ");
  if (at == std::string::npos) return nullptr;
  return plan.substr(plan.find(": ", at) + 2);
}

json observed_of(const AgentStatus& status) {
  const Seen& seen = status.seen;
  return json{{"container", seen.container},
              {"containerId", status.runtime_id.empty() ? json(nullptr) : json(status.runtime_id)},
              {"startedAt", status.started_at ? json(to_rfc3339(*status.started_at)) : json(nullptr)},
              {"exits", seen.exits},
              {"ready", seen.ready ? json(*seen.ready) : json(nullptr)},
              {"volume", seen.volume},
              {"image", seen.image}};
}

json cause_of(const AgentStatus& status) {
  if (status.cause.empty()) return nullptr;
  return json{{"reason", status.cause}, {"message", status.message}, {"log", status.last_lines}};
}

}  // namespace

Reply get_plan(const Request& request, Deps& deps) {
  CREEL_API_TRY(auto tx, request, "Failed to fetch plan", deps.db.begin());
  CREEL_API_TRY(const auto row, request, "Failed to fetch plan", find_agent(tx, *request.caller, request.param("id")));
  if (!row) return agent_not_found(request);
  json answer{{"agentId", row->id.str()},
              {"plan", row->status.plan},
              {"desired", to_string(row->desired)},
              {"observed", observed_of(row->status)},
              {"actions", actions_of(row->status.plan)},
              {"waitingFor", waiting_for(row->status.plan)},
              {"cause", cause_of(row->status)},
              {"nextAttempt", row->status.next_attempt ? json(to_rfc3339(*row->status.next_attempt)) : json(nullptr)}};
  add_state(answer, *row);
  answer["status"] = "ok";
  return json_answer(200, answer);
}

namespace {

Reply remove_agent(const Request& request, Deps& deps) {
  const std::string id_text = request.param("id");
  CREEL_API_TRY(const auto wait, request, "", wait_of(request, deps.settings.lifecycle_wait, kLongestWait));
  CREEL_API_TRY(const bool purge, request, "", flag_of(request, "purge"));
  const auto id = AgentId::parse(id_text);
  if (!id) return agent_not_found(request);

  CREEL_API_TRY(auto tx, request, "Failed to delete agent", deps.db.begin());
  CREEL_API_TRY(auto row, request, "Failed to delete agent", store::get_agent(tx, *id, true));
  if (!row) {
    // Gone for good: a repeated DELETE gets the same answer, from those who could have sent the first.
    CREEL_API_TRY(const bool known, request, "Failed to delete agent", was_deleted(tx, *request.caller, *id));
    return known ? deleted_answer(id_text, false) : agent_not_found(request);
  }
  if (!request.caller->admin && row->owner != request.caller->id) return agent_not_found(request);

  if (row->desired != DesiredState::deleted || (purge && !row->purge)) {
    row->desired = DesiredState::deleted;
    row->purge = row->purge || purge;
    if (!row->deleted_at) row->deleted_at = deps.clock();
    CREEL_API_CHECK(request, "Failed to delete agent", store::save_wish(tx, *row));
    CREEL_API_CHECK(request, "Failed to delete agent",
                    record_event(tx, row->id, "wish", "Deleted",
                                 row->purge ? "Agent and its volume were deleted" : "Agent was deleted", request));
    CREEL_API_CHECK(request, "Failed to delete agent", tx.commit());
  }
  const auto gone = [generation = row->generation](const std::optional<store::AgentRow>& now) {
    return !now || (now->status.phase == Phase::deleted && now->status.observed_generation >= generation);
  };
  if (wait.count() == 0 || gone(*row)) return deleted_answer(id_text, !gone(*row));
  Later later;
  later.start = [&deps, id = *id, wait, gone](std::function<void(Response)> complete) {
    deps.waiters.wait(id, wait, gone, [id, complete = std::move(complete)](WaitOutcome outcome) {
      complete(deleted_answer(id.str(), !outcome.satisfied));
    });
  };
  return later;
}

}  // namespace

Reply delete_agent(const Request& request, Deps& deps) {
  return deprecated(remove_agent(request, deps), "/api/instance/:id/stop", request.param("id"));
}

}  // namespace creel::api
