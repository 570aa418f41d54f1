#include "controller/cli/api_client.hpp"

#include <arpa/inet.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "controller/cli/advice.hpp"

namespace creel::cli {
namespace {

using Json = nlohmann::json;

// A stream with heartbeats every 15 s: silence for longer means that the other side is gone.
constexpr std::chrono::milliseconds kStreamSilence{60'000};
constexpr std::size_t kLongestLine = 4u << 20;

bool on_this_machine(const std::string& url) {
  const auto begin = url.find("://") + 3;
  std::string authority = url.substr(begin, url.find_first_of("/?#", begin) - begin);
  const auto address = config::parse_host_port(authority);
  const std::string host = address ? address->host : authority;
  // "127.0.0.1.example.com" and "127.0.0.1@example.com" are elsewhere.
  in_addr v4{};
  const bool loopback = host.starts_with("127.") && inet_pton(AF_INET, host.c_str(), &v4) == 1;
  return loopback || host == "localhost" || host == "::1" || host == "[::1]";
}

std::string read_key(const std::string& path) {
  std::ifstream in(path);
  std::string key;
  in >> key;
  return key;
}

std::string text(const Json& json, const char* name) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return json.is_object() && found != json.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

}  // namespace

ApiClient::ApiClient(const Config& config, std::stop_token stop)
    : url_(config.url), key_(config.api_key), ca_cert_(config.ca_cert), stop_(std::move(stop)) {
  if (key_.empty() && on_this_machine(url_)) key_ = read_key(config.state_dir + "/admin.key");
}

http::Request ApiClient::request(const std::string& method, const std::string& path) const {
  http::Request request;
  request.method = method;
  request.url = url_ + path;
  if (!ca_cert_.empty()) request.tls.emplace().ca_file = ca_cert_;
  request.headers = {{"accept", "application/json"}};
  if (!key_.empty()) request.headers.emplace_back("authorization", "Bearer " + key_);
  return request;
}

Error ApiClient::explain(const Error& error) const {
  Error explained = error;
  if (error.kind == ErrorKind::unavailable && error.message.find("certificate") != std::string::npos) {
    const bool misnamed = error.message.find("subject name") != std::string::npos;
    explained.message = "who answers at " + url_ + " is not to be trusted (" + error.message + "); " +
                        (misnamed ? "CREEL_URL or --url must name it as its certificate does"
                                  : "CREEL_CA_CERT or --ca-cert names a file with its certificate, or its signer's");
    explained.code = "UNTRUSTED";
  } else if (error.kind == ErrorKind::unavailable) {
    explained.message = "cannot reach Creel at " + url_ + " (" + error.message +
                        "); is `creel serve` running there? CREEL_URL or --url names another place";
    explained.code = "UNREACHABLE";
  } else if (error.kind == ErrorKind::timeout) {
    explained.message = "Creel at " + url_ +
                        " did not answer in time; what was asked for may still happen: look with `creel agents list`";
  }
  return explained;
}

Error ApiClient::explain(const http::Response& response) {
  const Json body = Json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  std::string message = text(body, "error");
  Error error{ErrorKind::failed, {}, {}, text(body, "code")};
  if (message.empty()) message = "Creel answered " + std::to_string(response.status);
  if (!body.is_object())
    message = url_ + " answered " + std::to_string(response.status) + ", and not as Creel does; is CREEL_URL right?";
  if (body.is_object() && body.contains("current") && body.contains("limit")) {
    message += " (" + body["current"].dump() + " of " + body["limit"].dump() + ")";
  }
  switch (response.status) {
    case 401:
      error.kind = ErrorKind::unauthorized;
      break;
    case 403:
      error.kind = ErrorKind::forbidden;
      break;
    case 404:
      error.kind = ErrorKind::not_found;
      break;
    case 409:
      error.kind = ErrorKind::conflict;
      break;
    case 429:
      error.kind = ErrorKind::limit;
      break;
    case 503:
      error.kind = ErrorKind::unavailable;
      break;
    case 502:
    case 504:
      // Not the API's own: that of a reverse proxy whose controller is away.
      if (!body.is_object()) error.kind = ErrorKind::unavailable;
      break;
    default:
      break;
  }
  if (body.is_object())
    message = advised(std::move(message), response.status, error.code, text(body, "agentId"), !key_.empty());
  if (const auto after = response.header("retry-after"); response.status == 429 && !after.empty())
    message += "; try again in " + after + " s";
  if (body.is_object() && body.contains("pending") && body["pending"] == true)
    message += "; the wish is stored and will be carried out";
  if (const auto id = text(body, "requestId"); !id.empty() && response.status >= 500)
    message += " (request " + id + ")";
  error.message = std::move(message);
  if (body.is_object()) refusal_ = response.body;
  return error;
}

Result<Json> ApiClient::call(const std::string& method, const std::string& path, const Json& body,
                             std::chrono::milliseconds deadline, http::Headers headers) {
  using Answer = Result<Json>;
  refusal_.clear();
  http::Request call = request(method, path);
  for (auto& header : headers) call.headers.push_back(std::move(header));
  if (!body.is_null()) {
    call.headers.emplace_back("content-type", "application/json");
    call.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  call.deadline = deadline;
  const auto response = client_.send(std::move(call), stop_);
  if (!response) return explain(response.error());
  if (response->status < 200 || response->status > 299) return explain(*response);
  Json answer = Json::parse(response->body, nullptr, /*allow_exceptions=*/false);
  if (answer.is_discarded())
    return Error{ErrorKind::failed, url_ + " did not answer as Creel does; is CREEL_URL right?", {}, {}};
  return Answer{boost::system::in_place_value, std::move(answer)};
}

Result<void> ApiClient::follow(const std::string& path, const std::function<bool(const ServerEvent&)>& sink,
                               const std::string& last_id, std::function<void()> on_open) {
  refusal_.clear();
  http::Request call = request("GET", path);
  call.headers.front().second = "text/event-stream";
  if (!last_id.empty()) call.headers.emplace_back("last-event-id", last_id);
  call.deadline = std::chrono::milliseconds{0};
  call.inactivity = kStreamSilence;
  EventReader reader;
  std::optional<Error> failed;
  const auto take = [&](const ServerEvent& event) {
    if (event.name != "error") return sink(event);
    const std::string reason = text(Json::parse(event.data, nullptr, /*allow_exceptions=*/false), "error");
    failed = Error{ErrorKind::failed, reason.empty() ? "the stream failed" : reason, {}, {}};
    return false;
  };
  const auto response = client_.stream(
      std::move(call), [&](std::string_view piece) { return reader.feed(piece, take); }, stop_, std::move(on_open));
  if (failed) return *failed;
  if (!response) return explain(response.error());
  if (response->status < 200 || response->status > 299) return explain(*response);
  return {};
}

bool EventReader::feed(std::string_view piece, const std::function<bool(const ServerEvent&)>& sink) {
  for (const char c : piece) {
    if (c != '\n') {
      if (line_.size() < kLongestLine) line_ += c;
      continue;
    }
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    const std::string line = std::exchange(line_, {});
    if (line.empty()) {
      ServerEvent event = std::exchange(event_, {});
      event.id = last_id_;
      if (std::exchange(has_data_, false) && !sink(event)) return false;
      continue;
    }
    const auto colon = line.find(':');
    const std::string field = line.substr(0, colon);
    std::string value = colon == std::string::npos ? std::string{} : line.substr(colon + 1);
    if (value.starts_with(' ')) value.erase(0, 1);
    if (field == "event") {
      event_.name = value;
    } else if (field == "data") {
      if (has_data_) event_.data += '\n';
      event_.data += value;
      has_data_ = true;
    } else if (field == "id") {
      last_id_ = value;
    }
  }
  return true;
}

}  // namespace creel::cli
