#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "controller/store/migrate.hpp"
#include "controller/store/text.hpp"

namespace creel::store {
namespace {

using testing::HasSubstr;

const Migration kFirst{1, "0001_first.sql", "CREATE TABLE a ()"};
const Migration kSecond{2, "0002_second.sql", "CREATE TABLE b ()"};
const Migration kThird{3, "0003_third.sql", "CREATE TABLE c ()"};

AppliedMigration applied(const Migration& migration) {
  return {migration.version, migration.name, migration.checksum()};
}

std::vector<std::string> names(const std::vector<Migration>& migrations) {
  std::vector<std::string> result;
  for (const auto& migration : migrations) result.push_back(migration.name);
  return result;
}

TEST(Migrations, AreNumberedFromOneWithoutGaps) {
  const auto& all = embedded_migrations();
  ASSERT_FALSE(all.empty());
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].version, static_cast<int>(i) + 1);
    EXPECT_FALSE(all[i].sql.empty());
    EXPECT_THAT(all[i].name, testing::MatchesRegex("[0-9]{4}_[a-z0-9_]+\\.sql"));
  }
}

TEST(Migrations, OfAnEmptyDatabaseAreAllPendingInOrder) {
  EXPECT_THAT(names(pending_migrations({kSecond, kFirst}, {}).value()),
              testing::ElementsAre("0001_first.sql", "0002_second.sql"));
}

TEST(Migrations, ArePendingOnlyWhenNotApplied) {
  EXPECT_THAT(names(pending_migrations({kFirst, kSecond}, {applied(kFirst)}).value()),
              testing::ElementsAre("0002_second.sql"));
  EXPECT_TRUE(pending_migrations({kFirst, kSecond}, {applied(kFirst), applied(kSecond)}).value().empty());
}

TEST(Migrations, NameTheOneThatWasChangedAfterItWasApplied) {
  auto changed = applied(kSecond);
  changed.checksum = "other";
  const auto pending = pending_migrations({kFirst, kSecond}, {applied(kFirst), changed});
  ASSERT_FALSE(pending);
  EXPECT_EQ(pending.error().kind, ErrorKind::conflict);
  EXPECT_THAT(pending.error().message, HasSubstr("0002_second.sql was changed"));
}

TEST(Migrations, RefuseADatabaseNewerThanTheProgram) {
  const auto pending = pending_migrations({kFirst}, {applied(kFirst), applied(kSecond)});
  ASSERT_FALSE(pending);
  EXPECT_EQ(pending.error().kind, ErrorKind::conflict);
  EXPECT_THAT(pending.error().message, HasSubstr("newer than this program"));
  EXPECT_THAT(pending.error().message, HasSubstr("0002_second.sql"));
}

TEST(Migrations, RefuseOneThatWasSkipped) {
  const auto pending = pending_migrations({kFirst, kSecond, kThird}, {applied(kFirst), applied(kThird)});
  ASSERT_FALSE(pending);
  EXPECT_THAT(pending.error().message, HasSubstr("0002_second.sql is missing"));
}

TEST(Migrations, RefuseTwoOfOneNumber) {
  auto twin = kFirst;
  twin.name = "0001_twin.sql";
  EXPECT_FALSE(pending_migrations({kFirst, twin}, {}));
}

TEST(StoreText, TellsUtf8FromOtherBytes) {
  EXPECT_TRUE(valid_text("plain, größer, 漢字, 😀"));
  EXPECT_FALSE(valid_text(std::string_view{"a\0b", 3}));
  for (const char* bad :
       {"\x80", "\xC3", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xF0\x9F\x98"}) {
    EXPECT_FALSE(valid_text(bad));
  }
}

TEST(StoreText, RepairsEachBadByteAndKeepsTheRest) {
  EXPECT_EQ(repair_text("a\xFFö\xC3"), "a\xEF\xBF\xBDö\xEF\xBF\xBD");
  EXPECT_EQ(repair_text(std::string_view{"a\0b", 3}),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_TRUE(valid_text(repair_text("\xF0\x9F\x98\xED\xA0\x80")));
}

TEST(StoreText, WritesJsonWithoutZeroCharacters) {
  const nlohmann::json json{{"a", std::string{"x\0y", 3}}, {"b", "\\u0000"}, {"c", "\xFF"}};
  const auto column = to_column(json);
  const auto back = nlohmann::json::parse(column);
  EXPECT_EQ(back["a"], "x\xEF\xBF\xBDy");
  EXPECT_EQ(back["b"], "\\u0000");  // letters, not a zero: left alone
  EXPECT_EQ(back["c"], "\xEF\xBF\xBD");
}

}  // namespace
}  // namespace creel::store
