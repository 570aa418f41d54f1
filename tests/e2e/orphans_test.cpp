// Orphans made by hand beside a real `creel serve`: found, shown, removed.
#include <gtest/gtest.h>

#include "controller/core/ids.hpp"
#include "controller/store/pg.hpp"
#include "tests/support/creel_process.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

class Orphans : public testing::Test {
 protected:
  // A volume as a create leaves it that the engine carried out long after it was given up.
  std::string leave_volume(const std::string& agent) {
    const std::string name = "creel-" + agent;
    const Answer made = creel.engine().call(
        "POST", "/volumes/create",
        {{"Name", name}, {"Labels", {{"dev.creel.controller", creel.controller()}, {"dev.creel.agent", agent}}}});
    EXPECT_EQ(made.status, 201) << made.text;
    return name;
  }
  bool there(const std::string& volume) { return creel.engine().call("GET", "/volumes/" + volume).status == 200; }

  CreelProcess creel{{{"CREEL_ORPHAN_GRACE", "4s"}, {"CREEL_VOLUME_RETENTION", "0s"}}};
  std::string admin, owner;
  void SetUp() override {
    creel.start();
    admin = creel.user("root@example.com", "enterprise", "active", true);
    owner = creel.user("owner@example.com", "enterprise");
  }
};

TEST_F(Orphans, AreShownAndGoAfterTheirGraceButNotThoseOfAgentsThatNobodyKnows) {
  const Answer made = creel.call("POST", "/api/agents/provision", owner, {{"name", "demo"}});
  ASSERT_EQ(made.status, 201) << made.text << creel.log();
  const std::string deleted = made.json["agent"]["id"];
  ASSERT_EQ(creel.call("DELETE", "/api/agents/" + deleted + "?purge=true", owner).status, 200);
  const auto database = store::Database::open(creel.conninfo(), 1).value();
  creel.until("/readyz", "", [&](const Answer&) {  // until the row itself is gone
    auto tx = database->begin();
    return tx && !tx->exec("SELECT FROM deleted_agents WHERE id = $1", {deleted}).value().empty();
  });
  const Answer second = creel.call("POST", "/api/agents/provision", owner, {{"name", "lives"}});
  const std::string living = second.json["agent"]["id"];

  const std::string of_deleted = leave_volume(deleted);
  const std::string of_unknown = leave_volume(new_agent_id().str());
  const Answer shown = creel.until("/api/admin/orphans", admin, [](const Answer& a) { return a.json["count"] == 2; });
  ASSERT_EQ(shown.json["count"], 2) << shown.text << creel.log();
  for (const json& orphan : shown.json["orphans"]) {
    EXPECT_EQ(orphan["cause"], orphan["name"] == of_deleted ? "AgentDeleted" : "AgentUnknown");
    EXPECT_EQ(orphan["removeAt"].is_null(), orphan["name"] != of_deleted);
  }
  const Answer after = creel.until("/api/admin/orphans", admin, [](const Answer& a) { return a.json["count"] == 1; });
  EXPECT_FALSE(there(of_deleted)) << after.text << creel.log();
  EXPECT_TRUE(there(of_unknown));
  EXPECT_TRUE(there("creel-" + living));

  const Finished listed = creel.run({"orphans"});
  EXPECT_NE(listed.code, 0) << "for administrators, and no key is set";
  creel.set("CREEL_API_KEY", admin);
  const Finished table = creel.run({"orphans"});
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_NE(table.out.find(of_unknown), std::string::npos) << table.out;
  EXPECT_NE(table.err.find("1 orphans as of"), std::string::npos) << table.err;

  // Each step is an event.
  std::vector<std::string> reasons;
  const Answer events = creel.call("GET", "/api/events?limit=100", admin);
  for (const json& event : events.json["events"])
    if (const std::string reason = event["reason"]; reason.starts_with("Orphan")) reasons.push_back(reason);
  EXPECT_EQ(std::count(reasons.begin(), reasons.end(), "OrphanFound"), 2);
  EXPECT_EQ(std::count(reasons.begin(), reasons.end(), "OrphanRemoved"), 1);

  // All are to go, and the retention of volumes is nothing here.
  creel.stop();
  creel.set("CREEL_ORPHANS", "all");
  creel.start();
  creel.until("/api/admin/orphans", admin,
              [&](const Answer& a) { return a.json["mode"] == "all" && a.json["count"] == 0 && !there(of_unknown); });
  EXPECT_FALSE(there(of_unknown)) << creel.log();
  EXPECT_TRUE(there("creel-" + living));
  EXPECT_EQ(creel.call("GET", "/api/agents/" + living, owner).json["agent"]["status"], "active");
}

}  // namespace
}  // namespace creel::test
