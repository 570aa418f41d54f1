// Whatsapp: sends text by Meta's Cloud API. https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
//
// The Cloud API has no idempotency keys. It carries a text of ours (`biz_opaque_callback_data`) along with a message
// and repeats it in the delivery statuses, by which a message is known again whose sending was never answered.
//
// Errors: timeout, cancelled, unavailable: no answer, the outcome is unknown; limit: not now (too many, or a 5xx), and
// as far as WhatsApp tells nothing was sent; unauthorized: the token is not taken; failed: refused for good. Sentences
// for people, without the token. Threads: any; send_async() does not block, `done` is called once, on the HTTP client's
// thread.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/result.hpp"
#include "controller/http/client.hpp"

namespace creel::channels {

// In characters as WhatsApp counts them: UTF-16 units.
inline constexpr std::size_t kLongestText = 4096;

// The text in parts of at most `longest`: cut at the last line break or blank that fits, else between characters.
// Blanks around a part are left out; a text of nothing but blanks has no parts. Text that is not UTF-8 is cut anywhere.
std::vector<std::string> split_text(std::string_view text, std::size_t longest = kLongestText);

struct WhatsappText {
  std::string phone_number_id;  // of the sender
  std::string token;
  std::string to;  // digits
  std::string text;
  std::string callback_data;
};

class Whatsapp {
 public:
  struct Options {
    std::string graph_url = "https://graph.facebook.com/v21.0";
    std::chrono::milliseconds deadline{30'000};
  };
  // `client` must outlive this object.
  Whatsapp(http::Client& client, Options options) : client_(client), options_(std::move(options)) {}

  // `done` gets WhatsApp's name of the message ("wamid.…"), "" when it took the message without naming it.
  void send_async(WhatsappText message, std::function<void(Result<std::string>)> done) const;
  std::chrono::milliseconds deadline() const { return options_.deadline; }

 private:
  http::Client& client_;
  const Options options_;
};

}  // namespace creel::channels
