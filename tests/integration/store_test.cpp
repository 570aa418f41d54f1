#include <gmock/gmock.h>

#include <latch>
#include <thread>

#include "controller/core/agent_json.hpp"
#include "controller/store/agent_secrets.hpp"
#include "controller/store/credentials.hpp"
#include "controller/store/events.hpp"
#include "controller/store/idempotency.hpp"
#include "controller/store/intents.hpp"
#include "tests/integration/pg_fixture.hpp"

namespace creel::store {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kDigest(64, 'a');

class Store : public test::PgTest {
 protected:
  // Runs the work in a transaction of its own, and commits when it succeeded.
  template <class Work>
  auto commit(Work work) {
    auto tx = begin();
    auto result = work(tx);
    if (result) {
      EXPECT_TRUE(tx.commit());
    }
    return result;
  }
};

class StoreUsers : public Store {};

TEST_F(StoreUsers, AreFoundByIdAndByEmailInAnyCase) {
  const auto ann = make_user("Ann@Example.com");
  auto tx = begin();
  const auto by_id = find_user(tx, ann.id).value();
  ASSERT_TRUE(by_id);
  EXPECT_EQ(by_id->email, "Ann@Example.com");
  EXPECT_EQ(by_id->plan, "pro");
  EXPECT_EQ(by_id->subscription_status, "active");
  EXPECT_EQ(by_id->password_hash, "hash");
  EXPECT_EQ(by_id->created_at, ann.created_at);
  const auto by_email = find_user_by_email(tx, "aNN@example.COM").value();
  ASSERT_TRUE(by_email);
  EXPECT_EQ(by_email->id, ann.id);
  EXPECT_FALSE(find_user_by_email(tx, "bob@example.com").value());
  EXPECT_FALSE(find_user(tx, new_user_id()).value());
}

TEST_F(StoreUsers, CannotShareAnEmail) {
  make_user("ann@example.com");
  auto tx = begin();
  const auto again =
      create_user(tx, User{new_user_id(), "ANN@example.com", "", false, "free", "inactive", system_now()});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, ErrorKind::conflict);
  EXPECT_EQ(again.error().field, "email");
}

TEST_F(StoreUsers, ChangeEverythingButIdAndAge) {
  auto ann = make_user();
  const auto born = ann.created_at;
  ann.email = "anna@example.com";
  ann.admin = true;
  ann.plan = "enterprise";
  ann.subscription_status = "past_due";
  ann.password_hash = "other";
  ann.created_at = {};
  ASSERT_TRUE(commit([&](Tx& tx) { return update_user(tx, ann); }));
  auto tx = begin();
  const auto all = list_users(tx, 100).value();
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(all[0].email, "anna@example.com");
  EXPECT_TRUE(all[0].admin);
  EXPECT_EQ(all[0].plan, "enterprise");
  EXPECT_EQ(all[0].created_at, born);
  ann.id = new_user_id();
  EXPECT_EQ(update_user(tx, ann).error().kind, ErrorKind::not_found);
}

class StoreSessions : public Store {};

TEST_F(StoreSessions, LiveThirtyDaysFromTheirLastUse) {
  const auto ann = make_user();
  const auto start = system_now();
  ASSERT_TRUE(commit([&](Tx& tx) { return create_session(tx, ann.id, kDigest, start); }));
  const auto user_at = [&](TimePoint now) {
    return commit([&](Tx& tx) { return user_of_session(tx, kDigest, now); }).value();
  };
  ASSERT_TRUE(user_at(start + hours{24 * 29}));
  EXPECT_EQ(user_at(start + hours{24 * 29})->id, ann.id);
  EXPECT_TRUE(user_at(start + hours{24 * 58}));
  EXPECT_FALSE(user_at(start + hours{24 * 89}));
}

