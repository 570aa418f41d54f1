#include "reconciler/work_queue.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace creel {
namespace {

AgentId key(char c) { return AgentId::parse(std::string(16, c)).value(); }

struct Fixture : testing::Test {
  milliseconds now{1'000'000};
  WorkQueue queue{[this] { return now; }};
};
using WorkQueueTest = Fixture;

TEST_F(WorkQueueTest, GivesAKeyAddedTwiceOnlyOnce) {
  queue.add(key('a'), Priority::wish);
  queue.add(key('a'), Priority::resync);
  EXPECT_EQ(queue.try_pop(), key('a'));
  queue.done(key('a'));
  EXPECT_EQ(queue.try_pop(), std::nullopt);
}

TEST_F(WorkQueueTest, KeepsAKeyFromASecondWorkerUntilTheFirstIsDone) {
  queue.add(key('a'), Priority::wish);
  ASSERT_EQ(queue.try_pop(), key('a'));
  queue.add(key('a'), Priority::wish);
  EXPECT_EQ(queue.try_pop(), std::nullopt);
  queue.done(key('a'));
  EXPECT_EQ(queue.try_pop(), key('a'));
}

TEST_F(WorkQueueTest, PutsWishesBeforeResyncsButLetsNoResyncStarve) {
  queue.add(key('a'), Priority::resync);
  queue.add(key('b'), Priority::wish);
  EXPECT_EQ(queue.try_pop(), key('b'));
  now += WorkQueue::kHeadStart + milliseconds{1};
  queue.add(key('c'), Priority::wish);
  EXPECT_EQ(queue.try_pop(), key('a'));
  EXPECT_EQ(queue.try_pop(), key('c'));
}

TEST_F(WorkQueueTest, HoldsADelayedKeyBackUntilItIsDueOrAWishComes) {
  queue.add_after(key('a'), milliseconds{500});
  EXPECT_EQ(queue.try_pop(), std::nullopt);
  EXPECT_EQ(queue.next_due(), now + milliseconds{500});
  now += milliseconds{500};
  EXPECT_EQ(queue.try_pop(), key('a'));
  queue.done(key('a'));
  queue.add_after(key('a'), milliseconds{60'000});
  queue.add(key('a'), Priority::wish);
  EXPECT_EQ(queue.try_pop(), key('a'));
}

TEST_F(WorkQueueTest, TakesTheEarlierOfTwoDelays) {
  queue.add_after(key('a'), milliseconds{500});
  queue.add_after(key('a'), milliseconds{100});
  queue.add_after(key('a'), milliseconds{900});
  now += milliseconds{100};
  EXPECT_EQ(queue.try_pop(), key('a'));
}

TEST_F(WorkQueueTest, ReportsDepthAndAge) {
  queue.add(key('a'), Priority::resync);
  now += milliseconds{250};
  EXPECT_EQ(queue.depth(), 1u);
  EXPECT_EQ(queue.oldest_age(), milliseconds{250});
}

TEST(WorkQueue, WakesAWaitingWorkerAndLetsItGoOnStop) {
  WorkQueue queue{
      [] { return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()); }};
  std::optional<AgentId> first, second{key('f')};
  {
    std::jthread worker([&](std::stop_token stop) {
      first = queue.pop(stop);
      second = queue.pop(stop);
    });
    queue.add_after(key('a'), milliseconds{5});
    while (queue.depth() != 0) std::this_thread::yield();
  }  // asks to stop and joins
  EXPECT_EQ(first, key('a'));
  EXPECT_EQ(second, std::nullopt);
}

}  // namespace
}  // namespace creel
