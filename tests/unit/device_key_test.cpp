#include "controller/secrets/device_key.hpp"

#include <gtest/gtest.h>

#include "controller/core/ids.hpp"

namespace creel::secrets {
namespace {

// RFC 8032, 7.1, test 1: the empty message.
constexpr const char* kSeed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

TEST(DeviceKey, SignsAsTheStandardsVectorSays) {
  const auto key = DeviceKey::from_seed(kSeed);
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(key->public_key(), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
  EXPECT_EQ(key->sign(""), "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc-bRr0lv18FlbviRlUUFDjnoQCw");
}

TEST(DeviceKey, NamesItselfByTheDigestOfItsPublicKey) {
  const auto key = DeviceKey::from_seed(kSeed);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->id(), "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9");
  EXPECT_EQ(key->token().size(), 64u);
  EXPECT_NE(key->token(), kSeed);
}

TEST(DeviceKey, MakesSeedsThatDiffer) {
  const std::string first = DeviceKey::make_seed();
  EXPECT_EQ(first.size(), 64u);
  EXPECT_NE(first, DeviceKey::make_seed());
  EXPECT_TRUE(DeviceKey::from_seed(first));
}

TEST(DeviceKey, RefusesWhatIsNoSeed) {
  for (const char* wrong : {"", "9d61", "zz61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"}) {
    const auto key = DeviceKey::from_seed(wrong);
    ASSERT_FALSE(key) << wrong;
    EXPECT_EQ(key.error().kind, ErrorKind::corrupt);
  }
}

}  // namespace
}  // namespace creel::secrets
