// Tickets: what lets a user in at one agent's own address without a credential of Creel's. Only SHA-256 digests (64 hex
// digits) are stored. A ticket stands in an address and lives for a minute; a cookie is what a browser gets for one.
//
// `now` is the caller's clock. Errors: see pg.hpp. Functions that may write need the caller's commit().
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "controller/core/ids.hpp"
#include "controller/store/pg.hpp"
#include "controller/store/users.hpp"

namespace creel::store {

inline constexpr std::chrono::seconds kTicketLifetime{60};
inline constexpr std::chrono::hours kTicketCookieLifetime{12};

enum class TicketKind { ticket, cookie };

Result<void> create_ticket(Tx& tx, TicketKind kind, const AgentId& agent, const UserId& user, std::string_view digest,
                           TimePoint now);
// nullopt: unknown, expired, of the other kind, or for another agent.
Result<std::optional<User>> user_of_ticket(Tx& tx, TicketKind kind, const AgentId& agent, std::string_view digest,
                                           TimePoint now);
Result<void> delete_tickets_of(Tx& tx, const UserId& user);

}  // namespace creel::store
