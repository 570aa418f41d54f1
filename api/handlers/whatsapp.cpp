// /api/channels/whatsapp/:agentId/webhook: where Meta sends what people write to an agent.
// https://developers.facebook.com/docs/graph-api/webhooks/getting-started
//
// Nobody is logged in here: the word that the owner gave Meta, and Meta's signature, vouch for a request. An agent that
// is not there, has no WhatsApp, or is not meant looks the same as a wrong word or signature, so that agents cannot be
// probed. A delivery is stored and answered at once; controller/channels/ does the rest. Meta repeats for days whatever
// is not answered with 200.
#include "api/handlers/whatsapp.hpp"

#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "api/auth/webhook_signature.hpp"
#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/channels.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/whatsapp_delivery.hpp"
#include "controller/secrets/hmac.hpp"
#include "controller/store/agent_secrets.hpp"
#include "controller/store/events.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Failed to take the delivery";
constexpr const char* kHandshakeFailure = "Failed to verify the webhook";
constexpr std::size_t kLongestChallenge = 1024;

// Sealed values of an agent that has WhatsApp; empty for every other.
struct Channel {
  std::optional<AgentId> agent;
  std::string verify_token;
  std::string app_secret;  // its own, or the one for all
  std::string phone_number_id;
};

Result<Channel> find_channel(store::Tx& tx, const std::string& id, const Deps& deps) {
  const auto agent = AgentId::parse(id);
  if (!agent) return Channel{};
  CREEL_TRY(const auto row, store::get_agent(tx, *agent));
  if (!row || row->desired == DesiredState::deleted) return Channel{};
  CREEL_TRY(const auto token, store::get_secret(tx, *agent, "whatsapp_token"));
  if (!token) return Channel{};
  const auto opened = [&](const char* name) -> Result<std::string> {
    CREEL_TRY(const auto value, open_secret(tx, *agent, name, deps.sealer));
    return value.value_or("");
  };
  Channel channel;
  channel.agent = *agent;
  CREEL_TRY(channel.verify_token, opened("whatsapp_verify_token"));
  CREEL_TRY(channel.app_secret, opened("whatsapp_app_secret"));
  CREEL_TRY(channel.phone_number_id, opened("whatsapp_phone_number_id"));
  if (channel.app_secret.empty()) channel.app_secret = deps.settings.whatsapp_app_secret;
  return channel;
}

Result<void> keep(store::Tx& tx, const AgentId& agent, const WhatsappDelivery& delivery, const std::string& source,
                  std::size_t& fresh) {
  for (const auto& message : delivery.messages) {
    CREEL_TRY(const bool kept, store::receive_whatsapp(tx, agent, message));
    fresh += kept;
  }
  for (const auto& status : delivery.statuses) {
    CREEL_TRY(const bool lost, store::note_whatsapp_status(tx, agent, status));
    if (lost)
      CREEL_CHECK(
          store::append_event(tx, Event{agent, "action", "WhatsappFailed",
                                        "A reply did not arrive on WhatsApp: " + status.error, "whatsapp", source}));
  }
  return {};
}

}  // namespace

Reply whatsapp_handshake(const Request& request, Deps& deps) {
  // Before anything that depends on the agent.
  const std::string challenge = request.query_value("hub.challenge");
  if (!plain_text(challenge, 1, kLongestChallenge))
    return invalid_answer(request, "hub.challenge",
                          "The query parameter hub.challenge must be a text of 1 to 1024 characters", "INVALID_QUERY");
  CREEL_API_TRY(auto tx, request, kHandshakeFailure, deps.db.begin());
  CREEL_API_TRY(const Channel channel, request, kHandshakeFailure, find_channel(tx, request.param("agentId"), deps));
  if (request.query_value("hub.mode") != "subscribe" || channel.verify_token.empty() ||
      !secrets::same_secret(request.query_value("hub.verify_token"), channel.verify_token))
    return error_answer(request, 403, "FORBIDDEN",
                        "This is not the verify token of this address; its owner finds both at "
                        "GET /api/instance/:userId");
  Response response;
  response.body = challenge;
  set_header(response.headers, "Content-Type", "text/plain; charset=utf-8");
  return response;
}

Reply whatsapp_webhook(const Request& request, Deps& deps) {
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const Channel channel, request, kFailure, find_channel(tx, request.param("agentId"), deps));
  if (!check_meta_signature(request.header("X-Hub-Signature-256"), request.body, channel.app_secret)) {
    if (channel.agent)
      spdlog::warn("WhatsApp: a delivery for agent {} was refused: {}", channel.agent->str(),
                   channel.app_secret.empty() ? "no app secret is set" : "its signature does not fit");
    return error_answer(request, 403, "BAD_SIGNATURE",
                        "X-Hub-Signature-256 does not fit the body, or no app secret is set for this address: its "
                        "owner sets it with set-credential whatsapp_app_secret, the operator with "
                        "WHATSAPP_APP_SECRET");
  }
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY([[maybe_unused]] const auto object, request, "", text_field(body, "object"));
  if (!body.contains("entry") || !body["entry"].is_array())
    return invalid_answer(request, "entry", "The field entry must be a list");
  const WhatsappDelivery delivery = read_whatsapp(body, channel.phone_number_id, deps.clock());
  if (delivery.malformed > 0)
    spdlog::warn("WhatsApp: {} parts of a delivery for agent {} are not understood and left out", delivery.malformed,
                 channel.agent->str());
  std::size_t fresh = 0;
  CREEL_API_CHECK(request, kFailure, keep(tx, *channel.agent, delivery, request.remote_ip, fresh));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  return json_answer(200, json{{"received", true}, {"messages", fresh}, {"statuses", delivery.statuses.size()}});
}

Result<void> add_whatsapp(json& object, store::Tx& tx, const store::AgentRow& row, const Caller& caller,
                          const Deps& deps) {
  object["whatsapp"] = nullptr;
  if (caller.id != row.owner) return {};
  CREEL_TRY(const Channel channel, find_channel(tx, row.id.str(), deps));
  if (!channel.agent) return {};
  CREEL_TRY(const auto totals, store::whatsapp_totals(tx, row.id));
  const auto text = [](const std::string& value) { return value.empty() ? json(nullptr) : json(value); };
  const std::string path = whatsapp_webhook_path(row.id.str());
  object["whatsapp"] = {{"webhookPath", path},
                        {"webhookUrl", deps.settings.public_url + path},
                        {"verifyToken", text(channel.verify_token)},
                        {"appSecretConfigured", !channel.app_secret.empty()},
                        {"phoneNumberId", text(channel.phone_number_id)},
                        {"waiting", totals.waiting},
                        {"failed", totals.failed},
                        {"lastError", text(totals.last_error)}};
  return {};
}

}  // namespace creel::api
