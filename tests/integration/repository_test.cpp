#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "controller/core/agent_json.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/agent_repository.hpp"
#include "controller/store/agent_secrets.hpp"
#include "controller/store/events.hpp"
#include "controller/store/intents.hpp"
#include "controller/store/lease.hpp"
#include "tests/integration/pg_fixture.hpp"

namespace creel::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class StoreRepository : public test::PgTest {
 protected:
  void SetUp() override {
    PgTest::SetUp();
    if (HasFatalFailure()) return;
    repository_ = std::make_unique<PgAgentRepository>(*database_, sealer_, "creel");
    owner_ = make_user().id;
    term_ = take_lease("me");
  }

  std::uint64_t take_lease(const std::string& holder) {
    auto tx = begin();
    const auto term = acquire_lease(tx, "creel", holder, std::chrono::seconds{60}).value();
    EXPECT_TRUE(term);
    EXPECT_TRUE(tx.commit());
    return term.value_or(0);
  }

  void put_files(const AgentId& id, const std::vector<VolumeFile>& files) {
    auto tx = begin();
    const auto sealed = sealer_.seal(nlohmann::json(files).dump(), secrets::secret_context(id.str(), "files"));
    EXPECT_TRUE(put_secret(tx, id, "files", sealed));
    EXPECT_TRUE(tx.commit());
  }

  void wish_deleted(AgentRow row) {
    row.desired = DesiredState::deleted;
    auto tx = begin();
    EXPECT_TRUE(save_wish(tx, row));
    EXPECT_TRUE(tx.commit());
  }

  // Changes with every write of the status row, even one that changes nothing.
  std::string version() {
    return run("SELECT xmin::text || ctid::text AS version FROM agent_status")[0].text("version");
  }

  static AgentStatus running_status() {
    AgentStatus status;
    status.observed_generation = 1;
    status.phase = Phase::ready;
    status.conditions = {
        {"Ready", "True", "GatewayReady", "It answers.", parse_rfc3339("2026-03-19T00:00:00.5Z").value()}};
    status.started_at = parse_rfc3339("2026-03-19T00:00:00Z").value();
    status.runtime_id = "abc";
    status.address = "172.18.0.2:18789";
    status.pid = 42;
    status.plan = "nothing to do";
    status.observed_at = parse_rfc3339("2026-03-19T00:00:01Z").value();
    return status;
  }
  static History some_history() {
    History history;
    history.restart_done = 2;
    history.failures = 1;
    history.last_failure_reason = "ImageUnavailable";
    history.healthy_since = parse_rfc3339("2026-03-19T00:00:00.123Z").value();
    return history;
  }

  const secrets::Sealer sealer_ = secrets::Sealer::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").value();
  std::unique_ptr<PgAgentRepository> repository_;
  UserId owner_;
  std::uint64_t term_ = 0;
};

TEST_F(StoreRepository, LoadsTheWishWithItsFilesOpened) {
  auto row = agent_of_user(owner_);
  row.restart_wish = 3;
  row.repair_wish = 4;
  {
    auto tx = begin();
    ASSERT_TRUE(insert_agent(tx, row, -1));
    ASSERT_TRUE(tx.commit());
  }
  const std::vector<VolumeFile> files{{"openclaw.json", "{\"token\":\"secret\"}", 0600, 1000, 1000, true},
                                      {"workspace/a.md", "ö", 0644, 0, 0, false}};
  put_files(row.id, files);
  const auto record = repository_->load(row.id).value();
  ASSERT_TRUE(record);
  const auto& desired = record->desired;
  EXPECT_EQ(desired.id, row.id);
  EXPECT_EQ(desired.owner, owner_);
  EXPECT_EQ(desired.name, row.name);
  EXPECT_EQ(desired.template_name, row.template_name);
  EXPECT_EQ(desired.generation, 1u);
  EXPECT_EQ(desired.state, DesiredState::running);
  EXPECT_EQ(desired.restart_wish, 3u);
  EXPECT_EQ(desired.repair_wish, 4u);
  EXPECT_EQ(desired.spec, row.spec);
  EXPECT_EQ(desired.spec_hash, row.spec_hash);
  EXPECT_EQ(desired.files, files);
  EXPECT_EQ(desired.files_hash, row.files_hash);
  EXPECT_EQ(desired.restart_files_hash, row.restart_files_hash);
  EXPECT_EQ(desired.readiness, row.readiness);
  EXPECT_EQ(record->history, History{});
  EXPECT_EQ(record->status.phase, Phase::pending);
}

TEST_F(StoreRepository, DoesNotTakeFilesItCannotOpenForNoFiles) {
  const auto row = make_agent(owner_);
  EXPECT_THAT(repository_->load(row.id).value()->desired.files, IsEmpty());
  put_files(row.id, {{"a", "b"}});
  const auto other = secrets::Sealer::from_base64("HxAREhMUFRYXGBkaGxwdHgABAgMEBQYHCAkKCwwNDg8=").value();
  PgAgentRepository with_other_key{*database_, other, "creel"};
  const auto record = with_other_key.load(row.id);
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().kind, ErrorKind::corrupt);
}

