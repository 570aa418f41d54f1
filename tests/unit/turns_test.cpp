#include "reconciler/runtime/docker/turns.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace creel::docker {
namespace {

using namespace std::chrono_literals;

TEST(Turns, AreNeverMoreThanSoManyAtOnceHoweverLongTheOthersWait) {
  Turns turns{2, 10min};
  std::atomic<int> now{0}, most{0}, done{0};
  {
    std::vector<std::jthread> all;
    for (int i = 0; i < 16; ++i)
      all.emplace_back([&](const std::stop_token& stop) {
        const auto held = turns.take(stop);
        const int together = ++now;
        for (int seen = most; together > seen && !most.compare_exchange_weak(seen, together);) {
        }
        std::this_thread::yield();
        --now;
        ++done;
      });
    for (auto& each : all) each.join();
  }
  EXPECT_EQ(done, 16);
  EXPECT_LE(most, 2);
}

TEST(Turns, OfOneThatHangsAreNotCountedForEver) {
  Turns turns{1, 20ms};
  const auto hangs = turns.take({});
  const auto next = turns.take({});  // comes back at all
  SUCCEED();
}

TEST(Turns, AreNotWaitedForByWhoIsToStop) {
  Turns turns{1, 10min};
  const auto held = turns.take({});
  std::optional<Turns::Held> other;
  std::jthread waits{[&](const std::stop_token& stop) { other.emplace(turns.take(stop)); }};
  waits.request_stop();
  waits.join();
  EXPECT_TRUE(other);
}

}  // namespace
}  // namespace creel::docker
