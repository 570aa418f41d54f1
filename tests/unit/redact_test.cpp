#include "controller/secrets/redact.hpp"

#include <gmock/gmock.h>

namespace creel::secrets {
namespace {

const std::string kTelegram = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1";

TEST(Redact, TakesOutAGivenSecretWhereverItStands) {
  EXPECT_EQ(redact("a=topsecret,b=topsecretx", {"topsecret"}), "a=[redacted],b=[redacted]x");
}

TEST(Redact, TakesOutTheLongerOfTwoSecretsWhole) {
  EXPECT_EQ(redact("key is abcdef123456", {"abcdef", "abcdef123456"}), "key is [redacted]");
}

TEST(Redact, IgnoresSecretsTooShortToMeanAnything) { EXPECT_EQ(redact("on the moon", {"on", ""}), "on the moon"); }

TEST(Redact, TakesOutAGivenSecretAlsoAsJsonAndUrlsWriteIt) {
  const std::vector<std::string> secrets{"pa\"ss\\wörd&<x>/1\n"};
  EXPECT_EQ(redact(R"({"key":"pa\"ss\\wörd&<x>/1\n","z":"\t"})", secrets), R"({"key":"[redacted]","z":"\t"})");
  EXPECT_EQ(redact(R"(say "pa\"ss\\w\u00f6rd\u0026\u003Cx>\/1\n" twice)", secrets), R"(say "[redacted]" twice)");
  EXPECT_EQ(redact("?key=pa%22ss%5Cw%C3%B6rd%26%3cx%3e%2F1%0A&b=%20", secrets), "?key=[redacted]&b=%20");
  EXPECT_EQ(redact(R"(C:\dir\new \u12 \q 100% %zz \)", secrets), R"(C:\dir\new \u12 \q 100% %zz \)");
}

TEST(Redact, KnowsOurOwnKeysAndThoseOfVendors) {
  EXPECT_EQ(redact("key sk_0123456789abcdef0123456789abcdef!"), "key [redacted]!");
  EXPECT_EQ(redact("OPENAI_API_KEY=sk-proj-abcDEF0123456789xyz_-z rest"), "OPENAI_API_KEY=[redacted] rest");
  EXPECT_EQ(redact("sk-ant-api03-AAAABBBBCCCCDDDD"), "[redacted]");
  EXPECT_EQ(redact("use xoxb-1234567890-abcdef"), "use [redacted]");
}

TEST(Redact, KnowsTelegramTokensAlsoInsideAUrl) {
  EXPECT_EQ(redact("token " + kTelegram + " set"), "token [redacted] set");
  EXPECT_EQ(redact("GET https://api.telegram.org/bot" + kTelegram + "/getMe"),
            "GET https://api.telegram.org/bot[redacted]/getMe");
}

TEST(Redact, KeepsTheWordBearer) {
  EXPECT_EQ(redact("Authorization: Bearer abc.def-ghi_jkl=\r"), "Authorization: Bearer [redacted]\r");
  EXPECT_EQ(redact("authorization: bearer 0123456789"), "authorization: bearer [redacted]");
  EXPECT_EQ(redact("the bearer of news"), "the bearer of news");
}

TEST(Redact, LeavesOrdinaryTextAlone) {
  for (const char* text :
       {"", "task-force-of-many-people-is-here", "sk-short", "12:34:56 started 1234567 jobs", "1234567: too short",
        "2026-03-19T00:00:00Z listening on 127.0.0.1:18789", "disk_usage_0123456789abcdef", "b", "Bearer"}) {
    EXPECT_EQ(redact(text), text);
  }
}

TEST(Redact, LeavesNoSecretInAnyPlaceOfALine) {
  const std::string secret = "sk_00112233445566778899aabbccddeeff";
  for (const std::string before : {"", " ", "\"", "key=", "é", "-", "_"}) {
    for (const std::string after : {"", " ", "\"", ",", "é", "."}) {
      EXPECT_THAT(redact(before + secret + after), testing::Not(testing::HasSubstr("00112233445566778899")))
          << before << "|" << after;
    }
  }
}

}  // namespace
}  // namespace creel::secrets
