#include "api/handlers/provisioning.hpp"

#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"
#include "controller/secrets/device_key.hpp"
#include "controller/store/idempotency.hpp"
#include "controller/store/live_streams.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr std::chrono::seconds kLongestWait{60};

Result<std::string> read_key(const Request& request) {
  const std::string key = trimmed(request.header("Idempotency-Key"));
  if (key.empty() || plain_text(key, 1, 255)) return key;
  Error error = invalid("Idempotency-Key", "The header Idempotency-Key must have 1 to 255 printable characters");
  error.code = "INVALID_HEADER";
  return error;
}

// Keyed, because the body may hold secrets that could be guessed from a plain digest.
std::string digest_of(const json& body, const Deps& deps) {
  return sha256_hex(deps.sealer.hash_key() + body.dump(-1, ' ', false, json::error_handler_t::replace));
}

std::string model_of(const AgentWish& wish) {
  if (!wish.model.empty()) return wish.model;
  return wish.tmpl->default_model.empty() ? "claude-opus-4-6" : wish.tmpl->default_model;
}

Result<void> insert(store::Tx& tx, store::AgentRow& row, const AgentWish& wish, const Request& request,
                    const Deps& deps, int limit) {
  std::map<std::string, std::string> secrets = wish.secrets;
  secrets["gateway_token"] = random_hex(32);
  secrets["device_key"] = secrets::DeviceKey::make_seed();
  CREEL_TRY(const std::string files, render_row(row, *wish.tmpl, wish.config, secrets, deps));
  CREEL_CHECK(store::insert_agent(tx, row, limit));
  for (const auto& [name, value] : secrets) CREEL_CHECK(seal_secret(tx, row.id, name, value, deps.sealer));
  if (!wish.config.empty()) CREEL_CHECK(seal_secret(tx, row.id, "config", wish.config, deps.sealer));
  CREEL_CHECK(seal_secret(tx, row.id, "files", files, deps.sealer));
  if (wish.live_stream) CREEL_CHECK(store::want_live_stream(tx, row.id, row.controller_id));
  return record_event(tx, row.id, "wish", "Provisioned", "Agent was provisioned from template " + row.template_name,
                      request);
}

Result<Response> shown(store::Tx& tx, json body, const ProvisionAnswer& answer) {
  if (answer.reveal) CREEL_CHECK(answer.reveal(tx, body));
  return json_answer(201, body);
}

Result<Response> repeated(store::Tx& tx, const store::IdempotencyOutcome& before, const ProvisionAnswer& answer) {
  json body = json::parse(before.body, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object()) return Error{ErrorKind::corrupt, "a stored answer cannot be read back", {}, {}};
  CREEL_TRY(Response response, shown(tx, std::move(body), answer));
  response.headers.emplace_back("Idempotency-Replayed", "true");
  return response;
}

// What is known at the end of the wait. It is kept too, so that a repetition gets what the first request was told in
// the end; losing that is harmless, because the answer stored with the agent itself stays.
Result<Response> at_last(Deps& deps, const store::AgentRow& row, const UserId& user, const std::string& key,
                         const ProvisionAnswer& answer) {
  CREEL_TRY(auto tx, deps.db.begin());
  CREEL_TRY(json body, answer.body(tx, row));
  const std::string text = body.dump();
  CREEL_TRY(Response response, shown(tx, std::move(body), answer));
  if (key.empty()) return response;
  auto kept = store::finish_idempotent(tx, user, key, 201, text);
  if (kept) kept = tx.commit();
  if (!kept) spdlog::debug("answer of an idempotent request was not kept: {}", kept.error().message);
  return response;
}

}  // namespace

bool container_settled(const store::AgentRow& row) {
  return row.status.observed_generation >= row.generation && agent_status(row) != "provisioning";
}

Result<AgentWish> read_wish(const json& body, const Deps& deps) {
  AgentWish wish;
  CREEL_TRY(const auto name, text_field(body, "name"));
  wish.name = trimmed(name.value_or(""));
  if (!wish.name.empty() && !plain_text(wish.name, 1, 64))
    return invalid("name", "Agent name must have 1 to 64 characters, without control characters");

  CREEL_TRY(const auto template_name, text_field(body, "template"));
  wish.tmpl = deps.templates.find(template_name.value_or(deps.settings.default_template));
  if (wish.tmpl == nullptr) {
    std::string known;
    for (const Template& tmpl : deps.templates.all()) known += (known.empty() ? "" : ", ") + tmpl.name;
    return invalid("template", "There is no such template; use one of: " + known);
  }

  CREEL_TRY(const auto model, text_field(body, "model"));
  wish.model = model.value_or("");
  if (model && !valid_model(*model))
    return invalid("model", "The field model must be claude-opus-4-6, gpt-4, custom, or an id like provider/model");

  if (const auto config = body.find("config"); config != body.end() && !config->is_null()) {
    if (!config->is_object()) return invalid("config", "The field config must be an object");
    wish.config = config->dump();
    CREEL_CHECK(check_config_fragment(*wish.tmpl, wish.config));
  }
  if (const auto egress = body.find("egress"); egress != body.end() && !egress->is_null()) {
    CREEL_TRY(wish.egress, read_egress_wish(*egress, deps.templates.presets()));
  }
  return wish;
}

