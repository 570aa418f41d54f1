// ApiClient: one call to Creel's own API, for the client commands. Errors carry the API's sentence and what to do about
// it; they never hold the key. Threads: one at a time.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <stop_token>
#include <string>
#include <string_view>

#include "controller/config/config.hpp"
#include "controller/core/result.hpp"
#include "controller/http/client.hpp"

namespace creel::cli {

struct ServerEvent {
  std::string name = "message";  // the default the standard gives
  std::string data;
  std::string id;  // of this event or the last before it that had one
};

class ApiClient {
 public:
  // The key is CREEL_API_KEY, else admin.key of the state folder if that can be read and the API is on this machine: an
  // administrator's key is not sent elsewhere unasked. `stop` ends every call, with ErrorKind::cancelled.
  explicit ApiClient(const Config& config, std::stop_token stop = {});

  // The body of a 2xx answer. `body` may be null for none.
  Result<nlohmann::json> call(const std::string& method, const std::string& path, const nlohmann::json& body,
                              std::chrono::milliseconds deadline, http::Headers headers = {});
  // Calls `sink` with each server-sent event until it returns false or the server ends the stream. An event named
  // "error" is the server's way of saying that the stream failed, and becomes an Error. `last_id` "" or that of the
  // event after which the stream is to go on; `on_open` is called once the stream stands.
  Result<void> follow(const std::string& path, const std::function<bool(const ServerEvent&)>& sink,
                      const std::string& last_id = {}, std::function<void()> on_open = {});

  bool has_key() const { return !key_.empty(); }
  // The JSON object with which the API refused the last call; "" if it did not, or not so.
  const std::string& refusal() const { return refusal_; }

 private:
  http::Request request(const std::string& method, const std::string& path) const;
  Error explain(const Error& error) const;
  Error explain(const http::Response& response);

  http::Client client_;
  std::string url_;
  std::string key_;
  std::string ca_cert_;
  std::stop_token stop_;
  std::string refusal_;
};

// Takes a stream of server-sent events in any pieces and gives them out one by one. Pure.
class EventReader {
 public:
  // False once `sink` returned false.
  bool feed(std::string_view piece, const std::function<bool(const ServerEvent&)>& sink);

 private:
  std::string line_;
  ServerEvent event_;
  std::string last_id_;
  bool has_data_ = false;
};

}  // namespace creel::cli
