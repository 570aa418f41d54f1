#include <gmock/gmock.h>

#include "controller/store/events.hpp"
#include "controller/store/lease.hpp"
#include "controller/store/orphans.hpp"
#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

using testing::Pair;
using testing::UnorderedElementsAre;

class OrphanStoreTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    if (HasFatalFailure()) return;
    root_ = make_user_with("root@example.com", "free", "inactive", true);
    store_ = std::make_unique<store::PgOrphanStore>(*database_, deps_->controller_id);
    auto tx = begin();
    term_ = *store::acquire_lease(tx, deps_->controller_id, "me", std::chrono::seconds{60}).value();
    ASSERT_TRUE(tx.commit());
  }

  OrphanReport report() {
    OrphanReport report;
    report.looked_at = parse_rfc3339("2026-03-19T00:30:00Z");
    report.mode = OrphanMode::all;
    report.grace = std::chrono::hours{1};
    report.volume_grace = std::chrono::hours{24};
    Orphan orphan;
    orphan.kind = "volume";
    orphan.name = orphan.id = "creel-00000000000000aa";
    orphan.agent = "00000000000000aa";
    orphan.cause = "AgentUnknown";
    orphan.message = "why";
    orphan.first_seen = *parse_rfc3339("2026-03-19T00:00:00Z");
    orphan.last_seen = *report.looked_at;
    orphan.remove_at = parse_rfc3339("2026-03-20T00:00:00Z");
    report.orphans = {orphan};
    return report;
  }

  std::string root_;
  std::unique_ptr<store::PgOrphanStore> store_;
  std::uint64_t term_ = 0;
};

TEST_F(OrphanStoreTest, KnowsWhichAgentsAreThereWhichWereAndWhichNever) {
  const AgentId live = make_agent(ann_.id).id;
  const AgentId tombstone = make_agent(ann_.id, "tombstone").id;
  run("UPDATE agents SET desired = 'deleted' WHERE id = $1", {tombstone});
  const AgentId elsewhere = make_agent(ann_.id, "elsewhere").id;
  run("UPDATE agents SET controller_id = 'other' WHERE id = $1", {elsewhere});
  const AgentId gone = new_agent_id();
  run("INSERT INTO deleted_agents (id, owner_id) VALUES ($1, $2)", {gone, ann_.id});
  const AgentId back = make_agent(ann_.id, "back").id;
  run("INSERT INTO deleted_agents (id, owner_id) VALUES ($1, $2)", {back, ann_.id});
  const AgentId never = new_agent_id();
  EXPECT_THAT(store_->fates({live, tombstone, elsewhere, gone, back, never}).value(),
              UnorderedElementsAre(Pair(live, Fate::live), Pair(tombstone, Fate::live), Pair(elsewhere, Fate::live),
                                   Pair(gone, Fate::deleted), Pair(back, Fate::live), Pair(never, Fate::unknown)));
  EXPECT_TRUE(store_->fates({}).value().empty());
}

TEST_F(OrphanStoreTest, KeepsTheLastReportAndRefusesAnOutdatedTerm) {
  const AgentId agent = new_agent_id();
  ASSERT_TRUE(store_->note(report(), {{agent, "state", "OrphanFound", "found", "creel"}}, term_));
  const auto refused = store_->note(OrphanReport{}, {{agent, "state", "OrphanFound", "again", "creel"}}, term_ + 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::conflict);
  ASSERT_TRUE(store_->note({}, {{agent, "action", "OrphanRemoved", "gone", "creel"}}, term_));
  auto tx = begin();
  EXPECT_EQ(store::orphan_report(tx, deps_->controller_id).value(), report());
  EXPECT_FALSE(store::orphan_report(tx, "other").value());
  EXPECT_EQ(store::list_events(tx, agent, 0, 10).value().size(), 2u);
}

TEST_F(OrphanStoreTest, ShowsAdministratorsWhatWasFound) {
  const Answer none = ask("GET", "/api/admin/orphans", root_);
  EXPECT_EQ(none.status, 200) << none.text;
  EXPECT_EQ(none.body["lookedAt"], nullptr);
  EXPECT_EQ(none.body["count"], 0);
  ASSERT_TRUE(store_->note(report(), {}, term_));
  const Answer one = ask("GET", "/api/admin/orphans", root_);
  EXPECT_EQ(one.body["count"], 1) << one.text;
  EXPECT_EQ(one.body["orphans"][0]["removeAt"], "2026-03-20T00:00:00Z");
  EXPECT_EQ(one.body["orphans"][0]["problem"], nullptr);
  EXPECT_EQ(one.body["mode"], "all");
  EXPECT_EQ(one.body["volumeGraceSeconds"], 86'400);
  EXPECT_EQ(ask("GET", "/api/admin/orphans", ann_key_).status, 403);
}

}  // namespace
}  // namespace creel::test
