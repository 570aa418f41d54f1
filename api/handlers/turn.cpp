#include "api/handlers/turn.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/support.hpp"
#include "api/view.hpp"
#include "controller/store/chats.hpp"

namespace creel::api {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr const char* kProcessing = "Agent is processing your request...";
constexpr int kKeepAttempts = 12;  // one to 32 s apart: some minutes

// One message until its reply or error is stored; answered at most once.
struct Turn {
  Request request;
  Said said;
  const char* failure = "";
  std::function<Response(const Said&, const std::string&, TimePoint)> answer_with;
  std::string kind;  // of gateway
  std::string token;
  std::optional<gateway::ChatQueue::Place> place;
  Chats::Hold hold;
  steady_clock::time_point answer_by;
  steady_clock::time_point give_up_at;
  std::uint64_t timer = 0;
  std::atomic<bool> answered{false};
  std::function<void(Response)> complete;

  void answer(Response response) {
    if (!answered.exchange(true)) complete(std::move(response));
  }
};
using TurnPtr = std::shared_ptr<Turn>;

bool cannot_run(const store::AgentRow& row) {
  return row.status.observed_generation >= row.generation &&
         (row.status.phase == Phase::crash_looping || row.status.phase == Phase::failed);
}

// Nothing more is gained by waiting.
bool decided(const std::optional<store::AgentRow>& row) {
  return !row || row->desired != DesiredState::running || can_talk(*row) || cannot_run(*row);
}

// Stores what became of the message; a database that is away is tried again for some minutes.
void keep(const TurnPtr& turn, Deps& deps, std::function<Result<void>(store::Tx&)> write, int attempt = 0) {
  const auto written = [&]() -> Result<void> {
    CREEL_TRY(auto tx, deps.db.begin());
    CREEL_CHECK(write(tx));
    return tx.commit();
  }();
  if (written) return turn->hold.reset();
  if (attempt >= kKeepAttempts)
    return spdlog::error("chat: what became of message {} of agent {} cannot be stored: {}", turn->said.id,
                         turn->said.agent.str(), written.error().message);
  deps.timer.after(std::chrono::seconds{1 << std::min(attempt, 5)},
                   [=, &deps] { deps.post([=, &deps] { keep(turn, deps, write, attempt + 1); }); });
}

void count(Deps& deps, const char* outcome) { deps.metrics.count("creel_messages_total", {"api", outcome}); }

void fail(const TurnPtr& turn, Deps& deps, const std::string& reason, Response response) {
  count(deps, "failed");
  deps.timer.cancel(turn->timer);
  keep(turn, deps, [id = turn->said.id, reason](store::Tx& tx) { return store::fail_message(tx, id, reason); });
  turn->answer(std::move(response));
}

void fail_unreachable(const TurnPtr& turn, Deps& deps, const std::string& reason) {
  fail(turn, deps, reason,
       error_answer(turn->request, 502, "AGENT_UNREACHABLE", reason,
                    json{{"agentId", turn->said.agent.str()}, {"id", chat_id(turn->said.id)}}));
}

// True: the agent can be talked to; else the turn has failed.
bool may_go_on(const TurnPtr& turn, const WaitOutcome& outcome, Deps& deps) {
  if (outcome.error) {
    fail(turn, deps, outcome.error->message, error_answer(turn->request, *outcome.error, turn->failure));
  } else if (!outcome.row || outcome.row->desired == DesiredState::deleted) {
    count(deps, "failed");
    turn->answer(agent_not_found(turn->request));  // and its messages are gone
  } else if (const store::AgentRow& row = *outcome.row; row.desired == DesiredState::stopped) {
    fail(turn, deps, "The agent was stopped before it got the message", not_running(turn->request, row));
  } else {
    const std::string why = row.status.message.empty() ? std::string{} : ": " + row.status.message;
    if (can_talk(row)) return true;
    fail_unreachable(turn, deps,
                     (cannot_run(row) ? "The agent does not run" : "The agent did not become ready in time") + why);
  }
  return false;
}

void settle(const TurnPtr& turn, const Result<gateway::ChatReply>& reply, TimePoint at, Deps& deps) {
  if (!reply)
    return fail_unreachable(
        turn, deps,
        reply.error().message + "; the agent's log may say more: GET /api/agents/" + turn->said.agent.str() + "/logs");
  count(deps, "answered");
  deps.timer.cancel(turn->timer);
  keep(turn, deps, [id = turn->said.id, text = reply->text, at](store::Tx& tx) -> Result<void> {
    CREEL_TRY([[maybe_unused]] const bool stored, store::answer_message(tx, id, text, at));
    return {};
  });
  turn->answer(turn->answer_with(turn->said, reply->text, at));
}

void send(const TurnPtr& turn, gateway::ChatQueue::Turn held, const std::string& address, Deps& deps) {
  gateway::ChatRequest chat;
  chat.agent = turn->said.agent;
  chat.address = address;
  chat.token = turn->token;
  chat.session_key = turn->said.session.key;
  chat.message = turn->said.message;
  // Longer than the answer waits: cutting the connection would stop the agent at its work.
  chat.deadline = std::max(deps.settings.chat_deadline, deps.settings.chat_wait);
  deps.chat(turn->kind, std::move(chat), [turn, held, &deps](Result<gateway::ChatReply> reply) mutable {
    held.reset();  // the next one may talk while this reply is stored
    deps.post([turn, reply = std::move(reply), at = deps.clock(), &deps] { settle(turn, reply, at, deps); });
  });
}

// It is this message's turn. Where the agent is may have changed while it waited for that.
void take_turn(const TurnPtr& turn, gateway::ChatQueue::Turn held, Deps& deps) {
  deps.waiters.wait(
      turn->said.agent, deps.settings.chat_wait, decided, [turn, held = std::move(held), &deps](WaitOutcome outcome) {
        if (!may_go_on(turn, outcome, deps)) return;
        if (steady_clock::now() > turn->give_up_at)
          return fail_unreachable(turn, deps, "The agent was busy with other messages for too long; send it again");
        send(turn, held, outcome.row->status.address, deps);
      });
}

void start(const TurnPtr& turn, Deps& deps, std::function<void(Response)> complete) {
  turn->complete = std::move(complete);
  const auto longest = deps.settings.chat_wait;
  turn->answer_by = steady_clock::now() + longest;
  turn->give_up_at = steady_clock::now() + std::max(deps.settings.chat_deadline, longest);
  deps.waiters.wait(turn->said.agent, longest, decided, [turn, &deps](WaitOutcome outcome) {
    if (!may_go_on(turn, outcome, deps)) return;
    // The waiting for the agent, for the turn and for the reply are one wait.
    const auto left = std::chrono::ceil<milliseconds>(turn->answer_by - steady_clock::now());
    turn->timer = deps.timer.after(std::max(left, milliseconds{0}), [turn, &deps] {
      deps.post([turn, &deps] { turn->answer(turn->answer_with(turn->said, kProcessing, deps.clock())); });
    });
    std::move(*turn->place).begin([turn, &deps](gateway::ChatQueue::Turn held) {
      take_turn(turn, std::move(held), deps);
    });
  });
}

Response queue_full(const Request& request, const Error& error, const AgentId& agent) {
  Response response = error_answer(request, 429, error.code, error.message, json{{"agentId", agent.str()}});
  response.headers.emplace_back("Retry-After", "5");
  return response;
}

}  // namespace

