#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/target.hpp"

namespace creel::api {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

Request with_body(std::string body, std::string type = "application/json") {
  Request request;
  request.body = std::move(body);
  request.headers.emplace_back("Content-Type", std::move(type));
  return request;
}

TEST(HttpParse, TakesAPathApart) {
  const auto target = parse_target("/api/agents/a%20b/logs?limit=5&level=warn+ing&limit=9&flag");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/api/agents/a%20b/logs");
  EXPECT_EQ(target->segments, (std::vector<std::string>{"api", "agents", "a b", "logs"}));
  EXPECT_EQ(target->query, (std::map<std::string, std::string>{{"limit", "5"}, {"level", "warn ing"}, {"flag", ""}}));
}

TEST(HttpParse, KeepsAnEncodedSlashInsideItsSegment) {
  const auto target = parse_target("/api/agents/a%2Fb");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->segments, (std::vector<std::string>{"api", "agents", "a/b"}));
}

TEST(HttpParse, TakesTheAbsoluteFormAProxySends) {
  const auto target = parse_target("http://creel.example:8080/healthz?x=1#part");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/healthz");
  EXPECT_EQ(target->query.at("x"), "1");
  EXPECT_EQ(parse_target("http://creel.example")->path, "/");
}

TEST(HttpParse, RefusesBrokenEscapesZeroBytesForeignFormsAndWhatIsNotUtf8) {
  for (const char* bad : {"/a%", "/a%4", "/a%zz", "/a%00", "/a?x=%", "/a%ff", "/a?x=%c3%28", "/a?%c0%80=1", "healthz",
                          "", "creel.example:443"}) {
    const auto target = parse_target(bad);
    ASSERT_FALSE(target) << bad;
    EXPECT_EQ(target.error().kind, ErrorKind::invalid) << bad;
  }
}

TEST(HttpParse, DecodesThePlusOnlyInQueries) {
  EXPECT_EQ(percent_decode("a+b%41", true).value(), "a bA");
  EXPECT_EQ(percent_decode("a+b", false).value(), "a+b");
}

TEST(ApiBody, ReadsAnObjectAndTakesAnEmptyBodyForOne) {
  EXPECT_EQ(json_object(with_body(R"({"name":"x"})")).value(), json({{"name", "x"}}));
  EXPECT_EQ(json_object(with_body("{}", "Application/JSON; charset=utf-8")).value(), json::object());
  EXPECT_EQ(json_object(Request{}).value(), json::object());
}

TEST(ApiBody, NamesTheContentTypeWhenItIsWrong) {
  const auto read = json_object(with_body("{}", "text/plain"));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().field, "Content-Type");
}

TEST(ApiBody, RefusesWhatIsNotStrictJson) {
  for (const char* bad : {"{", "{'a':1}", "{\"a\":1,}", "// c\n{}", "[1]", "\"text\"", "{\"a\":\"\xff\"}", "nul",
                          "{\"a\":\"\\ud800\"}", "{\"a\":1e999}"}) {
    const auto read = json_object(with_body(bad));
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().field, "body") << bad;
  }
}

