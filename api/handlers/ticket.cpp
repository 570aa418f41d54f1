// Tickets: how somebody who cannot send a header, a browser above all, is let in at an agent's own address.
#include <nlohmann/json.hpp>

#include "api/auth/credentials.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"
#include "controller/store/tickets.hpp"

namespace creel::api {

using nlohmann::json;

Reply make_ticket(const Request& request, Deps& deps) {
  constexpr const char* kFailure = "Failed to make a ticket";
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_agent(tx, *request.caller, request.param("id")));
  if (!row) return agent_not_found(request);
  const Secret ticket = new_session_secret();
  const TimePoint now = deps.clock();
  CREEL_API_CHECK(request, kFailure,
                  store::create_ticket(tx, store::TicketKind::ticket, row->id, request.caller->id, ticket.digest, now));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  const std::string gateway = websocket_url_of(deps.settings, row->id);  // "ws…", of which "http…" is the same door
  return json_answer(201, {{"ticket", ticket.text},
                           {"expiresAt", to_rfc3339(now + store::kTicketLifetime)},
                           {"url", url_of(deps.settings, row->id) + "/?token=" + ticket.text},
                           {"gatewayUrl", "http" + gateway.substr(2) + "/?token=" + ticket.text},
                           {"websocketUrl", gateway + "?token=" + ticket.text}});
}

}  // namespace creel::api
