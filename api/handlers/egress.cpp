// Where an agent may go: read and replaced.
#include "controller/core/egress.hpp"

#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

// `names`: what the agent's network lets through once this generation is carried out; null: everything.
json view(const store::AgentRow& row, const Deps& deps) {
  const Template* tmpl = deps.templates.find(row.template_name);
  const EgressWish wish = row.egress ? *row.egress : tmpl != nullptr ? tmpl->egress : EgressWish{};
  return {{"egress", wish},
          {"names", row.spec.egress ? json(*row.spec.egress) : json(nullptr)},
          {"denied", row.egress_denied},
          {"generation", row.generation}};
}

}  // namespace

Reply get_egress(const Request& request, Deps& deps) {
  constexpr const char* kFailure = "Failed to fetch egress";
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_agent(tx, *request.caller, request.param("id")));
  if (!row) return agent_not_found(request);
  json body = view(*row, deps);
  body["status"] = "ok";
  return json_answer(200, body);
}

Reply put_egress(const Request& request, Deps& deps) {
  constexpr const char* kFailure = "Failed to update egress";
  CREEL_API_TRY(const json given, request, "", json_object(request));
  const auto field = given.find("egress");
  if (field == given.end() || field->is_null())
    return invalid_answer(request, "egress", "The field egress must be \"open\", \"none\", or a list of domain names");
  CREEL_API_TRY(EgressWish wish, request, "", read_egress_wish(*field, deps.templates.presets()));

  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(auto row, request, kFailure, find_agent(tx, *request.caller, request.param("id"), true));
  if (!row) return agent_not_found(request);
  row->egress = std::move(wish);
  CREEL_API_CHECK(request, kFailure, render_again(tx, *row, deps));
  CREEL_API_CHECK(
      request, kFailure,
      record_event(tx, row->id, "wish", "EgressChanged", "Egress was set to " + json(*row->egress).dump(), request));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  json body = view(*row, deps);
  body["status"] = "updated";
  return json_answer(200, body);
}

}  // namespace creel::api
