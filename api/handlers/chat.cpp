// /api/chat: talking to an agent by topic, and what was said. One conversation of the agent a topic.
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"
#include "api/handlers/turn.hpp"
#include "controller/store/chats.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Failed to send message";
constexpr const char* kListFailure = "Failed to fetch messages";
constexpr std::string_view kTopic = "topic:";

Response reply_answer(const Said& said, const std::string& reply) {
  return json_answer(200, json{{"id", chat_id(said.id)},
                               {"message", said.message},
                               {"topic", said.session.key.substr(kTopic.size())},
                               {"status", "sent"},
                               {"timestamp", to_rfc3339(said.at)},
                               {"reply", reply},
                               {"agentId", said.agent.str()},
                               {"sessionId", said.session.id}});
}

json item_of(const store::Exchange& exchange) {
  const store::Message& said = exchange.message;
  json item{{"id", chat_id(said.id)},
            {"message", said.content},
            {"topic", nullptr},
            {"status", exchange.reply       ? "sent"
                       : said.error         ? "failed"
                       : said.pending_until ? "processing"
                                            : "sent"},
            {"timestamp", to_rfc3339(said.at)},
            {"reply", exchange.reply ? json(*exchange.reply) : json(nullptr)},
            {"agentId", said.agent.str()},
            {"sessionId", said.session_id},
            {"repliedAt", exchange.replied_at ? json(to_rfc3339(*exchange.replied_at)) : json(nullptr)},
            {"responseTime", exchange.response_ms ? json(*exchange.response_ms) : json(nullptr)},
            {"error", said.error ? json(*said.error) : json(nullptr)}};
  if (exchange.session_key.starts_with(kTopic)) item["topic"] = exchange.session_key.substr(kTopic.size());
  return item;
}

}  // namespace

Reply chat(const Request& request, Deps& deps) {
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY(const auto message, request, "", text_field(body, "message"));
  CREEL_API_TRY(const auto topic_field, request, "", text_field(body, "topic"));
  CREEL_API_TRY(const auto agent, request, "", agent_id_of(request, body));
  std::string topic = trimmed(topic_field.value_or(""));
  if (topic.empty()) topic = "general";
  if (!plain_text(topic, 1, 128))
    return invalid_answer(request, "topic", "The field topic must have at most 128 characters, all printable");
  Saying saying;
  saying.agent_id = agent;
  saying.message = message.value_or("");
  saying.failure = kFailure;
  saying.session = [topic, &deps](store::Tx& tx, const store::AgentRow& row) {
    return some_session(store::ensure_session(tx, row.id, std::string{kTopic} + topic, "api", deps.clock()));
  };
  saying.answer = [](const Said& said, const std::string& reply, TimePoint) { return reply_answer(said, reply); };
  return say(request, deps, std::move(saying));
}

Reply list_chat(const Request& request, Deps& deps) {
  const std::size_t limit = limit_of(request, kMaxListed, kMaxListed);
  const std::size_t offset = offset_of(request);
  const std::string topic = trimmed(request.query_value("topic"));
  if (!plain_text(topic, 0, 128))
    return invalid_answer(request, "topic", "The query parameter topic must have at most 128 characters, all printable",
                          "INVALID_QUERY");
  const std::string key = topic.empty() ? "" : std::string{kTopic} + topic;
  const std::string agent = request.query_value("agentId");
  CREEL_API_TRY(auto tx, request, kListFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kListFailure, find_own(tx, *request.caller, agent));
  if (!row) {
    if (!agent.empty()) return agent_not_found(request);
    // Who has no agent has said nothing yet.
    return json_answer(200, json{{"messages", json::array()}, {"count", 0}, {"total", 0}});
  }
  CREEL_API_TRY(const auto exchanges, request, kListFailure, store::list_exchanges(tx, row->id, key, limit, offset));
  CREEL_API_TRY(const auto total, request, kListFailure, store::count_exchanges(tx, row->id, key));
  json messages = json::array();
  for (const auto& exchange : exchanges) messages.push_back(item_of(exchange));
  return json_answer(200, json{{"messages", std::move(messages)},
                               {"count", exchanges.size()},
                               {"total", total},
                               {"agentId", row->id.str()}});
}

}  // namespace creel::api