TEST_F(StoreRepository, SeesOnlyItsOwnControllersAgentsTombstonesIncluded) {
  const auto mine = make_agent(owner_);
  const auto tombstone = make_agent(owner_);
  wish_deleted(tombstone);
  auto foreign = agent_of_user(owner_);
  foreign.controller_id = "other";
  {
    auto tx = begin();
    ASSERT_TRUE(insert_agent(tx, foreign, -1));
    ASSERT_TRUE(tx.commit());
  }
  EXPECT_THAT(repository_->list().value(), testing::UnorderedElementsAre(mine.id, tombstone.id));
  EXPECT_FALSE(repository_->load(foreign.id).value());
  EXPECT_FALSE(repository_->load(new_agent_id()).value());
  const auto record = repository_->load(tombstone.id).value();
  ASSERT_TRUE(record);
  EXPECT_EQ(record->desired.state, DesiredState::deleted);
  EXPECT_TRUE(record->desired.deleted_at);
  EXPECT_EQ(repository_->record(foreign.id, running_status(), {}, {}, term_).error().kind, ErrorKind::not_found);
}

TEST_F(StoreRepository, RecordsStatusHistoryAndEventsTogether) {
  const auto row = make_agent(owner_);
  const Event event{row.id, "state", "Started", "The container runs.", "creel"};
  ASSERT_TRUE(repository_->record(row.id, running_status(), some_history(), {event}, term_));
  const auto record = repository_->load(row.id).value().value();
  EXPECT_EQ(record.status, running_status());
  EXPECT_EQ(record.history, some_history());
  auto tx = begin();
  const auto events = list_events(tx, row.id, 0, 10).value();
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].event.reason, "Started");
  EXPECT_EQ(get_agent(tx, row.id).value()->status, running_status());
}

TEST_F(StoreRepository, WritesNothingWhenOnlyTheTimeOfLookingChanged) {
  const auto row = make_agent(owner_);
  auto status = running_status();
  // Not UTF-8: repaired on its way in, and not "changed" for ever because of it.
  status.message = "last words: \xFF";
  ASSERT_TRUE(repository_->record(row.id, status, some_history(), {}, term_));
  auto listening = ListenConnection::open(conninfo_, {kStatusChannel}).value();
  const auto before = version();
  status.observed_at += std::chrono::seconds{10};
  ASSERT_TRUE(repository_->record(row.id, status, some_history(), {}, term_));
  EXPECT_EQ(version(), before);

  auto history = some_history();
  history.failures = 2;
  ASSERT_TRUE(repository_->record(row.id, status, history, {}, term_));
  EXPECT_NE(version(), before);
  status.pid = 43;
  ASSERT_TRUE(repository_->record(row.id, status, history, {}, term_));
  EXPECT_EQ(repository_->load(row.id).value()->status.observed_at, status.observed_at);

  // Exactly the two changes were told.
  std::vector<std::string> told;
  ASSERT_TRUE(test::eventually([&] {
    for (auto& notification : listening.wait(milliseconds{10}, -1).value()) told.push_back(notification.payload);
    return told.size() >= 2;
  }));
  EXPECT_THAT(told, ElementsAre(row.id.str(), row.id.str()));
}

TEST_F(StoreRepository, AppendsEventsThoughTheStatusIsTheSame) {
  const auto row = make_agent(owner_);
  ASSERT_TRUE(repository_->record(row.id, running_status(), {}, {}, term_));
  const auto before = version();
  ASSERT_TRUE(repository_->record(row.id, running_status(), {}, {{row.id, "action", "Probed", "x", "creel"}}, term_));
  EXPECT_EQ(version(), before);
  auto tx = begin();
  EXPECT_THAT(list_events(tx, row.id, 0, 10).value(), SizeIs(1));
}

TEST_F(StoreRepository, RefusesAnOutdatedTermAndWritesNothing) {
  const auto row = make_agent(owner_);
  const auto before = version();
  run("UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'");
  const auto newer = take_lease("another");
  const Event event{row.id, "state", "Started", "The container runs.", "creel"};
  const auto refused = repository_->record(row.id, running_status(), {}, {event}, term_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::conflict);
  EXPECT_EQ(repository_->forget(row.id, term_).error().kind, ErrorKind::conflict);
  EXPECT_EQ(version(), before);
  {
    auto tx = begin();
    EXPECT_THAT(list_events(tx, row.id, 0, 10).value(), IsEmpty());
  }
  EXPECT_TRUE(repository_->record(row.id, running_status(), {}, {event}, newer));
}

TEST_F(StoreRepository, ForgetsADeletedAgentWithEverythingButItsEvents) {
  const auto row = make_agent(owner_);
  put_files(row.id, {{"a", "b"}});
  {
    auto tx = begin();
    ASSERT_TRUE(put_intent(tx, row.id, "create", "x"));
    ASSERT_TRUE(tx.commit());
  }
  ASSERT_TRUE(repository_->record(row.id, running_status(), {}, {{row.id, "state", "Started", "x", "creel"}}, term_));
  EXPECT_EQ(repository_->forget(row.id, term_).error().kind, ErrorKind::conflict);
  wish_deleted(row);
  ASSERT_TRUE(repository_->forget(row.id, term_));
  ASSERT_TRUE(repository_->forget(row.id, term_));
  EXPECT_FALSE(repository_->load(row.id).value());
  EXPECT_THAT(repository_->list().value(), IsEmpty());
  for (const char* table : {"agents", "agent_status", "agent_secrets", "intents"}) {
    EXPECT_EQ(run(std::string{"SELECT count(*) AS n FROM "} + table)[0].integer("n"), 0) << table;
  }
  auto tx = begin();
  EXPECT_THAT(list_events(tx, row.id, 0, 10).value(), SizeIs(1));
  EXPECT_TRUE(was_agent_of(tx, row.id, owner_).value());
  EXPECT_FALSE(was_agent_of(tx, row.id, new_user_id()).value());
  EXPECT_EQ(repository_->record(row.id, running_status(), {}, {}, term_).error().kind, ErrorKind::not_found);
}

}  // namespace
}  // namespace creel::store
