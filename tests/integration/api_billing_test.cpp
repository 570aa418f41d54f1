// The billing webhook over a real PostgreSQL, with events signed as Stripe signs them.
#include <gmock/gmock.h>

#include "controller/secrets/hmac.hpp"
#include "controller/store/events.hpp"
#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kMade = 1'764'000'000;

class ApiBilling : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    if (HasFatalFailure()) return;
    settings_.stripe_webhook_secret = "whsec_test";
    run("UPDATE users SET plan = 'free', subscription_status = 'inactive'");
  }

  static api::Incoming signed_with(const std::string& secret, const std::string& body) {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(system_now().time_since_epoch()).count();
    const std::string time = std::to_string(now);
    return {"POST",
            "/api/billing/webhook",
            {{"Content-Type", "application/json; charset=utf-8"},
             {"Stripe-Signature", "t=" + time + ",v1=" + secrets::hmac_sha256_hex(secret, time + "." + body)}},
            body,
            "3.18.12.63"};
  }

  Answer deliver(const json& event) { return send(signed_with("whsec_test", event.dump())); }

  static json event(const std::string& type, const json& object, std::int64_t made = kMade) {
    return {{"id", "evt_" + random_hex(8)}, {"object", "event"}, {"type", type}, {"created", made}, {"livemode", false},
            {"data", {{"object", object}}}};
  }

  json checkout(const std::string& plan, std::int64_t made = kMade, const json& more = json::object()) {
    json object{{"id", "cs_1"},           {"object", "checkout.session"}, {"client_reference_id", ann_.id.str()},
                {"mode", "subscription"}, {"payment_status", "paid"},     {"metadata", {{"plan", plan}}}};
    object.update(more);
    return event("checkout.session.completed", object, made);
  }

  std::string outcome(const json& event) {
    const Answer answer = deliver(event);
    EXPECT_EQ(answer.status, 200) << answer.text;
    EXPECT_EQ(answer.body["received"], true);
    return answer.body.value("outcome", "");
  }

  // "active pro"
  std::string account(const UserId& id) {
    const auto rows = run("SELECT subscription_status || ' ' || plan AS account FROM users WHERE id = $1", {id});
    return rows[0].text("account");
  }
  std::string account() { return account(ann_.id); }

  std::int64_t events(const std::string& reason) {
    return run("SELECT count(*) AS n FROM events WHERE reason = $1", {reason})[0].integer("n");
  }
};

TEST_F(ApiBilling, FollowsASubscriptionThroughItsLife) {
  EXPECT_EQ(outcome(checkout("pro", kMade, {{"customer", "cus_1"}, {"subscription", "sub_1"}})), "applied");
  EXPECT_EQ(account(), "active pro");
  // From here on nothing but the customer says who it is.
  const json invoice{{"id", "in_1"}, {"customer", "cus_1"}, {"subscription", "sub_1"}};
  EXPECT_EQ(outcome(event("invoice.payment_failed", invoice, kMade + 10)), "applied");
  EXPECT_EQ(account(), "past_due pro");
  EXPECT_EQ(outcome(event("invoice.paid", invoice, kMade + 20)), "applied");
  EXPECT_EQ(account(), "active pro");
  EXPECT_EQ(outcome(event("customer.subscription.deleted", {{"id", "sub_1"}, {"customer", "cus_1"}}, kMade + 30)),
            "applied");
  EXPECT_EQ(account(), "cancelled free");
  EXPECT_EQ(outcome(event("invoice.paid", invoice, kMade + 40)), "ignored") << "only what was past due is paid up";
  EXPECT_EQ(account(), "cancelled free");
  EXPECT_EQ(events("SubscriptionChanged"), 4);
}

TEST_F(ApiBilling, LetsAPaidAccountProvisionAtOnce) {
  EXPECT_EQ(ask("POST", "/api/agents/provision?wait=0", ann_key_, {{"name", "fred"}}).status, 402);
  EXPECT_EQ(outcome(checkout("starter")), "applied");
  EXPECT_EQ(ask("POST", "/api/agents/provision?wait=0", ann_key_, {{"name", "fred"}}).status, 201);
}

