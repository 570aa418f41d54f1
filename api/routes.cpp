#include "api/routes.hpp"

#include "api/handlers/handlers.hpp"

namespace creel::api {

// clang-format off
const std::vector<Route>& routes() {
  using enum Who;
  using Rate = RateClass;
  static const std::vector<Route> table{
      // method, pattern, who, limit, sentence of a 500, handler, lifecycle shape
      {"POST", "/api/auth/login", anonymous, Rate::api, "Failed to log in", login},
      {"POST", "/api/auth/logout", user, Rate::api, "Failed to log out", logout},
      {"GET", "/api/auth/session", anonymous, Rate::api, "Failed to fetch session", session},
      {"POST", "/api/auth/signup", anonymous, Rate::api, "Failed to sign up", signup},
      {"GET", "/api/keys", user, Rate::api, "Failed to list keys", list_keys},
      {"POST", "/api/keys", user, Rate::api, "Failed to create key", create_key},
      {"DELETE", "/api/keys/:id", user, Rate::api, "Failed to delete key", delete_key},
      {"GET", "/api/admin/users", admin, Rate::api, "Failed to list users", list_users},
      {"POST", "/api/admin/users", admin, Rate::api, "Failed to create user", create_user},
      {"GET", "/api/admin/orphans", admin, Rate::api, "Failed to list orphans", list_orphans},
      {"POST", "/api/billing/webhook", open, Rate::api, "Failed to apply the billing event", billing_webhook},

      {"GET", "/api/agents", anonymous, Rate::api, "Failed to fetch agents", list_agents},
      {"POST", "/api/agents", user, Rate::api, "Failed to provision agent", provision_deprecated},
      {"POST", "/api/agents/provision", user, Rate::api, "Failed to provision agent", provision},
      {"GET", "/api/agents/provision", user, Rate::api, "Failed to list agents", list_provisioned},
      {"POST", "/api/provision", user, Rate::provision, "Internal server error", provision_channels},
      {"GET", "/api/agents/:id", user, Rate::api, "Failed to fetch agent", get_agent},
      {"PUT", "/api/agents/:id", user, Rate::api, "Failed to update agent", put_config_deprecated},
      {"DELETE", "/api/agents/:id", user, Rate::api, "Failed to delete agent", delete_agent},
      {"GET", "/api/agents/:id/config", user, Rate::api, "Failed to fetch configuration", get_config},
      {"PUT", "/api/agents/:id/config", user, Rate::api, "Failed to update configuration", put_config},
      {"GET", "/api/agents/:id/egress", user, Rate::api, "Failed to fetch egress", get_egress},
      {"PUT", "/api/agents/:id/egress", user, Rate::api, "Failed to update egress", put_egress},
      {"GET", "/api/agents/:id/logs", user, Rate::api, "Failed to fetch logs", agent_logs},
      {"GET", "/api/agents/:id/messages", user, Rate::api, "Failed to fetch messages", agent_messages},
      {"GET", "/api/agents/:id/stats", user, Rate::api, "Failed to fetch stats", agent_stats},
      {"GET", "/api/agents/:id/stats/history", user, Rate::api, "Failed to fetch stats history", agent_stats_history},
      {"GET", "/api/agents/:id/plan", user, Rate::api, "Failed to fetch plan", get_plan},
      {"POST", "/api/agents/:id/ticket", user, Rate::api, "Failed to make a ticket", make_ticket},
      {"GET", "/api/agents/:id/events", user, Rate::api, "Failed to fetch events", agent_events},
      {"GET", "/api/agents/:id/verify", user, Rate::api, "Failed to fetch verification", get_verification},
      {"POST", "/api/agents/:id/verify", user, Rate::api, "Failed to verify agent", verify_agent},
      {"DELETE", "/api/agents/:id/verify", user, Rate::api, "Failed to remove verification", remove_verification},
      {"POST", "/api/agents/:id/verify/challenge", user, Rate::api, "Failed to make a challenge", verification_challenge},
      {"GET", "/api/events", user, Rate::api, "Failed to fetch events", all_events},

      {"GET", "/api/channels/whatsapp/:agentId/webhook", open, Rate::api, "Failed to verify the webhook", whatsapp_handshake},
      {"POST", "/api/channels/whatsapp/:agentId/webhook", open, Rate::api, "Failed to take the delivery", whatsapp_webhook},

      {"GET", "/api/instance/:userId", user, Rate::instance, "Failed to fetch instance", get_instance, true},
      {"POST", "/api/instance/:userId/start", user, Rate::instance, "Internal server error", start_instance, true},
      {"POST", "/api/instance/:userId/stop", user, Rate::instance, "Internal server error", stop_instance, true},
      {"POST", "/api/instance/:userId/restart", user, Rate::instance, "Internal server error", restart_instance, true},
      {"POST", "/api/instance/:userId/repair", user, Rate::instance, "Repair failed", repair_instance, true},
      {"POST", "/api/instance/:userId/update", user, Rate::instance, "Internal server error", update_instance, true},
      {"POST", "/api/instance/:userId/reset-memory", user, Rate::instance, "Reset failed", reset_memory, true},
      {"GET", "/api/instance/:userId/stats", user, Rate::instance, "Failed to fetch stats", instance_stats, true},
      {"GET", "/api/instance/:userId/token", user, Rate::instance, "Failed to get token", get_token, true},
      {"POST", "/api/instance/:userId/token/rotate", user, Rate::instance, "Failed to rotate token", rotate_token, true},

      {"GET", "/api/agent", user, Rate::api, "Internal error", get_agent_action},
      {"POST", "/api/agent", user, Rate::chat, "Internal error", post_agent_action},
      {"POST", "/api/chat", user, Rate::chat, "Failed to send message", chat},
      {"GET", "/api/chat", user, Rate::chat, "Failed to fetch messages", list_chat},

      {"GET", "/integrations/caddy/ask", open, Rate::none, "Internal server error", caddy_ask},
      {"GET", "/integrations/traefik", open, Rate::none, "Internal server error", traefik},

      {"GET", "/healthz", open, Rate::none, "Internal server error", healthz, false, kBodyLimit, true},
      {"GET", "/readyz", open, Rate::none, "Internal server error", readyz},
      {"GET", "/metrics", open, Rate::none, "Internal server error", metrics, false, kBodyLimit, true},
      {"GET", "/openapi.json", open, Rate::none, "Internal server error", openapi},
  };
  return table;
}
// clang-format on

}  // namespace creel::api
