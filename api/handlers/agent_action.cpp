// /api/agent: one address for what people do with an agent, told apart by "action".
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

using GetAction = Reply (*)(const Request&, Deps&);
using PostAction = Reply (*)(const Request&, const json&, Deps&);

constexpr std::pair<std::string_view, GetAction> kGets[] = {
    {"health", agent_health}, {"sessions", agent_sessions}, {"session", agent_session},
    {"memory", agent_memory}, {"skills", agent_skills},     {"credentials", list_credentials}};
constexpr std::pair<std::string_view, PostAction> kPosts[] = {{"chat", agent_chat},
                                                              {"create-session", create_session},
                                                              {"update-skill", update_skill},
                                                              {"set-credential", set_credential}};

template <class Handler, std::size_t Count>
Handler find(const std::pair<std::string_view, Handler> (&actions)[Count], std::string_view action) {
  for (const auto& [name, handler] : actions)
    if (name == action) return handler;
  return nullptr;
}

template <class Actions>
Response unknown_action(const Request& request, const Actions& actions, const char* code) {
  std::string names;
  for (const auto& [name, handler] : actions) names += (names.empty() ? "" : ", ") + std::string{name};
  return invalid_answer(request, "action", "Invalid action; action must be one of " + names, code);
}

// Nothing of it depends on the agent; but one that is named must be the caller's here too.
Reply list_endpoints(const Request& request, Deps& deps) {
  if (const std::string agent = request.query_value("agentId"); !agent.empty()) {
    CREEL_API_TRY(auto tx, request, "Internal error", deps.db.begin());
    CREEL_API_TRY(const auto row, request, "Internal error", find_own(tx, *request.caller, agent));
    if (!row) return agent_not_found(request);
  }
  return json_answer(200, json{{"apiVersion", kApiVersion},
                               {"agentbotVersion", CREEL_VERSION},
                               {"endpoints",
                                {{"GET /api/agent", "List endpoints"},
                                 {"GET /api/agent?action=health", "Health status"},
                                 {"GET /api/agent?action=sessions", "List sessions"},
                                 {"GET /api/agent?action=session&sessionId=xxx", "Get session details"},
                                 {"GET /api/agent?action=memory", "Get agent memory"},
                                 {"GET /api/agent?action=skills", "List available skills"},
                                 {"GET /api/agent?action=credentials", "List configured credentials"},
                                 {"POST /api/agent", "Send message to agent"},
                                 {"POST /api/agent?action=create-session", "Create new session"},
                                 {"POST /api/agent?action=update-skill", "Enable/disable skill"}}}});
}

}  // namespace

Reply get_agent_action(const Request& request, Deps& deps) {
  const std::string action = request.query_value("action");
  if (action.empty()) return list_endpoints(request, deps);
  const GetAction handler = find(kGets, action);
  return handler != nullptr ? handler(request, deps) : unknown_action(request, kGets, "INVALID_QUERY");
}

Reply post_agent_action(const Request& request, Deps& deps) {
  CREEL_API_TRY(const auto body, request, "", json_object(request));
  CREEL_API_TRY(const auto field, request, "", text_field(body, "action"));
  // The list of endpoints writes it as a query parameter, the document's requests as a field, which counts.
  const std::string in_query = request.query_value("action");
  if (!in_query.empty() && find(kPosts, in_query) == nullptr) return unknown_action(request, kPosts, "INVALID_QUERY");
  std::string action = field.value_or("");
  if (action.empty()) action = in_query.empty() ? "chat" : in_query;
  const PostAction handler = find(kPosts, action);
  return handler != nullptr ? handler(request, body, deps) : unknown_action(request, kPosts, "INVALID_BODY");
}

}  // namespace creel::api
