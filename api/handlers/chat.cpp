// Chat: one message to the agent's own gateway. A starting agent is waited for; the answer waits for the reply, holding
// no thread. A reply that comes later than anybody waits for still lands in the agent's session.
#include <atomic>
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

constexpr const char* kFailure = "Failed to send message";
constexpr const char* kProcessing = "Agent is processing your request...";

// Everything one conversation turn needs until it is answered; answered at most once.
struct Turn {
  Request request;
  AgentId agent;
  std::string id;
  std::string message;
  std::string topic;
  std::string kind;  // of gateway
  std::string token;
  std::chrono::steady_clock::time_point answer_by;
  std::atomic<bool> answered{false};
  std::function<void(Response)> complete;

  void answer(Response response) {
    if (!answered.exchange(true)) complete(std::move(response));
  }
};

Response reply_answer(const Turn& turn, const std::string& reply, TimePoint now) {
  return json_answer(200, json{{"id", turn.id},
                               {"message", turn.message},
                               {"topic", turn.topic},
                               {"status", "sent"},
                               {"timestamp", to_rfc3339(now)},
                               {"reply", reply},
                               {"agentId", turn.agent.str()}});
}

Response unreachable(const Turn& turn, const std::string& message) {
  return error_answer(turn.request, 502, "AGENT_UNREACHABLE", message, json{{"agentId", turn.agent.str()}});
}

Response not_running(const Request& request, const store::AgentRow& row) {
  return error_answer(request, 409, "AGENT_NOT_RUNNING",
                      "The agent is stopped; start it with POST /api/instance/" + row.id.str() + "/start",
                      json{{"agentId", row.id.str()}});
}

bool can_talk(const store::AgentRow& row) {
  // An agent that is not ready now may be again: it is asked, and says so itself.
  return (row.status.phase == Phase::ready || row.status.phase == Phase::unready) && !row.status.address.empty();
}

bool cannot_run(const store::AgentRow& row) {
  return row.status.observed_generation >= row.generation &&
         (row.status.phase == Phase::crash_looping || row.status.phase == Phase::failed);
}

// Nothing more is gained by waiting.
bool decided(const std::optional<store::AgentRow>& row) {
  return !row || row->desired != DesiredState::running || can_talk(*row) || cannot_run(*row);
}

void send(const std::shared_ptr<Turn>& turn, const std::string& address, Deps& deps) {
  gateway::ChatRequest chat;
  chat.address = address;
  chat.token = turn->token;
  chat.session_key = "topic:" + turn->topic;
  chat.message = turn->message;
  // Longer than the answer waits: cutting the connection would stop the agent at its work.
  chat.deadline = std::max(deps.settings.chat_deadline, deps.settings.chat_wait);
  deps.chat(turn->kind, std::move(chat), [turn, &deps](Result<gateway::ChatReply> reply) {
    if (reply)
      turn->answer(reply_answer(*turn, reply->text, deps.clock()));
    else
      turn->answer(unreachable(*turn, reply.error().message + "; the agent's log may say more: GET /api/agents/" +
                                          turn->agent.str() + "/logs"));
  });
}

void send_or_refuse(const std::shared_ptr<Turn>& turn, const WaitOutcome& outcome, Deps& deps) {
  if (outcome.error) return turn->answer(error_answer(turn->request, *outcome.error, kFailure));
  if (!outcome.row || outcome.row->desired == DesiredState::deleted)
    return turn->answer(agent_not_found(turn->request));
  const store::AgentRow& row = *outcome.row;
  if (row.desired == DesiredState::stopped) return turn->answer(not_running(turn->request, row));
  const std::string why = row.status.message.empty() ? std::string{} : ": " + row.status.message;
  if (cannot_run(row)) return turn->answer(unreachable(*turn, "The agent does not run" + why));
  if (!can_talk(row)) return turn->answer(unreachable(*turn, "The agent did not become ready in time" + why));
  send(turn, row.status.address, deps);
}

}  // namespace

Reply chat(const Request& request, Deps& deps) {
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY(const auto message, request, "", text_field(body, "message"));
  CREEL_API_TRY(const auto topic, request, "", text_field(body, "topic"));
  CREEL_API_TRY(const auto agent, request, "", text_field(body, "agentId"));
  if (trimmed(message.value_or("")).empty()) return invalid_answer(request, "message", "Message required");
  auto turn = std::make_shared<Turn>();
  turn->message = *message;
  turn->topic = trimmed(topic.value_or(""));
  if (turn->topic.empty()) turn->topic = "general";
  if (!plain_text(turn->topic, 1, 128))
    return invalid_answer(request, "topic", "The field topic must have at most 128 characters");

  std::optional<store::AgentRow> row;
  {
    CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
    if (agent) {
      CREEL_API_TRY(row, request, kFailure, find_agent(tx, *request.caller, *agent));
    } else {
      CREEL_API_TRY(row, request, kFailure, store::oldest_live_agent(tx, request.caller->id));
    }
    if (!row)
      return agent ? agent_not_found(request)
                   : error_answer(request, 404, "AGENT_NOT_FOUND",
                                  "You have no agent yet; make one with POST /api/agents/provision");
    CREEL_API_TRY(const auto token, request, kFailure, open_secret(tx, row->id, "gateway_token", deps.sealer));
    turn->token = token.value_or("");
  }
  const Template* tmpl = deps.templates.find(row->template_name);
  if (tmpl == nullptr)
    return error_answer(request, 409, "TEMPLATE_MISSING",
                        "The template " + row->template_name + " of this agent is not installed any more");
  if (row->desired == DesiredState::stopped) return not_running(request, *row);
  turn->request = without_body(request);
  turn->agent = row->id;
  turn->id = "msg_" + random_hex(8);
  turn->kind = tmpl->gateway;

  Later later;
  later.start = [turn, &deps](std::function<void(Response)> complete) {
    turn->complete = std::move(complete);
    const auto longest = deps.settings.chat_wait;
    turn->answer_by = std::chrono::steady_clock::now() + longest;
    deps.waiters.wait(turn->agent, longest, decided, [turn, &deps](WaitOutcome outcome) {
      // The waiting for the agent and the waiting for its reply are one wait.
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(turn->answer_by - std::chrono::steady_clock::now());
      const auto timer = deps.timer.after(std::max(left, std::chrono::milliseconds{0}), [turn, &deps] {
        deps.post([turn, &deps] { turn->answer(reply_answer(*turn, kProcessing, deps.clock())); });
      });
      if (!outcome.satisfied) deps.timer.cancel(timer);  // nothing was sent, so nothing is being processed
      send_or_refuse(turn, outcome, deps);
    });
  };
  return later;
}

}  // namespace creel::api
