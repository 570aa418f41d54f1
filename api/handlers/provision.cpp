// Provisioning: a wish for a new agent, in one transaction, and what was observed of it so far.
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/idempotency.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Failed to provision agent";
constexpr std::chrono::seconds kLongestWait{60};

struct Wish {
  std::string name;
  std::string model;
  std::string tier;    // "" = the caller's plan
  std::string config;  // JSON text, "" = none
  const Template* tmpl = nullptr;
};

// The document's 400s. Which template, tier and model there are is for the caller to know: they are not probed for.
Result<Wish> read_wish(const json& body, const Deps& deps) {
  Wish wish;
  CREEL_TRY(const auto name, text_field(body, "name"));
  wish.name = trimmed(name.value_or(""));
  if (wish.name.empty()) return invalid("name", "Agent name is required");
  if (!plain_text(wish.name, 1, 64))
    return invalid("name", "Agent name must have 1 to 64 characters, without control characters");

  CREEL_TRY(const auto template_name, text_field(body, "template"));
  wish.tmpl = deps.templates.find(template_name.value_or(deps.settings.default_template));
  if (wish.tmpl == nullptr) {
    std::string known;
    for (const Template& tmpl : deps.templates.all()) known += (known.empty() ? "" : ", ") + tmpl.name;
    return invalid("template", "There is no such template; use one of: " + known);
  }

  CREEL_TRY(const auto model, text_field(body, "model"));
  wish.model = model.value_or(wish.tmpl->default_model.empty() ? "claude-opus-4-6" : wish.tmpl->default_model);
  if (!valid_model(wish.model))
    return invalid("model", "The field model must be claude-opus-4-6, gpt-4, custom, or an id like provider/model");

  CREEL_TRY(const auto tier, text_field(body, "tier"));
  wish.tier = tier.value_or("");
  if (tier && !deps.plans.known(*tier))
    return invalid("tier", "The field tier must be the name of a plan: starter, pro or enterprise");

  if (const auto config = body.find("config"); config != body.end() && !config->is_null()) {
    if (!config->is_object()) return invalid("config", "The field config must be an object");
    wish.config = config->dump();
    CREEL_CHECK(check_config_fragment(*wish.tmpl, wish.config));
  }
  return wish;
}

Result<std::string> read_key(const Request& request) {
  const std::string key = trimmed(request.header("Idempotency-Key"));
  if (key.empty() || plain_text(key, 1, 255)) return key;
  Error error = invalid("Idempotency-Key", "The header Idempotency-Key must have 1 to 255 printable characters");
  error.code = "INVALID_HEADER";
  return error;
}

json answer_of(const store::AgentRow& row, const Settings& settings) {
  return json{{"success", true}, {"agent", list_item(row, settings)}};
}

// The container runs, or it is known that it does not.
bool settled(const store::AgentRow& row) {
  return row.status.observed_generation >= row.generation && agent_status(row) != "provisioning";
}

Result<void> insert(store::Tx& tx, store::AgentRow& row, const Wish& wish, const Caller& caller, const Deps& deps,
                    int limit) {
  const std::map<std::string, std::string> secrets{{"gateway_token", random_hex(32)}};
  CREEL_TRY(const std::string files, render_row(row, *wish.tmpl, wish.config, secrets, deps));
  CREEL_CHECK(store::insert_agent(tx, row, limit));
  CREEL_CHECK(seal_secret(tx, row.id, "gateway_token", secrets.at("gateway_token"), deps.sealer));
  if (!wish.config.empty()) CREEL_CHECK(seal_secret(tx, row.id, "config", wish.config, deps.sealer));
  CREEL_CHECK(seal_secret(tx, row.id, "files", files, deps.sealer));
  return record_event(tx, row.id, "wish", "Provisioned", "Agent was provisioned from template " + row.template_name,
                      caller);
}

