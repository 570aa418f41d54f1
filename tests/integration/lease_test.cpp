#include "controller/store/lease.hpp"

#include <gmock/gmock.h>

#include <mutex>

#include "tests/integration/pg_fixture.hpp"

namespace creel::store {
namespace {

using namespace std::chrono_literals;
using test::eventually;

constexpr LeaseOptions kQuick{.ttl = 3'000ms, .renew = 300ms, .poll = 50ms};

class StoreLease : public test::PgTest {
 protected:
  std::optional<std::uint64_t> acquire(const std::string& holder, milliseconds ttl = 60s,
                                       const std::string& id = "creel") {
    auto tx = begin();
    auto taken = acquire_lease(tx, id, holder, ttl);
    EXPECT_TRUE(taken) << taken.error().message;
    EXPECT_TRUE(tx.commit());
    return taken.value();
  }
  bool renew(const std::string& holder, std::uint64_t term) {
    auto tx = begin();
    const bool kept = renew_lease(tx, "creel", holder, term, 60s).value();
    EXPECT_TRUE(tx.commit());
    return kept;
  }
  void release(const std::string& holder, std::uint64_t term) {
    auto tx = begin();
    EXPECT_TRUE(release_lease(tx, "creel", holder, term));
    EXPECT_TRUE(tx.commit());
  }
  void expire() { run("UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'"); }
};

TEST_F(StoreLease, IsHeldByOneAndGoesToTheNextWithAHigherTerm) {
  EXPECT_EQ(acquire("a"), 1u);
  EXPECT_EQ(acquire("b"), std::nullopt);
  EXPECT_TRUE(renew("a", 1));
  release("a", 1);
  EXPECT_EQ(acquire("b"), 2u);
  EXPECT_FALSE(renew("a", 1));
}

TEST_F(StoreLease, ThatExpiredMayBeTakenAndItsOldHolderCannotHarm) {
  ASSERT_EQ(acquire("a"), 1u);
  expire();
  EXPECT_EQ(acquire("b"), 2u);
  release("a", 1);
  EXPECT_EQ(acquire("c"), std::nullopt);
}

TEST_F(StoreLease, GivesItsOwnHolderANewTermWhenTheAnswerWasLost) {
  ASSERT_EQ(acquire("a"), 1u);
  EXPECT_EQ(acquire("a"), 2u);
  EXPECT_FALSE(renew("a", 1));
}

TEST_F(StoreLease, IsOfOneControllerId) {
  EXPECT_EQ(acquire("a", 60s, "one"), 1u);
  EXPECT_EQ(acquire("b", 60s, "two"), 1u);
}

TEST_F(StoreLease, RefusesTermsThatAreNotThePresentOne) {
  const auto check = [&](std::uint64_t term) {
    auto tx = begin();
    return check_term(tx, "creel", term);
  };
  EXPECT_EQ(check(0).error().kind, ErrorKind::conflict);
  ASSERT_EQ(acquire("a"), 1u);
  expire();
  ASSERT_EQ(acquire("b"), 2u);
  EXPECT_EQ(check(1).error().kind, ErrorKind::conflict);
  EXPECT_EQ(check(3).error().kind, ErrorKind::conflict);
  EXPECT_TRUE(check(2));
}

TEST_F(StoreLease, CanBeRenewedButNotTakenWhileAStatusIsBeingWritten) {
  ASSERT_EQ(acquire("a"), 1u);
  auto writer = begin();
  ASSERT_TRUE(check_term(writer, "creel", 1));
  EXPECT_TRUE(renew("a", 1));
  expire();
  auto taker = begin();
  ASSERT_TRUE(taker.exec("SET LOCAL lock_timeout = '100ms'"));
  const auto taken = acquire_lease(taker, "creel", "b", 60s);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().kind, ErrorKind::unavailable);
  ASSERT_TRUE(writer.commit());
  EXPECT_EQ(acquire("b"), 2u);
}

TEST_F(StoreLease, IsTakenFromAProcessThatStandsStillWithinATransaction) {
  ASSERT_EQ(acquire("a"), 1u);
  auto database = Database::open(conninfo_, 1, {.idle_timeout = 200ms}).value();
  auto writer = database->begin().value();
  ASSERT_TRUE(check_term(writer, "creel", 1));
  expire();
  EXPECT_EQ(acquire("b"), 2u);  // waits for the writer's lock
  const auto late = writer.commit();
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind, ErrorKind::unavailable) << late.error().message;
}

// One that stands still just before a renewal is out of the way when its lease is over.
TEST(LeaseOptions, LeaveTimeToEndTheTransactionsOfAProcessThatStandsStill) {
  const LeaseOptions lease;
  EXPECT_LT(DatabaseOptions{}.idle_timeout, lease.ttl - lease.renew);
}

// Notes what a Lease calls.
struct Calls {
  std::mutex mutex;
  std::vector<std::string> list;
  std::size_t size() {
    const std::lock_guard lock{mutex};
    return list.size();
  }
  std::vector<std::string> all() {
    const std::lock_guard lock{mutex};
    return list;
  }
  void add(std::string call) {
    const std::lock_guard lock{mutex};
    list.push_back(std::move(call));
  }
  Lease::Gained gained() {
    return [this](std::uint64_t term) { add("gained " + std::to_string(term)); };
  }
  Lease::Lost lost() {
    return [this] { add("lost"); };
  }
};

TEST_F(StoreLease, GoesOverAtOnceWhenItIsGivenBack) {
  Calls first_calls, second_calls;
  Lease first{conninfo_, "creel", first_calls.gained(), first_calls.lost(), {.ttl = 60s, .renew = 20s, .poll = 50ms}};
  ASSERT_TRUE(eventually([&] { return first_calls.size() == 1; }));
  EXPECT_TRUE(first.held());
  EXPECT_EQ(first.term(), 1u);
  Lease second{
      conninfo_, "creel", second_calls.gained(), second_calls.lost(), {.ttl = 60s, .renew = 20s, .poll = 50ms}};
  EXPECT_FALSE(second.held());
  EXPECT_EQ(second.term(), 0u);
  first.stop();
  EXPECT_FALSE(first.held());
  ASSERT_TRUE(eventually([&] { return second.held(); }));
  second.stop();
  EXPECT_THAT(first_calls.all(), testing::ElementsAre("gained 1", "lost"));
  EXPECT_THAT(second_calls.all(), testing::ElementsAre("gained 2", "lost"));
}

TEST_F(StoreLease, OutlivesItsTimeToLiveByRenewing) {
  Calls calls;
  Lease lease{conninfo_, "creel", calls.gained(), calls.lost(), kQuick};
  ASSERT_TRUE(eventually([&] { return lease.held(); }));
  const auto first = run("SELECT expires_at::timestamptz(3) AS at FROM lease")[0].time("at");
  ASSERT_TRUE(eventually(
      [&] { return run("SELECT expires_at::timestamptz(3) AS at FROM lease")[0].time("at") > first + kQuick.ttl; }));
  EXPECT_TRUE(lease.held());
  EXPECT_THAT(calls.all(), testing::ElementsAre("gained 1"));
}

TEST_F(StoreLease, IsNotHeldAnyMoreWhenItCannotBeRenewedAndComesBackLater) {
  Calls calls;
  Lease lease{conninfo_, "creel", calls.gained(), calls.lost(), kQuick};
  ASSERT_TRUE(eventually([&] { return lease.held(); }));
  {
    auto blocker = begin();
    ASSERT_TRUE(blocker.exec("SELECT 1 FROM lease FOR UPDATE"));
    const auto blocked = std::chrono::steady_clock::now();
    ASSERT_TRUE(eventually([&] { return !lease.held(); }));
    EXPECT_LE(std::chrono::steady_clock::now() - blocked, kQuick.ttl + 1s);
    ASSERT_TRUE(eventually([&] { return calls.size() == 2; }));
  }
  // held() turns true just before the callback runs.
  ASSERT_TRUE(eventually([&] { return calls.size() == 3; }));
  EXPECT_TRUE(lease.held());
  EXPECT_THAT(calls.all(), testing::ElementsAre("gained 1", "lost", "gained 2"));
}

TEST_F(StoreLease, SurvivesALostConnection) {
  Calls calls;
  Lease lease{conninfo_, "creel", calls.gained(), calls.lost(), kQuick};
  ASSERT_TRUE(eventually([&] { return lease.held(); }));
  cut_connections();
  const auto before = run("SELECT expires_at::timestamptz(3) AS at FROM lease")[0].time("at");
  ASSERT_TRUE(eventually(
      [&] { return run("SELECT expires_at::timestamptz(3) AS at FROM lease")[0].time("at") > before + kQuick.ttl; }));
  EXPECT_THAT(calls.all(), testing::ElementsAre("gained 1"));
}

TEST_F(StoreLease, WaitsForADatabaseThatIsNotThereYet) {
  Calls calls;
  Lease lease{"host=/nonexistent", "creel", calls.gained(), calls.lost(), kQuick};
  EXPECT_FALSE(lease.held());
  lease.stop();
  EXPECT_THAT(calls.all(), testing::IsEmpty());
}

}  // namespace
}  // namespace creel::store
