// Credentials of an agent: keys of model providers and tokens of channels. What is set is shown, never the value.
#include <nlohmann/json.hpp>
#include <set>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/channels.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "controller/store/agent_secrets.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/known_secrets.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Internal error";

std::string known_keys() {
  std::string keys;
  for (const auto& kind : credential_kinds()) keys += (keys.empty() ? "" : ", ") + std::string{kind.key};
  return keys;
}

struct Change {
  const CredentialKind* kind = nullptr;
  std::string value;  // "" = remove
};

Result<Change> read(const json& body) {
  Change change;
  CREEL_TRY(const auto key, text_field(body, "key"));
  if (!key || key->empty()) return invalid("key", "The field key is required: one of " + known_keys());
  change.kind = find_credential(*key);
  if (change.kind == nullptr) return invalid("key", "There is no such credential; key must be one of " + known_keys());
  CREEL_TRY(const auto value, text_field(body, "value"));
  if (!value) return invalid("value", "The field value is required; an empty text removes the credential");
  change.value = trimmed(*value);
  if (!change.value.empty()) CREEL_CHECK(check_credential(change.kind->key, "value", change.value));
  return change;
}

// False: it is so already.
Result<bool> store_change(store::Tx& tx, const AgentId& agent, const Change& change, const secrets::Sealer& sealer) {
  const std::string name{change.kind->secret};
  CREEL_TRY(const auto before, open_secret(tx, agent, name, sealer));
  if (before.value_or("") == change.value) return false;
  CREEL_CHECK(store::keep_former(tx, agent, name, sealer));
  if (change.value.empty()) return store::delete_secret(tx, agent, name);
  CREEL_CHECK(seal_secret(tx, agent, name, change.value, sealer));
  return true;
}

}  // namespace

Reply list_credentials(const Request& request, Deps& deps) {
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  const std::string agent = request.query_value("agentId");
  CREEL_API_TRY(const auto row, request, kFailure, find_own(tx, *request.caller, agent));
  if (!row) return own_agent_not_found(request, agent);
  CREEL_API_TRY(const auto names, request, kFailure, store::secret_names(tx, row->id));
  const std::set<std::string, std::less<>> set{names.begin(), names.end()};
  json credentials = json::object();
  for (const auto& kind : credential_kinds()) credentials[std::string{kind.key}] = set.contains(kind.secret);
  return json_answer(200, json{{"credentials", std::move(credentials)}, {"agentId", row->id.str()}});
}

Reply set_credential(const Request& request, const json& body, Deps& deps) {
  CREEL_API_TRY(const Change change, request, "", read(body));
  CREEL_API_TRY(const std::string agent, request, "", agent_id_of(request, body));
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(auto row, request, kFailure, find_own(tx, *request.caller, agent, true));
  if (!row) return own_agent_not_found(request, agent);

  const std::string key{change.kind->key};
  json answer{{"success", true}, {"key", key}, {"configured", !change.value.empty()}, {"agentId", row->id.str()}};
  CREEL_API_TRY(const bool changed, request, kFailure, store_change(tx, row->id, change, deps.sealer));
  if (changed) {
    if (key == "whatsapp" && !change.value.empty()) {
      // Meta asks for this word once, when the webhook is set up; it is made with the first token.
      CREEL_API_TRY(const auto word, request, kFailure, open_secret(tx, row->id, "whatsapp_verify_token", deps.sealer));
      if (!word) {
        const std::string made = random_hex(16);
        CREEL_API_CHECK(request, kFailure, seal_secret(tx, row->id, "whatsapp_verify_token", made, deps.sealer));
        answer["whatsapp"] = {{"webhookPath", whatsapp_webhook_path(row->id.str())}, {"verifyToken", made}};
      }
    }
    // Whether the agent must restart for it is a property of the files that change.
    CREEL_API_CHECK(request, kFailure, render_again(tx, *row, deps));
    CREEL_API_CHECK(
        request, kFailure,
        record_event(tx, row->id, "wish", change.value.empty() ? "CredentialRemoved" : "CredentialSet",
                     "The credential " + key + (change.value.empty() ? " was removed" : " was set"), request));
    CREEL_API_CHECK(request, kFailure, tx.commit());
  }
  answer["generation"] = row->generation;
  return json_answer(200, answer);
}

}  // namespace creel::api