TEST_F(StoreSessions, WriteTheirUseAtMostOnceAMinute) {
  const auto ann = make_user();
  const auto start = system_now();
  ASSERT_TRUE(commit([&](Tx& tx) { return create_session(tx, ann.id, kDigest, start); }));
  const auto used = [&] { return run("SELECT last_used_at FROM sessions")[0].time("last_used_at"); };
  ASSERT_TRUE(commit([&](Tx& tx) { return user_of_session(tx, kDigest, start + milliseconds{59'999}); }));
  EXPECT_EQ(used(), start);
  ASSERT_TRUE(commit([&](Tx& tx) { return user_of_session(tx, kDigest, start + minutes{1}); }));
  EXPECT_EQ(used(), start + minutes{1});
}

TEST_F(StoreSessions, EndOneByOneOrAllOfAUser) {
  const auto ann = make_user(), bob = make_user("bob@example.com");
  const auto now = system_now();
  for (const auto& [user, letter] : {std::pair{ann.id, 'a'}, {ann.id, 'b'}, {ann.id, 'c'}, {bob.id, 'd'}}) {
    ASSERT_TRUE(commit([&](Tx& tx) { return create_session(tx, user, std::string(64, letter), now); }));
  }
  ASSERT_TRUE(commit([&](Tx& tx) { return delete_session(tx, std::string(64, 'a')); }));
  EXPECT_EQ(run("SELECT count(*) AS n FROM sessions")[0].integer("n"), 3);
  ASSERT_TRUE(commit([&](Tx& tx) { return delete_sessions_of(tx, ann.id); }));
  auto tx = begin();
  EXPECT_TRUE(user_of_session(tx, std::string(64, 'd'), now).value());
  EXPECT_FALSE(user_of_session(tx, std::string(64, 'b'), now).value());
}

TEST_F(StoreSessions, ThatExpiredAreClearedAwayByNewOnes) {
  const auto ann = make_user();
  const auto now = system_now();
  ASSERT_TRUE(commit([&](Tx& tx) { return create_session(tx, ann.id, kDigest, now - hours{24 * 31}); }));
  ASSERT_TRUE(commit([&](Tx& tx) { return create_session(tx, ann.id, std::string(64, 'b'), now); }));
  EXPECT_EQ(run("SELECT count(*) AS n FROM sessions")[0].integer("n"), 1);
}

class StoreApiKeys : public Store {
 protected:
  static ApiKey key(const UserId& user, const std::string& name) {
    return {"key_" + random_hex(8), user, name, "sk_01234", system_now(), std::nullopt, std::nullopt};
  }
};

TEST_F(StoreApiKeys, NameTheirUserUntilTheyExpire) {
  const auto ann = make_user();
  const auto now = system_now();
  auto made = key(ann.id, "laptop");
  made.expires_at = now + hours{1};
  ASSERT_TRUE(commit([&](Tx& tx) { return create_api_key(tx, made, kDigest); }));
  EXPECT_EQ(commit([&](Tx& tx) { return user_of_api_key(tx, kDigest, now); }).value()->id, ann.id);
  EXPECT_FALSE(commit([&](Tx& tx) { return user_of_api_key(tx, kDigest, now + hours{1}); }).value());
  EXPECT_FALSE(commit([&](Tx& tx) { return user_of_api_key(tx, std::string(64, 'f'), now); }).value());
  auto tx = begin();
  const auto keys = list_api_keys(tx, ann.id).value();
  ASSERT_THAT(keys, SizeIs(1));
  EXPECT_EQ(keys[0].id, made.id);
  EXPECT_EQ(keys[0].name, "laptop");
  EXPECT_EQ(keys[0].prefix, "sk_01234");
  EXPECT_EQ(keys[0].expires_at, made.expires_at);
  EXPECT_EQ(keys[0].last_used_at, now);
}

TEST_F(StoreApiKeys, AreTakenBackByTheirOwnerOnly) {
  const auto ann = make_user(), bob = make_user("bob@example.com");
  const auto made = key(ann.id, "laptop");
  ASSERT_TRUE(commit([&](Tx& tx) { return create_api_key(tx, made, kDigest); }));
  EXPECT_FALSE(commit([&](Tx& tx) { return delete_api_key(tx, bob.id, made.id); }).value());
  EXPECT_TRUE(commit([&](Tx& tx) { return delete_api_key(tx, ann.id, made.id); }).value());
  EXPECT_FALSE(commit([&](Tx& tx) { return delete_api_key(tx, ann.id, made.id); }).value());
}

TEST_F(StoreApiKeys, StayWithinTheLimitWhenManyAreMadeAtOnce) {
  const auto ann = make_user();
  auto database = Database::open(conninfo_, 8).value();
  std::atomic<int> made{0}, refused{0}, other{0};
  {
    std::latch together{8};
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        together.arrive_and_wait();
        for (int i = 0; i < 2; ++i) {
          auto tx = database->begin().value();
          auto result = create_api_key(tx, key(ann.id, "k"), random_hex(32));
          if (result) result = tx.commit();
          ++(result ? made : result.error().kind == ErrorKind::limit ? refused : other);
        }
      });
    }
  }
  EXPECT_EQ(made, 10);
  EXPECT_EQ(refused, 6);
  EXPECT_EQ(other, 0);
}

class StoreAgents : public Store {};

TEST_F(StoreAgents, AreReadBackAsTheyWereWritten) {
  const auto ann = make_user();
  auto row = agent_of_user(ann.id);
  row.image = "example/agent:2";
  row.controller_id = "other";
  row.desired = DesiredState::stopped;
  row.restart_wish = 3;
  row.repair_wish = 4;
  row.status.phase = Phase::creating;
  row.status.message = "being made";
  ASSERT_TRUE(commit([&](Tx& tx) { return insert_agent(tx, row, 1); }));
  auto tx = begin();
  const auto found = get_agent(tx, row.id).value();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->id, row.id);
  EXPECT_EQ(found->controller_id, "other");
  EXPECT_EQ(found->owner, row.owner);
  EXPECT_EQ(found->name, row.name);
  EXPECT_EQ(found->template_name, row.template_name);
  EXPECT_EQ(found->model, row.model);
  EXPECT_EQ(found->tier, row.tier);
  EXPECT_EQ(found->image, row.image);
  EXPECT_EQ(found->version, row.version);
  EXPECT_EQ(found->desired, DesiredState::stopped);
  EXPECT_EQ(found->generation, 1u);
  EXPECT_EQ(found->restart_wish, 3u);
  EXPECT_EQ(found->repair_wish, 4u);
  EXPECT_FALSE(found->purge);
  EXPECT_EQ(found->spec, row.spec);
  EXPECT_EQ(found->spec_hash, row.spec_hash);
  EXPECT_EQ(found->readiness, row.readiness);
  EXPECT_EQ(found->files_hash, row.files_hash);
  EXPECT_EQ(found->restart_files_hash, row.restart_files_hash);
  EXPECT_EQ(found->config_etag, row.config_etag);
  EXPECT_EQ(found->created_at, row.created_at);
  EXPECT_EQ(found->updated_at, row.updated_at);
  EXPECT_EQ(found->deleted_at, std::nullopt);
  EXPECT_EQ(found->status.phase, Phase::creating);
  EXPECT_EQ(found->status.message, "being made");
  EXPECT_FALSE(get_agent(tx, new_agent_id()).value());
}

TEST_F(StoreAgents, AreRefusedAtTheLimitAndDeletedOnesDoNotCount) {
  const auto ann = make_user();
  auto first = make_agent(ann.id);
  const auto second = agent_of_user(ann.id);
  const auto refused = commit([&](Tx& tx) { return insert_agent(tx, second, 1); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::limit);
  EXPECT_EQ(refused.error().code, "AGENT_LIMIT_REACHED");
  first.desired = DesiredState::deleted;
  ASSERT_TRUE(commit([&](Tx& tx) { return save_wish(tx, first); }));
  EXPECT_TRUE(first.deleted_at);
  EXPECT_TRUE(commit([&](Tx& tx) { return insert_agent(tx, second, 1); }));
  auto tx = begin();
  EXPECT_EQ(count_agents(tx, ann.id).value(), 1);
}

TEST_F(StoreAgents, StayWithinTheLimitWhenManyAreProvisionedAtOnce) {
  const auto ann = make_user();
  auto database = Database::open(conninfo_, 8).value();
  std::atomic<int> made{0}, refused{0}, other{0};
  {
    std::latch together{8};
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        const auto row = agent_of_user(ann.id);
        together.arrive_and_wait();
        auto tx = database->begin().value();
        auto result = insert_agent(tx, row, 3);
        if (result) result = tx.commit();
        ++(result ? made : result.error().kind == ErrorKind::limit ? refused : other);
      });
    }
  }
  EXPECT_EQ(made, 3);
  EXPECT_EQ(refused, 5);
  EXPECT_EQ(other, 0);
}

