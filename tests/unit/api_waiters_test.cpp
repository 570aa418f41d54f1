#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "api/waiters.hpp"

namespace creel::api {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class WaitersTest : public testing::Test {
 protected:
  store::AgentRow row(Phase phase) {
    store::AgentRow row;
    row.id = agent_;
    row.status.phase = phase;
    return row;
  }

  void set(Waiters::Row row) {
    const std::lock_guard lock{mutex_};
    stored_ = std::move(row);
  }

  Result<Waiters::Row> read(const AgentId&) {
    ++reads_;
    const std::lock_guard lock{mutex_};
    if (broken_) return Error{ErrorKind::unavailable, "away", {}, {}};
    return stored_;
  }

  std::unique_ptr<Waiters> make(milliseconds recheck) {
    return std::make_unique<Waiters>([this](const AgentId& id) { return read(id); },
                                     [this](std::function<void()> work) { pool_.post(std::move(work)); }, timer_,
                                     recheck);
  }

  std::future<WaitOutcome> wait(Waiters& waiters, milliseconds longest) {
    auto promise = std::make_shared<std::promise<WaitOutcome>>();
    auto future = promise->get_future();
    waiters.wait(
        agent_, longest, [](const Waiters::Row& seen) { return seen && seen->status.phase == Phase::ready; },
        [promise](WaitOutcome outcome) { promise->set_value(std::move(outcome)); });
    return future;
  }