TEST(ApiBody, RefusesWhatIsNestedTooDeep) {
  const auto nested = [](int depth) { return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}"; };
  EXPECT_TRUE(json_object(with_body(nested(kMaxDepth - 1))));
  EXPECT_FALSE(json_object(with_body(nested(kMaxDepth))));
  EXPECT_FALSE(json_object(with_body(std::string(500'000, '['))));
  EXPECT_TRUE(json_object(with_body("{\"a\":\"" + std::string(1000, '[') + "\"}")));
}

TEST(ApiBody, RefusesZeroCharactersAndNamesTheField) {
  const auto read = json_object(with_body(R"({"outer":{"inner":"a\u0000b"}})"));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().field, "outer.inner");
}

TEST(ApiBody, TellsAbsentFieldsFromFieldsOfTheWrongType) {
  const json body = json::parse(R"({"text":"a","number":3,"flag":true,"none":null,"huge":18446744073709551615})");
  EXPECT_EQ(text_field(body, "text").value(), "a");
  EXPECT_EQ(text_field(body, "missing").value(), std::nullopt);
  EXPECT_EQ(text_field(body, "none").value(), std::nullopt);
  EXPECT_EQ(text_field(body, "number").error().field, "number");
  EXPECT_EQ(bool_field(body, "flag").value(), true);
  EXPECT_EQ(bool_field(body, "text").error().field, "text");
  EXPECT_EQ(integer_field(body, "number").value(), 3);
  EXPECT_EQ(integer_field(body, "huge").error().field, "huge");
}

TEST(ApiBody, CountsCharactersNotBytes) {
  EXPECT_TRUE(plain_text("äöü€𝄞", 5, 5));
  EXPECT_FALSE(plain_text("äöü€𝄞x", 1, 5));
  EXPECT_FALSE(plain_text("", 1, 5));
  EXPECT_FALSE(plain_text("a\nb", 1, 5));
  EXPECT_FALSE(plain_text("\xed\xa0\x80", 1, 5));  // a surrogate
  EXPECT_FALSE(plain_text("\xc0\x80", 1, 5));      // overlong
  EXPECT_FALSE(plain_text("\xe2\x82", 1, 5));      // cut short
}

TEST(ApiBody, ReadsHowLongToWait) {
  const auto wait = [](const char* given, const char* prefer) {
    Request request;
    if (given != nullptr) request.query["wait"] = given;
    if (prefer != nullptr) request.headers.emplace_back("prefer", prefer);
    return wait_of(request, milliseconds{10'000}, milliseconds{60'000});
  };
  EXPECT_EQ(wait(nullptr, nullptr).value(), milliseconds{10'000});
  EXPECT_EQ(wait("0", nullptr).value(), milliseconds{0});
  EXPECT_EQ(wait("1.5", nullptr).value(), milliseconds{1'500});
  EXPECT_EQ(wait("60", nullptr).value(), milliseconds{60'000});
  EXPECT_EQ(wait(nullptr, "handling=lenient, Respond-Async").value(), milliseconds{0});
  EXPECT_EQ(wait("2", "respond-async").value(), milliseconds{2'000});  // what is said outright counts
  for (const char* bad : {"", "61", "-1", "x", "1s", "nan", "inf", " 1"}) {
    const auto read = wait(bad, nullptr);
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().field, "wait");
    EXPECT_EQ(read.error().code, "INVALID_QUERY");
  }
}

TEST(ApiBody, TakesTrueAndFalseForAFlagAndNamesItWhenItIsAnotherWord) {
  const auto flag = [](const char* given) {
    Request request;
    request.query["purge"] = given;
    return flag_of(request, "purge");
  };
  EXPECT_FALSE(flag_of(Request{}, "purge").value());
  EXPECT_TRUE(flag("true").value());
  EXPECT_FALSE(flag("false").value());
  for (const char* bad : {"", "yes", "TRUE", "1", "true "}) {
    ASSERT_FALSE(flag(bad)) << bad;
    EXPECT_EQ(flag(bad).error().field, "purge");
    EXPECT_EQ(flag(bad).error().code, "INVALID_QUERY");
  }
}

TEST(ApiBody, ClampsALimitAndTakesTheDefaultForWhatIsNoNumber) {
  const auto limit = [](const char* given) {
    Request request;
    request.query["limit"] = given;
    return limit_of(request, 50, 100);
  };
  EXPECT_EQ(limit_of(Request{}, 50, 100), 50u);
  EXPECT_EQ(limit("7"), 7u);
  EXPECT_EQ(limit("0"), 1u);
  EXPECT_EQ(limit("-3"), 1u);
  EXPECT_EQ(limit("1000"), 100u);
  EXPECT_EQ(limit("99999999999999999999"), 100u);
  EXPECT_EQ(limit("-99999999999999999999"), 1u);
  EXPECT_EQ(limit("many"), 50u);
  EXPECT_EQ(limit("5x"), 50u);
  EXPECT_EQ(limit(""), 50u);
}

}  // namespace
}  // namespace creel::api
