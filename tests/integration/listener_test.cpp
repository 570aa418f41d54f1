#include "controller/store/listener.hpp"

#include <gmock/gmock.h>

#include <mutex>

#include "tests/integration/pg_fixture.hpp"

namespace creel::store {
namespace {

using test::eventually;
using testing::ElementsAre;

class StoreListener : public test::PgTest {
 protected:
  struct Heard {
    std::mutex mutex;
    std::vector<std::string> list;
    Listener::Callback callback() {
      return [this](const std::string& payload) {
        const std::lock_guard lock{mutex};
        list.push_back(payload);
      };
    }
    std::vector<std::string> all() {
      const std::lock_guard lock{mutex};
      return list;
    }
    bool has(std::size_t count) {
      return eventually([&] { return all().size() >= count; });
    }
  };

  void notify(const char* channel, const std::string& payload) { run("SELECT pg_notify($1, $2)", {channel, payload}); }
};

TEST_F(StoreListener, HearsItsChannelFromTheFirstConnectionOn) {
  Heard wishes, statuses;
  Listener listener{conninfo_};
  listener.subscribe(kAgentChannel, wishes.callback());
  listener.subscribe(kStatusChannel, statuses.callback());
  EXPECT_FALSE(listener.connected());
  listener.start();
  ASSERT_TRUE(wishes.has(1));
  ASSERT_TRUE(statuses.has(1));
  EXPECT_TRUE(listener.connected());
  notify(kAgentChannel, "one");
  notify(kStatusChannel, "two");
  notify(kAgentChannel, "three");
  ASSERT_TRUE(wishes.has(3));
  ASSERT_TRUE(statuses.has(2));
  EXPECT_THAT(wishes.all(), ElementsAre("", "one", "three"));
  EXPECT_THAT(statuses.all(), ElementsAre("", "two"));
}

TEST_F(StoreListener, HearsOfWishesOnlyWhenTheyAreCommitted) {
  const auto ann = make_user();
  Heard wishes;
  Listener listener{conninfo_};
  listener.subscribe(kAgentChannel, wishes.callback());
  listener.start();
  ASSERT_TRUE(wishes.has(1));
  {
    auto tx = begin();
    ASSERT_TRUE(insert_agent(tx, agent_of_user(ann.id), -1));
  }
  auto kept = make_agent(ann.id);
  ASSERT_TRUE(wishes.has(2));
  auto tx = begin();
  ASSERT_TRUE(save_wish(tx, kept));
  ASSERT_TRUE(tx.commit());
  ASSERT_TRUE(wishes.has(3));
  EXPECT_THAT(wishes.all(), ElementsAre("", kept.id.str(), kept.id.str()));
}

TEST_F(StoreListener, SaysThatAnythingMayHaveChangedAfterALostConnection) {
  Heard wishes;
  Listener listener{conninfo_};
  listener.subscribe(kAgentChannel, wishes.callback());
  listener.start();
  ASSERT_TRUE(wishes.has(1));
  cut_connections();
  ASSERT_TRUE(wishes.has(2));
  notify(kAgentChannel, "after");
  ASSERT_TRUE(wishes.has(3));
  EXPECT_THAT(wishes.all(), ElementsAre("", "", "after"));
}

TEST_F(StoreListener, GreetsALateSubscriberAndNobodyElse) {
  Heard early, late;
  Listener listener{conninfo_};
  listener.subscribe(kAgentChannel, early.callback());
  listener.start();
  ASSERT_TRUE(early.has(1));
  listener.subscribe(kAgentChannel, late.callback());
  ASSERT_TRUE(late.has(1));
  notify(kAgentChannel, "x");
  ASSERT_TRUE(late.has(2));
  EXPECT_THAT(late.all(), ElementsAre("", "x"));
  ASSERT_TRUE(early.has(2));
  EXPECT_THAT(early.all(), ElementsAre("", "x"));
}

TEST_F(StoreListener, CallsNobodyAfterItWasStopped) {
  Heard wishes;
  Listener listener{conninfo_};
  listener.subscribe(kAgentChannel, wishes.callback());
  listener.start();
  ASSERT_TRUE(wishes.has(1));
  listener.stop();
  EXPECT_FALSE(listener.connected());
  notify(kAgentChannel, "unheard");
  EXPECT_THAT(wishes.all(), ElementsAre(""));
}

TEST_F(StoreListener, StopsWhileItCannotConnect) {
  Heard wishes;
  Listener listener{"host=/nonexistent"};
  listener.subscribe(kAgentChannel, wishes.callback());
  listener.start();
  listener.stop();
  EXPECT_THAT(wishes.all(), testing::IsEmpty());
}

}  // namespace
}  // namespace creel::store
