#include "controller/transcripts/heard.hpp"

namespace creel::transcripts {

std::vector<store::HeardMessage> heard(const std::vector<gateway::GatewayMessage>& history) {
  std::vector<store::HeardMessage> messages;
  std::size_t user = 0;  // the last one's place, counted from 1
  bool replied = false;
  for (const auto& said : history) {
    store::HeardMessage message{said.id, said.from_agent, said.text, said.at, {}, {}};
    if (!said.from_agent) {
      messages.push_back(std::move(message));
      user = messages.size();
      replied = false;
    } else if (said.error) {
      if (user > 0 && !replied) messages[user - 1].error = said.error;
      if (!said.text.empty()) messages.push_back(std::move(message));  // what it got out before it failed
    } else {
      if (user > 0 && !replied) {
        messages[user - 1].error.reset();
        message.response_ms = std::max<std::int64_t>((said.at - messages[user - 1].at).count(), 0);
      }
      replied = true;
      messages.push_back(std::move(message));
    }
  }
  return messages;
}

bool is_machinery(const std::string& session_key) {
  const auto is = [&](const char* kind) {
    return session_key.starts_with(kind) || session_key.find(std::string{":"} + kind) != std::string::npos;
  };
  return is("cron:") || is("subagent:") || is("hook:");
}

}  // namespace creel::transcripts
