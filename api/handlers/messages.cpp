// Messages: everything that people and the agent said to each other, on whatever platform.
#include "controller/store/messages.hpp"

#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Failed to fetch messages";
constexpr std::size_t kDefaultLimit = 50;
constexpr std::size_t kMaxLimit = 100;

}  // namespace

Reply agent_messages(const Request& request, Deps& deps) {
  const std::size_t limit = limit_of(request, kDefaultLimit, kMaxLimit);
  const std::size_t offset = offset_of(request);
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const auto row, request, kFailure, find_agent(tx, *request.caller, request.param("id")));
  if (!row) return agent_not_found(request);
  CREEL_API_TRY(const auto list, request, kFailure, store::list_messages(tx, row->id, limit, offset));
  CREEL_API_TRY(const auto total, request, kFailure, store::count_messages(tx, row->id));
  json messages = json::array();
  for (const auto& message : list)
    messages.push_back(json{{"id", "msg-" + std::to_string(message.id)},
                            {"agentId", row->id.str()},
                            {"sender", message.from_agent ? "agent" : "user"},
                            {"content", message.content},
                            {"timestamp", to_rfc3339(message.at)},
                            {"platform", message.platform},
                            {"sessionId", message.session_id},
                            {"responseTime", message.response_ms ? json(*message.response_ms) : json(nullptr)},
                            {"error", message.error ? json(*message.error) : json(nullptr)}});
  return json_answer(
      200,
      json{
          {"messages", std::move(messages)}, {"total", total}, {"limit", limit}, {"offset", offset}, {"status", "ok"}});
}

}  // namespace creel::api
