// WhatsApp: the inbox (what people wrote) and the outbox (what is to be sent to them), one behind the other for each
// number.
//
// Both are queues: claim() takes what is due and is not behind something unfinished of the same number; finish(),
// retry() and give_up() say what became of it, and do nothing (false) when somebody else has claimed it since. A row
// whose claim has run out (`hold`) is due again: its outcome is unknown then.
//
// Errors: conflict (no such agent); else see pg.hpp. Everything happens in the caller's transaction; kWhatsappChannel
// is notified with its commit.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

// Something came in; payload: agent id.
inline constexpr const char* kWhatsappChannel = "creel_whatsapp";

enum class WhatsappBox { in, out };

struct WhatsappMessage {
  std::string wamid;
  std::string number;           // of the person, digits
  std::string phone_number_id;  // which of the owner's numbers it was written to
  std::string content;
  TimePoint at;           // the person's time
  bool for_agent = true;  // else it is only kept among the messages
};

enum class WhatsappDelivery { sent, delivered, read, failed };
const char* to_string(WhatsappDelivery delivery);

struct WhatsappStatus {
  std::string wamid;
  std::optional<std::int64_t> outbox_id;  // as it was given along with the message
  WhatsappDelivery delivery = WhatsappDelivery::sent;
  TimePoint at;
  std::string error;  // why it failed
};

struct WhatsappItem {
  std::int64_t id = 0;
  AgentId agent;
  std::string number;
  std::string phone_number_id;
  std::string content;
  int attempts = 0;         // that failed
  std::int64_t claims = 0;  // with this one
  TimePoint created_at;
  std::optional<std::int64_t> message_id;  // inbox only
};

struct WhatsappTotals {
  std::int64_t waiting = 0;  // in both boxes
  std::int64_t failed = 0;   // of those still kept
  std::string last_error;
};

// The text that WhatsApp carries along with a part of a reply, and the part's id in it; nullopt: not one of ours.
std::string whatsapp_callback(std::int64_t outbox_id);
std::optional<std::int64_t> outbox_id_in(std::string_view callback);

// Keeps a message: among the agent's messages, and for the agent in its inbox. False: it was seen before.
Result<bool> receive_whatsapp(Tx& tx, const AgentId& agent, const WhatsappMessage& message);
// What WhatsApp says became of a reply. It also settles a sending whose own answer was lost. Older news change nothing.
// True: this is how it became known that the reply will not arrive.
Result<bool> note_whatsapp_status(Tx& tx, const AgentId& agent, const WhatsappStatus& status);

// At most `limit` items of running (inbox) or living (outbox) agents, but for those in `without`.
Result<std::vector<WhatsappItem>> claim_whatsapp(Tx& tx, WhatsappBox box, const std::string& controller_id,
                                                 const std::vector<std::int64_t>& without, std::size_t limit,
                                                 std::chrono::milliseconds hold);
// What another process had claimed becomes due: messages for agents at once, those to people after `grace`, in which
// WhatsApp may still tell that it has them.
Result<void> reclaim_whatsapp(Tx& tx, const std::string& controller_id, std::chrono::milliseconds grace);

// The agent's reply in parts, to be sent; an empty list: there is nothing to send.
Result<bool> answer_whatsapp(Tx& tx, const WhatsappItem& item, const std::vector<std::string>& parts);
Result<bool> sent_whatsapp(Tx& tx, const WhatsappItem& item, const std::string& wamid);
// `failed`: counts as an attempt.
Result<bool> retry_whatsapp(Tx& tx, WhatsappBox box, const WhatsappItem& item, const std::string& error, bool failed,
                            std::chrono::milliseconds in);
// Of the outbox: the parts behind it too, which make no sense without it.
Result<bool> give_up_whatsapp(Tx& tx, WhatsappBox box, const WhatsappItem& item, const std::string& error);

// Items of both boxes that are not done.
Result<std::int64_t> count_open_whatsapp(Tx& tx, const std::string& controller_id);
Result<WhatsappTotals> whatsapp_totals(Tx& tx, const AgentId& agent);
// Those that were done with more than `age` ago, at most 1,000; how many. An id that is gone would be taken again, so
// `age` is longer than WhatsApp repeats a message (7 days).
Result<std::int64_t> forget_whatsapp(Tx& tx, std::chrono::seconds age);

}  // namespace creel::store
