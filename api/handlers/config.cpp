// The owner's own configuration fragment: read and replaced whole, with ETag and If-Match.
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/known_secrets.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

// Random, not a digest: the fragment may hold keys, and a digest of a short secret can be guessed.
std::string etag_of(const store::AgentRow& row) { return "\"" + row.config_etag + "\""; }

// RFC 9110, 13.1.1: a list of tags, or "*".
bool precondition_holds(const Request& request, const std::string& etag) {
  std::string_view rest = request.header("If-Match");
  if (rest.empty()) return true;
  while (true) {
    const auto comma = rest.find(',');
    const std::string tag = trimmed(rest.substr(0, comma));
    if (tag == "*" || tag == etag) return true;
    if (comma == std::string_view::npos) return false;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace

Reply get_config(const Request& request, Deps& deps) {
  constexpr const char* kFailure = "Failed to fetch configuration";
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_agent(tx, *request.caller, request.param("id")));
  if (!row) return agent_not_found(request);
  CREEL_API_TRY(const auto text, request, kFailure, open_secret(tx, row->id, "config", deps.sealer));
  const json config = text ? json::parse(*text, nullptr, /*allow_exceptions=*/false) : json::object();
  if (config.is_discarded())
    return error_answer(request, Error{ErrorKind::corrupt, "stored configuration cannot be read back", {}, {}},
                        kFailure);
  Response response = json_answer(200, json{{"config", config}, {"status", "ok"}, {"generation", row->generation}});
  response.headers.emplace_back("ETag", etag_of(*row));
  return response;
}

Reply put_config(const Request& request, Deps& deps) {
  constexpr const char* kFailure = "Failed to update configuration";
  if (request.body.empty()) return invalid_answer(request, "body", "The body must be a JSON object");
  CREEL_API_TRY(const json config, request, "", json_object(request));

  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(auto row, request, kFailure, find_agent(tx, *request.caller, request.param("id"), true));
  if (!row) return agent_not_found(request);
  if (!precondition_holds(request, etag_of(*row))) {
    Response response = error_answer(request, 412, "PRECONDITION_FAILED",
                                     "The configuration has changed since it was read; read it again");
    response.headers.emplace_back("ETag", etag_of(*row));
    return response;
  }
  CREEL_API_CHECK(request, kFailure, store::keep_former(tx, row->id, "config", deps.sealer));
  CREEL_API_CHECK(request, kFailure, seal_secret(tx, row->id, "config", config.dump(), deps.sealer));
  row->config_etag = random_hex(8);
  CREEL_API_CHECK(request, kFailure, render_again(tx, *row, deps));
  CREEL_API_CHECK(request, kFailure,
                  record_event(tx, row->id, "wish", "ConfigChanged", "Configuration was replaced", request));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  Response response =
      json_answer(200, json{{"config", config}, {"status", "updated"}, {"generation", row->generation}});
  response.headers.emplace_back("ETag", etag_of(*row));
  return response;
}

Reply put_config_deprecated(const Request& request, Deps& deps) {
  return deprecated(put_config(request, deps), "/api/agents/:id/config", request.param("id"));
}

}  // namespace creel::api