TEST_F(StoreAgents, AreListedNewestFirstInPagesWithoutDeletedOnes) {
  const auto ann = make_user(), bob = make_user("bob@example.com");
  const auto start = system_now();
  std::vector<std::string> expected;
  for (int i = 0; i < 5; ++i) {
    auto row = agent_of_user(i == 4 ? bob.id : ann.id, "agent" + std::to_string(i));
    row.created_at = start + milliseconds{i / 2};  // some of the same moment: the id decides
    ASSERT_TRUE(commit([&](Tx& tx) { return insert_agent(tx, row, -1); }));
    if (i == 1) {
      row.desired = DesiredState::deleted;
      ASSERT_TRUE(commit([&](Tx& tx) { return save_wish(tx, row); }));
    }
  }
  auto tx = begin();
  const auto all = list_agents(tx, std::nullopt, 100).value();
  ASSERT_THAT(all, SizeIs(4));
  EXPECT_EQ(all[0].name, "agent4");
  EXPECT_EQ(all[3].name, "agent0");
  std::vector<std::string> paged;
  std::string cursor;
  for (int page = 0; page < 10; ++page) {
    const auto rows = list_agents(tx, ann.id, 1, cursor).value();
    if (rows.empty()) break;
    paged.push_back(rows[0].id.str());
    cursor = cursor_after(rows[0]);
  }
  EXPECT_THAT(paged, ElementsAre(all[1].id.str(), all[2].id.str(), all[3].id.str()));
  EXPECT_EQ(oldest_live_agent(tx, ann.id).value()->name, "agent0");
  EXPECT_FALSE(oldest_live_agent(tx, new_user_id()).value());
}

