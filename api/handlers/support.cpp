#include "api/handlers/support.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "api/body.hpp"
#include "api/error.hpp"
#include "controller/core/agent_json.hpp"
#include "controller/core/spec_hash.hpp"
#include "controller/secrets/device_key.hpp"
#include "controller/store/agent_secrets.hpp"
#include "controller/store/events.hpp"

namespace creel::api {

using Found = std::optional<store::AgentRow>;

Result<Found> find_agent(store::Tx& tx, const Caller& caller, const std::string& id, bool for_update) {
  const auto agent = AgentId::parse(id);
  if (!agent) return Found{};
  CREEL_TRY(Found row, store::get_agent(tx, *agent, for_update));
  if (!row || row->desired == DesiredState::deleted) return Found{};
  if (!caller.admin && row->owner != caller.id) return Found{};
  return row;
}

Result<Found> find_instance(store::Tx& tx, const Caller& caller, const std::string& id, bool for_update) {
  if (id != caller.id.str()) return find_agent(tx, caller, id, for_update);
  CREEL_TRY(Found row, store::oldest_live_agent(tx, caller.id));
  // Read again under the lock: another request may have deleted it in between.
  if (row && for_update) return find_agent(tx, caller, row->id.str(), true);
  return row;
}

Result<Found> find_own(store::Tx& tx, const Caller& caller, const std::string& id, bool for_update) {
  return find_instance(tx, caller, id.empty() ? caller.id.str() : id, for_update);
}

Result<std::string> agent_id_of(const Request& request, const nlohmann::json& body) {
  CREEL_TRY(const auto id, text_field(body, "agentId"));
  return id.value_or(request.query_value("agentId"));
}

Response own_agent_not_found(const Request& request, const std::string& id) {
  if (!id.empty()) return agent_not_found(request);
  return error_answer(request, 404, "AGENT_NOT_FOUND",
                      "You have no agent yet; make one with POST /api/agents/provision");
}

Response session_not_found(const Request& request) {
  return error_answer(request, 404, "SESSION_NOT_FOUND", "Session not found");
}

Response not_running(const Request& request, const store::AgentRow& row) {
  return error_answer(request, 409, "AGENT_NOT_RUNNING",
                      "The agent is stopped; start it with POST /api/instance/" + row.id.str() + "/start",
                      nlohmann::json{{"agentId", row.id.str()}});
}

Error template_missing(const store::AgentRow& row) {
  return Error{ErrorKind::conflict,
               "The template " + row.template_name + " of this agent is not installed any more",
               {},
               "TEMPLATE_MISSING"};
}

Result<std::optional<store::ChatSession>> some_session(Result<store::ChatSession> session) {
  CREEL_TRY(auto found, std::move(session));
  return std::optional{std::move(found)};
}

Response agent_not_found(const Request& request) {
  return error_answer(request, 404, "AGENT_NOT_FOUND", "Agent not found");
}

Result<bool> was_deleted(store::Tx& tx, const Caller& caller, const AgentId& id) {
  CREEL_TRY(const auto row, store::get_agent(tx, id));
  if (row) return row->desired == DesiredState::deleted && (caller.admin || row->owner == caller.id);
  CREEL_TRY(const bool was, store::was_agent_of(tx, id, caller.admin ? std::nullopt : std::optional{caller.id}));
  if (was || !caller.admin) return was;
  // Or there was something of it that this database does not know: an orphan.
  CREEL_TRY(const auto events, store::list_events(tx, id, 0, 1));
  return !events.empty();
}

void set_next_cursor(nlohmann::json& answer, std::string cursor) { answer["nextCursor"] = std::move(cursor); }

Response instance_forbidden(const Request& request) { return error_answer(request, 403, "FORBIDDEN", "Forbidden"); }

Result<std::string> render_row(store::AgentRow& row, const Template& tmpl, const std::string& config,
                               const std::map<std::string, std::string>& secrets, const Deps& deps) {
  RenderInput input;
  input.id = row.id;
  input.name = row.name;
  input.model = row.model;
  // Another template's image is not taken by rendering anew: an image changes by an update, which can be undone.
  input.image = row.spec.image.empty() ? row.image : row.spec.image;
  input.resources = deps.plans.of_user(row.tier).resources;
  input.config = config;
  input.secrets = secrets;
  input.egress = row.egress;
  if (const auto seed = input.secrets.extract("device_key"); !seed.empty()) {
    CREEL_TRY(const auto device, secrets::DeviceKey::from_seed(seed.mapped()));
    input.secrets["device_id"] = device.id();
    input.secrets["device_public_key"] = device.public_key();
    input.secrets["device_token"] = device.token();
  }
  CREEL_TRY(Rendered rendered, render(tmpl, input, deps.templates.presets()));
  row.spec = std::move(rendered.spec);
  row.spec_hash = spec_hash(row.spec);
  row.readiness = tmpl.readiness;
  row.version = tmpl.version;
  row.files_hash = files_hash(rendered.files, deps.sealer.hash_key(), false);
  row.restart_files_hash = files_hash(rendered.files, deps.sealer.hash_key(), true);
  return nlohmann::json(rendered.files).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<std::optional<std::string>> open_secret(store::Tx& tx, const AgentId& agent, std::string_view name,
                                               const secrets::Sealer& sealer) {
  CREEL_TRY(const auto sealed, store::get_secret(tx, agent, name));
  if (!sealed) return std::optional<std::string>{};
  CREEL_TRY(auto plain, sealer.open(*sealed, secrets::secret_context(agent.str(), name)));
  return std::optional{std::move(plain)};
}

Result<std::map<std::string, std::string>> open_secrets(store::Tx& tx, const AgentId& agent,
                                                        const secrets::Sealer& sealer) {
  std::map<std::string, std::string> opened;
  CREEL_TRY(const auto names, store::secret_names(tx, agent));
  for (const auto& name : names) {
    if (name == "files" || name == "files_taken" || name == "config" || name == "former") continue;
    CREEL_TRY(auto plain, open_secret(tx, agent, name, sealer));
    if (plain) opened.emplace(name, std::move(*plain));
  }
  return opened;
}

Result<void> seal_secret(store::Tx& tx, const AgentId& agent, std::string_view name, std::string_view plain,
                         const secrets::Sealer& sealer) {
  return store::put_secret(tx, agent, name, sealer.seal(plain, secrets::secret_context(agent.str(), name)));
}

Result<void> render_again(store::Tx& tx, store::AgentRow& row, const Deps& deps) {
  const Template* tmpl = deps.templates.find(row.template_name);
  if (tmpl == nullptr) return template_missing(row);
  CREEL_TRY(const auto config, open_secret(tx, row.id, "config", deps.sealer));
  CREEL_TRY(auto secrets, open_secrets(tx, row.id, deps.sealer));
  if (!secrets.contains("device_key")) {  // the agent was made before there were any
    secrets["device_key"] = secrets::DeviceKey::make_seed();
    CREEL_CHECK(seal_secret(tx, row.id, "device_key", secrets["device_key"], deps.sealer));
  }
  CREEL_TRY(const std::string files, render_row(row, *tmpl, config.value_or(""), secrets, deps));
  CREEL_CHECK(seal_secret(tx, row.id, "files", files, deps.sealer));
  return store::save_wish(tx, row);
}

Result<void> record_event(store::Tx& tx, const AgentId& agent, const char* kind, const char* reason,
                          std::string message, const Request& request) {
  Event event;
  event.agent = agent;
  event.kind = kind;
  event.reason = reason;
  event.message = std::move(message);
  event.actor = request.caller->id.str();
  event.source = request.remote_ip;
  return store::append_event(tx, event);
}

Request without_body(const Request& request) {
  Request brief;
  brief.method = request.method;
  brief.path = request.path;
  brief.place = request.place;
  brief.params = request.params;
  brief.query = request.query;
  brief.headers = request.headers;
  brief.remote_ip = request.remote_ip;
  brief.secure = request.secure;
  brief.request_id = request.request_id;
  brief.caller = request.caller;
  return brief;
}

void mark_deprecated(Response& response, std::string successor, const std::string& id) {
  // What stands in the address of nothing may be anything, and whose an id is is not told to others.
  const auto at = successor.find(":id");
  if (at != std::string::npos && response.status != 404 && AgentId::parse(id)) successor.replace(at, 3, id);
  set_header(response.headers, "Deprecation", "true");
  set_header(response.headers, "Link", "<" + successor + ">; rel=\"successor-version\"");
}

Reply deprecated(Reply reply, std::string successor, std::string id) {
  if (auto* response = std::get_if<Response>(&reply)) {
    mark_deprecated(*response, std::move(successor), id);
  } else if (auto* later = std::get_if<Later>(&reply)) {
    later->start = [start = std::move(later->start), successor = std::move(successor),
                    id = std::move(id)](auto complete) {
      start([complete = std::move(complete), successor, id](Response response) {
        mark_deprecated(response, successor, id);
        complete(std::move(response));
      });
    };
  }
  return reply;
}

}  // namespace creel::api
