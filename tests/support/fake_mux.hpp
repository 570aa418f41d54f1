// FakeMux: Mux's live streams over HTTP, in memory, with the faults a test asks for. Tests only.
#pragma once

#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/unit/http_scripted_server.hpp"

namespace creel::test {

class FakeMux {
 public:
  struct Stream {
    std::string id, key, passthrough;
    int created_at = 0;
  };
  // What happens to the next creation.
  enum class Fault {
    none,
    error,       // 500, nothing made
    made_error,  // 500 although it was made
    lost,        // made, but the connection ends without an answer
    late,        // made, but never answered: the client gives up
    refused,     // 401
    invalid,     // 400
  };

  std::string url() const { return server_.url(""); }
  std::string authorization = "Basic aWQ6c2VjcmV0";  // id:secret

  void next(std::initializer_list<Fault> faults) {
    const std::lock_guard lock{mutex_};
    faults_.assign(faults);
  }
  // Makes every answer a 503 until told otherwise.
  void set_away(bool away) {
    const std::lock_guard lock{mutex_};
    away_ = away;
  }
  std::vector<Stream> streams() const {
    const std::lock_guard lock{mutex_};
    return streams_;
  }
  void add(const std::string& passthrough) {
    const std::lock_guard lock{mutex_};
    make(passthrough);
  }
  void clear() {
    const std::lock_guard lock{mutex_};
    streams_.clear();
  }
  int asked(const std::string& method) const {
    const std::lock_guard lock{mutex_};
    int count = 0;
    for (const auto& one : asked_) count += one == method;
    return count;
  }
  nlohmann::json last_body() const {
    const std::lock_guard lock{mutex_};
    return last_body_;
  }

 private:
  using Json = nlohmann::json;

  static Json shown(const Stream& stream) {
    return {{"id", stream.id},
            {"stream_key", stream.key},
            {"passthrough", stream.passthrough},
            {"created_at", std::to_string(stream.created_at)},
            {"status", "idle"}};
  }
  Stream make(const std::string& passthrough) {
    ++made_;
    streams_.push_back(
        {"stream_" + std::to_string(made_), "live_key_" + std::to_string(made_), passthrough, 1'600'000'000 + made_});
    return streams_.back();
  }

  void serve(Peer& peer) {
    for (std::string request; !(request = peer.read_request()).empty();) {
      const std::string method = request.substr(0, request.find(' '));
      const auto path_at = method.size() + 1;
      const std::string path = request.substr(path_at, request.find(' ', path_at) - path_at);
      const Json body = Json::parse(request.substr(request.find("\r\n\r\n") + 4), nullptr, false);
      const std::lock_guard lock{mutex_};
      asked_.push_back(method);
      if (away_) {
        peer.answer("", "503 Service Unavailable");
      } else if (request.find("uthorization: " + authorization + "\r\n") == std::string::npos) {
        peer.answer(R"({"error":{"type":"unauthorized","messages":["Unauthorized request"]}})", "401 Unauthorized");
      } else if (method == "POST" && path == "/video/v1/live-streams") {
        if (!create(peer, body)) return;
      } else if (method == "GET" && path.starts_with("/video/v1/live-streams?")) {
        list(peer, path);
      } else if (method == "DELETE") {
        remove(peer, path.substr(path.rfind('/') + 1));
      } else {
        peer.answer("", "404 Not Found");
      }
    }
  }

  // False: the connection is to end.
  bool create(Peer& peer, const Json& body) {
    last_body_ = body;
    Fault fault = Fault::none;
    if (!faults_.empty()) {
      fault = faults_.front();
      faults_.pop_front();
    }
    if (fault == Fault::error) {
      peer.answer(R"({"error":{"type":"internal","messages":["try later"]}})", "500 Internal Server Error");
      return true;
    }
    if (fault == Fault::refused) {
      peer.answer(R"({"error":{"type":"unauthorized","messages":["Unauthorized request"]}})", "401 Unauthorized");
      return true;
    }
    if (fault == Fault::invalid) {
      peer.answer(R"({"error":{"type":"invalid_parameters","messages":["plan does not allow it"]}})",
                  "400 Bad Request");
      return true;
    }
    const Stream stream = make(body["passthrough"]);
    if (fault == Fault::lost) return false;
    if (fault == Fault::late) {
      peer.wait_closed();  // the client gives up first
      return false;
    }
    if (fault == Fault::made_error) {
      peer.answer("", "500 Internal Server Error");
      return true;
    }
    peer.answer(Json{{"data", shown(stream)}}.dump(), "201 Created");
    return true;
  }

  void list(Peer& peer, const std::string& path) {
    const auto number = [&](const std::string& name) { return std::stoul(path.substr(path.find(name) + name.size())); };
    const std::size_t limit = number("limit="), page = number("page=");
    Json data = Json::array();
    for (std::size_t i = (page - 1) * limit; i < page * limit && i < streams_.size(); ++i)
      data.push_back(shown(streams_[streams_.size() - 1 - i]));  // the newest first
    peer.answer(Json{{"data", data}}.dump());
  }

  void remove(Peer& peer, const std::string& id) {
    const auto found = std::find_if(streams_.begin(), streams_.end(), [&](const auto& s) { return s.id == id; });
    if (found == streams_.end()) return peer.answer(R"({"error":{"type":"not_found"}})", "404 Not Found");
    streams_.erase(found);
    peer.answer("", "204 No Content");
  }

  mutable std::mutex mutex_;
  std::deque<Fault> faults_;
  bool away_ = false;
  int made_ = 0;
  std::vector<Stream> streams_;
  std::vector<std::string> asked_;
  Json last_body_;
  Server server_{[this](Peer& peer) { serve(peer); }};
};

}  // namespace creel::test
