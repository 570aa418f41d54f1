// POST /api/provision: an agent with its messaging channels, its model's key and a live stream.
//
// The document names no code for the answer; it is 201, as for the other way of making an agent. Every token is checked
// for its form before anything is stored, sealed with the agent, and never answered with.
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/channels.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/live_stream.hpp"
#include "api/handlers/provisioning.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

struct ChannelWish {
  AgentWish agent;
  std::vector<std::string> warnings;
  bool whatsapp = false;
};

// A text without blanks around; "" when absent, null or empty, as web forms send what was not filled in.
Result<std::string> given(const json& body, const char* field) {
  CREEL_TRY(const auto text, text_field(body, field));
  return trimmed(text.value_or(""));
}

struct Token {
  const char* field;
  const char* key;
};
constexpr Token kTokens[] = {
    {"telegramToken", "telegram"}, {"whatsappToken", "whatsapp"}, {"discordBotToken", "discord"}};

struct Digits {
  const char* field;
  const char* secret;
  const char* what;
  std::size_t least, most;
};
// Discord's ids count milliseconds since 2015: 15 digits then, 20 at the most.
constexpr Digits kDigits[] = {
    {"telegramUserId", "telegram_user_id", "a Telegram user id", 1, 20},
    {"discordGuildId", "discord_guild_id", "a Discord server id", 15, 20},
    {"discordChannelId", "discord_channel_id", "a Discord channel id", 15, 20},
    {"whatsappPhoneNumberId", "whatsapp_phone_number_id", "a WhatsApp phone number id", 1, 32},
    {"whatsappBusinessAccountId", "whatsapp_business_account_id", "a WhatsApp Business account id", 1, 32}};

Result<void> read_channels(const json& body, ChannelWish& wish) {
  auto& secrets = wish.agent.secrets;
  bool any = false;
  for (const Token& token : kTokens) {
    CREEL_TRY(std::string value, given(body, token.field));
    if (value.empty()) continue;
    any = true;
    CREEL_CHECK(check_credential(token.key, token.field, value));
    secrets.emplace(find_credential(token.key)->secret, std::move(value));
  }
  for (const Digits& id : kDigits) {
    CREEL_TRY(std::string value, given(body, id.field));
    if (value.empty()) continue;
    CREEL_CHECK(check_digits(id.field, value, id.least, id.most, id.what));
    secrets.emplace(id.secret, std::move(value));
  }
  if (!any) return invalid("telegramToken", "At least one channel token required (Telegram, WhatsApp, or Discord)");

  wish.whatsapp = secrets.contains("whatsapp_token");
  if (wish.whatsapp) secrets["whatsapp_verify_token"] = random_hex(16);
  if (wish.whatsapp && !secrets.contains("whatsapp_phone_number_id"))
    wish.warnings.push_back(
        "Without whatsappPhoneNumberId the agent answers on every number whose messages reach its webhook");
  if (secrets.contains("discord_channel_id") && !secrets.contains("discord_guild_id"))
    wish.warnings.push_back("discordChannelId has no effect without discordGuildId");
  return {};
}

Result<void> read_provider(const json& body, ChannelWish& wish) {
  CREEL_TRY(std::string provider, given(body, "aiProvider"));
  if (provider.empty()) provider = "openrouter";
  const auto credential = provider_credential(provider);
  if (credential.empty()) return invalid("aiProvider", std::string{"The field aiProvider must be "} + kProviders);
  CREEL_TRY(std::string key, given(body, "apiKey"));
  if (key.empty()) {
    wish.warnings.push_back(
        "Without apiKey the agent cannot ask its model; give it one with POST /api/agent {\"action\": "
        "\"set-credential\", \"key\": \"" +
        std::string{credential} + "\", \"value\": …}");
  } else {
    CREEL_CHECK(check_credential(credential, "apiKey", key));
    wish.agent.secrets.emplace(credential, std::move(key));
  }
  if (wish.agent.model.empty()) {
    const auto& models = wish.agent.tmpl->provider_models;
    if (const auto model = models.find(provider); model != models.end()) wish.agent.model = model->second;
  }
  return {};
}

Result<ChannelWish> read(const json& body, const Deps& deps) {
  ChannelWish wish;
  CREEL_TRY(wish.agent, read_wish(body, deps));
  CREEL_CHECK(read_channels(body, wish));
  CREEL_CHECK(read_provider(body, wish));
  CREEL_TRY(wish.agent.tier, read_tier(body, "plan", deps));
  // The document's default; where there is no such plan, the caller's own.
  if (wish.agent.tier.empty() && deps.plans.known("free")) wish.agent.tier = "free";
  wish.agent.live_stream = true;
  return wish;
}

Result<json> answer_of(store::Tx& tx, const store::AgentRow& row, const Deps& deps,
                       const std::vector<std::string>& warnings, bool whatsapp) {
  CREEL_TRY(const LiveStreamView stream, live_stream_of(tx, row.id, deps));
  json body{{"success", true},
            {"userId", row.id.str()},
            {"subdomain", subdomain_of(deps.settings, row.id)},
            {"url", url_of(deps.settings, row.id)},
            {"streamKey", nullptr},
            {"liveStreamId", stream.id.empty() ? json(nullptr) : json(stream.id)},
            {"warnings", warnings},
            {"agentId", row.id.str()},
            {"name", row.name},
            {"status", agent_status(row)},
            {"model", row.model},
            {"plan", row.tier},
            {"websocketUrl", websocket_url_of(deps.settings, row.id)}};
  if (!stream.missing.empty()) body["warnings"].push_back(stream.missing);
  if (whatsapp) body["whatsapp"] = {{"webhookPath", whatsapp_webhook_path(row.id.str())}, {"verifyToken", nullptr}};
  return Result<json>{boost::system::in_place_value, std::move(body)};
}

Result<void> reveal(store::Tx& tx, json& body, const Deps& deps) {
  const auto agent = AgentId::parse(body["userId"].get<std::string>());
  if (!agent) return {};
  const auto show = [&](const char* secret, json& place) -> Result<void> {
    CREEL_TRY(const auto value, open_secret(tx, *agent, secret, deps.sealer));
    if (value) place = *value;
    return {};
  };
  if (!body["liveStreamId"].is_null()) CREEL_CHECK(show("stream_key", body["streamKey"]));
  if (body.contains("whatsapp")) CREEL_CHECK(show("whatsapp_verify_token", body["whatsapp"]["verifyToken"]));
  return {};
}

// Mux is given a moment too, but only as long as nothing is known of its answer.
bool stream_settled(const AgentId& agent, Deps& deps) {
  auto tx = deps.db.begin();
  if (!tx) return false;
  const auto stream = live_stream_of(*tx, agent, deps);
  return stream && stream->settled;
}

}  // namespace

Reply provision_channels(const Request& request, Deps& deps) {
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY(ChannelWish wish, request, "", read(body, deps));
  ProvisionAnswer answer;
  answer.failure = "Internal server error";
  answer.body = [&deps, warnings = std::move(wish.warnings), whatsapp = wish.whatsapp](
                    store::Tx& tx, const store::AgentRow& row) { return answer_of(tx, row, deps, warnings, whatsapp); };
  answer.settled = [&deps](const store::AgentRow& row) {
    return container_settled(row) && stream_settled(row.id, deps);
  };
  answer.reveal = [&deps](store::Tx& tx, json& shown) { return reveal(tx, shown, deps); };
  return make_agent(request, deps, std::move(wish.agent), body, std::move(answer));
}

}  // namespace creel::api