TEST_F(StoreAgents, RefuseACursorThatIsNotOurs) {
  auto tx = begin();
  for (const char* cursor : {"x", "1.2", ".", "'; DROP TABLE agents; --", "99999999999999999999.0123456789abcdef",
                             "12x.0123456789abcdef", "-1.0123456789abcdef", "100000000000000.0123456789abcdef"}) {
    const auto rows = list_agents(tx, std::nullopt, 10, cursor);
    ASSERT_FALSE(rows) << cursor;
    EXPECT_EQ(rows.error().kind, ErrorKind::invalid);
    EXPECT_EQ(rows.error().field, "cursor");
  }
  EXPECT_TRUE(list_agents(tx, std::nullopt, 10, "99999999999999.0123456789abcdef"))
      << "the longest there can be is one PostgreSQL can hold";
}

TEST_F(StoreAgents, CountTheirWishes) {
  auto row = make_agent(make_user().id);
  row.name = "renamed";
  row.desired = DesiredState::stopped;
  row.spec.image = "example/agent:9";
  row.spec_hash = "ffff";
  row.config_etag = "e2";
  row.purge = true;
  ASSERT_TRUE(commit([&](Tx& tx) { return save_wish(tx, row); }));
  EXPECT_EQ(row.generation, 2u);
  auto tx = begin();
  const auto found = get_agent(tx, row.id).value().value();
  EXPECT_EQ(found.generation, 2u);
  EXPECT_EQ(found.name, "renamed");
  EXPECT_EQ(found.desired, DesiredState::stopped);
  EXPECT_EQ(found.spec.image, "example/agent:9");
  EXPECT_EQ(found.spec_hash, "ffff");
  EXPECT_EQ(found.config_etag, "e2");
  EXPECT_TRUE(found.purge);
  EXPECT_EQ(found.updated_at, row.updated_at);
  EXPECT_EQ(found.deleted_at, std::nullopt);
  auto gone = row;
  gone.id = new_agent_id();
  EXPECT_EQ(save_wish(tx, gone).error().kind, ErrorKind::not_found);
}

