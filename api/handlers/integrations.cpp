// For reverse proxies in front of Creel: which names are agents' own. They ask themselves, from this host or as one of
// the trusted proxies; what they pass on from others is refused, because it would tell strangers which agents there
// are.
#include <nlohmann/json.hpp>

#include "api/auth/client_address.hpp"
#include "api/auth/credentials.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/proxy/place.hpp"
#include "api/view.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Internal server error";
constexpr std::size_t kMostAgents = 10'000;

// nullopt: the request may be answered.
std::optional<Response> check_asker(const Request& request, const Deps& deps) {
  const bool passed_on = !request.header("X-Forwarded-For").empty() || !request.header("Forwarded").empty();
  if (const auto address = Address::parse(request.remote_ip); address && !passed_on) {
    const auto trusted = TrustedProxies::parse(deps.settings.trusted_proxies);
    if (*address == *Address::parse("::1") || address->network(8) == *Address::parse("127.0.0.0") ||
        (trusted && trusted->contains(*address)))
      return std::nullopt;
  }
  CREEL_API_TRY(const auto caller, request, kFailure, find_caller(request, deps.db, deps.settings, deps.clock()));
  if (caller && caller->admin && !caller->by_cookie) return std::nullopt;
  return error_answer(request, 403, "FORBIDDEN",
                      "Only this host, CREEL_TRUSTED_PROXIES or an administrator's API key may ask this");
}

}  // namespace

Reply caddy_ask(const Request& request, Deps& deps) {
  if (auto refused = check_asker(request, deps)) return *std::move(refused);
  const std::string domain = request.query_value("domain");
  if (domain.empty())
    return invalid_answer(request, "domain", "domain: which name? Ask with ?domain=", "INVALID_QUERY");
  const auto place = find_place(domain, "/", deps.settings.agents_domain, /*by_path=*/false);
  std::optional<store::AgentRow> row;
  if (place) {
    CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
    CREEL_API_TRY(row, request, kFailure, store::get_agent(tx, place->agent));
  }
  if (!row || row->desired == DesiredState::deleted)
    return error_answer(request, 404, "NOT_FOUND", "This is no agent's name");
  return json_answer(200, {{"domain", domain}, {"agentId", row->id.str()}});
}

Reply traefik(const Request& request, Deps& deps) {
  if (auto refused = check_asker(request, deps)) return *std::move(refused);
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto rows, request, kFailure, store::list_agents(tx, std::nullopt, kMostAgents));
  json routers = json::object();
  for (const auto& row : rows) {
    json router{{"rule", "Host(`" + subdomain_of(deps.settings, row.id) + "`)"}, {"service", "creel"}};
    if (const std::string points = request.query_value("entryPoints"); !points.empty())
      router["entryPoints"] = json::array({points});
    if (deps.settings.agents_url_scheme == "https") {
      router["tls"] = json::object();
      if (const std::string resolver = request.query_value("certResolver"); !resolver.empty())
        router["tls"]["certResolver"] = resolver;
    }
    routers["creel-" + row.id.str()] = std::move(router);
  }
  // Traefik refuses a section that is there and empty.
  if (routers.empty()) return json_answer(200, json::object());
  const json servers = json::array({{{"url", deps.settings.public_url}}});
  return json_answer(
      200, {{"http",
             {{"routers", std::move(routers)},
              {"services", {{"creel", {{"loadBalancer", {{"servers", servers}, {"passHostHeader", true}}}}}}}}}});
}

}  // namespace creel::api
