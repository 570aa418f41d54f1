// POST /api/billing/webhook: what Stripe says about subscriptions. https://docs.stripe.com/api/events
//
// Stripe delivers at least once and in any order, and repeats for days whatever is not answered with 2xx. So:
//   - each event id is kept in the transaction that applies it, and applied once, however often and at once it comes;
//   - an event made before the newest one that was applied to the account changes nothing;
//   - what sending it again cannot mend (an unknown user, another subscription) is answered 200 and recorded;
//   - what the operator can mend (no secret, a plan that is not in plans.yaml) is an error, and is applied when Stripe
//     sends it again.
#include "controller/store/billing.hpp"

#include <spdlog/spdlog.h>

#include <array>
#include <nlohmann/json.hpp>

#include "api/auth/webhook_signature.hpp"
#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "controller/gateway/json.hpp"
#include "controller/store/events.hpp"
#include "controller/store/users.hpp"

namespace creel::api {

using gateway::member;
using nlohmann::json;

namespace {

constexpr const char* kFailure = "Failed to apply the billing event";

// What an event means for an account.
struct Change {
  std::string status;                           // of the subscription, afterwards
  bool plan_from_metadata = false;              // checkout
  std::optional<std::string> plan{};            // nullopt: as it is
  std::optional<std::string> only_if_status{};  // changes nothing otherwise
};

// What it is about.
struct Subject {
  std::vector<std::string> user_ids;  // where the shop may have put it, the most direct first
  std::string customer;
  std::string email;
  std::string subscription;
};

// A text, or the id of an object that Stripe was asked to write out.
std::string text(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  const json& id = member(value, "id");
  return id.is_string() ? id.get<std::string>() : std::string{};
}

std::string first_text(std::initializer_list<std::string> texts) {
  for (const auto& one : texts)
    if (!one.empty()) return one;
  return {};
}

std::optional<Change> change_of(const std::string& type, const json& object) {
  if (type == "checkout.session.completed" || type == "checkout.session.async_payment_succeeded") {
    // A payment that takes days (bank debit) completes the checkout first and succeeds later, by the second type.
    if (text(member(object, "payment_status")) == "unpaid") return std::nullopt;
    const std::string mode = text(member(object, "mode"));
    const bool of_a_plan = member(member(object, "metadata"), "plan").is_string();
    if (!mode.empty() && mode != "subscription" && !of_a_plan) return std::nullopt;  // something else was sold
    return Change{"active", true};
  }
  if (type == "invoice.payment_failed") return Change{"past_due"};
  if (type == "invoice.paid") return Change{"active", false, std::nullopt, "past_due"};
  if (type == "customer.subscription.deleted") return Change{"cancelled", false, "free"};
  return std::nullopt;
}

Subject subject_of(const std::string& type, const json& object) {
  // Stripe moved an invoice's subscription into `parent` in 2025; both forms are sent, as the account is set up.
  const json& details = member(member(object, "parent"), "subscription_details");
  const json& earlier_details = member(object, "subscription_details");
  Subject subject;
  for (const json* place :
       {&member(object, "client_reference_id"), &member(member(object, "metadata"), "userId"),
        &member(member(details, "metadata"), "userId"), &member(member(earlier_details, "metadata"), "userId")})
    if (const std::string id = text(*place); !id.empty()) subject.user_ids.push_back(id);
  subject.customer = text(member(object, "customer"));
  subject.email = trimmed(
      first_text({text(member(object, "customer_email")), text(member(member(object, "customer_details"), "email"))}));
  subject.subscription =
      type.starts_with("customer.subscription.")
          ? text(member(object, "id"))
          : first_text({text(member(object, "subscription")), text(member(details, "subscription"))});
  return subject;
}

Result<std::optional<store::User>> find_subject(store::Tx& tx, const Subject& subject) {
  for (const auto& text : subject.user_ids) {
    const auto id = UserId::parse(text);
    if (!id) continue;
    CREEL_TRY(auto user, store::find_user(tx, *id));
    if (user) return user;
  }
  if (!subject.customer.empty()) {
    CREEL_TRY(const auto id, store::find_billing_customer(tx, subject.customer));
    if (id) return store::find_user(tx, *id);
  }
  if (subject.email.empty()) return std::optional<store::User>{};
  CREEL_TRY(auto user, store::find_user_by_email(tx, subject.email));
  if (!user || subject.customer.empty()) return user;
  // Stripe does not check addresses: an account that is another customer's is not moved by somebody who typed it.
  CREEL_TRY(const auto account, store::lock_billing_account(tx, user->id));
  if (!account.customer.empty() && account.customer != subject.customer) return std::optional<store::User>{};
  return user;
}

struct Outcome {
  const char* word;
  std::string message;
  std::optional<UserId> user{};
};

Result<Outcome> apply(store::Tx& tx, const store::BillingEvent& event, const Change& change, const Subject& subject) {
  CREEL_TRY(const auto user, find_subject(tx, subject));
  if (!user)
    return Outcome{"unknown_user",
                   "No user has the id, the customer or the e-mail address that this event names; set the plan with "
                   "`creel user set`"};
  CREEL_TRY(auto account, store::lock_billing_account(tx, user->id));
  if (account.changed_at && event.created_at < *account.changed_at)
    return Outcome{"late", "A newer event was applied before", user->id};
  const bool begins = change.plan_from_metadata;
  if (!begins && !account.subscription.empty() && !subject.subscription.empty() &&
      account.subscription != subject.subscription)
    return Outcome{"other_subscription", "The account has another subscription now", user->id};
  // Read again, now that nobody else changes it.
  CREEL_TRY(const auto current, store::find_user(tx, user->id));
  if (current && change.only_if_status && current->subscription_status != *change.only_if_status)
    return Outcome{"ignored", "The account is not " + *change.only_if_status, user->id};
  CREEL_CHECK(store::set_subscription(tx, user->id, change.plan, change.status));
  if (!subject.customer.empty()) account.customer = subject.customer;
  if (begins || account.subscription.empty()) account.subscription = subject.subscription;
  account.changed_at = event.created_at;
  CREEL_CHECK(store::save_billing_account(tx, account));
  return Outcome{"applied",
                 "User " + user->id.str() + " is " + change.status + " now" +
                     (change.plan ? ", on the plan " + *change.plan : std::string{}),
                 user->id};
}

Response received(const char* outcome, const std::string& message) {
  return json_answer(200, json{{"received", true}, {"outcome", outcome}, {"message", message}});
}

Result<void> record(store::Tx& tx, const char* reason, const std::string& message, const Request& request) {
  return store::append_event(tx, Event{AgentId{}, "audit", reason, message, "stripe", request.remote_ip});
}

// In a transaction of its own: that of the event is not to be kept.
Result<void> record_refusal(store::Database& db, const std::string& message, const Request& request) {
  CREEL_TRY(auto tx, db.begin());
  CREEL_CHECK(record(tx, "BillingEventRefused", message, request));
  return tx.commit();
}

Result<store::BillingEvent> event_of(const json& body) {
  store::BillingEvent event;
  CREEL_TRY(const auto id, text_field(body, "id"));
  CREEL_TRY(const auto type, text_field(body, "type"));
  CREEL_TRY(const auto created, integer_field(body, "created"));
  event.id = id.value_or("");
  event.type = type.value_or("");
  if (!plain_text(event.id, 1, 255)) return invalid("id", "The field id must be the id of the event");
  if (!plain_text(event.type, 1, 255)) return invalid("type", "The field type must be the type of the event");
  // Up to the year 9999: what PostgreSQL and RFC 3339 can hold.
  if (!created || *created < 0 || *created > 253'402'300'799)
    return invalid("created", "The field created must be the time of the event, in seconds since 1970");
  event.created_at = TimePoint{std::chrono::seconds{*created}};
  return event;
}

}  // namespace

Reply billing_webhook(const Request& request, Deps& deps) {
  const std::string& secret = deps.settings.stripe_webhook_secret;
  if (secret.empty()) {
    Response response = error_answer(request, 503, "BILLING_NOT_CONFIGURED",
                                     "Billing is not set up: set STRIPE_WEBHOOK_SECRET to the signing secret of this "
                                     "endpoint (whsec_…) and start Creel again");
    response.headers.emplace_back("Retry-After", "3600");  // Stripe keeps the event and sends it again
    return response;
  }
  CREEL_API_CHECK(request, "",
                  check_stripe_signature(request.header("Stripe-Signature"), request.body, secret, deps.clock()));
  CREEL_API_TRY(const json body, request, "", json_object(request));
  CREEL_API_TRY(const store::BillingEvent event, request, "", event_of(body));
  const json& object = member(member(body, "data"), "object");
  auto change = change_of(event.type, object);
  if (!change) return received("ignored", "Events of this kind change no account");
  if (!object.is_object()) return invalid_answer(request, "data.object", "The field data.object must be an object");
  if (change->plan_from_metadata) {
    change->plan = text(member(member(object, "metadata"), "plan"));
    if (!deps.plans.known(*change->plan)) {
      const std::string message = "The field data.object.metadata.plan of the event " + event.id +
                                  " must be a plan of plans.yaml; mend either, and it is applied when it is sent again";
      spdlog::warn("billing: {}", message);
      CREEL_API_CHECK(request, kFailure, record_refusal(deps.db, message, request));
      return error_answer(request, 422, "UNKNOWN_PLAN", message, json{{"field", "data.object.metadata.plan"}});
    }
  }

  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(const bool fresh, request, kFailure, store::keep_billing_event(tx, event));
  if (!fresh) return received("duplicate", "This event was received before");
  CREEL_API_TRY(const Outcome outcome, request, kFailure, apply(tx, event, *change, subject_of(event.type, object)));
  CREEL_API_CHECK(request, kFailure, store::finish_billing_event(tx, event.id, outcome.user, outcome.word));
  const bool applied = std::string_view{outcome.word} == "applied";
  const std::string story = event.type + " " + event.id + ": " + outcome.message;
  CREEL_API_CHECK(request, kFailure,
                  record(tx, applied ? "SubscriptionChanged" : "BillingEventSetAside", story, request));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  spdlog::info("billing: {}", story);
  return received(outcome.word, outcome.message);
}

}  // namespace creel::api
