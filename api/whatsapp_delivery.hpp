// WhatsApp deliveries: what the body of a webhook of Meta's Cloud API holds. Pure.
// https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components
//
// One delivery may hold messages and statuses of several numbers. Whatever has not the expected form is left out and
// counted, one by one: a delivery that is refused whole would be repeated for days. Text is kept as it is.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/store/whatsapp.hpp"

namespace creel::api {

struct WhatsappDelivery {
  std::vector<store::WhatsappMessage> messages;
  std::vector<store::WhatsappStatus> statuses;
  std::size_t malformed = 0;
};

// `phone_number_id`: whose messages count; "" = of any number. `now`: the time of what names none.
WhatsappDelivery read_whatsapp(const nlohmann::json& body, const std::string& phone_number_id, TimePoint now);

}  // namespace creel::api
