#include "controller/gateway/reference_codec.hpp"

#include <nlohmann/json.hpp>

#include "controller/gateway/json.hpp"
#include "controller/gateway/openclaw_codec.hpp"

namespace creel::gateway {

using Json = nlohmann::json;

GatewayHealth reference_health(const std::string& body) {
  const Json answer = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  GatewayHealth health;
  health.version = text(member(answer, "version"));
  health.model = text(member(answer, "model"));
  if (const auto uptime = whole_number(member(answer, "uptimeMs"))) health.uptime = milliseconds{*uptime};
  return health;
}

std::vector<GatewaySession> reference_sessions(const std::string& body) {
  const Json answer = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  std::vector<GatewaySession> sessions;
  const Json& list = member(answer, "sessions");
  if (!list.is_array()) return sessions;
  for (const auto& entry : list) {
    GatewaySession session;
    session.key = key_of_openclaw(text(member(entry, "key")));
    if (session.key.empty()) continue;
    session.platform = platform_of(session.key, "");
    session.updated_at = moment(member(entry, "updatedAt"));
    session.messages = whole_number(member(entry, "messages"));
    sessions.push_back(std::move(session));
  }
  return sessions;
}

std::vector<GatewayMessage> reference_history(const std::string& session_key, const std::string& body) {
  const Json answer = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  std::vector<GatewayMessage> messages;
  const Json& list = member(answer, "messages");
  if (!list.is_array()) return messages;
  for (const auto& entry : list) {
    const auto at = moment(member(entry, "timestamp"));
    if (!at) continue;
    GatewayMessage message;
    message.from_agent = text(member(entry, "role")) == "assistant";
    message.text = text(member(entry, "content"));
    message.at = *at;
    messages.push_back(std::move(message));
  }
  name_messages(session_key, messages);
  return messages;
}

}  // namespace creel::gateway
