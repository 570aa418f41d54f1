// POST /api/agents/provision: a wish for a new agent, and what was observed of it so far.
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/provisioning.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

// The document's 400s. Which template, tier and model there are is for the caller to know: they are not probed for.
Result<AgentWish> read(const json& body, const Deps& deps) {
  CREEL_TRY(AgentWish wish, read_wish(body, deps));
  if (wish.name.empty()) return invalid("name", "Agent name is required");
  CREEL_TRY(wish.tier, read_tier(body, "tier", deps));
  return wish;
}

}  // namespace

Reply provision(const Request& request, Deps& deps) {
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY(AgentWish wish, request, "", read(body, deps));
  ProvisionAnswer answer;
  answer.failure = "Failed to provision agent";
  answer.body = [&deps](store::Tx&, const store::AgentRow& row) -> Result<json> {
    return Result<json>{boost::system::in_place_value,
                        json{{"success", true}, {"agent", list_item(row, deps.settings)}}};
  };
  answer.settled = container_settled;
  return make_agent(request, deps, std::move(wish), body, std::move(answer));
}

Reply provision_deprecated(const Request& request, Deps& deps) {
  return deprecated(provision(request, deps), "/api/agents/provision");
}

}  // namespace creel::api
