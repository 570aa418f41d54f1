#include "api/auth/rate_limit.hpp"

#include <gtest/gtest.h>

#include "api/auth/login_throttle.hpp"

namespace creel::api {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

const std::chrono::steady_clock::time_point kStart{std::chrono::hours{1000}};
constexpr RateLimits kLimits{.provision = 5, .chat = 60, .instance = 30, .api = 300};

TEST(RateLimit, LetsAMinutesWorthThroughAndThenRefuses) {
  RateLimiter limiter{kLimits};
  for (int i = 0; i < 30; ++i) {
    const auto decision = limiter.take(RateClass::instance, "10.0.0.1", kStart);
    ASSERT_TRUE(decision.allowed) << i;
    EXPECT_EQ(decision.limit, 30);
    EXPECT_EQ(decision.remaining, 29 - i);
  }
  const auto refused = limiter.take(RateClass::instance, "10.0.0.1", kStart);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.remaining, 0);
  EXPECT_EQ(refused.retry_after, seconds{2});  // 30 a minute
  EXPECT_EQ(refused.reset, seconds{60});
}

TEST(RateLimit, FillsEvenly) {
  RateLimiter limiter{kLimits};
  for (int i = 0; i < 30; ++i) limiter.take(RateClass::instance, "10.0.0.1", kStart);
  EXPECT_FALSE(limiter.take(RateClass::instance, "10.0.0.1", kStart + milliseconds{1'900}).allowed);
  EXPECT_TRUE(limiter.take(RateClass::instance, "10.0.0.1", kStart + milliseconds{2'100}).allowed);
  EXPECT_FALSE(limiter.take(RateClass::instance, "10.0.0.1", kStart + milliseconds{2'200}).allowed);
}

TEST(RateLimit, KeepsAddressesAndClassesApart) {
  RateLimiter limiter{kLimits};
  for (int i = 0; i < 30; ++i) limiter.take(RateClass::instance, "10.0.0.1", kStart);
  EXPECT_FALSE(limiter.take(RateClass::instance, "10.0.0.1", kStart).allowed);
  EXPECT_TRUE(limiter.take(RateClass::instance, "10.0.0.2", kStart).allowed);
  EXPECT_TRUE(limiter.take(RateClass::chat, "10.0.0.1", kStart).allowed);
}

TEST(RateLimit, CountsEveryClassUnderApiToo) {
  RateLimiter limiter{{.provision = 5, .chat = 60, .instance = 30, .api = 10}};
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(limiter.take(RateClass::instance, "10.0.0.1", kStart).allowed);
  const auto refused = limiter.take(RateClass::instance, "10.0.0.1", kStart);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.limit, 10);
  EXPECT_FALSE(limiter.take(RateClass::chat, "10.0.0.1", kStart).allowed);
}

TEST(RateLimit, ChargesNothingForARefusal) {
  RateLimiter limiter{{.provision = 1, .chat = 60, .instance = 30, .api = 10}};
  EXPECT_TRUE(limiter.take(RateClass::provision, "10.0.0.1", kStart).allowed);
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(limiter.take(RateClass::provision, "10.0.0.1", kStart).allowed);
  EXPECT_EQ(limiter.take(RateClass::api, "10.0.0.1", kStart).remaining, 8);
}

TEST(RateLimit, IsOffAtZero) {
  RateLimiter limiter{{.provision = 0, .chat = 0, .instance = 0, .api = 0}};
  for (int i = 0; i < 1000; ++i) {
    const auto decision = limiter.take(RateClass::instance, "10.0.0.1", kStart);
    ASSERT_TRUE(decision.allowed);
    EXPECT_EQ(decision.limit, 0);
  }
  EXPECT_EQ(limiter.clients(), 0u);
}

TEST(RateLimit, NeverLimitsWhatHasNoClass) {
  RateLimiter limiter{{.provision = 1, .chat = 1, .instance = 1, .api = 1}};
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(limiter.take(RateClass::none, "10.0.0.1", kStart).allowed);
}

TEST(RateLimit, CountsAnIpv6CustomerByItsNetwork) {
  EXPECT_EQ(rate_key("2001:db8:1:2:aaaa::1"), "2001:db8:1:2::/64");
  EXPECT_EQ(rate_key("2001:db8:1:2:bbbb::2"), rate_key("2001:db8:1:2:aaaa::1"));
  EXPECT_NE(rate_key("2001:db8:1:3::1"), rate_key("2001:db8:1:2::1"));
  EXPECT_EQ(rate_key("::ffff:10.0.0.1"), "10.0.0.1");
}

TEST(RateLimit, KeepsItsMemoryBounded) {
  RateLimiter limiter{kLimits, 100};
  for (int i = 0; i < 10'000; ++i)
    limiter.take(RateClass::instance, "10." + std::to_string(i / 250) + ".0." + std::to_string(i % 250), kStart);
  EXPECT_LE(limiter.clients(), 101u);
}

TEST(RateLimit, ForgetsWhoHasBeenQuietForAMinute) {
  RateLimiter limiter{kLimits};
  for (int i = 0; i < 50; ++i) limiter.take(RateClass::api, "10.0.0." + std::to_string(i), kStart);
  EXPECT_EQ(limiter.clients(), 50u);
  limiter.take(RateClass::api, "10.0.1.1", kStart + minutes{2});
  EXPECT_EQ(limiter.clients(), 1u);
}

TEST(LoginThrottle, RefusesTheSixthFailureUntilTheWindowHasPassed) {
  LoginThrottle throttle{5, minutes{15}};
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(throttle.begin("10.0.0.1", "ann@example.com", kStart + minutes{i}), seconds{0}) << i;
  EXPECT_EQ(throttle.begin("10.0.0.1", "ann@example.com", kStart + minutes{5}), seconds{600});
  EXPECT_EQ(throttle.begin("10.0.0.1", "ann@example.com", kStart + minutes{15}), seconds{0});
  EXPECT_GT(throttle.begin("10.0.0.1", "ann@example.com", kStart + minutes{15}), seconds{0});
}

TEST(LoginThrottle, KeepsAddressesAndEmailsApartButNotTheCaseOfAnEmail) {
  LoginThrottle throttle{1, minutes{15}};
  EXPECT_EQ(throttle.begin("10.0.0.1", "ann@example.com", kStart), seconds{0});
  EXPECT_EQ(throttle.begin("10.0.0.2", "ann@example.com", kStart), seconds{0});
  EXPECT_EQ(throttle.begin("10.0.0.1", "bob@example.com", kStart), seconds{0});
  EXPECT_GT(throttle.begin("10.0.0.1", "ANN@example.com", kStart), seconds{0});
}

TEST(LoginThrottle, StartsAnewAfterASuccess) {
  LoginThrottle throttle{2, minutes{15}};
  throttle.begin("10.0.0.1", "ann@example.com", kStart);
  throttle.begin("10.0.0.1", "ann@example.com", kStart);
  throttle.succeeded("10.0.0.1", "Ann@example.com");
  EXPECT_EQ(throttle.begin("10.0.0.1", "ann@example.com", kStart), seconds{0});
}

TEST(LoginThrottle, ForgetsTheOldestWhenItIsFull) {
  LoginThrottle throttle{1, minutes{15}, 2};
  throttle.begin("10.0.0.1", "a", kStart);
  throttle.begin("10.0.0.1", "b", kStart);
  throttle.begin("10.0.0.1", "c", kStart);
  EXPECT_GT(throttle.begin("10.0.0.1", "b", kStart), seconds{0});
  EXPECT_EQ(throttle.begin("10.0.0.1", "a", kStart), seconds{0});
}

}  // namespace
}  // namespace creel::api
