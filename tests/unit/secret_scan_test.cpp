// The search that tests/e2e/secrets_test.cpp relies on must itself be able to find things.
#include "tests/support/secret_scan.hpp"

#include <gtest/gtest.h>

namespace creel::test {
namespace {

const std::string kSecret = "pa\"ss/wörd+0123456789abcdef0123<>";

bool finds(const std::string& text) {
  SecretScan scan;
  scan.plant("it", kSecret);
  scan.look("text", "here", text);
  return !scan.hits().empty();
}

TEST(SecretScan, FindsASecretInEachFormAProgramMayWriteItIn) {
  EXPECT_TRUE(finds("key=" + kSecret + ";"));
  EXPECT_TRUE(finds(nlohmann::json{{"key", kSecret}}.dump()));
  EXPECT_TRUE(finds(nlohmann::json{{"text", nlohmann::json{{"key", kSecret}}.dump()}}.dump(-1, ' ', true)));
  EXPECT_TRUE(finds("GET /?key=pa%22ss%2fw%C3%B6rd%2B0123456789abcdef0123%3C%3E"));
  EXPECT_TRUE(finds("\\x00" + to_hex(kSecret) + "ff"));
  for (const std::string before : {"", "a", "ab", "abc", "user:"})
    for (const std::string after : {"", "z", "yz"})
      EXPECT_TRUE(finds("Basic " + SecretScan::base64(before + kSecret + after))) << before << "|" << after;
}

TEST(SecretScan, FindsNothingWhereNothingIs) {
  EXPECT_FALSE(finds(""));
  EXPECT_FALSE(finds(kSecret.substr(0, 20)));
  EXPECT_FALSE(finds("the sha256 is " + sha256_hex(kSecret)));
}

TEST(SecretScan, SaysWhereItSawNotEvenWhatIsMeantToBeSeen) {
  SecretScan scan;
  scan.expect_visible("dump", "agent-name");
  scan.expect_visible("log", "agent-name");
  scan.look("dump", "table", "… agent-name …");
  scan.look("log", "file", "");
  EXPECT_EQ(scan.blind(), std::vector<std::string>{"log"});
}

}  // namespace
}  // namespace creel::test
