// Why an agent does not run as asked, for real: each cause told apart, with its log, its backoff and its cure.
#include <gtest/gtest.h>

#include "controller/core/clock.hpp"
#include "controller/store/pg.hpp"
#include "tests/support/creel_process.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

class Causes : public testing::Test {
 protected:
  std::string provision(json config) {
    const Answer made = creel.call("POST", "/api/agents/provision?wait=0", key,
                                   {{"name", "broken"}, {"tier", "starter"}, {"config", std::move(config)}});
    EXPECT_EQ(made.status, 201) << made.text << creel.log();
    return made.json["agent"]["id"];
  }
  Answer until_plan(const std::string& id, std::function<bool(const json&)> done) {
    return creel.until(
        "/api/agents/" + id + "/plan", key, [&](const Answer& a) { return done(a.json); }, std::chrono::seconds{90});
  }
  // Creel keeps it stopped, and says until when.
  Answer until_held(const std::string& id) {
    return until_plan(id, [](const json& plan) {
      return plan["observed"]["container"] == "exited" && !plan["nextAttempt"].is_null();
    });
  }
  std::string condition(const Answer& plan, const std::string& type) {
    for (const json& one : plan.json["conditions"])
      if (one["type"] == type) return one["status"].get<std::string>() + " " + one["reason"].get<std::string>();
    return "missing";
  }
  double seconds_of_wait(const Answer& plan) {
    const auto at = parse_rfc3339(plan.json["observedAt"].get<std::string>());
    const auto next = parse_rfc3339(plan.json["nextAttempt"].get<std::string>());
    return at && next ? static_cast<double>((*next - *at).count()) / 1000 : 0;
  }
  void expect_cure(const std::string& id, const json& config) {
    const Answer put = creel.call("PUT", "/api/agents/" + id + "/config", key, config);
    EXPECT_EQ(put.status, 200) << put.text;
    const Answer well = until_plan(id, [](const json& plan) {
      return plan["phase"] == "Ready" && plan["generation"] == plan["observedGeneration"] && plan["cause"].is_null();
    });
    EXPECT_EQ(well.json["phase"], "Ready") << well.text << creel.log();
    EXPECT_EQ(well.json["cause"], nullptr) << well.text;
    EXPECT_EQ(well.json["observed"]["exits"], 0) << "a new wish begins anew";
  }

  CreelProcess creel;
  std::string key;
  void SetUp() override {
    creel.start();
    key = creel.user("owner@example.com", "enterprise");
  }
};

TEST_F(Causes, AnAgentThatKeepsExitingIsHeldTriedAgainAndCuredByAnotherConfiguration) {
  const std::string id = provision({{"fail", "exit"}});
  const Answer held = until_held(id);
  ASSERT_EQ(held.json["observed"]["container"], "exited") << held.text << creel.log();
  EXPECT_EQ(held.json["cause"]["reason"], "Exited") << held.text;
  EXPECT_EQ(held.json["phase"], "CrashLooping");
  EXPECT_EQ(condition(held, "CrashLooping"), "True Exited");
  EXPECT_EQ(condition(held, "Ready"), "False Exited");
  EXPECT_NE(held.json["cause"]["message"].get<std::string>().find("exited with code 3"), std::string::npos);
  EXPECT_GE(held.json["cause"]["log"].size(), 2u) << held.text;
  EXPECT_LE(held.json["cause"]["log"].size(), 10u);
  EXPECT_GE(held.json["observed"]["exits"], 5);
  EXPECT_GT(seconds_of_wait(held), 3) << held.text;
  EXPECT_LE(seconds_of_wait(held), 300);
  EXPECT_EQ(creel.engine().container(id)["State"]["Running"], false);
  const int exits = held.json["observed"]["exits"];
  const Answer later = until_plan(id, [&](const json& plan) {
    return plan["observed"]["exits"] > exits && plan["observed"]["container"] == "exited" &&
           !plan["nextAttempt"].is_null();
  });
  EXPECT_GT(later.json["observed"]["exits"], exits) << "it was tried again " << later.text << creel.log();
  EXPECT_GT(seconds_of_wait(later), seconds_of_wait(held)) << "and waits for longer";
  expect_cure(id, json::object());
}

