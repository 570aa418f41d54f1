#include "controller/store/whatsapp.hpp"

#include <charconv>

#include "controller/store/messages.hpp"
#include "controller/store/text.hpp"

namespace creel::store {
namespace {

std::string table(WhatsappBox box) { return box == WhatsappBox::in ? "whatsapp_inbox" : "whatsapp_outbox"; }

std::string array_of(const std::vector<std::int64_t>& ids) {
  std::string text = "{";
  for (const auto id : ids) text += (text.size() > 1 ? "," : "") + std::to_string(id);
  return text + "}";
}

Result<WhatsappItem> item_of(const Rows::Row& row, WhatsappBox box) {
  const auto agent = AgentId::parse(row.text("agent_id"));
  if (!agent) return Error{ErrorKind::corrupt, "a stored agent id has the wrong form", {}, {}};
  WhatsappItem item;
  item.id = row.integer("id");
  item.agent = *agent;
  item.number = row.text("number");
  item.phone_number_id = row.text("phone_number_id");
  item.content = row.text("content");
  item.attempts = static_cast<int>(row.integer("attempts"));
  item.claims = row.integer("claims");
  item.created_at = row.time("created_at");
  if (box == WhatsappBox::in && !row.is_null("message_id")) item.message_id = row.integer("message_id");
  return item;
}

Result<bool> update(Tx& tx, WhatsappBox box, const WhatsappItem& item, const std::string& what,
                    std::vector<Param> params) {
  std::vector<Param> all{item.id, item.claims};
  all.insert(all.end(), params.begin(), params.end());
  CREEL_TRY(
      const auto rows,
      tx.exec("UPDATE " + table(box) + " SET " + what + " WHERE id = $1 AND claims = $2 AND state = 'working'", all));
  return rows.affected() == 1;
}

Result<void> notify(Tx& tx, const AgentId& agent) {
  CREEL_TRY([[maybe_unused]] const auto rows, tx.exec("SELECT pg_notify($1, $2)", {kWhatsappChannel, agent}));
  return {};
}

}  // namespace

const char* to_string(WhatsappDelivery delivery) {
  switch (delivery) {
    case WhatsappDelivery::sent:
      return "sent";
    case WhatsappDelivery::delivered:
      return "delivered";
    case WhatsappDelivery::read:
      return "read";
    case WhatsappDelivery::failed:
      return "failed";
  }
  return "sent";
}

std::string whatsapp_callback(std::int64_t outbox_id) { return "creel-" + std::to_string(outbox_id); }

std::optional<std::int64_t> outbox_id_in(std::string_view callback) {
  constexpr std::string_view kStart = "creel-";
  if (!callback.starts_with(kStart)) return std::nullopt;
  callback.remove_prefix(kStart.size());
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(callback.data(), callback.data() + callback.size(), id);
  if (error != std::errc{} || end != callback.data() + callback.size()) return std::nullopt;
  return id;
}

Result<bool> receive_whatsapp(Tx& tx, const AgentId& agent, const WhatsappMessage& message) {
  // ON CONFLICT waits for a delivery of the same message that has not ended yet.
  CREEL_TRY(const auto kept,
            tx.exec("INSERT INTO whatsapp_inbox (agent_id, wamid, number, phone_number_id, content, state, done_at) "
                    "VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $6 = 'done' THEN now() END) "
                    "ON CONFLICT (agent_id, wamid) DO NOTHING RETURNING id",
                    {agent, repair_text(message.wamid), message.number, message.phone_number_id,
                     repair_text(message.content), message.for_agent ? "waiting" : "done"}));
  if (kept.empty()) return false;
  CREEL_TRY(const auto session, ensure_session(tx, agent, "whatsapp:" + message.number, "whatsapp", message.at));
  Message said;
  said.agent = agent;
  said.session_id = session.id;
  said.platform = "whatsapp";
  said.content = message.content;
  said.at = message.at;
  // No external_id: that is for the name the agent's own transcript gives it. The inbox knows the wamid.
  CREEL_TRY(const auto id, add_message(tx, said));
  CREEL_TRY([[maybe_unused]] const auto linked,
            tx.exec("UPDATE whatsapp_inbox SET message_id = $2 WHERE id = $1", {kept[0].integer("id"), id}));
  CREEL_CHECK(notify(tx, agent));
  return true;
}

Result<bool> note_whatsapp_status(Tx& tx, const AgentId& agent, const WhatsappStatus& status) {
  const bool failed = status.delivery == WhatsappDelivery::failed;
  // A row may be found by either name: the id travels with the message, and the wamid is known once it was answered.
  CREEL_TRY(const auto rows,
            tx.exec("UPDATE whatsapp_outbox SET wamid = coalesce(wamid, $2), delivery = $4, delivery_at = $5, "
                    "last_error = coalesce($6, last_error), done_at = coalesce(done_at, now()), "
                    "state = CASE WHEN $4 = 'failed' THEN 'failed' ELSE 'done' END "
                    "WHERE agent_id = $1 AND (wamid = $2 OR (wamid IS NULL AND id = $3)) "
                    "AND coalesce(array_position(ARRAY['sent', 'delivered', 'read', 'failed'], delivery), 0) < "
                    "array_position(ARRAY['sent', 'delivered', 'read', 'failed'], $4) RETURNING id",
                    {agent, repair_text(status.wamid), status.outbox_id, to_string(status.delivery), status.at,
                     status.error.empty() ? std::optional<std::string>{} : std::optional{repair_text(status.error)}}));
  if (!rows.empty()) CREEL_CHECK(notify(tx, agent));  // what stands behind it may go on
  return failed && !rows.empty();
}

Result<std::vector<WhatsappItem>> claim_whatsapp(Tx& tx, WhatsappBox box, const std::string& controller_id,
                                                 const std::vector<std::int64_t>& without, std::size_t limit,
                                                 std::chrono::milliseconds hold) {
  const std::string name = table(box);
  // A stopped agent is told when it runs again; what it has said already is sent all the same.
  const std::string agents = box == WhatsappBox::in ? "a.desired = 'running'" : "a.desired <> 'deleted'";
  CREEL_TRY(const auto rows,
            tx.exec("UPDATE " + name +
                        " q SET state = 'working', claims = q.claims + 1, "
                        "next_attempt_at = clock_timestamp() + $4 * interval '1 ms' FROM (SELECT i.id FROM " +
                        name + " i JOIN agents a ON a.id = i.agent_id WHERE a.controller_id = $1 AND " + agents +
                        " AND i.state IN ('waiting', 'working') AND i.next_attempt_at <= clock_timestamp() "
                        "AND i.id <> ALL ($2::bigint[]) AND NOT EXISTS (SELECT 1 FROM " +
                        name +
                        " b WHERE b.agent_id = i.agent_id AND b.number = i.number AND b.id < i.id "
                        "AND b.state IN ('waiting', 'working')) "
                        "ORDER BY i.next_attempt_at, i.id LIMIT $3 FOR UPDATE OF i SKIP LOCKED) due "
                        "WHERE q.id = due.id RETURNING q.*",
                    {controller_id, array_of(without), static_cast<std::uint64_t>(limit),
                     static_cast<std::int64_t>(hold.count())}));
  std::vector<WhatsappItem> items;
  for (int i = 0; i < rows.size(); ++i) {
    CREEL_TRY(auto item, item_of(rows[i], box));
    items.push_back(std::move(item));
  }
  return items;
}

Result<void> reclaim_whatsapp(Tx& tx, const std::string& controller_id, std::chrono::milliseconds grace) {
  for (const auto& [box, wait] :
       {std::pair{WhatsappBox::in, std::chrono::milliseconds{0}}, std::pair{WhatsappBox::out, grace}}) {
    CREEL_TRY([[maybe_unused]] const auto rows,
              tx.exec("UPDATE " + table(box) +
                          " SET state = 'waiting', next_attempt_at = clock_timestamp() + $2 * interval '1 ms' "
                          "WHERE state = 'working' AND agent_id IN (SELECT id FROM agents WHERE controller_id = $1)",
                      {controller_id, static_cast<std::int64_t>(wait.count())}));
  }
  return {};
}

Result<bool> answer_whatsapp(Tx& tx, const WhatsappItem& item, const std::vector<std::string>& parts) {
  CREEL_TRY(const bool mine,
            update(tx, WhatsappBox::in, item, "state = 'done', done_at = now(), last_error = NULL", {}));
  if (!mine) return false;
  int number = 0;
  for (const auto& part : parts) {
    CREEL_TRY([[maybe_unused]] const auto rows,
              tx.exec("INSERT INTO whatsapp_outbox (agent_id, inbox_id, part, number, phone_number_id, content) "
                      "VALUES ($1, $2, $3, $4, $5, $6)",
                      {item.agent, item.id, ++number, item.number, item.phone_number_id, repair_text(part)}));
  }
  return true;
}

Result<bool> sent_whatsapp(Tx& tx, const WhatsappItem& item, const std::string& wamid) {
  const auto name = wamid.empty() ? std::nullopt : std::optional{repair_text(wamid)};
  return update(tx, WhatsappBox::out, item,
                "state = 'done', done_at = now(), last_error = NULL, wamid = coalesce(wamid, $3)", {name});
}

Result<bool> retry_whatsapp(Tx& tx, WhatsappBox box, const WhatsappItem& item, const std::string& error, bool failed,
                            std::chrono::milliseconds in) {
  return update(tx, box, item,
                "state = 'waiting', last_error = $3, attempts = attempts + $4, "
                "next_attempt_at = clock_timestamp() + $5 * interval '1 ms'",
                {repair_text(error), failed ? 1 : 0, static_cast<std::int64_t>(in.count())});
}

Result<bool> give_up_whatsapp(Tx& tx, WhatsappBox box, const WhatsappItem& item, const std::string& error) {
  CREEL_TRY(const bool mine,
            update(tx, box, item, "state = 'failed', done_at = now(), last_error = $3, attempts = attempts + 1",
                   {repair_text(error)}));
  if (!mine || box == WhatsappBox::in) return mine;
  CREEL_TRY([[maybe_unused]] const auto rest,
            tx.exec("UPDATE whatsapp_outbox SET state = 'failed', done_at = now(), "
                    "last_error = 'The part before it could not be sent' WHERE state = 'waiting' AND id > $1 "
                    "AND inbox_id = (SELECT inbox_id FROM whatsapp_outbox WHERE id = $1)",
                    {item.id}));
  return true;
}

Result<std::int64_t> count_open_whatsapp(Tx& tx, const std::string& controller_id) {
  CREEL_TRY(const auto rows, tx.exec("SELECT (SELECT count(*) FROM whatsapp_inbox q JOIN agents a ON a.id = q.agent_id "
                                     "WHERE a.controller_id = $1 AND q.state IN ('waiting', 'working')) + "
                                     "(SELECT count(*) FROM whatsapp_outbox q JOIN agents a ON a.id = q.agent_id "
                                     "WHERE a.controller_id = $1 AND q.state IN ('waiting', 'working')) AS n",
                                     {controller_id}));
  return rows[0].integer("n");
}

Result<WhatsappTotals> whatsapp_totals(Tx& tx, const AgentId& agent) {
  CREEL_TRY(const auto rows,
            tx.exec("WITH both_boxes AS (SELECT state, last_error, coalesce(done_at, created_at) AS at "
                    "FROM whatsapp_inbox WHERE agent_id = $1 UNION ALL "
                    "SELECT state, last_error, coalesce(done_at, created_at) FROM whatsapp_outbox WHERE agent_id = $1) "
                    "SELECT count(*) FILTER (WHERE state IN ('waiting', 'working')) AS waiting, "
                    "count(*) FILTER (WHERE state = 'failed') AS failed, "
                    "(SELECT last_error FROM both_boxes WHERE last_error IS NOT NULL ORDER BY at DESC LIMIT 1) AS "
                    "last_error FROM both_boxes",
                    {agent}));
  return WhatsappTotals{rows[0].integer("waiting"), rows[0].integer("failed"), rows[0].text("last_error")};
}

Result<std::int64_t> forget_whatsapp(Tx& tx, std::chrono::seconds age) {
  // With the replies, which are not deleted while one of them is still to be sent.
  CREEL_TRY(const auto rows,
            tx.exec("DELETE FROM whatsapp_inbox WHERE id IN (SELECT i.id FROM whatsapp_inbox i "
                    "WHERE i.state IN ('done', 'failed') AND i.done_at < now() - $1 * interval '1 second' "
                    "AND NOT EXISTS (SELECT 1 FROM whatsapp_outbox o WHERE o.inbox_id = i.id "
                    "AND o.state IN ('waiting', 'working')) LIMIT 1000)",
                    {static_cast<std::int64_t>(age.count())}));
  return rows.affected();
}

}  // namespace creel::store
