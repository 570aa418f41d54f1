#include "api/pool.hpp"

#include <gtest/gtest.h>

#include <future>
#include <stdexcept>
#include <string>
#include <vector>

namespace creel::api {
namespace {

TEST(Pool, TakesTurnsBetweenThoseWhoBringWork) {
  std::vector<std::string> order;  // of the pool's one thread
  {
    Pool pool{1};
    std::promise<void> all_are_there;
    pool.post([ready = all_are_there.get_future().share()] { ready.wait(); }, "first");
    const auto bring = [&](const std::string& share, int count) {
      for (int i = 1; i <= count; ++i)
        pool.post([&order, share, i] { order.push_back(share + std::to_string(i)); }, share);
    };
    bring("a", 4);
    bring("b", 1);
    bring("c", 2);
    all_are_there.set_value();
  }
  EXPECT_EQ(order, (std::vector<std::string>{"a1", "b1", "c1", "a2", "c2", "a3", "a4"}));
}

TEST(Pool, GoesOnAfterWorkThatThrewAndFinishesWhatWasBroughtBeforeItEnds) {
  int done = 0;
  Pool pool{1};
  pool.post([] { throw std::runtime_error("a bug"); });
  pool.post([&] { ++done; });
  pool.post([&] { ++done; }, "another");
  pool.join();
  EXPECT_EQ(done, 2);
  pool.post([&] { ++done; });
  EXPECT_EQ(done, 2);
}

}  // namespace
}  // namespace creel::api
