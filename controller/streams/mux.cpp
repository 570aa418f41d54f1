#include "controller/streams/mux.hpp"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <tuple>

#include "controller/secrets/redact.hpp"

namespace creel::streams {
namespace {

using Json = nlohmann::json;

constexpr const char* kStreams = "/video/v1/live-streams";
constexpr std::size_t kPage = 100;
constexpr std::size_t kMaxReason = 200;

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    for (std::size_t i = 0; i < 3; ++i)
      group = group << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    for (std::size_t i = 0; i < 4; ++i) text += i <= count ? kDigits[group >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

const Json& member(const Json& json, const char* name) {
  static const Json none;
  if (!json.is_object()) return none;
  const auto found = json.find(name);
  return found == json.end() ? none : *found;
}

std::string text(const Json& json) { return json.is_string() ? json.get<std::string>() : std::string{}; }

// {"error":{"type":"invalid_parameters","messages":["…"]}}, as one line without control characters.
std::string reason_in(const std::string& body) {
  const Json answer = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  const Json& error = member(answer, "error");
  std::string reason;
  if (const Json& messages = member(error, "messages"); messages.is_array())
    for (const auto& message : messages) reason += (reason.empty() ? "" : "; ") + text(message);
  if (reason.empty()) reason = text(member(error, "type"));
  std::replace_if(
      reason.begin(), reason.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return reason.substr(0, kMaxReason);
}

Error refused(const http::Response& response, const std::string& secret) {
  const std::string reason = secrets::redact(reason_in(response.body), {secret});
  const std::string said = "Mux answered " + std::to_string(response.status) + (reason.empty() ? "" : ": " + reason);
  if (response.status == 401 || response.status == 403)
    return Error{
        ErrorKind::failed, said + "; check MUX_TOKEN_ID and MUX_TOKEN_SECRET and what that token may do", {}, {}};
  // A server that fails may have done its work before; a refusal means that nothing was made.
  return Error{response.status >= 500 ? ErrorKind::unavailable : ErrorKind::failed, said, {}, {}};
}

std::optional<MuxStream> stream_of(const Json& json) {
  MuxStream stream{text(member(json, "id")), text(member(json, "stream_key")), text(member(json, "created_at"))};
  if (stream.id.empty() || stream.key.empty()) return std::nullopt;
  return stream;
}

// By number; a shorter text of digits is the smaller one.
bool older(const MuxStream& a, const MuxStream& b) {
  if (a.created_at.size() != b.created_at.size()) return a.created_at.size() < b.created_at.size();
  return std::tie(a.created_at, a.id) < std::tie(b.created_at, b.id);
}

}  // namespace

Mux::Mux(http::Client& client, Options options)
    : client_(client),
      options_(std::move(options)),
      authorization_("Basic " + base64(options_.token_id + ":" + options_.token_secret)) {}

Result<http::Response> Mux::ask(const std::string& method, const std::string& path, std::string body,
                                std::stop_token stop) const {
  http::Request request;
  request.method = method;
  request.url = options_.base_url + path;
  request.headers = {{"authorization", authorization_}, {"accept", "application/json"}};
  if (!body.empty()) request.headers.emplace_back("content-type", "application/json");
  request.body = std::move(body);
  request.once = method == "POST";  // two creations would make two streams
  request.deadline = options_.deadline;
  request.max_body = 4u << 20;
  auto response = client_.send(std::move(request), stop);
  if (!response && response.error().kind == ErrorKind::timeout)
    return Error{ErrorKind::timeout, "Mux did not answer in time", {}, {}};
  if (!response && response.error().kind != ErrorKind::cancelled)
    return Error{ErrorKind::unavailable, "Mux cannot be reached: " + response.error().message, {}, {}};
  return response;
}

Result<MuxStream> Mux::create(const std::string& passthrough, std::stop_token stop) const {
  const Json body{{"playback_policy", {"public"}},
                  {"new_asset_settings", {{"playback_policy", {"public"}}}},
                  {"latency_mode", "low"},
                  {"passthrough", passthrough}};
  CREEL_TRY(const auto response, ask("POST", kStreams, body.dump(), stop));
  if (response.status != 200 && response.status != 201) return refused(response, options_.token_secret);
  const Json answer = Json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (auto stream = stream_of(member(answer, "data"))) return std::move(*stream);
  return Error{ErrorKind::unavailable, "Mux made a live stream, but its answer names no id and key", {}, {}};
}

Result<std::vector<MuxStream>> Mux::find(const std::string& passthrough, std::stop_token stop) const {
  const auto end = std::chrono::steady_clock::now() + options_.find_budget;
  std::vector<MuxStream> found;
  for (std::size_t page = 1;; ++page) {
    CREEL_TRY(const auto response,
              ask("GET", std::string{kStreams} + "?limit=" + std::to_string(kPage) + "&page=" + std::to_string(page),
                  "", stop));
    if (response.status != 200) return refused(response, options_.token_secret);
    const Json answer = Json::parse(response.body, nullptr, /*allow_exceptions=*/false);
    const Json& streams = member(answer, "data");
    if (!streams.is_array())
      return Error{ErrorKind::unavailable, "Mux answered without a list of live streams", {}, {}};
    for (const auto& entry : streams)
      if (text(member(entry, "passthrough")) == passthrough)
        if (auto stream = stream_of(entry)) found.push_back(std::move(*stream));
    // Only an empty page is certainly the last one: a server may give fewer at a time than it is asked for.
    if (streams.empty()) break;
    if (std::chrono::steady_clock::now() > end)
      return Error{ErrorKind::timeout, "Mux's list of live streams could not be read to its end in time", {}, {}};
  }
  std::sort(found.begin(), found.end(), older);
  // A stream made while the pages were read moves others onto the next page: they are seen twice.
  found.erase(std::unique(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.id == b.id; }),
              found.end());
  return found;
}

Result<void> Mux::remove(const std::string& stream_id, std::stop_token stop) const {
  CREEL_TRY(const auto response, ask("DELETE", std::string{kStreams} + "/" + http::url_encode(stream_id), "", stop));
  if (response.status == 404 || (response.status >= 200 && response.status < 300)) return {};
  return refused(response, options_.token_secret);
}

}  // namespace creel::streams
