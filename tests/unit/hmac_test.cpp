#include "controller/secrets/hmac.hpp"

#include <gtest/gtest.h>

namespace creel::secrets {
namespace {

// RFC 4231, test cases 1, 2 and 6.
TEST(Hmac, FitsThePublishedVectors) {
  EXPECT_EQ(hmac_sha256_hex(std::string(20, '\x0b'), "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hmac_sha256_hex("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hmac_sha256_hex(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Hmac, MatchesTheSignatureOfThisMessageAndKeyOnly) {
  const std::string good = hmac_sha256_hex("key", "message");
  EXPECT_TRUE(is_hmac_sha256(good, "key", "message"));
  std::string upper = good;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  EXPECT_TRUE(is_hmac_sha256(upper, "key", "message"));
  EXPECT_FALSE(is_hmac_sha256(good, "kez", "message"));
  EXPECT_FALSE(is_hmac_sha256(good, "key", "messagf"));
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = bad[at] == '0' ? '1' : '0';
    EXPECT_FALSE(is_hmac_sha256(bad, "key", "message")) << at;
  }
}

TEST(Hmac, MatchesNothingThatIsNotASignature) {
  const std::string good = hmac_sha256_hex("key", "message");
  for (const std::string& bad : {std::string{}, std::string{"0"}, good.substr(1), good + "0", good.substr(0, 63) + "g",
                                 std::string(64, ' '), std::string(64, '\0'), "sha256=" + good.substr(7)})
    EXPECT_FALSE(is_hmac_sha256(bad, "key", "message")) << bad;
}

TEST(Hmac, ComparesSecrets) {
  EXPECT_TRUE(same_secret("abc", "abc"));
  EXPECT_TRUE(same_secret("", ""));
  EXPECT_FALSE(same_secret("abc", "abd"));
  EXPECT_FALSE(same_secret("abc", "ab"));
}

}  // namespace
}  // namespace creel::secrets
