// The token that an agent's gateway accepts: read, and replaced by a new one.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/known_secrets.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLongestWait{180};
constexpr std::chrono::milliseconds kBetweenChecks{500};
constexpr std::chrono::milliseconds kPatience{15'000};  // with a gateway that has the file and refuses the token

// A new token, which the gateway accepts once the files are delivered.
Result<std::string> make_token(store::Tx& tx, store::AgentRow& row, const Deps& deps) {
  const std::string token = random_hex(32);
  CREEL_CHECK(store::keep_former(tx, row.id, "gateway_token", deps.sealer));
  CREEL_CHECK(seal_secret(tx, row.id, "gateway_token", token, deps.sealer));
  CREEL_CHECK(render_again(tx, row, deps));
  return token;
}

bool reachable(const store::AgentRow& row) { return is_running(row) && !row.status.address.empty(); }

// Waiting longer would be in vain.
bool cannot_run(const store::AgentRow& row) {
  return row.desired != DesiredState::running || agent_status(row) == "error";
}

// From the stored wish to the gateway's own word that the new token is in force. It goes on after the answer was given,
// because a gateway that has just started may miss that its file changed (OpenClaw watches it only some seconds after
// it is ready): one that goes on refusing the token is restarted, once.
struct Rotation : std::enable_shared_from_this<Rotation> {
  Deps& deps;
  const AgentId agent;
  const Request request;  // without its body
  const std::string token;
  std::uint64_t generation;
  std::chrono::milliseconds patience{0};
  SteadyClock::time_point end;
  SteadyClock::time_point restart_at;  // meaningful once `address` is set
  std::string address;                 // of the gateway, once the files are delivered
  bool restarted = false;
  std::atomic<bool> answered{false};
  std::function<void(Response)> complete;  // empty: nobody waits

  Rotation(Deps& all, const store::AgentRow& row, Request asked, std::string made)
      : deps(all), agent(row.id), request(std::move(asked)), token(std::move(made)), generation(row.generation) {}

  Response answer(bool accepted) const {
    json body{{"token", token}, {"accepted", accepted}, {"agentId", agent.str()}, {"generation", generation}};
    if (!accepted) {
      body["pending"] = true;
      body["message"] = "The token is stored and will be delivered; the agent's gateway does not accept it yet";
    }
    return json_answer(200, body);
  }
  void finish(bool accepted) {
    if (complete && !answered.exchange(true)) complete(answer(accepted));
  }

  void run(std::chrono::milliseconds wait) {
    const auto longest = std::max(wait, deps.settings.lifecycle_wait);
    end = SteadyClock::now() + longest;
    patience = std::min<std::chrono::milliseconds>(kPatience, longest / 3);
    if (complete) deps.timer.after(wait, [self = shared_from_this()] { self->finish(false); });
    await_delivery();
  }

  void await_delivery() {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - SteadyClock::now());
    deps.waiters.wait(
        agent, std::max(left, std::chrono::milliseconds{1}),
        [wished = generation](const auto& seen) {
          return !seen || (seen->status.observed_generation >= wished && (reachable(*seen) || cannot_run(*seen)));
        },
        [self = shared_from_this()](WaitOutcome outcome) {
          if (!outcome.satisfied || !outcome.row || !reachable(*outcome.row)) return self->finish(false);
          self->address = outcome.row->status.address;
          self->restart_at = SteadyClock::now() + self->patience;
          self->check();
        });
  }

  // The file is there before the gateway has read it again.
  void check() {
    deps.accepts_token(agent, address, token, [self = shared_from_this()](Result<bool> accepts) {
      if (accepts && *accepts) return self->finish(true);
      const auto now = SteadyClock::now();
      if (!accepts && accepts.error().kind == ErrorKind::cancelled) return self->finish(false);
      if (now + kBetweenChecks > self->end) return self->finish(false);
      if (!self->restarted && now >= self->restart_at) {
        self->restarted = true;
        return self->deps.post([self] { self->restart(); });
      }
      self->check_later();
    });
  }

  // By the waiters and not by the timer, because their stop ends it when the server stops.
  void check_later() {
    deps.waiters.wait(
        agent, kBetweenChecks, [](const auto& seen) { return !seen; },
        [self = shared_from_this()](WaitOutcome outcome) {
          const bool stopping = outcome.error && outcome.error->kind == ErrorKind::cancelled;
          if (outcome.satisfied || stopping) return self->finish(false);
          self->check();
        });
  }

  void restart() {
    if (const auto wished = wish_restart(); !wished)
      spdlog::warn("agent {} does not take its new token, and cannot be restarted: {}", agent.str(),
                   wished.error().message);
    await_delivery();
  }
  Result<void> wish_restart() {
    CREEL_TRY(auto tx, deps.db.begin());
    CREEL_TRY(auto row, store::get_agent(tx, agent, true));
    // A newer wish has its own way of delivering what there is.
    if (!row || row->desired != DesiredState::running || row->generation != generation) return {};
    ++row->restart_wish;
    CREEL_CHECK(store::save_wish(tx, *row));
    CREEL_CHECK(record_event(tx, agent, "wish", "RestartRequested",
                             "The gateway did not take its new token in by itself", request));
    CREEL_CHECK(tx.commit());
    generation = row->generation;
    return {};
  }
};

}  // namespace

Reply get_token(const Request& request, Deps& deps) {
  constexpr const char* kFailure = "Failed to get token";
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(auto row, request, kFailure, find_instance(tx, *request.caller, request.param("userId"), true));
  if (!row) return instance_forbidden(request);
  CREEL_API_TRY(auto token, request, kFailure, open_secret(tx, row->id, "gateway_token", deps.sealer));
  if (!token) {  // the agent was made before there were any
    CREEL_API_TRY(token, request, kFailure, make_token(tx, *row, deps));
  }
  CREEL_API_CHECK(request, kFailure,
                  record_event(tx, row->id, "audit", "TokenRead", "The gateway token was read", request));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  Response response = json_answer(200, json{{"token", *token}});
  response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

Reply rotate_token(const Request& request, Deps& deps) {
  constexpr const char* kFailure = "Failed to rotate token";
  CREEL_API_TRY(const auto wait, request, "", wait_of(request, deps.settings.lifecycle_wait, kLongestWait));
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(auto row, request, kFailure, find_instance(tx, *request.caller, request.param("userId"), true));
  if (!row) return instance_forbidden(request);
  CREEL_API_TRY(std::string token, request, kFailure, make_token(tx, *row, deps));
  CREEL_API_CHECK(
      request, kFailure,
      record_event(tx, row->id, "audit", "TokenRotated", "The gateway token was replaced by a new one", request));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  const auto rotation = std::make_shared<Rotation>(deps, *row, without_body(request), std::move(token));
  // A stopped agent reads it at its next start.
  if (row->desired != DesiredState::running) return rotation->answer(false);
  if (wait.count() == 0) {
    rotation->run(wait);
    return rotation->answer(false);
  }
  Later later;
  later.start = [rotation, wait](std::function<void(Response)> complete) {
    rotation->complete = std::move(complete);
    rotation->run(wait);
  };
  return later;
}

}  // namespace creel::api
