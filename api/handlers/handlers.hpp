// Handlers: one function a route, one file a resource. Plain synchronous functions, run on the handler pool; the
// dispatcher has already checked credentials and limits. Routes that need a caller may use *request.caller.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "api/deps.hpp"
#include "api/http.hpp"

namespace creel::api {

// Of the documented API.
inline constexpr const char* kApiVersion = "1.0.0";

// auth.cpp
Reply login(const Request&, Deps&);
Reply logout(const Request&, Deps&);
Reply session(const Request&, Deps&);
Reply signup(const Request&, Deps&);
// keys.cpp
Reply list_keys(const Request&, Deps&);
Reply create_key(const Request&, Deps&);
Reply delete_key(const Request&, Deps&);
// users.cpp
Reply list_users(const Request&, Deps&);
Reply create_user(const Request&, Deps&);
// ticket.cpp
Reply make_ticket(const Request&, Deps&);
// integrations.cpp
Reply caddy_ask(const Request&, Deps&);
Reply traefik(const Request&, Deps&);
// orphans.cpp
Reply list_orphans(const Request&, Deps&);
// billing.cpp
Reply billing_webhook(const Request&, Deps&);
// agents.cpp
Reply list_agents(const Request&, Deps&);
Reply list_provisioned(const Request&, Deps&);
Reply get_agent(const Request&, Deps&);
Reply delete_agent(const Request&, Deps&);
Reply get_plan(const Request&, Deps&);
// provision.cpp
Reply provision(const Request&, Deps&);
Reply provision_deprecated(const Request&, Deps&);
// channel_provision.cpp
Reply provision_channels(const Request&, Deps&);
// config.cpp
Reply get_config(const Request&, Deps&);
Reply put_config(const Request&, Deps&);
Reply put_config_deprecated(const Request&, Deps&);
Reply get_egress(const Request&, Deps&);
Reply put_egress(const Request&, Deps&);
// whatsapp.cpp
Reply whatsapp_handshake(const Request&, Deps&);
Reply whatsapp_webhook(const Request&, Deps&);
// instance.cpp
Reply get_instance(const Request&, Deps&);
Reply start_instance(const Request&, Deps&);
Reply stop_instance(const Request&, Deps&);
Reply restart_instance(const Request&, Deps&);
Reply update_instance(const Request& request, Deps& deps);
Reply reset_memory(const Request& request, Deps& deps);
Reply repair_instance(const Request&, Deps&);
// token.cpp
Reply get_token(const Request&, Deps&);
Reply rotate_token(const Request&, Deps&);
// stats.cpp
Reply agent_stats_history(const Request&, Deps&);
Reply agent_stats(const Request&, Deps&);
Reply instance_stats(const Request&, Deps&);
// logs.cpp
Reply agent_logs(const Request&, Deps&);
// events.cpp
Reply agent_events(const Request&, Deps&);
Reply all_events(const Request&, Deps&);
// messages.cpp
Reply agent_messages(const Request&, Deps&);
// agent_action.cpp
Reply get_agent_action(const Request&, Deps&);
Reply post_agent_action(const Request&, Deps&);
// The following three are called by agent_action.cpp.
// credentials.cpp
Reply list_credentials(const Request&, Deps&);
Reply set_credential(const Request&, const nlohmann::json& body, Deps&);
// sessions.cpp
Reply agent_sessions(const Request&, Deps&);
Reply agent_session(const Request&, Deps&);
Reply agent_memory(const Request&, Deps&);
// agent_gateway.cpp
Reply agent_health(const Request&, Deps&);
Reply agent_skills(const Request&, Deps&);
Reply update_skill(const Request&, const nlohmann::json& body, Deps&);
// agent_chat.cpp
Reply agent_chat(const Request&, const nlohmann::json& body, Deps&);
Reply create_session(const Request&, const nlohmann::json& body, Deps&);
// chat.cpp
Reply chat(const Request&, Deps&);
Reply list_chat(const Request&, Deps&);
// verify.cpp
Reply get_verification(const Request&, Deps&);
Reply verification_challenge(const Request&, Deps&);
Reply verify_agent(const Request&, Deps&);
Reply remove_verification(const Request&, Deps&);
// health.cpp
Reply healthz(const Request&, Deps&);
Reply readyz(const Request&, Deps&);
Reply metrics(const Request&, Deps&);
Reply openapi(const Request&, Deps&);

}  // namespace creel::api
