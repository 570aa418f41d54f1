// /api/agent: one address for what people do with an agent, told apart by "action".
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"

namespace creel::api {

Reply get_agent_action(const Request& request, Deps& deps) {
  if (request.query_value("action") == "credentials") return list_credentials(request, deps);
  return invalid_answer(request, "action", "action must be credentials", "INVALID_QUERY");
}

Reply post_agent_action(const Request& request, Deps& deps) {
  CREEL_API_TRY(const auto body, request, "", json_object(request));
  CREEL_API_TRY(const auto action, request, "", text_field(body, "action"));
  if (action == "set-credential") return set_credential(request, body, deps);
  return invalid_answer(request, "action", "action must be set-credential");
}

}  // namespace creel::api