TEST_F(StoreAgents, TakeWishesOneAfterTheOther) {
  const auto row = make_agent(make_user().id);
  auto database = Database::open(conninfo_, 8).value();
  {
    std::latch together{8};
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        together.arrive_and_wait();
        for (int i = 0; i < 5; ++i) {
          auto tx = database->begin().value();
          auto mine = get_agent(tx, row.id, true).value().value();
          ++mine.restart_wish;
          EXPECT_TRUE(save_wish(tx, mine));
          EXPECT_TRUE(tx.commit());
        }
      });
    }
  }
  auto tx = begin();
  const auto found = get_agent(tx, row.id).value().value();
  EXPECT_EQ(found.restart_wish, 40u);
  EXPECT_EQ(found.generation, 41u);
}

TEST_F(StoreAgents, ThatCannotBeReadBackAreCorruptAndNotEmpty) {
  const auto row = make_agent(make_user().id);
  run("UPDATE agents SET spec = '{\"image\": 7}'");
  auto tx = begin();
  const auto found = get_agent(tx, row.id);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().kind, ErrorKind::corrupt);
}

class StoreAgentSecrets : public Store {};

TEST_F(StoreAgentSecrets, AreKeptByteForByte) {
  const auto row = make_agent(make_user().id);
  for (const char* key : {"key", "k", "k2"}) may_seal(key);
  const secrets::Sealed sealed{"key", std::string{"\0\1\2", 3}, std::string{"\xFF\0'\\", 4}};
  ASSERT_TRUE(commit([&](Tx& tx) { return put_secret(tx, row.id, "files", sealed); }));
  ASSERT_TRUE(commit([&](Tx& tx) { return put_secret(tx, row.id, "config", {"k", "n", ""}); }));
  ASSERT_TRUE(commit([&](Tx& tx) { return put_secret(tx, row.id, "config", {"k2", "n2", "c2"}); }));
  auto tx = begin();
  EXPECT_EQ(get_secret(tx, row.id, "files").value(), sealed);
  EXPECT_EQ(get_secret(tx, row.id, "config").value()->key_id, "k2");
  EXPECT_FALSE(get_secret(tx, row.id, "telegram").value());
  EXPECT_THAT(secret_names(tx, row.id).value(), ElementsAre("config", "files"));
  EXPECT_TRUE(delete_secret(tx, row.id, "config").value());
  EXPECT_FALSE(delete_secret(tx, row.id, "config").value());
  EXPECT_EQ(put_secret(tx, new_agent_id(), "x", sealed).error().kind, ErrorKind::conflict);
}

class StoreEvents : public Store {};

TEST_F(StoreEvents, AreListedByAgentFromAnIdOn) {
  const auto first = new_agent_id(), second = new_agent_id();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(commit([&](Tx& tx) {
      return append_event(tx, {i == 1 ? second : first, "wish", "Provisioned", "made " + std::to_string(i), "user_x"});
    }));
  }
  ASSERT_TRUE(commit([&](Tx& tx) { return append_event(tx, {{}, "state", "Started", "bad \xFF byte", "creel"}); }));
  auto tx = begin();
  const auto all = list_events(tx, std::nullopt, 0, 100).value();
  ASSERT_THAT(all, SizeIs(4));
  EXPECT_EQ(all[0].event.reason, "Provisioned");
  EXPECT_EQ(all[0].event.agent, first);
  EXPECT_TRUE(all[3].event.agent.empty());
  EXPECT_EQ(all[3].event.message, "bad \xEF\xBF\xBD byte");
  EXPECT_LE(std::chrono::abs(all[0].at - system_now()), minutes{5});
  const auto of_first = list_events(tx, first, all[0].id, 100).value();
  ASSERT_THAT(of_first, SizeIs(1));
  EXPECT_EQ(of_first[0].event.message, "made 2");
  EXPECT_THAT(list_events(tx, std::nullopt, 0, 2).value(), SizeIs(2));
}

class StoreIdempotency : public Store {
 protected:
  using Kind = IdempotencyOutcome::Kind;
};

