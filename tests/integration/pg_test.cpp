#include "controller/store/pg.hpp"

#include <gmock/gmock.h>

#include <numeric>
#include <thread>

#include "controller/secrets/sealer.hpp"
#include "controller/store/master_key.hpp"
#include "tests/integration/pg_fixture.hpp"

namespace creel::store {
namespace {

using testing::HasSubstr;
using testing::Not;

class StorePg : public test::PgTest {};

TEST_F(StorePg, BringsEveryKindOfValueThereAndBack) {
  auto tx = begin();
  const auto time = parse_rfc3339("2026-03-19T01:02:03.045Z").value();
  const std::string bytes{"\0\xFF'\\", 4};
  const auto rows = tx.exec(
      "SELECT $1::text AS text, $2::bigint AS big, $3::boolean AS yes, $4::timestamptz AS time, $5::bytea AS bytes, "
      "$6::text AS nothing, $7::bigint AS negative",
      {"it's \"größer\"\n", std::uint64_t{9'000'000'000'000'000'000u}, true, time, Param::bytes(bytes), std::nullopt,
       -7});
  ASSERT_TRUE(rows) << rows.error().message;
  ASSERT_EQ(rows->size(), 1);
  const auto row = (*rows)[0];
  EXPECT_EQ(row.text("text"), "it's \"größer\"\n");
  EXPECT_EQ(row.unsigned_integer("big"), 9'000'000'000'000'000'000u);
  EXPECT_TRUE(row.boolean("yes"));
  EXPECT_EQ(row.time("time"), time);
  EXPECT_EQ(row.bytes("bytes"), bytes);
  EXPECT_TRUE(row.is_null("nothing"));
  EXPECT_EQ(row.optional_time("nothing"), std::nullopt);
  EXPECT_EQ(row.integer("negative"), -7);
  EXPECT_THROW((void)row.text("no_such_column"), std::logic_error);
  EXPECT_THROW((void)row.integer("text"), std::logic_error);
}

TEST_F(StorePg, KeepsWhatWasCommittedAndNothingElse) {
  run("CREATE TABLE t (n integer)");
  {
    auto tx = begin();
    ASSERT_TRUE(tx.exec("INSERT INTO t VALUES (1)"));
  }
  EXPECT_EQ(run("SELECT count(*) AS n FROM t")[0].integer("n"), 0);
  run("INSERT INTO t VALUES (1)");
  EXPECT_EQ(run("SELECT count(*) AS n FROM t")[0].integer("n"), 1);
}

TEST_F(StorePg, DoesNotCallACommitASuccessWhenAStatementHadFailed) {
  run("CREATE TABLE t (n integer)");
  auto tx = begin();
  ASSERT_TRUE(tx.exec("INSERT INTO t VALUES (1)"));
  ASSERT_FALSE(tx.exec("INSERT INTO t VALUES ('x')"));
  EXPECT_FALSE(tx.exec("INSERT INTO t VALUES (2)"));
  EXPECT_FALSE(tx.commit());
  EXPECT_EQ(run("SELECT count(*) AS n FROM t")[0].integer("n"), 0);
}

TEST_F(StorePg, TellsKindsOfErrorsApartWithoutQuotingValuesOrSql) {
  run("CREATE TABLE t (n integer CONSTRAINT t_n UNIQUE)");
  run("INSERT INTO t VALUES (4711)");
  const auto error = [&](const char* sql, const std::vector<Param>& params) {
    auto tx = begin();
    auto result = tx.exec(sql, params);
    EXPECT_FALSE(result);
    EXPECT_THAT(result.error().message, Not(HasSubstr("4711")));
    EXPECT_THAT(result.error().message, Not(HasSubstr("INSERT")));
    return result.error();
  };
  EXPECT_EQ(error("INSERT INTO t VALUES ($1)", {4711}).kind, ErrorKind::conflict);
  EXPECT_EQ(error("INSERT INTO t VALUES ($1)", {4711}).field, "t_n");
  EXPECT_EQ(error("INSERT INTO t VALUES ($1)", {"4711x"}).kind, ErrorKind::invalid);
  EXPECT_EQ(error("INSERT INTO nowhere VALUES ($1)", {4711}).kind, ErrorKind::internal);
  EXPECT_EQ(error("SELECT $1::text", {std::string{"a\0b", 3}}).kind, ErrorKind::invalid);
  EXPECT_EQ(error("SELECT $1::text", {"\xFF"}).kind, ErrorKind::invalid);
}

TEST_F(StorePg, GivesUpAStatementThatTakesTooLong) {
  auto database = Database::open(conninfo_, 1, {.statement_timeout = milliseconds{100}}).value();
  auto tx = database->begin().value();
  const auto slept = tx.exec("SELECT pg_sleep(60)");
  ASSERT_FALSE(slept);
  EXPECT_EQ(slept.error().kind, ErrorKind::unavailable);
  EXPECT_EQ(slept.error().code, "STORE_UNAVAILABLE");
}

TEST_F(StorePg, WaitsForAFreeConnectionButNotForEver) {
  auto database = Database::open(conninfo_, 1, {.acquire_timeout = milliseconds{50}}).value();
  std::optional<Tx> first = database->begin().value();
  EXPECT_EQ(database->stats().in_use, 1u);
  const auto second = database->begin();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::unavailable);
  EXPECT_EQ(database->stats().waits, 1u);
  first.reset();
  EXPECT_EQ(database->stats().in_use, 0u);
  EXPECT_TRUE(database->ping());
}

TEST_F(StorePg, HandsAConnectionToWhoWaits) {
  auto database = Database::open(conninfo_, 1, {.acquire_timeout = milliseconds{20'000}}).value();
  std::optional<Tx> first = database->begin().value();
  bool served = false;
  std::jthread waiter{[&] { served = database->ping().has_value(); }};
  ASSERT_TRUE(test::eventually([&] { return database->stats().waits == 1; }));
  first.reset();
  waiter.join();
  EXPECT_TRUE(served);
}

TEST_F(StorePg, ReplacesConnectionsThatDiedInThePool) {
  ASSERT_TRUE(database_->ping());
  cut_connections();
  EXPECT_TRUE(database_->ping());
  EXPECT_EQ(database_->stats().in_use, 0u);
}

TEST_F(StorePg, FailsAsUnavailableWhenTheConnectionDiesInATransaction) {
  auto tx = begin();
  ASSERT_TRUE(tx.exec("SELECT 1"));
  cut_connections();
  const auto after = tx.exec("SELECT 1");
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().kind, ErrorKind::unavailable);
  EXPECT_EQ(tx.commit().error().kind, ErrorKind::unavailable);
  EXPECT_TRUE(database_->ping());
}

TEST_F(StorePg, SaysInOneLineWhyItCannotConnect) {
  for (const auto& conninfo : {std::string{"host=/nonexistent dbname=x"}, std::string{"host=127.0.0.1 port=1 dbname=x"},
                               test::with_database(test::required_env("CREEL_TEST_DATABASE_URL"), "no_such_database"),
                               std::string{"this is no conninfo"}}) {
    const auto database = Database::open(conninfo, 1);
    ASSERT_FALSE(database) << conninfo;
    EXPECT_EQ(database.error().kind, ErrorKind::unavailable);
    EXPECT_THAT(database.error().message, HasSubstr("cannot connect to PostgreSQL"));
    EXPECT_THAT(database.error().message, Not(HasSubstr("\n")));
  }
}

class StoreMigrate : public test::PgTest {
 protected:
  StoreMigrate() { migrated_ = false; }
  const std::vector<Migration> two_{{1, "0001_a.sql", "CREATE TABLE a (n integer); CREATE TABLE b (n integer);"},
                                    {2, "0002_b.sql", "INSERT INTO a VALUES (1);"}};
  // Its own connection: the database is not migrated by the fixture.
  std::int64_t number(const std::string& sql) {
    auto database = Database::open(conninfo_, 1).value();
    auto tx = database->begin().value();
    auto rows = tx.exec(sql);
    EXPECT_TRUE(rows) << rows.error().message;
    return rows.value()[0].integer("n");
  }
};

TEST_F(StoreMigrate, AppliesEachOnce) {
  EXPECT_EQ(migrate(conninfo_, {two_[0]}).value(), 1);
  EXPECT_EQ(migrate(conninfo_, two_).value(), 1);
  EXPECT_EQ(migrate(conninfo_, two_).value(), 0);
  EXPECT_EQ(number("SELECT count(*) AS n FROM a"), 1);
}

TEST_F(StoreMigrate, AppliesEachOnceThoughSeveralControllersStartTogether) {
  std::vector<int> counts(4, -1);
  {
    std::vector<std::jthread> threads;
    for (auto& count : counts) {
      threads.emplace_back([&] {
        if (auto done = migrate(conninfo_)) count = *done;
      });
    }
  }
  EXPECT_THAT(counts, testing::Not(testing::Contains(-1)));
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0), static_cast<int>(embedded_migrations().size()));
}

TEST_F(StoreMigrate, KeepsNothingOfOneThatFails) {
  auto migrations = two_;
  migrations[1].sql = "CREATE TABLE c (n integer); SELECT nonsense;";
  const auto done = migrate(conninfo_, migrations);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, ErrorKind::failed);
  EXPECT_THAT(done.error().message, HasSubstr("0002_b.sql"));
  EXPECT_EQ(number("SELECT count(*) AS n FROM pg_class WHERE relname = 'c'"), 0);
  EXPECT_EQ(number("SELECT count(*) AS n FROM schema_migrations"), 1);
}

