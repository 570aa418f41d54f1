// Billing: which events of the payment service were applied, and who an account is there.
//
// Everything happens in the caller's transaction: the event's id is kept with the change it makes, or neither is.
// Errors: see pg.hpp.
#pragma once

#include <optional>
#include <string>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct BillingEvent {
  std::string id;
  std::string type;
  TimePoint created_at;  // at the payment service
};

struct BillingAccount {
  UserId user;
  std::string customer;      // "cus_…", "" = not known
  std::string subscription;  // "sub_…", "" = not known
  std::optional<TimePoint> changed_at;
};

// False: this id was kept before. Waits for a transaction that is just keeping it. Ids kept for longer than 90 days go.
Result<bool> keep_billing_event(Tx& tx, const BillingEvent& event);
Result<void> finish_billing_event(Tx& tx, const std::string& id, const std::optional<UserId>& user,
                                  const std::string& outcome);

Result<std::optional<UserId>> find_billing_customer(Tx& tx, const std::string& customer);
// The account, made if there is none, and locked until commit: events about one user come one after the other.
Result<BillingAccount> lock_billing_account(Tx& tx, const UserId& user);
Result<void> save_billing_account(Tx& tx, const BillingAccount& account);

// nullopt leaves the plan as it is. `status` as in User::subscription_status.
Result<void> set_subscription(Tx& tx, const UserId& user, const std::optional<std::string>& plan,
                              const std::string& status);

}  // namespace creel::store
