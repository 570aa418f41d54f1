#include <nlohmann/json.hpp>

#include "controller/gateway/adapter.hpp"
#include "controller/gateway/json.hpp"

namespace creel::gateway {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxReason = 300;
constexpr std::size_t kMaxReply = 8u << 20;

Error failed(std::string message) { return Error{ErrorKind::failed, std::move(message), {}, {}}; }

}  // namespace

// A header holds visible ASCII: anything else, line breaks above all, is percent-encoded, so that each key stays a key
// of its own. An ordinary key ("topic:general") is sent as it is.
std::string session_header(std::string_view key) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string value;
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '%') {
      value += c;
    } else {
      value += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return value;
}

http::Request openai_chat_request(const ChatRequest& chat, std::string_view model) {
  const Json body = {{"model", model}, {"messages", Json::array({{{"role", "user"}, {"content", chat.message}}})}};
  http::Request request;
  request.method = "POST";
  request.url = "http://" + chat.address + "/v1/chat/completions";
  request.headers = {{"authorization", "Bearer " + chat.token},
                     {"content-type", "application/json"},
                     {"x-openclaw-session-key", session_header(chat.session_key)}};
  request.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  request.deadline = chat.deadline;
  request.max_body = kMaxReply;
  request.once = true;  // the agent must not be told the same thing twice
  return request;
}

Result<ChatReply> openai_chat_reply(const http::Response& response, const std::string& token) {
  if (response.status == 401 || response.status == 403)
    return failed("The agent's gateway refused the controller's token");
  if (response.status == 404) return failed("The agent's gateway has no chat endpoint");
  if (response.status != 200) {
    const std::string reason = for_people(reason_in(response.body), token);
    return failed("The agent's gateway answered " + std::to_string(response.status) +
                  (reason.empty() ? "" : ": " + reason));
  }
  const Json body = Json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  const Json& choices = member(body, "choices");
  if (!choices.is_array() || choices.empty()) return failed("The agent's gateway answered without a reply");
  return ChatReply{content_text(member(member(choices.front(), "message"), "content"))};
}

Error nobody_there(const std::string& observed) {
  return Error{ErrorKind::unavailable,
               observed.empty() ? "The agent's gateway has no address yet"
                                : "The agent's process does not run at this moment; try again shortly",
               {},
               {}};
}

std::string for_people(std::string_view raw, const std::string& token) {
  std::string line{raw};
  for (std::size_t at = 0; !token.empty() && (at = line.find(token, at)) != std::string::npos;)
    line.replace(at, token.size(), "****");
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (line.size() > kMaxReason) {
    std::size_t end = kMaxReason - 3;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xc0) == 0x80) --end;
    line = line.substr(0, end) + "...";
  }
  return line;
}

std::string reason_in(const std::string& body) {
  const Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  const Json& error = member(json, "error");
  if (auto message = text(member(error, "message")); !message.empty()) return message;
  if (auto message = text(error); !message.empty()) return message;
  if (auto message = text(member(json, "message")); !message.empty()) return message;
  std::string list;
  if (const Json& failing = member(json, "failing"); failing.is_array()) {
    for (const auto& what : failing) list += (list.empty() ? "" : ", ") + text(what);
  }
  return list;
}

}  // namespace creel::gateway