TEST_F(StoreIdempotency, AnswersTheSameAgainAndRefusesAnotherBody) {
  const auto ann = make_user(), bob = make_user("bob@example.com");
  ASSERT_TRUE(commit([&](Tx& tx) -> Result<void> {
    EXPECT_EQ(begin_idempotent(tx, ann.id, "k", "body1").value().kind, Kind::fresh);
    return finish_idempotent(tx, ann.id, "k", 201, "{\"id\":1}");
  }));
  auto tx = begin();
  const auto again = begin_idempotent(tx, ann.id, "k", "body1").value();
  EXPECT_EQ(again.kind, Kind::replay);
  EXPECT_EQ(again.status, 201);
  EXPECT_EQ(again.body, "{\"id\":1}");
  EXPECT_EQ(begin_idempotent(tx, ann.id, "k", "body2").value().kind, Kind::mismatch);
  EXPECT_EQ(begin_idempotent(tx, bob.id, "k", "body2").value().kind, Kind::fresh);
  EXPECT_EQ(finish_idempotent(tx, ann.id, "other", 200, "").error().kind, ErrorKind::not_found);
}

TEST_F(StoreIdempotency, ForgetsAfterADay) {
  const auto ann = make_user();
  ASSERT_TRUE(commit([&](Tx& tx) { return begin_idempotent(tx, ann.id, "k", "body1"); }));
  run("UPDATE idempotency_keys SET created_at = now() - interval '23 hours 59 minutes'");
  EXPECT_EQ(commit([&](Tx& tx) { return begin_idempotent(tx, ann.id, "k", "body2"); }).value().kind, Kind::mismatch);
  run("UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 minute'");
  EXPECT_EQ(commit([&](Tx& tx) { return begin_idempotent(tx, ann.id, "k", "body2"); }).value().kind, Kind::fresh);
}

TEST_F(StoreIdempotency, TellsAnAnswerThatWasNeverStored) {
  const auto ann = make_user();
  ASSERT_TRUE(commit([&](Tx& tx) { return begin_idempotent(tx, ann.id, "k", "b"); }));
  EXPECT_EQ(commit([&](Tx& tx) { return begin_idempotent(tx, ann.id, "k", "b"); }).value().kind, Kind::pending);
}

TEST_F(StoreIdempotency, MakesTheSecondOfTwoWaitForTheFirst) {
  const auto ann = make_user();
  for (const bool first_commits : {true, false}) {
    const std::string key = first_commits ? "kept" : "dropped";
    std::optional<Tx> first = begin();
    ASSERT_EQ(begin_idempotent(*first, ann.id, key, "b").value().kind, Kind::fresh);
    ASSERT_TRUE(finish_idempotent(*first, ann.id, key, 201, "answer"));
    std::optional<IdempotencyOutcome> second;
    std::jthread other{[&] {
      auto tx = begin();
      second = begin_idempotent(tx, ann.id, key, "b").value();
    }};
    ASSERT_TRUE(test::eventually([&] {
      return run("SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = "
                 "'Lock'")[0]
                 .integer("n") == 1;
    }));
    if (first_commits) {
      EXPECT_TRUE(first->commit());
    }
    first.reset();
    other.join();
    ASSERT_TRUE(second);
    EXPECT_EQ(second->kind, first_commits ? Kind::replay : Kind::fresh);
  }
}

class StoreIntents : public Store {};

TEST_F(StoreIntents, AreKeptUntilTheyAreCleared) {
  const auto row = make_agent(make_user().id);
  ASSERT_TRUE(commit([&](Tx& tx) { return put_intent(tx, row.id, "create", "creel-x"); }));
  ASSERT_TRUE(commit([&](Tx& tx) { return put_intent(tx, row.id, "create", "creel-x"); }));
  auto tx = begin();
  const auto kept = list_intents(tx, "creel").value();
  ASSERT_THAT(kept, SizeIs(1));
  EXPECT_EQ(kept[0].agent, row.id);
  EXPECT_EQ(kept[0].operation, "create");
  EXPECT_EQ(kept[0].object, "creel-x");
  EXPECT_THAT(list_intents(tx, "other").value(), IsEmpty());
  ASSERT_TRUE(clear_intent(tx, row.id, "create", "creel-x"));
  EXPECT_THAT(list_intents(tx, "creel").value(), IsEmpty());
}

}  // namespace
}  // namespace creel::store
