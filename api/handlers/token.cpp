// The token that an agent's gateway accepts: read, and replaced by a new one.
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"
#include "controller/store/agents.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLongestWait{180};
constexpr std::chrono::milliseconds kBetweenChecks{500};

// A new token, which the gateway accepts once the files are delivered.
Result<std::string> make_token(store::Tx& tx, store::AgentRow& row, const Deps& deps) {
  const std::string token = random_hex(32);
  CREEL_CHECK(seal_secret(tx, row.id, "gateway_token", token, deps.sealer));
  CREEL_CHECK(render_again(tx, row, deps));
  return token;
}

bool reachable(const store::AgentRow& row) { return is_running(row) && !row.status.address.empty(); }

// Waiting longer would be in vain.
bool cannot_run(const store::AgentRow& row) {
  return row.desired != DesiredState::running || agent_status(row) == "error";
}

// From the stored wish to the gateway's own word that the new token is in force.
struct Rotation : std::enable_shared_from_this<Rotation> {
  Deps& deps;
  AgentId agent;
  std::uint64_t generation;
  std::string token;
  std::string address;  // of the gateway, once the files are delivered
  SteadyClock::time_point answer_by;
  std::function<void(Response)> complete;

  Rotation(Deps& all, const store::AgentRow& row, std::string made)
      : deps(all), agent(row.id), generation(row.generation), token(std::move(made)) {}

  Response answer(bool accepted) const {
    json body{{"token", token}, {"accepted", accepted}, {"agentId", agent.str()}, {"generation", generation}};
    if (!accepted) {
      body["pending"] = true;
      body["message"] = "The token is stored and will be delivered; the agent's gateway does not accept it yet";
    }
    return json_answer(200, body);
  }

  void wait(std::chrono::milliseconds longest) {
    answer_by = SteadyClock::now() + longest;
    deps.waiters.wait(
        agent, longest,
        [wished = generation](const auto& seen) {
          return !seen || (seen->status.observed_generation >= wished && (reachable(*seen) || cannot_run(*seen)));
        },
        [self = shared_from_this()](WaitOutcome outcome) {
          if (!outcome.satisfied || !outcome.row || !reachable(*outcome.row))
            return self->complete(self->answer(false));
          self->address = outcome.row->status.address;
          self->check();
        });
  }

  // The file is there before the gateway has read it again.
  void check() {
    deps.accepts_token(address, token, [self = shared_from_this()](Result<bool> accepts) {
      if (accepts && *accepts) return self->complete(self->answer(true));
      const bool stopping = !accepts && accepts.error().kind == ErrorKind::cancelled;
      if (stopping || SteadyClock::now() + kBetweenChecks > self->answer_by) return self->complete(self->answer(false));
      self->deps.timer.after(kBetweenChecks, [self] { self->check(); });
    });
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
                  record_event(tx, row->id, "audit", "TokenRead", "The gateway token was read", *request.caller));
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
  CREEL_API_CHECK(request, kFailure,
                  record_event(tx, row->id, "audit", "TokenRotated", "The gateway token was replaced by a new one",
                               *request.caller));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  const auto rotation = std::make_shared<Rotation>(deps, *row, std::move(token));
  // A stopped agent gets it with its next start.
  if (wait.count() == 0 || row->desired != DesiredState::running) return rotation->answer(false);
  Later later;
  later.start = [rotation, wait](std::function<void(Response)> complete) {
    rotation->complete = std::move(complete);
    rotation->wait(wait);
  };
  return later;
}

}  // namespace creel::api