// So that a repetition gets what the first request was told in the end. Losing this is harmless: the answer stored with
// the agent itself stays.
void keep_answer(Deps& deps, const UserId& user, const std::string& key, const Response& response) {
  auto tx = deps.db.begin();
  if (!tx) return;
  if (const auto kept = store::finish_idempotent(*tx, user, key, response.status, response.body); !kept) {
    spdlog::debug("answer of an idempotent request was not kept: {}", kept.error().message);
    return;
  }
  if (const auto committed = tx->commit(); !committed)
    spdlog::debug("answer of an idempotent request was not kept: {}", committed.error().message);
}

}  // namespace

Reply provision(const Request& request, Deps& deps) {
  const Caller& caller = *request.caller;
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY(const Wish wish, request, "", read_wish(body, deps));
  CREEL_API_TRY(const auto wait, request, "", wait_of(request, deps.settings.provision_wait, kLongestWait));
  CREEL_API_TRY(const std::string key, request, "", read_key(request));

  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  if (!key.empty()) {
    // Before the plan checks: a repetition gets the first answer even when that agent filled the plan.
    CREEL_API_TRY(const auto before, request, kFailure,
                  store::begin_idempotent(tx, caller.id, key, sha256_hex(body.dump())));
    using Kind = store::IdempotencyOutcome::Kind;
    if (before.kind == Kind::mismatch)
      return error_answer(request, 409, "IDEMPOTENCY_MISMATCH",
                          "This Idempotency-Key was used with another body in the last 24 hours");
    if (before.kind == Kind::pending)
      return error_answer(request, 409, "IDEMPOTENCY_PENDING",
                          "The first request with this Idempotency-Key has no answer to repeat; use another key");
    if (before.kind == Kind::replay) {
      Response response;
      response.status = before.status;
      response.body = before.body;
      response.headers.emplace_back("Idempotency-Replayed", "true");
      return response;
    }
  }

  if (!caller.admin && caller.subscription_status != "active")
    return error_answer(request, 402, "PAYMENT_REQUIRED", "Active subscription required to provision agents");

  store::AgentRow row;
  row.id = new_agent_id();
  row.controller_id = deps.controller_id;
  row.owner = caller.id;
  row.name = wish.name;
  row.template_name = wish.tmpl->name;
  row.model = wish.model;
  row.tier = deps.plans.effective(caller.plan, wish.tier, caller.admin).name;
  row.config_etag = random_hex(8);
  row.created_at = deps.clock();
  row.updated_at = row.created_at;
  const int limit = caller.admin ? kAdminAgentLimit : deps.plans.of_user(caller.plan).agent_limit;
  if (const auto inserted = insert(tx, row, wish, caller, deps, limit); !inserted) {
    const Error& error = inserted.error();
    if (error.code != "AGENT_LIMIT_REACHED") return error_answer(request, error, kFailure);
    CREEL_API_TRY(const int current, request, kFailure, store::count_agents(tx, caller.id));
    return error_answer(request, 429, "AGENT_LIMIT_REACHED", "Agent limit reached for your plan",
                        json{{"current", current}, {"limit", limit}});
  }
  Response now = json_answer(201, answer_of(row, deps.settings));
  if (!key.empty())
    CREEL_API_CHECK(request, kFailure, store::finish_idempotent(tx, caller.id, key, now.status, now.body));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  if (wait.count() == 0) return now;

  Later later;
  later.start = [&deps, now = std::move(now), id = row.id, wait, key,
                 user = caller.id](std::function<void(Response)> complete) {
    deps.waiters.wait(
        id, wait, [](const auto& seen) { return !seen || settled(*seen); },
        [&deps, now, key, user, complete = std::move(complete)](WaitOutcome outcome) {
          Response response = outcome.row ? json_answer(201, answer_of(*outcome.row, deps.settings)) : now;
          if (!key.empty()) keep_answer(deps, user, key, response);
          complete(std::move(response));
        });
  };
  return later;
}

Reply provision_deprecated(const Request& request, Deps& deps) {
  return deprecated(provision(request, deps), "/api/agents/provision");
}

}  // namespace creel::api
