#include "controller/channels/whatsapp.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "controller/gateway/json.hpp"
#include "controller/secrets/redact.hpp"

namespace creel::channels {
namespace {

using gateway::member;
using gateway::text;
using Json = nlohmann::json;

constexpr std::size_t kMaxReason = 300;

// {"error":{"message":"…","code":131047,"error_data":{"details":"…"}}}, as one line.
std::string reason_in(const Json& error, const std::string& token) {
  std::string reason = text(member(error, "message"));
  if (const std::string details = text(member(member(error, "error_data"), "details"));
      !details.empty() && details != reason)
    reason += (reason.empty() ? "" : ": ") + details;
  std::replace_if(
      reason.begin(), reason.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  reason = secrets::redact(reason, {token});
  std::size_t end = std::min(reason.size(), kMaxReason);
  while (end < reason.size() && end > 0 && (static_cast<unsigned char>(reason[end]) & 0xC0) == 0x80) --end;
  return reason.substr(0, end);
}

// Codes of "too many for now", which come with 400. https://developers.facebook.com/docs/whatsapp/cloud-api/support/
// error-codes
bool limiting(const Json& code) {
  static constexpr std::array<int, 5> kCodes{4, 80007, 130429, 131048, 131056};
  return code.is_number_integer() && std::find(kCodes.begin(), kCodes.end(), code.get<std::int64_t>()) != kCodes.end();
}

Result<std::string> outcome(const http::Response& response, const std::string& token) {
  const Json body = Json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (response.status >= 200 && response.status < 300) {
    const Json& messages = member(body, "messages");
    return messages.is_array() && !messages.empty() ? text(member(messages.front(), "id")) : std::string{};
  }
  const Json& error = member(body, "error");
  const std::string reason = reason_in(error, token);
  const std::string said =
      "WhatsApp answered " + std::to_string(response.status) + (reason.empty() ? "" : ": " + reason);
  if (response.status == 401)
    return Error{ErrorKind::unauthorized,
                 said + "; set a valid token with set-credential whatsapp (one that lasts, of a system user)",
                 {},
                 {}};
  const bool not_now = response.status == 429 || response.status >= 500 || limiting(member(error, "code"));
  return Error{not_now ? ErrorKind::limit : ErrorKind::failed, said, {}, {}};
}

bool blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

// Bytes of the character that begins here, as its first byte says.
std::size_t bytes_of(unsigned char first) {
  if (first >= 0xF0) return 4;
  if (first >= 0xE0) return 3;
  return first >= 0xC0 ? 2 : 1;
}

// How many bytes from the front fit.
std::size_t fitting(std::string_view text, std::size_t longest) {
  std::size_t at = 0;
  for (std::size_t units = 0; at < text.size();) {
    const std::size_t bytes = std::min(bytes_of(static_cast<unsigned char>(text[at])), text.size() - at);
    units += bytes == 4 ? 2 : 1;
    if (units > longest) break;
    at += bytes;
  }
  return at;
}

}  // namespace

std::vector<std::string> split_text(std::string_view text, std::size_t longest) {
  std::vector<std::string> parts;
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    std::size_t end = fitting(text, longest);
    if (end < text.size()) {
      // A break in the first half would make many small parts of a long text.
      const auto piece = text.substr(0, end + 1);
      for (const std::string_view places : {"\n", " \t\r"}) {
        const auto at = piece.find_last_of(places);
        if (at == std::string_view::npos || at < end / 2) continue;
        end = at;
        break;
      }
    }
    parts.emplace_back(trimmed(text.substr(0, end)));
    text.remove_prefix(end);
  }
  return parts;
}

void Whatsapp::send_async(WhatsappText message, std::function<void(Result<std::string>)> done) const {
  const Json body{{"messaging_product", "whatsapp"},
                  {"recipient_type", "individual"},
                  {"to", message.to},
                  {"type", "text"},
                  {"text", {{"body", message.text}}},
                  {"biz_opaque_callback_data", message.callback_data}};
  http::Request request;
  request.method = "POST";
  request.url = options_.graph_url + "/" + http::url_encode(message.phone_number_id) + "/messages";
  request.headers = {{"authorization", "Bearer " + message.token}, {"content-type", "application/json"}};
  request.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  request.once = true;  // a person must not get it twice
  request.deadline = options_.deadline;
  request.max_body = 1u << 20;
  client_.send_async(std::move(request),
                     [token = std::move(message.token), done = std::move(done)](Result<http::Response> response) {
                       if (response) return done(outcome(*response, token));
                       const Error& error = response.error();
                       if (error.kind == ErrorKind::timeout)
                         return done(Error{ErrorKind::timeout, "WhatsApp did not answer in time", {}, {}});
                       if (error.kind == ErrorKind::cancelled) return done(error);
                       done(Error{ErrorKind::unavailable, "WhatsApp cannot be reached: " + error.message, {}, {}});
                     });
}

}  // namespace creel::channels
