#include "controller/store/billing.hpp"

namespace creel::store {
namespace {

std::optional<std::string> unless_empty(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional{text};
}

}  // namespace

Result<bool> keep_billing_event(Tx& tx, const BillingEvent& event) {
  // As they are met; those that another transaction is just clearing are left to it.
  CREEL_TRY([[maybe_unused]] const auto cleared,
            tx.exec("DELETE FROM billing_events WHERE id IN (SELECT id FROM billing_events WHERE received_at < now() - "
                    "interval '90 days' LIMIT 100 FOR UPDATE SKIP LOCKED)"));
  CREEL_TRY(const auto kept, tx.exec("INSERT INTO billing_events (id, type, created_at, outcome) "
                                     "VALUES ($1, $2, $3, 'received') ON CONFLICT (id) DO NOTHING",
                                     {event.id, event.type, event.created_at}));
  return kept.affected() == 1;
}

Result<void> finish_billing_event(Tx& tx, const std::string& id, const std::optional<UserId>& user,
                                  const std::string& outcome) {
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec("UPDATE billing_events SET user_id = $2, outcome = $3 WHERE id = $1", {id, user, outcome}));
  return {};
}

Result<std::optional<UserId>> find_billing_customer(Tx& tx, const std::string& customer) {
  CREEL_TRY(
      const auto rows,
      tx.exec("SELECT user_id FROM billing_accounts WHERE customer = $1 ORDER BY changed_at DESC LIMIT 1", {customer}));
  if (rows.empty()) return std::optional<UserId>{};
  return UserId::parse(rows[0].text("user_id"));
}

Result<BillingAccount> lock_billing_account(Tx& tx, const UserId& user) {
  // The update changes nothing but locks the row that was there and makes it come back.
  CREEL_TRY(const auto rows, tx.exec("INSERT INTO billing_accounts (user_id) VALUES ($1) "
                                     "ON CONFLICT (user_id) DO UPDATE SET user_id = excluded.user_id RETURNING *",
                                     {user}));
  return BillingAccount{user, rows[0].text("customer"), rows[0].text("subscription"),
                        rows[0].optional_time("changed_at")};
}

Result<void> save_billing_account(Tx& tx, const BillingAccount& account) {
  CREEL_TRY(
      [[maybe_unused]] const auto rows,
      tx.exec("UPDATE billing_accounts SET customer = $2, subscription = $3, changed_at = $4 WHERE user_id = $1",
              {account.user, unless_empty(account.customer), unless_empty(account.subscription), account.changed_at}));
  return {};
}

Result<void> set_subscription(Tx& tx, const UserId& user, const std::optional<std::string>& plan,
                              const std::string& status) {
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec("UPDATE users SET plan = coalesce($2, plan), subscription_status = $3 WHERE id = $1",
                    {user, plan, status}));
  return {};
}

}  // namespace creel::store