Result<std::string> read_tier(const json& body, const char* field, const Deps& deps) {
  CREEL_TRY(const auto tier, text_field(body, field));
  if (tier && !deps.plans.known(*tier))
    return invalid(field, "The field " + std::string{field} + " must be the name of a plan, such as starter or pro");
  return tier.value_or("");
}

Reply make_agent(const Request& request, Deps& deps, AgentWish wish, const json& body, ProvisionAnswer answer) {
  const Caller& caller = *request.caller;
  const char* failure = answer.failure;
  CREEL_API_TRY(const auto wait, request, "", wait_of(request, deps.settings.provision_wait, kLongestWait));
  CREEL_API_TRY(const std::string key, request, "", read_key(request));

  CREEL_API_TRY(auto tx, request, failure, deps.db.begin());
  if (!key.empty()) {
    // Before the plan checks: a repetition gets the first answer even when that agent filled the plan.
    CREEL_API_TRY(const auto before, request, failure,
                  store::begin_idempotent(tx, caller.id, key, digest_of(body, deps)));
    using Kind = store::IdempotencyOutcome::Kind;
    if (before.kind == Kind::mismatch)
      return error_answer(request, 409, "IDEMPOTENCY_MISMATCH",
                          "This Idempotency-Key was used with another body in the last 24 hours");
    if (before.kind == Kind::pending)
      return error_answer(request, 409, "IDEMPOTENCY_PENDING",
                          "The first request with this Idempotency-Key has no answer to repeat; use another key");
    if (before.kind == Kind::replay) {
      CREEL_API_TRY(Response response, request, failure, repeated(tx, before, answer));
      return response;
    }
  }

  if (!caller.admin && caller.subscription_status != "active")
    return error_answer(request, 402, "PAYMENT_REQUIRED", "Active subscription required to provision agents");

  store::AgentRow row;
  row.id = new_agent_id();
  row.controller_id = deps.controller_id;
  row.owner = caller.id;
  row.name = wish.name.empty() ? "agent-" + row.id.str().substr(0, 6) : wish.name;
  row.template_name = wish.tmpl->name;
  row.model = model_of(wish);
  row.tier = deps.plans.effective(caller.plan, wish.tier, caller.admin).name;
  row.config_etag = random_hex(8);
  row.egress = wish.egress;
  row.created_at = deps.clock();
  row.updated_at = row.created_at;
  const int limit = caller.admin ? kAdminAgentLimit : deps.plans.of_user(caller.plan).agent_limit;
  if (const auto inserted = insert(tx, row, wish, request, deps, limit); !inserted) {
    const Error& error = inserted.error();
    if (error.code != "AGENT_LIMIT_REACHED") return error_answer(request, error, failure);
    CREEL_API_TRY(const int current, request, failure, store::count_agents(tx, caller.id));
    return error_answer(request, 429, "AGENT_LIMIT_REACHED", "Agent limit reached for your plan",
                        json{{"current", current}, {"limit", limit}});
  }
  CREEL_API_TRY(json body_now, request, failure, answer.body(tx, row));
  if (!key.empty())
    CREEL_API_CHECK(request, failure, store::finish_idempotent(tx, caller.id, key, 201, body_now.dump()));
  CREEL_API_TRY(Response now, request, failure, shown(tx, std::move(body_now), answer));
  CREEL_API_CHECK(request, failure, tx.commit());
  if (wait.count() == 0) return now;

  Later later;
  later.start = [&deps, now = std::move(now), id = row.id, wait, key, user = caller.id,
                 answer = std::move(answer)](std::function<void(Response)> complete) {
    deps.waiters.wait(
        id, wait, [answer](const auto& seen) { return !seen || answer.settled(*seen); },
        [&deps, now, key, user, answer, complete = std::move(complete)](WaitOutcome outcome) {
          if (!outcome.row) return complete(now);
          auto last = at_last(deps, *outcome.row, user, key, answer);
          complete(last ? std::move(*last) : now);
        });
  };
  return later;
}

}  // namespace creel::api
