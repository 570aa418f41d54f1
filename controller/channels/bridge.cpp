#include "controller/channels/bridge.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "controller/store/agent_secrets.hpp"
#include "controller/store/chats.hpp"
#include "controller/store/events.hpp"

namespace creel::channels {
namespace {

using std::chrono::milliseconds;
using store::WhatsappBox;
using store::WhatsappItem;

constexpr std::chrono::hours kTidyPeriod{1};

// `""`: not set.
Result<std::string> open_secret(store::Tx& tx, const AgentId& agent, const char* name, const secrets::Sealer& sealer) {
  CREEL_TRY(const auto sealed, store::get_secret(tx, agent, name));
  if (!sealed) return std::string{};
  return sealer.open(*sealed, secrets::secret_context(agent.str(), name));
}

Result<void> record_event(store::Tx& tx, const AgentId& agent, const std::string& message) {
  return store::append_event(tx, Event{agent, "action", "WhatsappFailed", message, "creel"});
}

bool can_talk(const store::AgentRow& row) {
  return row.desired == DesiredState::running && !row.status.address.empty() &&
         (row.status.phase == Phase::ready || row.status.phase == Phase::unready);
}

}  // namespace

Bridge::Bridge(Parts parts, BridgeOptions options, std::function<void()> wake)
    : parts_(std::move(parts)), options_(std::move(options)) {
  mailbox_->wake = std::move(wake);
}

Bridge::~Bridge() { close(); }

void Bridge::close() {
  const std::lock_guard lock{mailbox_->mutex};
  mailbox_->wake = nullptr;
}

void Bridge::pass(std::stop_token stop) {
  const auto all = [&]() -> Result<void> {
    if (reclaim_.exchange(false)) {
      const auto reclaimed = [&]() -> Result<void> {
        CREEL_TRY(auto tx, parts_.database.begin());
        CREEL_CHECK(store::reclaim_whatsapp(tx, options_.controller_id, options_.grace));
        return tx.commit();
      }();
      if (!reclaimed) reclaim_ = true;
      CREEL_CHECK(reclaimed);
    }
    const auto recorded = record_all();
    for (const auto box : {WhatsappBox::in, WhatsappBox::out})
      if (!stop.stop_requested()) CREEL_CHECK(start(box));
    CREEL_CHECK(tidy());
    return recorded;
  };
  if (const auto done = all(); !done) spdlog::debug("WhatsApp: {}", done.error().message);
}

// What cannot be recorded now is kept for the next pass, and stays under way: nobody here takes it again.
Result<void> Bridge::record_all() {
  {
    const std::lock_guard lock{mailbox_->mutex};
    std::move(mailbox_->outcomes.begin(), mailbox_->outcomes.end(), std::back_inserter(unrecorded_));
    mailbox_->outcomes.clear();
  }
  Result<void> all;
  std::erase_if(unrecorded_, [&](const Outcome& outcome) {
    const auto recorded = record(outcome);
    // A conflict: the agent has gone in the meantime, and its rows with it.
    if (!recorded && recorded.error().kind != ErrorKind::conflict) {
      all = recorded;
      return false;
    }
    under_way(outcome.box).erase(outcome.item.id);
    return true;
  });
  return all;
}

Result<void> Bridge::record(const Outcome& outcome) {
  CREEL_TRY(auto tx, parts_.database.begin());
  if (!outcome.text) {
    CREEL_CHECK(record_failure(tx, outcome));
  } else if (outcome.box == WhatsappBox::in) {
    CREEL_CHECK(record_reply(tx, outcome));
  } else {
    CREEL_TRY(const bool mine, store::sent_whatsapp(tx, outcome.item, *outcome.text));
    if (mine) ++counters_.sent;
  }
  return tx.commit();
}

Result<void> Bridge::record_reply(store::Tx& tx, const Outcome& outcome) {
  const WhatsappItem& item = outcome.item;
  CREEL_TRY(const bool mine, store::answer_whatsapp(tx, item, split_text(*outcome.text)));
  if (!mine) return {};  // another has claimed it since: the person gets that one's answer
  ++counters_.answered;
  if (!item.message_id || outcome.text->empty()) return {};
  CREEL_TRY([[maybe_unused]] const bool kept, store::answer_message(tx, *item.message_id, *outcome.text, outcome.at));
  return {};
}

Result<void> Bridge::record_failure(store::Tx& tx, const Outcome& outcome) {
  const WhatsappItem& item = outcome.item;
  const Error& error = outcome.text.error();
  const bool in = outcome.box == WhatsappBox::in;
  const auto age = std::chrono::duration_cast<milliseconds>(outcome.at - item.created_at);
  const bool away = in ? error.kind == ErrorKind::unavailable : error.kind != ErrorKind::failed;
  const int most = error.kind == ErrorKind::timeout ? options_.most_timeouts : options_.most_attempts;
  const bool give_up = away ? age >= options_.longest_away : !in || item.attempts + 1 >= most;
  if (error.kind == ErrorKind::cancelled || !give_up) {
    milliseconds wait = backoff(item.attempts);
    // An agent that restarts is back soon: this is not counted, and grows with the time it has been away.
    if (in && away) wait = std::clamp(age / 4, options_.not_ready_retry, options_.longest_retry);
    const bool unknown = error.kind == ErrorKind::timeout || error.kind == ErrorKind::unavailable;
    if (!in && unknown) wait = std::max(wait, options_.grace);
    if (error.kind == ErrorKind::cancelled) wait = milliseconds{0};
    const bool counts = error.kind != ErrorKind::cancelled && !(in && away);
    CREEL_TRY([[maybe_unused]] const bool mine,
              store::retry_whatsapp(tx, outcome.box, item, error.message, counts, wait));
    return {};
  }
  CREEL_TRY(const bool mine, store::give_up_whatsapp(tx, outcome.box, item, error.message));
  if (!mine) return {};
  ++counters_.failed;
  spdlog::warn("WhatsApp of agent {}: {}; given up", item.agent.str(), error.message);
  if (item.message_id) CREEL_CHECK(store::fail_message(tx, *item.message_id, error.message));
  return record_event(
      tx, item.agent,
      (in ? "A message from WhatsApp was not answered: " : "A reply could not be sent on WhatsApp: ") + error.message);
}

Result<void> Bridge::start(WhatsappBox box) {
  auto& ours = under_way(box);
  if (ours.size() >= options_.at_once) return {};
  const std::size_t room = options_.at_once - ours.size();
  // Longer than the work can take: a claim that runs out is one whose outcome could not be recorded.
  const auto hold =
      (box == WhatsappBox::in ? options_.chat_deadline : parts_.whatsapp.deadline()) + std::chrono::minutes{1};
  CREEL_TRY(auto tx, parts_.database.begin());
  CREEL_TRY(auto items, store::claim_whatsapp(tx, box, options_.controller_id, {ours.begin(), ours.end()}, room, hold));
  CREEL_CHECK(tx.commit());
  const bool maybe_more = items.size() == room;
  for (auto& item : items) {
    const auto id = item.id;
    ours.insert(id);
    if (box == WhatsappBox::in && item.claims == 1) ++counters_.received;
    const auto begun = box == WhatsappBox::in ? tell_agent(std::move(item)) : send_part(std::move(item));
    if (begun) continue;
    ours.erase(id);  // due again when the claim has run out
    spdlog::debug("WhatsApp: {}", begun.error().message);
  }
  if (!maybe_more) return {};
  const std::lock_guard lock{mailbox_->mutex};
  if (mailbox_->wake) mailbox_->wake();
  return {};
}

Result<void> Bridge::tell_agent(WhatsappItem item) {
  gateway::ChatRequest request;
  std::string kind;
  {
    CREEL_TRY(auto tx, parts_.database.begin());
    CREEL_TRY(const auto row, store::get_agent(tx, item.agent));
    CREEL_TRY(request.token, open_secret(tx, item.agent, "gateway_token", parts_.sealer));
    CREEL_CHECK(tx.commit());
    const Template* tmpl = row ? parts_.templates.find(row->template_name) : nullptr;
    if (tmpl == nullptr || !can_talk(*row))
      return put_back(WhatsappBox::in, item, "The agent is not ready", options_.not_ready_retry);
    kind = tmpl->gateway;
    request.agent = item.agent;
    request.address = row->status.address;
  }
  request.session_key = "whatsapp:" + item.number;
  request.message = item.content;
  request.deadline = options_.chat_deadline;
  auto place = parts_.queue.take_place(item.agent, request.session_key);
  if (!place) return put_back(WhatsappBox::in, item, place.error().message, options_.not_ready_retry);
  auto done = deliver_to_mailbox(WhatsappBox::in, item);
  std::move(*place).begin([chat = parts_.chat, kind = std::move(kind), request = std::move(request),
                           done = std::move(done)](gateway::ChatQueue::Turn turn) mutable {
    // The turn ends with the reply, however many copies of the callback there are.
    auto held = std::make_shared<gateway::ChatQueue::Turn>(std::move(turn));
    chat(kind, std::move(request), [held, done = std::move(done)](Result<gateway::ChatReply> reply) {
      held->reset();
      done(reply ? Result<std::string>{std::move(reply->text)} : Result<std::string>{reply.error()});
    });
  });
  return {};
}

Result<void> Bridge::send_part(WhatsappItem item) {
  WhatsappText text;
  {
    CREEL_TRY(auto tx, parts_.database.begin());
    CREEL_TRY(text.token, open_secret(tx, item.agent, "whatsapp_token", parts_.sealer));
    CREEL_CHECK(tx.commit());
  }
  auto done = deliver_to_mailbox(WhatsappBox::out, item);
  if (text.token.empty()) {
    done(
        Error{ErrorKind::unauthorized, "The agent has no WhatsApp token; set it with set-credential whatsapp", {}, {}});
    return {};
  }
  text.phone_number_id = item.phone_number_id;
  text.to = item.number;
  text.text = item.content;
  text.callback_data = store::whatsapp_callback(item.id);
  parts_.whatsapp.send_async(std::move(text), std::move(done));
  return {};
}

Result<void> Bridge::put_back(WhatsappBox box, const WhatsappItem& item, const std::string& why, milliseconds in) {
  CREEL_TRY(auto tx, parts_.database.begin());
  CREEL_TRY([[maybe_unused]] const bool mine, store::retry_whatsapp(tx, box, item, why, false, in));
  CREEL_CHECK(tx.commit());
  under_way(box).erase(item.id);
  return {};
}

std::function<void(Result<std::string>)> Bridge::deliver_to_mailbox(WhatsappBox box, const WhatsappItem& item) {
  return [mailbox = mailbox_, box, item](Result<std::string> text) {
    const std::lock_guard lock{mailbox->mutex};
    mailbox->outcomes.push_back({box, item, std::move(text), system_now()});
    if (mailbox->wake) mailbox->wake();
  };
}

milliseconds Bridge::backoff(int attempts) {
  const auto longest = std::min(options_.longest_retry, options_.first_retry * (1 << std::min(attempts, 16)));
  return longest - milliseconds{std::uniform_int_distribution<std::int64_t>{0, longest.count() / 2}(chance_)};
}

Result<void> Bridge::tidy() {
  CREEL_TRY(auto tx, parts_.database.begin());
  CREEL_TRY(counters_.waiting, store::count_open_whatsapp(tx, options_.controller_id));
  const auto now = std::chrono::steady_clock::now();
  const bool due = tidied_ == std::chrono::steady_clock::time_point{} || now - tidied_ >= kTidyPeriod;
  if (due) {
    CREEL_TRY(const auto forgotten,
              store::forget_whatsapp(tx, std::chrono::duration_cast<std::chrono::seconds>(options_.kept)));
    if (forgotten < 1'000) tidied_ = now;
  }
  return tx.commit();
}

}  // namespace creel::channels