TEST_F(Causes, AnAgentThatTakesTooMuchMemoryIsToldFromOneThatExits) {
  const std::string id = provision({{"fail", "oom"}});
  const Answer held = until_held(id);
  ASSERT_EQ(held.json["observed"]["container"], "exited") << held.text << creel.log();
  EXPECT_EQ(held.json["cause"]["reason"], "OOMKilled") << held.text << creel.engine().container(id)["State"].dump();
  EXPECT_EQ(condition(held, "CrashLooping"), "True OOMKilled");
  EXPECT_NE(held.json["message"].get<std::string>().find("memory limit"), std::string::npos);
  EXPECT_GT(seconds_of_wait(held), 10) << "longer than after an exit";
  expect_cure(id, json::object());
}

TEST_F(Causes, AnAgentThatNeverGetsReadyIsToldFromOneThatExits) {
  const std::string id = provision({{"fail", "unready"}});
  const Answer unready = until_plan(id, [](const json& plan) { return plan["cause"].is_object(); });
  EXPECT_EQ(unready.json["cause"]["reason"], "NotReady") << unready.text << creel.log();
  EXPECT_EQ(unready.json["observed"]["container"], "running");
  EXPECT_EQ(unready.json["observed"]["ready"], false);
  EXPECT_FALSE(unready.json["cause"]["log"].empty());
  expect_cure(id, json::object());
}

TEST_F(Causes, AMissingImageIsSaidToBeOneAndTriedAgain) {
  const std::string id = provision(json::object());
  until_plan(id, [](const json& plan) { return plan["phase"] == "Ready"; });
  // The row asks for an image that nobody has, and its container is gone.
  const auto database = store::Database::open(creel.conninfo(), 1).value();
  auto tx = database->begin().value();
  ASSERT_TRUE(
      tx.exec("UPDATE agents SET spec = jsonb_set(spec, '{image}', '\"127.0.0.1:9/there/is:none\"'), "
              "spec_hash = 'another', generation = generation + 1 WHERE id = $1",
              {id}));
  ASSERT_TRUE(tx.exec("SELECT pg_notify('creel_agent', $1)", {id}));
  ASSERT_TRUE(tx.commit());
  const Answer running = until_plan(id, [](const json& plan) { return plan["observed"]["image"] == "failed"; });
  EXPECT_EQ(running.json["observed"]["container"], "running") << "the old one is not given up " << running.text;
  const std::string container = creel.engine().container(id)["Id"];
  ASSERT_EQ(creel.engine().call("DELETE", "/containers/" + container + "?force=true").status, 204);
  const Answer missing = until_plan(id, [](const json& plan) {
    return plan["cause"].is_object() && plan["cause"]["reason"] == "ImageUnavailable" &&
           plan["observed"]["container"] == "absent" && !plan["nextAttempt"].is_null();
  });
  EXPECT_EQ(missing.json["cause"]["reason"], "ImageUnavailable") << missing.text << creel.log();
  EXPECT_EQ(missing.json["phase"], "Failed");
  EXPECT_EQ(condition(missing, "Ready"), "False ImageUnavailable");
  EXPECT_EQ(condition(missing, "ImageAvailable"), "False PullFailed");
  EXPECT_NE(missing.json["message"].get<std::string>().find("127.0.0.1:9/there/is:none"), std::string::npos);
  EXPECT_EQ(missing.json["cause"]["log"], json::array()) << "no agent, no log";
}

TEST_F(Causes, ARefusedConfigurationIsSaidToBeOneWhileTheLastGoodOneStaysInForce) {
  const std::string id = provision(json::object());
  until_plan(id, [](const json& plan) { return plan["phase"] == "Ready"; });
  const Answer put = creel.call("PUT", "/api/agents/" + id + "/config", key, {{"fail", "nonsense"}});
  ASSERT_EQ(put.status, 200) << put.text;
  const Answer refused = until_plan(id, [](const json& plan) { return plan["cause"].is_object(); });
  EXPECT_EQ(refused.json["cause"]["reason"], "ConfigRefused") << refused.text << creel.log();
  EXPECT_NE(refused.json["cause"]["message"].get<std::string>().find("fail must be one of"), std::string::npos);
  EXPECT_EQ(condition(refused, "ConfigAccepted"), "False Refused");
  EXPECT_EQ(refused.json["observed"]["container"], "running");
  expect_cure(id, json::object());
}

}  // namespace
}  // namespace creel::test
