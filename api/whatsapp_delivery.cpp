#include "api/whatsapp_delivery.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "controller/gateway/json.hpp"

namespace creel::api {
namespace {

using gateway::member;
using gateway::text;
using nlohmann::json;

constexpr std::size_t kLongestId = 512;

// The elements, or none: never throws, whatever it is.
const json& list(const json& object, const char* name) {
  static const json none = json::array();
  const json& found = member(object, name);
  return found.is_array() ? found : none;
}

bool digits(const std::string& text, std::size_t most) {
  return !text.empty() && text.size() <= most &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Seconds since 1970, as text.
TimePoint time_of(const json& value, TimePoint now) {
  const std::string given = text(value);
  if (!digits(given, 10)) return now;
  std::int64_t seconds = 0;
  std::from_chars(given.data(), given.data() + given.size(), seconds);
  return TimePoint{std::chrono::seconds{seconds}};
}

std::string with(const std::string& kind, const std::string& words) {
  return "[" + kind + "]" + (words.empty() ? "" : " " + words);
}

std::string number(const json& value) { return value.is_number() ? value.dump() : text(value); }

std::string place_of(const json& location) {
  std::string place = number(member(location, "latitude")) + ", " + number(member(location, "longitude"));
  for (const char* part : {"name", "address"})
    if (const std::string words = text(member(location, part)); !words.empty()) place += ", " + words;
  return place;
}

// What the agent is told, and whether it is told at all.
void read_content(const json& given, store::WhatsappMessage& message) {
  const std::string kind = text(member(given, "type"));
  const json& part = member(given, kind.c_str());
  if (kind == "text") {
    message.content = text(member(part, "body"));
  } else if (kind == "button") {
    message.content = text(member(part, "text"));
  } else if (kind == "interactive") {
    for (const char* reply : {"button_reply", "list_reply"})
      if (message.content.empty()) message.content = text(member(member(part, reply), "title"));
  } else if (kind == "location") {
    message.content = with(kind, place_of(part));
  } else if (kind == "reaction") {
    // Nothing is asked with it: an agent that was told would answer every thumb.
    message.content = with(kind, text(member(part, "emoji")));
    message.for_agent = false;
  } else if (kind == "image" || kind == "video" || kind == "document" || kind == "audio" || kind == "sticker" ||
             kind == "contacts") {
    message.content = with(kind, text(member(part, "caption")));
  } else {
    message.content = with("unsupported", plain_text(kind, 1, 32) ? kind : "");
    message.for_agent = false;
  }
  if (trimmed(message.content).empty()) {
    message.content = with(kind, "");
    message.for_agent = false;
  }
}

std::string error_of(const json& status) {
  const json& errors = list(status, "errors");
  if (errors.empty()) return {};
  std::string reason = text(member(errors.front(), "title"));
  if (const std::string details = text(member(member(errors.front(), "error_data"), "details")); !details.empty())
    reason += (reason.empty() ? "" : ": ") + details;
  return reason;
}

void read_value(const json& value, TimePoint now, WhatsappDelivery& delivery) {
  const std::string phone_number_id = text(member(member(value, "metadata"), "phone_number_id"));
  for (const json& given : list(value, "messages")) {
    store::WhatsappMessage message;
    message.wamid = text(member(given, "id"));
    message.number = text(member(given, "from"));
    message.phone_number_id = phone_number_id;
    message.at = time_of(member(given, "timestamp"), now);
    read_content(given, message);
    const bool good = plain_text(message.wamid, 1, kLongestId) && digits(message.number, 20);
    good ? delivery.messages.push_back(std::move(message)) : void(++delivery.malformed);
  }
  for (const json& given : list(value, "statuses")) {
    store::WhatsappStatus status;
    status.wamid = text(member(given, "id"));
    status.outbox_id = store::outbox_id_in(text(member(given, "biz_opaque_callback_data")));
    status.at = time_of(member(given, "timestamp"), now);
    status.error = error_of(given);
    const std::string word = text(member(given, "status"));
    using enum store::WhatsappDelivery;
    bool known = false;
    for (const auto one : {sent, delivered, read, failed})
      if (word == store::to_string(one)) status.delivery = one, known = true;
    if (status.delivery == failed && status.error.empty()) status.error = "WhatsApp does not say why";
    // Words to come ("deleted", "warning") are no mistake and change nothing.
    if (!plain_text(status.wamid, 1, kLongestId))
      ++delivery.malformed;
    else if (known)
      delivery.statuses.push_back(std::move(status));
  }
}

}  // namespace

WhatsappDelivery read_whatsapp(const json& body, const std::string& phone_number_id, TimePoint now) {
  WhatsappDelivery delivery;
  for (const json& entry : list(body, "entry")) {
    for (const json& change : list(entry, "changes")) {
      const json& value = member(change, "value");
      const std::string id = text(member(member(value, "metadata"), "phone_number_id"));
      if (text(member(change, "field")) != "messages") continue;  // news about the account
      if (!digits(id, 32)) {
        ++delivery.malformed;
      } else if (phone_number_id.empty() || phone_number_id == id) {
        read_value(value, now, delivery);
      }
    }
  }
  return delivery;
}

}  // namespace creel::api