std::string chat_id(std::int64_t message) { return "msg_" + std::to_string(message); }

Reply say(const Request& request, Deps& deps, Saying saying) {
  if (trimmed(saying.message).empty()) return invalid_answer(request, "message", "Message required");
  if (saying.message.size() > kMaxMessage)
    return invalid_answer(request, "message",
                          "The message has " + std::to_string(saying.message.size()) + " bytes; at most " +
                              std::to_string(kMaxMessage) + " are taken: send it in parts");
  auto turn = std::make_shared<Turn>();
  turn->failure = saying.failure;
  CREEL_API_TRY(auto tx, request, saying.failure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, saying.failure, find_own(tx, *request.caller, saying.agent_id));
  if (!row) return own_agent_not_found(request, saying.agent_id);
  const Template* tmpl = deps.templates.find(row->template_name);
  if (tmpl == nullptr) return error_answer(request, template_missing(*row));
  if (row->desired == DesiredState::stopped) return not_running(request, *row);
  CREEL_API_TRY(auto session, request, saying.failure, saying.session(tx, *row));
  if (!session) return session_not_found(request);
  CREEL_API_TRY(const auto token, request, saying.failure, open_secret(tx, row->id, "gateway_token", deps.sealer));
  auto place = deps.chat_queue.take_place(row->id, session->key);
  if (!place) {
    count(deps, "refused");
    return queue_full(request, place.error(), row->id);
  }

  store::Message message;
  message.agent = row->id;
  message.session_id = session->id;
  message.platform = "api";
  message.content = saying.message;
  message.at = deps.clock();
  CREEL_API_TRY(const auto id, request, saying.failure, store::send_message(tx, message, deps.chats.hold()));
  turn->hold = deps.chats.keep(id);
  CREEL_API_CHECK(request, saying.failure, tx.commit());
  count(deps, "received");
  turn->request = without_body(request);
  turn->said = {id, row->id, std::move(*session), std::move(saying.message), message.at};
  turn->answer_with = std::move(saying.answer);
  turn->kind = tmpl->gateway;
  turn->token = token.value_or("");
  turn->place = std::move(*place);

  Later later;
  later.start = [turn, &deps](std::function<void(Response)> complete) { start(turn, deps, std::move(complete)); };
  return later;
}

}  // namespace creel::api
