// API keys of the caller. The key itself is in the answer to its creation and nowhere else, ever.
#include <nlohmann/json.hpp>

#include "api/auth/credentials.hpp"
#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "controller/store/credentials.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr std::size_t kPrefixLength = 8;

json time_or_null(const std::optional<TimePoint>& time) { return time ? json(to_rfc3339(*time)) : json(nullptr); }

json key_view(const store::ApiKey& key) {
  return json{{"id", key.id},
              {"name", key.name},
              {"prefix", key.prefix},
              {"createdAt", to_rfc3339(key.created_at)},
              {"expiresAt", time_or_null(key.expires_at)},
              {"lastUsedAt", time_or_null(key.last_used_at)}};
}

}  // namespace

Reply list_keys(const Request& request, Deps& deps) {
  const std::size_t limit = limit_of(request, kMaxListed, kMaxListed);
  CREEL_API_TRY(auto tx, request, "Failed to list keys", deps.db.begin());
  CREEL_API_TRY(auto keys, request, "Failed to list keys",
                store::list_api_keys(tx, request.caller->id, limit + 1, request.query_value("cursor")));
  json answer{{"keys", json::array()}};
  cut_page(answer, keys, limit);
  for (const auto& key : keys) answer["keys"].push_back(key_view(key));
  answer["count"] = keys.size();
  return json_answer(200, answer);
}

Reply create_key(const Request& request, Deps& deps) {
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY(const auto name_given, request, "", text_field(body, "name"));
  CREEL_API_TRY(const auto expires, request, "", text_field(body, "expiresAt"));
  store::ApiKey key;
  key.name = trimmed(name_given.value_or(""));
  if (!plain_text(key.name, 1, 64))
    return invalid_answer(request, "name", "The field name is required: 1 to 64 characters");
  key.created_at = deps.clock();
  if (expires) {
    key.expires_at = parse_rfc3339(*expires);
    if (!key.expires_at || *key.expires_at <= key.created_at)
      return invalid_answer(request, "expiresAt",
                            "The field expiresAt must be a time to come, as 2027-01-31T12:00:00Z");
  }
  const Secret secret = new_api_key();
  key.id = "key_" + random_hex(8);
  key.user = request.caller->id;
  key.prefix = secret.text.substr(0, kPrefixLength);
  CREEL_API_TRY(auto tx, request, "Failed to create key", deps.db.begin());
  if (const auto created = store::create_api_key(tx, key, secret.digest); !created) {
    if (created.error().kind != ErrorKind::limit) return error_answer(request, created.error(), "Failed to create key");
    return error_answer(request, 429, created.error().code, "You have 10 API keys already; delete one first",
                        json{{"limit", store::kApiKeysPerUser}});
  }
  CREEL_API_CHECK(
      request, "Failed to create key",
      record_event(tx, AgentId{}, "audit", "KeyCreated", "API key " + key.prefix + "… was created", request));
  CREEL_API_CHECK(request, "Failed to create key", tx.commit());
  json answer = key_view(key);
  answer["success"] = true;
  answer["key"] = secret.text;
  return json_answer(201, answer);
}

Reply delete_key(const Request& request, Deps& deps) {
  CREEL_API_TRY(auto tx, request, "Failed to delete key", deps.db.begin());
  const std::string& id = request.param("id");
  CREEL_API_TRY(const bool deleted, request, "Failed to delete key", store::delete_api_key(tx, request.caller->id, id));
  if (!deleted) return error_answer(request, 404, "KEY_NOT_FOUND", "API key not found");
  CREEL_API_CHECK(request, "Failed to delete key",
                  record_event(tx, AgentId{}, "audit", "KeyDeleted", "API key " + id + " was deleted", request));
  CREEL_API_CHECK(request, "Failed to delete key", tx.commit());
  return json_answer(200, json{{"success", true}, {"deleted", id}});
}

}  // namespace creel::api
