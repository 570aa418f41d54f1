// What several handlers need: finding an agent its caller may use, and putting a rendered wish into the row.
//
// Errors: those of the store; an agent that is not there, is deleted, or belongs to somebody else is nullopt, so that
// the three cannot be told apart from outside. Threads: any; functions with a Tx block on PostgreSQL.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "api/deps.hpp"
#include "api/http.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/messages.hpp"

namespace creel::api {

// A list without ?limit= holds everything up to so many.
inline constexpr std::size_t kMaxListed = 1'000;

// By agent id, for /api/agents/:id. Admins find everybody's.
Result<std::optional<store::AgentRow>> find_agent(store::Tx& tx, const Caller& caller, const std::string& id,
                                                  bool for_update = false);
// For /api/instance/:userId: an agent id, or the caller's own user id, which means the caller's oldest live agent.
Result<std::optional<store::AgentRow>> find_instance(store::Tx& tx, const Caller& caller, const std::string& id,
                                                     bool for_update = false);
// For routes that need not name one: as find_instance; "" means the caller's oldest live agent too.
Result<std::optional<store::AgentRow>> find_own(store::Tx& tx, const Caller& caller, const std::string& id,
                                                bool for_update = false);
// The agent that such a request names in its body or its query; "" = none.
Result<std::string> agent_id_of(const Request& request, const nlohmann::json& body);
Response agent_not_found(const Request& request);
// What find_own() did not find.
Response own_agent_not_found(const Request& request, const std::string& id);
Response session_not_found(const Request& request);
// The agent is deleted or gone for good, and the caller was its owner (administrators: it ever was).
Result<bool> was_deleted(store::Tx& tx, const Caller& caller, const AgentId& id);
void set_next_cursor(nlohmann::json& answer, std::string cursor);
// 409 AGENT_NOT_RUNNING, for an agent that is to be stopped.
Response not_running(const Request& request, const store::AgentRow& row);
// conflict TEMPLATE_MISSING.
Error template_missing(const store::AgentRow& row);
Response instance_forbidden(const Request& request);

// Renders spec, readiness, version and hashes of the row from its template; returns the files as the JSON text that is
// to be sealed under "files". `config`: the owner's fragment, "" = {}.
Result<std::string> render_row(store::AgentRow& row, const Template& tmpl, const std::string& config,
                               const std::map<std::string, std::string>& secrets, const Deps& deps);
// Every secret of the agent but "files", "files_taken" and "config", opened.
Result<std::map<std::string, std::string>> open_secrets(store::Tx& tx, const AgentId& agent,
                                                        const secrets::Sealer& sealer);
// One secret, opened; nullopt: not set.
Result<std::optional<std::string>> open_secret(store::Tx& tx, const AgentId& agent, std::string_view name,
                                               const secrets::Sealer& sealer);
Result<void> seal_secret(store::Tx& tx, const AgentId& agent, std::string_view name, std::string_view plain,
                         const secrets::Sealer& sealer);

// For an agent whose configuration or secrets were changed: renders spec and files anew, seals the files, stores the
// wish. conflict TEMPLATE_MISSING: its template is not installed any more.
Result<void> render_again(store::Tx& tx, store::AgentRow& row, const Deps& deps);

// An event by the caller of the request, from its address.
Result<void> record_event(store::Tx& tx, const AgentId& agent, const char* kind, const char* reason,
                          std::string message, const Request& request);

// For functions that may find no session.
Result<std::optional<store::ChatSession>> some_session(Result<store::ChatSession> session);
// Lists are read with one row more than `limit`: that one is cut off and "nextCursor" says where the list goes on.
template <class Row>
void cut_page(nlohmann::json& answer, std::vector<Row>& rows, std::size_t limit) {
  if (rows.size() <= limit) return;
  rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(limit), rows.end());
  set_next_cursor(answer, cursor_after(rows.back()));
}

// What a Later needs of its request: everything but the body.
Request without_body(const Request& request);
// The two headers of a deprecated route. ":id" in `successor` becomes `id`, if it is an agent's that was found.
void mark_deprecated(Response& response, std::string successor, const std::string& id = {});
// The same for any way of answering.
Reply deprecated(Reply reply, std::string successor, std::string id = {});

}  // namespace creel::api