  const AgentId agent_ = new_agent_id();
  std::mutex mutex_;
  Waiters::Row stored_ = row(Phase::pending);
  bool broken_ = false;
  std::atomic<int> reads_{0};
  Timer timer_;
  Pool pool_{2};
};

constexpr milliseconds kNever{3'600'000};
// Long enough for a loaded machine; no test waits for it when all is well.
constexpr seconds kPatience{20};

TEST_F(WaitersTest, AnswersAtOnceWhatIsSoAlready) {
  set(row(Phase::ready));
  const auto waiters = make(kNever);
  auto outcome = wait(*waiters, kNever);
  ASSERT_EQ(outcome.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(outcome.get().satisfied);
  EXPECT_EQ(waiters->waiting(), 0u);
}

TEST_F(WaitersTest, IsWokenByANotificationAboutItsAgent) {
  const auto waiters = make(kNever);
  auto outcome = wait(*waiters, kNever);
  set(row(Phase::ready));
  waiters->notify(agent_.str());
  ASSERT_EQ(outcome.wait_for(kPatience), std::future_status::ready);
  const WaitOutcome result = outcome.get();
  EXPECT_TRUE(result.satisfied);
  EXPECT_EQ(result.row->status.phase, Phase::ready);
}

TEST_F(WaitersTest, IsWokenWhenAnythingMayHaveChanged) {
  const auto waiters = make(kNever);
  auto outcome = wait(*waiters, kNever);
  set(row(Phase::ready));
  waiters->notify("");
  ASSERT_EQ(outcome.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(outcome.get().satisfied);
}

TEST_F(WaitersTest, LooksAgainByItselfWhenANotificationWasLost) {
  const auto waiters = make(milliseconds{20});
  auto outcome = wait(*waiters, kNever);
  while (reads_ == 0) std::this_thread::yield();
  set(row(Phase::ready));
  ASSERT_EQ(outcome.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(outcome.get().satisfied);
}

TEST_F(WaitersTest, GivesTheLastRowWhenTheWaitIsOver) {
  const auto waiters = make(kNever);
  auto outcome = wait(*waiters, milliseconds{10});
  ASSERT_EQ(outcome.wait_for(kPatience), std::future_status::ready);
  const WaitOutcome result = outcome.get();
  EXPECT_FALSE(result.satisfied);
  EXPECT_FALSE(result.error);
  ASSERT_TRUE(result.row);
  EXPECT_EQ(result.row->status.phase, Phase::pending);
}

TEST_F(WaitersTest, TellsWhenTheRowCannotBeRead) {
  broken_ = true;
  const auto waiters = make(kNever);
  auto outcome = wait(*waiters, milliseconds{10});
  ASSERT_EQ(outcome.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(outcome.get().error->kind, ErrorKind::unavailable);
}

TEST_F(WaitersTest, ReadsOnceForAllWhoWaitForAnAgent) {
  std::vector<std::function<void()>> posted;  // run by hand
  const auto run_posted = [&] {
    auto now = std::move(posted);
    posted.clear();
    for (auto& work : now) work();
    return now.size();
  };
  Waiters waiters{[this](const AgentId& id) { return read(id); },
                  [&](std::function<void()> work) { posted.push_back(std::move(work)); }, timer_, kNever};
  int done = 0;
  for (int i = 0; i < 20; ++i)
    waiters.wait(
        agent_, kNever, [](const Waiters::Row& seen) { return seen->status.phase == Phase::ready; },
        [&](WaitOutcome) { ++done; });
  EXPECT_EQ(run_posted(), 1u);
  EXPECT_EQ(reads_, 1);
  EXPECT_EQ(done, 0);
  set(row(Phase::ready));
  for (int i = 0; i < 5; ++i) waiters.notify(agent_.str());
  EXPECT_EQ(run_posted(), 1u);
  EXPECT_EQ(reads_, 2);
  EXPECT_EQ(done, 20);
  EXPECT_EQ(run_posted(), 0u);
  waiters.notify(agent_.str());
  EXPECT_EQ(run_posted(), 0u);
}

TEST_F(WaitersTest, ReadsAgainWhenItIsWokenWhileItReads) {
  std::vector<std::function<void()>> posted;
  Waiters* self = nullptr;
  Waiters waiters{[&](const AgentId& id) {
                    const auto seen = read(id);
                    if (reads_ == 1) {
                      // The change comes after the row was read and before the answer is judged.
                      set(row(Phase::ready));
                      self->notify(agent_.str());
                    }
                    return seen;
                  },
                  [&](std::function<void()> work) { posted.push_back(std::move(work)); }, timer_, kNever};
  self = &waiters;
  bool satisfied = false;
  waiters.wait(
      agent_, kNever, [](const Waiters::Row& seen) { return seen->status.phase == Phase::ready; },
      [&](WaitOutcome outcome) { satisfied = outcome.satisfied; });
  while (!posted.empty()) {
    auto work = std::move(posted.front());
    posted.erase(posted.begin());
    work();
  }
  EXPECT_TRUE(satisfied);
  EXPECT_EQ(reads_, 2);
}

TEST_F(WaitersTest, EndsEveryWaitWhenTheServerStops) {
  const auto waiters = make(kNever);
  auto outcome = wait(*waiters, kNever);
  waiters->stop();
  ASSERT_EQ(outcome.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(outcome.get().error->kind, ErrorKind::cancelled);
  auto later = wait(*waiters, kNever);
  ASSERT_EQ(later.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(later.get().error->kind, ErrorKind::cancelled);
}

TEST(ApiTimer, CallsInTheOrderOfTheirTimesAndForgetsWhatIsCancelled) {
  Timer timer;
  std::mutex mutex;
  std::string order;
  std::promise<void> finished;
  const auto note = [&](char c) {
    return [&, c] {
      const std::lock_guard lock{mutex};
      order += c;
    };
  };
  timer.after(milliseconds{60}, [&] { finished.set_value(); });
  timer.after(milliseconds{40}, note('b'));
  timer.after(milliseconds{1}, note('a'));
  timer.cancel(timer.after(milliseconds{20}, note('x')));
  timer.cancel(12345);
  ASSERT_EQ(finished.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(order, "ab");
}

TEST(ApiPool, FinishesWhatIsQueuedAndSurvivesAThrow) {
  std::atomic<int> done{0};
  {
    Pool pool{2};
    pool.post([] { throw std::runtime_error("on purpose"); });
    for (int i = 0; i < 100; ++i) pool.post([&] { ++done; });
    pool.join();
    pool.post([&] { ++done; });
  }
  EXPECT_EQ(done, 100);
}

}  // namespace
}  // namespace creel::api
