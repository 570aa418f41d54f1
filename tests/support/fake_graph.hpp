// FakeGraph: the messages endpoint of Meta's Cloud API over HTTP, in memory, with the faults a test asks for; and what
// Meta delivers to webhooks. Tests only.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/unit/http_scripted_server.hpp"

namespace creel::test {

// A delivery of one change of a number; `value` has "messages" or "statuses".
inline nlohmann::json whatsapp_delivery(nlohmann::json value, const std::string& phone_number_id = "111") {
  using nlohmann::json;
  value["messaging_product"] = "whatsapp";
  value["metadata"] = {{"display_phone_number", "1"}, {"phone_number_id", phone_number_id}};
  return {
      {"object", "whatsapp_business_account"},
      {"entry", json::array({{{"id", "1"}, {"changes", json::array({{{"field", "messages"}, {"value", value}}})}}})}};
}

inline nlohmann::json whatsapp_text(const std::string& wamid, const std::string& words,
                                    const std::string& phone_number_id = "111") {
  return whatsapp_delivery({{"messages", nlohmann::json::array({{{"from", "491701234567"},
                                                                 {"id", wamid},
                                                                 {"timestamp", "1764000000"},
                                                                 {"type", "text"},
                                                                 {"text", {{"body", words}}}}})}},
                           phone_number_id);
}

class FakeGraph {
 public:
  struct Sent {
    std::string phone_number_id, to, text, callback, wamid;
  };
  // What happens to the next message.
  enum class Fault {
    none,
    error,    // 500
    busy,     // 429
    limited,  // 400 with the code of a rate limit
    refused,  // 400: cannot be delivered
    lost,     // taken, but the connection ends without an answer
    late,     // taken, but never answered: the client gives up
  };

  std::string url() const { return server_.url(""); }
  std::string token = "EAAGfakeWhatsappToken";

  void next(std::initializer_list<Fault> faults) {
    const std::lock_guard lock{mutex_};
    faults_.assign(faults);
  }
  // Makes every answer a 503 until told otherwise.
  void set_away(bool away) {
    const std::lock_guard lock{mutex_};
    away_ = away;
  }
  // Called for each message that was taken, before it is answered (or not).
  void on_taken(std::function<void(const Sent&)> call) {
    const std::lock_guard lock{mutex_};
    on_taken_ = std::move(call);
  }
  std::vector<Sent> sent() const {
    const std::lock_guard lock{mutex_};
    return sent_;
  }
  int asked() const {
    const std::lock_guard lock{mutex_};
    return asked_;
  }
  nlohmann::json last_body() const {
    const std::lock_guard lock{mutex_};
    return last_body_;
  }

 private:
  using Json = nlohmann::json;

  static std::string error(int code, const std::string& message, const std::string& details = "") {
    return Json{{"error",
                 {{"message", message},
                  {"type", "OAuthException"},
                  {"code", code},
                  {"error_data", {{"messaging_product", "whatsapp"}, {"details", details}}}}}}
        .dump();
  }

  void serve(Peer& peer) {
    for (std::string request; !(request = peer.read_request()).empty();) {
      const std::string path = request.substr(5, request.find(' ', 5) - 5);
      const Json body = Json::parse(request.substr(request.find("\r\n\r\n") + 4), nullptr, false);
      std::function<void(const Sent&)> tell;
      Sent taken;
      Fault fault = Fault::none;
      {
        const std::lock_guard lock{mutex_};
        ++asked_;
        last_body_ = body;
        if (!faults_.empty()) {
          fault = faults_.front();
          faults_.pop_front();
        }
        if (away_) fault = Fault::error;
        if (request.find("uthorization: Bearer " + token + "\r\n") == std::string::npos) {
          const auto given = request.find("Bearer ") + 7;  // a server that says it back
          peer.answer(
              error(190, "Error validating access token: " + request.substr(given, request.find('\r', given) - given)),
              "401 Unauthorized");
          continue;
        }
        if (!request.starts_with("POST ") || !path.ends_with("/messages")) {
          peer.answer("", "404 Not Found");
          continue;
        }
        if (fault == Fault::none || fault == Fault::lost || fault == Fault::late) {
          const std::string phone = path.substr(1, path.find('/', 1) - 1);
          taken = {phone, body["to"], body["text"]["body"], body["biz_opaque_callback_data"],
                   "wamid.out" + std::to_string(sent_.size() + 1)};
          sent_.push_back(taken);
          tell = on_taken_;
        }
      }
      if (tell) tell(taken);
      if (!answer(peer, fault, taken)) return;
    }
  }

  // False: the connection is to end.
  static bool answer(Peer& peer, Fault fault, const Sent& taken) {
    switch (fault) {
      case Fault::none:
        peer.answer(Json{{"messaging_product", "whatsapp"}, {"messages", Json::array({{{"id", taken.wamid}}})}}.dump());
        return true;
      case Fault::error:
        peer.answer(error(131000, "Something went wrong"), "500 Internal Server Error");
        return true;
      case Fault::busy:
        peer.answer(error(80007, "Rate limit issues"), "429 Too Many Requests");
        return true;
      case Fault::limited:
        peer.answer(error(131056, "(Business Account, Consumer Account) pair rate limit hit"), "400 Bad Request");
        return true;
      case Fault::refused:
        peer.answer(error(131026, "Message undeliverable", "not a WhatsApp number"), "400 Bad Request");
        return true;
      case Fault::late:
        peer.wait_closed();
        return false;
      case Fault::lost:
        return false;
    }
    return false;
  }

  mutable std::mutex mutex_;
  std::deque<Fault> faults_;
  bool away_ = false;
  int asked_ = 0;
  std::function<void(const Sent&)> on_taken_;
  std::vector<Sent> sent_;
  Json last_body_;
  Server server_{[this](Peer& peer) { serve(peer); }};
};

}  // namespace creel::test
