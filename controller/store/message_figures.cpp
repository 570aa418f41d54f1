#include "controller/store/message_figures.hpp"

namespace creel::store {

Result<MessageFigures> message_figures(Tx& tx, const AgentId& agent, TimePoint now) {
  CREEL_TRY(const auto rows, tx.exec("SELECT asked, failed, round(response_ms::numeric / nullif(answered, 0))::bigint "
                                     "AS average, (SELECT count(*) FROM messages WHERE agent_id = $1 AND "
                                     "sender = 'user' AND at > $2 AND at <= $3) AS last_hour "
                                     "FROM message_totals WHERE agent_id = $1",
                                     {agent, now - std::chrono::hours{1}, now}));
  MessageFigures figures;
  if (rows.empty()) return figures;
  figures.processed = rows[0].integer("asked");
  figures.failed = rows[0].integer("failed");
  figures.last_hour = rows[0].integer("last_hour");
  if (!rows[0].is_null("average")) figures.average_response_ms = rows[0].integer("average");
  return figures;
}

}  // namespace creel::store