TEST_F(ApiBilling, StopsNoAgentWhenThePlanIsLoweredButAllowsNoMore) {
  ASSERT_EQ(outcome(checkout("pro")), "applied");
  const std::string first = provision(ann_key_, "one"), second = provision(ann_key_, "two");
  ASSERT_EQ(outcome(event("customer.subscription.deleted", {{"metadata", {{"userId", ann_.id.str()}}}}, kMade + 1)),
            "applied");
  for (const auto& id : {first, second})
    EXPECT_EQ(run("SELECT desired FROM agents WHERE id = $1", {id})[0].text("desired"), "running");
  EXPECT_EQ(ask("POST", "/api/agents/provision", ann_key_, {{"name", "three"}}).status, 402);
}

TEST_F(ApiBilling, FindsTheUserByReferenceMetadataCustomerOrAddress) {
  const auto found = [&](const json& object) {
    run("UPDATE users SET subscription_status = 'inactive'");
    run("DELETE FROM billing_accounts WHERE customer IS NULL");
    const std::string word = outcome(event("invoice.payment_failed", object, kMade + 5));
    return word == "applied" && account() == "past_due free";
  };
  const json by_id{{"userId", ann_.id.str()}};
  EXPECT_TRUE(found({{"client_reference_id", ann_.id.str()}}));
  EXPECT_TRUE(found({{"metadata", by_id}}));
  EXPECT_TRUE(found({{"parent", {{"subscription_details", {{"metadata", by_id}}}}}}));
  EXPECT_TRUE(found({{"subscription_details", {{"metadata", by_id}}}}));
  EXPECT_TRUE(found({{"customer_email", "ANN@example.com"}}));
  EXPECT_TRUE(found({{"customer_details", {{"email", " ann@example.com "}}}}));
  EXPECT_TRUE(found({{"client_reference_id", "user_0000000000000000"}, {"customer_email", "ann@example.com"}}));
  EXPECT_TRUE(found({{"customer_email", "ann@example.com"}, {"customer", {{"id", "cus_7"}}}})) << "written out";
  EXPECT_TRUE(found({{"customer", "cus_7"}})) << "as it was found before";
}

TEST_F(ApiBilling, MovesNoAccountOfAnotherCustomerByItsAddress) {
  ASSERT_EQ(outcome(checkout("pro", kMade, {{"customer", "cus_1"}, {"subscription", "sub_1"}})), "applied");
  const json typed{{"customer", "cus_evil"}, {"customer_email", "ann@example.com"}, {"id", "sub_9"}};
  EXPECT_EQ(outcome(event("customer.subscription.deleted", typed, kMade + 1)), "unknown_user");
  EXPECT_EQ(account(), "active pro");
}

TEST_F(ApiBilling, SetsAnEventOfNobodyAsideForGood) {
  const json stray = event("invoice.payment_failed", {{"customer", "cus_9"}, {"customer_email", "who@example.com"}});
  EXPECT_EQ(outcome(stray), "unknown_user");
  EXPECT_EQ(outcome(stray), "duplicate") << "received is received";
  EXPECT_EQ(events("BillingEventSetAside"), 1);
  EXPECT_EQ(account(), "inactive free");
}

TEST_F(ApiBilling, AppliesAnEventOnceHoweverOftenAndAtOnceItComes) {
  const json again = checkout("pro");
  std::vector<std::future<std::string>> deliveries;
  for (int i = 0; i < 8; ++i) deliveries.push_back(std::async(std::launch::async, [&] { return outcome(again); }));
  int applied = 0;
  for (auto& delivery : deliveries) {
    const std::string word = delivery.get();
    applied += word == "applied";
    EXPECT_TRUE(word == "applied" || word == "duplicate") << word;
  }
  EXPECT_EQ(applied, 1);
  EXPECT_EQ(events("SubscriptionChanged"), 1);
  run("UPDATE users SET plan = 'starter'");
  EXPECT_EQ(outcome(again), "duplicate");
  EXPECT_EQ(account(), "active starter") << "a repetition changes nothing";
}

