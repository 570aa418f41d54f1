#include "controller/jobs/job.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>

namespace creel {
namespace {

using namespace std::chrono_literals;

// Counts passes; a test waits for a number of them.
class Passes {
 public:
  void made() {
    const std::lock_guard lock{mutex_};
    ++count_;
    changed_.notify_all();
  }
  bool reach(int wanted) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, 20s, [&] { return count_ >= wanted; });
  }
  int count() {
    const std::lock_guard lock{mutex_};
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

TEST(Job, MakesAPassAtOnceThenWhenItIsWoken) {
  Passes passes;
  Job job{{"test", 1h}, [&](std::stop_token) { passes.made(); }};
  ASSERT_TRUE(passes.reach(1));
  job.wake();
  ASSERT_TRUE(passes.reach(2));
}

TEST(Job, MakesPassesPeriodically) {
  Passes passes;
  const Job job{{"test", 1ms}, [&](std::stop_token) { passes.made(); }};
  EXPECT_TRUE(passes.reach(3));
}

TEST(Job, WakesDuringAPassMakeOneMore) {
  Passes passes;
  std::promise<void> go;
  Job job{{"test", 1h}, [&, wait = go.get_future().share()](std::stop_token) {
            passes.made();
            wait.wait();
          }};
  ASSERT_TRUE(passes.reach(1));
  job.wake();
  job.wake();
  go.set_value();
  ASSERT_TRUE(passes.reach(2));
  EXPECT_EQ(passes.count(), 2);
}

TEST(Job, DoesNothingWhileItMayNot) {
  Passes asked;
  Passes passes;
  std::atomic<bool> allowed{false};
  const Job job{{"test", 1ms,
                 [&] {
                   asked.made();
                   return allowed.load();
                 }},
                [&](std::stop_token) { passes.made(); }};
  ASSERT_TRUE(asked.reach(3));
  EXPECT_EQ(passes.count(), 0);
  allowed = true;
  EXPECT_TRUE(passes.reach(1));
}

TEST(Job, GoesOnAfterAPassThatThrew) {
  Passes passes;
  const Job job{{"test", 1ms}, [&](std::stop_token) {
                  passes.made();
                  throw std::runtime_error("one bad pass");
                }};
  EXPECT_TRUE(passes.reach(2));
}

TEST(Job, TellsThePassUnderWayToStopAndWaitsForIt) {
  Passes passes;
  std::atomic<bool> ended{false};
  {
    const Job job{{"test", 1h}, [&](std::stop_token stop) {
                    passes.made();
                    std::mutex mutex;
                    std::condition_variable_any never;
                    std::unique_lock lock{mutex};
                    never.wait(lock, stop, [] { return false; });
                    ended = true;
                  }};
    ASSERT_TRUE(passes.reach(1));
  }
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace creel
