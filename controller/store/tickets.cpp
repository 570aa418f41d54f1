#include "controller/store/tickets.hpp"

#include "controller/store/user_row.hpp"

namespace creel::store {

Result<void> create_ticket(Tx& tx, TicketKind kind, const AgentId& agent, const UserId& user, std::string_view digest,
                           TimePoint now) {
  CREEL_TRY([[maybe_unused]] const auto cleared, tx.exec("DELETE FROM agent_tickets WHERE expires_at <= $1", {now}));
  const bool cookie = kind == TicketKind::cookie;
  const TimePoint expires = now + (cookie ? milliseconds{kTicketCookieLifetime} : milliseconds{kTicketLifetime});
  CREEL_TRY([[maybe_unused]] const auto inserted,
            tx.exec("INSERT INTO agent_tickets (digest, agent_id, user_id, cookie, expires_at) "
                    "VALUES ($1, $2, $3, $4, $5)",
                    {digest, agent, user, cookie, expires}));
  return {};
}

Result<std::optional<User>> user_of_ticket(Tx& tx, TicketKind kind, const AgentId& agent, std::string_view digest,
                                           TimePoint now) {
  CREEL_TRY(const auto rows, tx.exec(std::string{"SELECT "} + kUserColumns +
                                         " FROM agent_tickets k JOIN users u ON u.id = k.user_id "
                                         "WHERE k.digest = $1 AND k.agent_id = $2 AND k.cookie = $3 "
                                         "AND k.expires_at > $4",
                                     {digest, agent, kind == TicketKind::cookie, now}));
  return first_user(rows);
}

Result<void> delete_tickets_of(Tx& tx, const UserId& user) {
  CREEL_TRY([[maybe_unused]] const auto rows, tx.exec("DELETE FROM agent_tickets WHERE user_id = $1", {user}));
  return {};
}

}  // namespace creel::store