TEST_F(ApiBilling, LetsNoLateEventUndoANewerOne) {
  const json failed = event("invoice.payment_failed", {{"metadata", {{"userId", ann_.id.str()}}}}, kMade - 60);
  ASSERT_EQ(outcome(checkout("pro", kMade)), "applied");
  EXPECT_EQ(outcome(failed), "late");
  EXPECT_EQ(account(), "active pro");
  EXPECT_EQ(outcome(checkout("starter", kMade - 1)), "late");
  EXPECT_EQ(account(), "active pro");
}

TEST_F(ApiBilling, EndsInTheSameStateInWhateverOrderEventsCome) {
  std::vector<json> story{
      checkout("starter", kMade), checkout("pro", kMade + 1),
      event("invoice.payment_failed", {{"client_reference_id", ann_.id.str()}}, kMade + 2),
      event("customer.subscription.deleted", {{"metadata", {{"userId", ann_.id.str()}}}}, kMade + 3)};
  std::vector<int> order{0, 1, 2, 3};
  do {
    run("DELETE FROM billing_events");
    run("DELETE FROM billing_accounts");
    for (const int at : order) outcome(story[static_cast<std::size_t>(at)]);
    EXPECT_EQ(account(), "cancelled free") << order[0] << order[1] << order[2] << order[3];
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(ApiBilling, LetsTheEndOfAnEarlierSubscriptionLeaveTheNewOneAlone) {
  ASSERT_EQ(outcome(checkout("starter", kMade, {{"customer", "cus_1"}, {"subscription", "sub_old"}})), "applied");
  ASSERT_EQ(outcome(checkout("pro", kMade + 1, {{"customer", "cus_1"}, {"subscription", "sub_new"}})), "applied");
  const auto ended = [](const char* id) {
    return event("customer.subscription.deleted", {{"id", id}, {"customer", "cus_1"}}, kMade + 2);
  };
  EXPECT_EQ(outcome(ended("sub_old")), "other_subscription");
  EXPECT_EQ(account(), "active pro");
  EXPECT_EQ(outcome(ended("sub_new")), "applied");
  EXPECT_EQ(account(), "cancelled free");
}

TEST_F(ApiBilling, RefusesAPlanThatIsNotThereUntilItIs) {
  const json wrong = checkout("platinum");
  const Answer refused = deliver(wrong);
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(refused.body["code"], "UNKNOWN_PLAN");
  EXPECT_EQ(refused.body["field"], "data.object.metadata.plan");
  EXPECT_EQ(account(), "inactive free");
  EXPECT_EQ(events("BillingEventRefused"), 1) << "whoever looks at the events sees it";
  json mended = wrong;
  mended["data"]["object"]["metadata"]["plan"] = "pro";
  EXPECT_EQ(outcome(mended), "applied") << "the same id: it was not used up";
  EXPECT_EQ(deliver(checkout("pro", kMade, {{"metadata", nullptr}})).status, 422);
}

TEST_F(ApiBilling, WaitsForAPaymentThatTakesDays) {
  EXPECT_EQ(outcome(checkout("pro", kMade, {{"payment_status", "unpaid"}})), "ignored");
  EXPECT_EQ(account(), "inactive free");
  json later = checkout("pro", kMade + 9);
  later["type"] = "checkout.session.async_payment_succeeded";
  EXPECT_EQ(outcome(later), "applied");
  EXPECT_EQ(account(), "active pro");
}

TEST_F(ApiBilling, IgnoresWhatItDoesNotKnow) {
  EXPECT_EQ(outcome(event("customer.created", {{"id", "cus_1"}})), "ignored");
  EXPECT_EQ(outcome(event("payment_intent.succeeded", nullptr)), "ignored");
  EXPECT_EQ(outcome(event("checkout.session.completed", {{"mode", "payment"}, {"payment_status", "paid"}})), "ignored");
  EXPECT_EQ(run("SELECT count(*) AS n FROM billing_events")[0].integer("n"), 0);
}

TEST_F(ApiBilling, TakesNothingThatIsNotSignedForIt) {
  const std::string body = checkout("pro").dump();
  api::Incoming good = signed_with("whsec_test", body);
  api::Incoming other_body = good;
  other_body.body += " ";
  api::Incoming unsigned_one = good;
  unsigned_one.headers.pop_back();
  api::Incoming with_key = unsigned_one;
  with_key.headers.emplace_back("Authorization", "Bearer " + ann_key_);
  for (auto& bad : {other_body, unsigned_one, with_key, signed_with("whsec_other", body), signed_with("", body)}) {
    const Answer answer = send(bad);
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.body["code"], "BAD_SIGNATURE");
    EXPECT_THAT(answer.text, Not(HasSubstr("whsec_test")));
  }
  EXPECT_EQ(account(), "inactive free");
  EXPECT_EQ(send(good).body["outcome"], "applied");
}

TEST_F(ApiBilling, SaysHowToSetItUp) {
  settings_.stripe_webhook_secret = "";
  const Answer answer = send(signed_with("", checkout("pro").dump()));
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.body["code"], "BILLING_NOT_CONFIGURED");
  EXPECT_THAT(answer.body["error"], HasSubstr("STRIPE_WEBHOOK_SECRET"));
}

