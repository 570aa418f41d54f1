// OpenClaw (2026.3.13 measured): the OpenAI dialect, with one trap. When the model fails, the gateway still answers 200
// with finish_reason "stop" and zero usage, and the error as the assistant's words: nothing in the envelope tells it
// apart.
#include <algorithm>
#include <cstdint>

#include "controller/gateway/adapter.hpp"

namespace creel::gateway {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }

http::Request chat_request(const ChatRequest& chat) { return openai_chat_request(chat, "openclaw"); }

Result<ChatReply> chat_reply(const http::Response& response, const std::string& token) {
  CREEL_TRY(ChatReply reply, openai_chat_reply(response, token));
  if (is_openclaw_model_error(reply.text)) {
    return Error{ErrorKind::failed, "The agent's model failed: " + for_people(reply.text, token), {}, "MODEL_FAILED"};
  }
  return reply;
}

// A status that model providers fail with.
bool failing_status(std::string_view code) {
  static constexpr std::string_view kCodes[] = {"400", "401", "402", "403", "404", "408", "409", "413",
                                                "422", "429", "500", "502", "503", "504", "529"};
  return std::find(std::begin(kCodes), std::end(kCodes), code) != std::end(kCodes);
}

}  // namespace

// A heuristic, and so kept to the forms that were seen or stand in OpenClaw's formatter:
//   "401 bad key", "500 boom"            the provider's status and message, on one short line
//   "HTTP 429 rate_limit_error: …", "HTTP 500: …"
//   "LLM request failed…", "LLM request timed out…", "LLM request rejected…", "No response from OpenClaw."
// A model that really answers with a single short line beginning with such a number ("404 means not found") is taken
// for an error: its words are then in the error's message, so nothing is lost but the status. Other error texts pass as
// replies.
bool is_openclaw_model_error(std::string_view content) {
  constexpr std::size_t kLongest = 600;
  if (content == "No response from OpenClaw.") return true;
  for (const std::string_view start : {"LLM request failed", "LLM request timed out", "LLM request rejected"}) {
    if (content.starts_with(start)) return content.size() <= kLongest;
  }
  if (content.size() > kLongest || content.find('\n') != std::string_view::npos) return false;
  const bool named = content.starts_with("HTTP ");
  if (named) content.remove_prefix(5);
  if (content.size() < 5 || !digit(content[0]) || !failing_status(content.substr(0, 3))) return false;
  if (!named) return content[3] == ' ' && content[4] != ' ';
  return content[3] == ':' || (content[3] == ' ' && content.find(": ") != std::string_view::npos);
}

extern const Adapter kOpenclaw = {"openclaw", chat_request, chat_reply};

}  // namespace creel::gateway