TEST_F(StoreMigrate, RefusesAChangedOneAndANewerDatabase) {
  ASSERT_TRUE(migrate(conninfo_, two_));
  auto changed = two_;
  changed[0].sql += " ";
  EXPECT_THAT(migrate(conninfo_, changed).error().message, HasSubstr("0001_a.sql was changed"));
  EXPECT_THAT(migrate(conninfo_, {two_[0]}).error().message, HasSubstr("newer than this program"));
}

TEST_F(StorePg, TellsAWrongMasterKeyAtStart) {
  auto right = secrets::Sealer::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").value();
  auto wrong = secrets::Sealer::from_base64("HxAREhMUFRYXGBkaGxwdHgABAgMEBQYHCAkKCwwNDg8=").value();
  const auto check = [&](secrets::Sealer& sealer) {
    auto tx = begin();
    auto result = check_master_key(tx, sealer);
    if (result) result = tx.commit();
    return result;
  };
  EXPECT_TRUE(check(right));
  EXPECT_TRUE(check(right));
  const auto refused = check(wrong);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::corrupt);
  EXPECT_THAT(refused.error().message, HasSubstr(right.key_id()));
  EXPECT_THAT(refused.error().message, HasSubstr("CREEL_MASTER_KEY"));
  auto both = wrong.with_old_key(right);
  EXPECT_TRUE(check(both));
  EXPECT_EQ(both.key_id(), right.key_id()) << "what seals is what the database says, until it is rotated";
  EXPECT_EQ(both.hash_key(), right.hash_key());
}

}  // namespace
}  // namespace creel::store