TEST_F(ApiBilling, NamesTheFieldThatIsWrong) {
  const json good = checkout("pro");
  for (const auto& [field, value] : std::vector<std::pair<std::string, json>>{{"id", nullptr},
                                                                              {"id", 7},
                                                                              {"id", ""},
                                                                              {"id", std::string(256, 'x')},
                                                                              {"type", nullptr},
                                                                              {"type", json::array()},
                                                                              {"created", nullptr},
                                                                              {"created", "now"},
                                                                              {"created", -1},
                                                                              {"created", 999'999'999'999'999},
                                                                              {"created", 1.5}}) {
    json bad = good;
    bad[field] = value;
    const Answer answer = deliver(bad);
    EXPECT_EQ(answer.status, 400) << bad;
    EXPECT_EQ(answer.body["code"], "INVALID_BODY");
    EXPECT_EQ(answer.body["field"], field) << bad;
  }
  json no_object = good;
  no_object["data"]["object"] = "x";
  no_object["type"] = "invoice.payment_failed";
  EXPECT_EQ(deliver(no_object).body["field"], "data.object");
  for (const std::string& body : {std::string{"[]"}, std::string{"{"}, std::string{"\xff"}, std::string(3000, '[')})
    EXPECT_EQ(send(signed_with("whsec_test", body)).status, 400) << body.substr(0, 10);
}

TEST_F(ApiBilling, TakesFieldsOfAnyTypeWithoutFalling) {
  for (const json& odd : {json{1}, json{{"id", {{"id", "x"}}}}, json("x"), json(nullptr), json(true)}) {
    const Answer answer = deliver(event("invoice.payment_failed", {{"client_reference_id", odd},
                                                                   {"metadata", odd},
                                                                   {"parent", odd},
                                                                   {"customer", odd},
                                                                   {"customer_email", odd},
                                                                   {"subscription", odd}}));
    EXPECT_EQ(answer.body["outcome"], "unknown_user") << odd << answer.text;
  }
}

TEST_F(ApiBilling, ForgetsEventsAfterNinetyDays) {
  ASSERT_EQ(outcome(checkout("pro")), "applied");
  run("UPDATE billing_events SET received_at = now() - interval '91 days'");
  ASSERT_EQ(outcome(checkout("starter")), "applied");
  EXPECT_EQ(run("SELECT count(*) AS n FROM billing_events")[0].integer("n"), 1);
}

}  // namespace
}  // namespace creel::test
