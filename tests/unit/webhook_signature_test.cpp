#include "api/auth/webhook_signature.hpp"

#include <gtest/gtest.h>

#include "controller/secrets/hmac.hpp"

namespace creel::api {
namespace {

const std::string kSecret = "whsec_test";
const std::string kBody = R"({"id":"evt_1"})";
constexpr std::int64_t kNow = 1'764'000'000;

std::string v1(std::int64_t time, const std::string& secret = kSecret) {
  return "v1=" + secrets::hmac_sha256_hex(secret, std::to_string(time) + "." + kBody);
}

std::string signature(std::int64_t time) { return "t=" + std::to_string(time) + "," + v1(time); }

bool fits(const std::string& header) {
  const auto checked = check_stripe_signature(header, kBody, kSecret, TimePoint{std::chrono::seconds{kNow}});
  if (!checked) {
    EXPECT_EQ(checked.error().code, "BAD_SIGNATURE");
    EXPECT_EQ(checked.error().field, "Stripe-Signature");
  }
  return checked.has_value();
}

// Made with: printf '%s' '1764000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
TEST(StripeSignature, FitsOneMadeElsewhere) {
  EXPECT_TRUE(fits("t=1764000000,v1=76728ba9029660ebc0a14b80fefcffcc0ad9c7139948290090e9bb71e97d5918"));
}

TEST(StripeSignature, MayBeFiveMinutesOffEitherWayAndNoMore) {
  for (const std::int64_t off : {0, 300, -300}) EXPECT_TRUE(fits(signature(kNow + off))) << off;
  for (const std::int64_t off : {301, -301, 1'000'000}) EXPECT_FALSE(fits(signature(kNow + off))) << off;
  for (const std::int64_t time : {INT64_MAX, INT64_MIN, std::int64_t{0}}) EXPECT_FALSE(fits(signature(time))) << time;
}

TEST(StripeSignature, IsOneOfSeveralWhileTheSecretIsBeingChanged) {
  const std::string time = "t=" + std::to_string(kNow);
  EXPECT_TRUE(fits(time + "," + v1(kNow, "old") + "," + v1(kNow)));
  EXPECT_TRUE(fits(time + "," + v1(kNow) + "," + v1(kNow, "old") + ",v0=abc"));
  EXPECT_TRUE(fits(v1(kNow) + ", " + time)) << "in any order";
  EXPECT_FALSE(fits(time + "," + v1(kNow, "old") + "," + v1(kNow, "older")));
}

TEST(StripeSignature, IsRefusedInAnyOtherForm) {
  const std::string time = "t=" + std::to_string(kNow);
  for (const std::string& bad :
       {std::string{}, std::string{","}, std::string{"t="}, time, time + ",v1=", v1(kNow), "t=x," + v1(kNow),
        "t=1764000000x," + v1(kNow), "t= 1764000000," + v1(kNow), "t=99999999999999999999," + v1(kNow),
        time + "," + v1(kNow).replace(0, 2, "v0"), time + "," + v1(kNow).substr(0, 60), std::string(16'000, ','),
        time + "," + v1(kNow + 1)})
    EXPECT_FALSE(fits(bad)) << bad;
}

// printf '%s' '{"id":"evt_1"}' | openssl dgst -sha256 -hmac appsecret
TEST(MetaSignature, FitsOneMadeElsewhereAndNothingElse) {
  const std::string good = "sha256=47a0b7cca4a1ca392bb2b72e135264218e59cc7d30c586276bbd576772b31036";
  EXPECT_TRUE(check_meta_signature(good, kBody, "appsecret"));
  EXPECT_FALSE(check_meta_signature(good, kBody + " ", "appsecret"));
  EXPECT_FALSE(check_meta_signature(good, kBody, "appsecreT"));
  for (const std::string& bad : {std::string{}, std::string{"sha256="}, good.substr(7), "sha1=" + good.substr(7),
                                 "SHA256=" + good.substr(7), good + "0", good.substr(0, 70)})
    EXPECT_FALSE(check_meta_signature(bad, kBody, "appsecret")) << bad;
}

TEST(MetaSignature, FitsNothingWithoutASecret) {
  EXPECT_FALSE(check_meta_signature("sha256=" + secrets::hmac_sha256_hex("", kBody), kBody, ""));
}

}  // namespace
}  // namespace creel::api
