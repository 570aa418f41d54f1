#include "api/view.hpp"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "controller/core/agent_json.hpp"
#include "controller/core/image_reference.hpp"
#include "controller/core/template.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

// The document knows no agent without a start time: before the first start it is the time of creation.
std::string started_at(const store::AgentRow& row) {
  return to_rfc3339(row.status.started_at.value_or(row.created_at));
}

// Of an image that an update brought, its tag is all that is known of the software in it.
std::string version_of(const store::AgentRow& row) {
  const std::string& image = row.status.image;
  if (image.empty() || image == row.spec.image) return row.version;
  const auto name = parse_image_reference(image);
  return name && !name->tag.empty() ? name->tag : row.version;
}

}  // namespace

std::string agent_status(const store::AgentRow& row) { return status_word(row.status.phase); }

std::string image_of(const store::AgentRow& row) {
  return row.status.image.empty() ? row.spec.image : row.status.image;
}

bool is_running(const store::AgentRow& row) { return agent_status(row) == "running"; }

bool can_talk(const store::AgentRow& row) {
  return (row.status.phase == Phase::ready || row.status.phase == Phase::unready) && !row.status.address.empty();
}

bool is_condition(const store::AgentRow& row, std::string_view type, std::string_view status) {
  return std::any_of(row.status.conditions.begin(), row.status.conditions.end(),
                     [&](const Condition& c) { return c.type == type && c.status == status; });
}

std::string subdomain_of(const Settings& settings, const AgentId& id) {
  return id.str() + "." + settings.agents_domain;
}

std::string url_of(const Settings& settings, const AgentId& id) {
  std::string url = settings.agents_url_scheme + "://" + subdomain_of(settings, id);
  if (settings.agents_url_port != 0) url += ":" + std::to_string(settings.agents_url_port);
  return url;
}

std::string websocket_url_of(const Settings& settings, const AgentId& id) {
  return settings.gateway_url + "/agent/" + id.str();
}

void add_state(json& object, const store::AgentRow& row) {
  object["phase"] = to_string(row.status.phase);
  object["conditions"] = row.status.conditions;
  object["generation"] = row.generation;
  object["observedGeneration"] = row.status.observed_generation;
  object["message"] = row.status.message;
  object["observedAt"] =
      row.status.observed_at == TimePoint{} ? json(nullptr) : json(to_rfc3339(row.status.observed_at));
}

namespace {

// The update under way or the last one; absent when there was none.
void add_update(json& object, const store::AgentRow& row) {
  const AgentStatus& status = row.status;
  if (row.update_wish == 0) return;
  const bool ended = status.update_done >= row.update_wish;
  object["update"] = {
      {"image", row.update_image},
      {"step", ended ? json(nullptr) : json(status.update_step.empty() ? "Pending" : status.update_step)},
      {"outcome", ended ? json(status.update_outcome) : json(nullptr)},
      {"reason", ended ? status.update_reason : ""}};
}

}  // namespace

json list_item(const store::AgentRow& row, const Settings& settings) {
  json item{{"id", row.id.str()},
            {"name", row.name},
            {"model", row.model},
            {"status", agent_status(row)},
            {"websocketUrl", websocket_url_of(settings, row.id)},
            {"createdAt", to_rfc3339(row.created_at)},
            {"updatedAt", to_rfc3339(row.updated_at)},
            {"userId", row.owner.str()},
            {"template", row.template_name},
            {"plan", row.tier},
            {"url", url_of(settings, row.id)}};
  add_state(item, row);
  return item;
}

json agent_detail(const store::AgentRow& row, const std::optional<store::Verification>& verification,
                  const Settings& settings) {
  const std::string status = agent_status(row);
  json agent{{"id", row.id.str()},
             {"status", status == "running" ? "active" : status},
             {"startedAt", started_at(row)},
             {"plan", row.tier},
             {"subdomain", subdomain_of(settings, row.id)},
             {"url", url_of(settings, row.id)},
             {"openclawVersion", version_of(row)},
             {"verified", verification.has_value()},
             {"verificationType", verification ? json(verification->type) : json(nullptr)},
             {"attestationUid",
              verification && verification->attestation_uid ? json(*verification->attestation_uid) : json(nullptr)},
             {"verifiedAt", verification ? json(to_rfc3339(verification->verified_at)) : json(nullptr)},
             {"name", row.name},
             {"model", row.model},
             {"template", row.template_name},
             {"image", image_of(row)},
             {"userId", row.owner.str()},
             {"websocketUrl", websocket_url_of(settings, row.id)},
             {"createdAt", to_rfc3339(row.created_at)},
             {"updatedAt", to_rfc3339(row.updated_at)}};
  add_state(agent, row);
  add_update(agent, row);
  return agent;
}

json instance_detail(const store::AgentRow& row, const Settings& settings) {
  json instance{{"userId", row.id.str()},
                {"status", agent_status(row)},
                {"startedAt", started_at(row)},
                {"subdomain", subdomain_of(settings, row.id)},
                {"url", url_of(settings, row.id)},
                {"plan", row.tier},
                {"openclawVersion", version_of(row)},
                {"agentId", row.id.str()},
                {"name", row.name},
                {"model", row.model},
                {"websocketUrl", websocket_url_of(settings, row.id)}};
  add_state(instance, row);
  return instance;
}

json event_view(const store::StoredEvent& stored) {
  return json{{"id", stored.id},
              {"timestamp", to_rfc3339(stored.at)},
              {"agentId", stored.event.agent.empty() ? json(nullptr) : json(stored.event.agent.str())},
              {"kind", stored.event.kind},
              {"reason", stored.event.reason},
              {"message", stored.event.message},
              {"actor", stored.event.actor},
              {"source", stored.event.source.empty() ? json(nullptr) : json(stored.event.source)},
              {"durationMs", stored.event.duration ? json(stored.event.duration->count()) : json(nullptr)}};
}

bool is_admin(const store::User& user, const Settings& settings) {
  if (user.admin) return true;
  std::string email = user.email;
  std::transform(email.begin(), email.end(), email.begin(), [](unsigned char c) { return std::tolower(c); });
  return settings.admin_emails.contains(email);
}

json user_view(const store::User& user, const Settings& settings) {
  return json{{"id", user.id.str()},
              {"email", user.email},
              {"role", is_admin(user, settings) ? "admin" : "user"},
              {"plan", user.plan},
              {"subscriptionStatus", user.subscription_status}};
}

}  // namespace creel::api
