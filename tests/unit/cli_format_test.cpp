// What the command line prints: tables, pairs, widths, and what is drawn in place.
#include <gtest/gtest.h>

#include <sstream>

#include "controller/cli/advice.hpp"
#include "controller/cli/cli.hpp"
#include "controller/cli/format.hpp"

namespace creel::cli {
namespace {

// The widest line, in columns.
std::size_t width_of(const std::string& text) {
  std::size_t widest = 0;
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);) widest = std::max(widest, columns(line));
  return widest;
}

const Columns kHeader{{"ID"}, {"NAME", 1}, {"PHASE", 1}, {"MODEL", 3}, {"MESSAGE", 5}};
const Row kRow{"0123456789abcdef", "support-agent", "Failed", "openrouter/some-model",
               "the image cannot be had: no such host"};

TEST(Table, IsAsWideAsItMustBeOffATerminal) {
  const std::string text = table(kHeader, {kRow}, 0);
  for (const auto& cell : kRow) EXPECT_NE(text.find(cell), std::string::npos) << text;
  EXPECT_EQ(table({{"ID"}, {"NAME"}}, {}, 80), "ID  NAME\n");
}

TEST(Table, FitsEveryWidthAndNeverCutsAnId) {
  for (std::size_t width = 16; width < 140; ++width) {
    const std::string text = table(kHeader, {kRow}, width);
    EXPECT_LE(width_of(text), width) << text;
    EXPECT_NE(text.find("0123456789abcdef"), std::string::npos) << text;
  }
}

TEST(Table, CutsTheLeastImportantColumnFirstAndThenLeavesItOut) {
  EXPECT_EQ(table(kHeader, {kRow}, 80),
            "ID                NAME           PHASE   MODEL                  MESSAGE\n"
            "0123456789abcdef  support-agent  Failed  openrouter/some-model  the image canno…\n");
  EXPECT_EQ(table(kHeader, {kRow}, 60),
            "ID                NAME           PHASE   MODEL      MESSAGE\n"
            "0123456789abcdef  support-agent  Failed  openrout…  the ima…\n");
  EXPECT_EQ(table(kHeader, {kRow}, 45),
            "ID                NAME           PHASE\n"
            "0123456789abcdef  support-agent  Failed\n");
  EXPECT_EQ(table(kHeader, {kRow}, 36),
            "ID                NAME        PHASE\n"
            "0123456789abcdef  support-a…  Failed\n");
  EXPECT_EQ(table(kHeader, {kRow}, 20), "ID\n0123456789abcdef\n");
}

TEST(Table, LeavesOutRatherThanCutsWhatMustBeWhole) {
  const Columns header{{"ID"}, {"NAME", 1}, {"CREATED", 2, nullptr, true}};
  EXPECT_EQ(table(header, {{"aa", "demo", "2026-03-19T00:00:00Z"}}, 30),
            "ID  NAME  CREATED\n"
            "aa  demo  2026-03-19T00:00:00Z\n");
  EXPECT_EQ(table(header, {{"aa", "demo", "2026-03-19T00:00:00Z"}}, 29),
            "ID  NAME\n"
            "aa  demo\n");
}

TEST(Table, LeavesOutWhatIsEmptyBeforeItCuts) {
  EXPECT_EQ(table({{"ID"}, {"NAME", 1}, {"MESSAGE", 2}}, {{"aa", "a-name-that-is-long", ""}}, 24),
            "ID  NAME\n"
            "aa  a-name-that-is-long\n");
}

TEST(Table, CountsColumnsOfTheTerminalNotBytes) {
  EXPECT_EQ(columns("Zo\xc3\xab"), 3u);
  EXPECT_EQ(columns("\xe4\xb8\xad\xe6\x96\x87"), 4u);                              // two letters of Chinese
  EXPECT_EQ(columns("e\xcc\x81"), 1u);                                             // e and a combining accent
  EXPECT_EQ(columns("\xf0\x9f\x98\x80"), 2u);                                      // an emoji
  EXPECT_EQ(clipped("\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97", 4), "\xe4\xb8\xad…");  // half a letter does not fit
  EXPECT_EQ(table({{"NAME"}, {"X"}}, {{"\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97", "1"}, {"abc", "2"}}, 0),
            "NAME    X\n"
            "\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97  1\n"
            "abc     2\n");
}

TEST(Table, PaintsWithoutMovingColumns) {
  const Columns header{{"PHASE", 1, [](const Row& row) { return tint_of_phase(row[0]); }}, {"NAME", 2}};
  EXPECT_EQ(table(header, {{"Ready", "a"}, {"CrashLooping", "b"}, {"Pulling", "c"}}, 0, true),
            "PHASE         NAME\n"
            "\x1b[32mReady\x1b[0m         a\n"
            "\x1b[31mCrashLooping\x1b[0m  b\n"
            "\x1b[33mPulling\x1b[0m       c\n");
}

TEST(GrowingTable, KeepsItsColumnsAsLongAsTheyAreWideEnough) {
  GrowingTable rows{{{"ID"}, {"PHASE"}}, 12, false};
  EXPECT_EQ(rows.title(), "ID  PHASE\n");
  rows.widen({"aaa"});
  EXPECT_EQ(rows.title(), "ID   PHASE\n");
  EXPECT_EQ(rows.line({"aaaa", "x"}), "aaaa  x\n");
  EXPECT_EQ(rows.line({"b", "1234567"}), "b     12345…\n");
  GrowingTable unlimited{{{"ID"}, {"PHASE"}}, 0, false};
  EXPECT_EQ(unlimited.line({"b", "1234567"}), "b   1234567\n");
}

TEST(Pairs, GoOnBelowThemselvesWhereTheyAreTooLong) {
  EXPECT_EQ(pairs({{"id", "a"}, {"message", "one two three four five"}, {"none", ""}}, 20),
            "id       a\n"
            "message  one two\n"
            "         three four\n"
            "         five\n");
  EXPECT_EQ(pairs({{"image", "a-name-without-a-blank"}}, 15),
            "image  a-name-w\n"
            "       ithout-a\n"
            "       -blank\n");
  EXPECT_EQ(pairs({{"message", "one two three four five"}}), "message  one two three four five\n");
}

TEST(Hanging, CountsWhatStandsBeforeAsItIsTold) {
  EXPECT_EQ(hanging("\x1b[32mok\x1b[0m  ", 4, "one two three", 14), "\x1b[32mok\x1b[0m  one two\n    three\n");
}

TEST(Printable, LeavesNoControlCharacterAndNoBrokenUtf8) {
  EXPECT_EQ(printable("a\x1b[2J\n\tb\x7f"), "a?[2J? b?");
  EXPECT_EQ(printable("Zo\xc3\xab \xe2\x82\xac \xf0\x9f\x98\x80"), "Zo\xc3\xab \xe2\x82\xac \xf0\x9f\x98\x80");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m\xff\xc3"),
            "?31m??");
  EXPECT_EQ(printable_lines("a\x1b\nb", "  "), "  a?\n  b\n");
}

class TerminalTest : public ::testing::Test {
 protected:
  std::istringstream in;
  std::ostringstream out, err;
  Io io{in, out, err, 20, 20};
};

TEST_F(TerminalTest, DrawsAPageOverTheOneBefore) {
  io.measure = [] { return Size{20, 24}; };
  Display display{io};
  display.draw("a\nb\n");
  EXPECT_EQ(out.str(), "\ra\x1b[K\n\rb\x1b[K\n\x1b[J");
  out.str("");
  display.draw("c\n");
  EXPECT_EQ(out.str(), "\x1b[2A\rc\x1b[K\n\x1b[J");
}

TEST_F(TerminalTest, LeavesOutWhatIsTooLongForTheTerminal) {
  io.measure = [] { return Size{20, 4}; };
  Display display{io};
  display.draw("1\n2\n3\n");
  EXPECT_EQ(out.str(), "\r1\x1b[K\n\r2\x1b[K\n\r3\x1b[K\n\x1b[J");
  out.str("");
  display.draw("1\n2\n3\n4\n5\n");
  EXPECT_EQ(out.str(), "\x1b[3A\r1\x1b[K\n\r2\x1b[K\n\r… 3 more lines\x1b[K\n\x1b[J");
}

TEST_F(TerminalTest, ShowsProgressInOneLineThatIsGoneInTheEnd) {
  io.live_err = true;
  {
    Progress progress{io};
    progress.show("Pulling: 1 of 2 layers and more");
    progress.show("Pulling: 1 of 2 layers and more");
    progress.show("Ready");
  }
  // What is new of it is at its end.
  EXPECT_EQ(err.str(), "\rPulli…yers and more\x1b[K\rReady\x1b[K\r\x1b[K");
}

TEST_F(TerminalTest, ShowsProgressAsALineAChangeOffATerminal) {
  {
    Progress progress{io};
    for (const char* text : {"Pulling: 1 of 2 layers and more", "Pulling: 1 of 2 layers and more", "", "Ready"})
      progress.show(text);
  }
  EXPECT_EQ(err.str(), "Pulling: 1 of 2 layers and more\nReady\n");
}

TEST(Colors, AreWantedOnATerminalThatHasThemUnlessTold) {
  EXPECT_TRUE(wants_colors("auto", true, {}));
  EXPECT_FALSE(wants_colors("auto", false, {}));
  EXPECT_FALSE(wants_colors("auto", true, {{"NO_COLOR", "1"}}));
  EXPECT_TRUE(wants_colors("auto", true, {{"NO_COLOR", ""}}));
  EXPECT_FALSE(wants_colors("auto", true, {{"TERM", "dumb"}}));
  EXPECT_TRUE(wants_colors("always", false, {{"NO_COLOR", "1"}}));
  EXPECT_FALSE(wants_colors("never", true, {}));
}

TEST(Advice, CountsWhatDiffers) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("agnets", "agents"), 1u);
  EXPECT_EQ(edit_distance("lst", "list"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(Advice, KnowsWhatWasMeantAndWhenNothingWas) {
  const std::vector<std::string> known{"list", "logs", "provision", "stop", "start", "stats"};
  EXPECT_EQ(nearest("lsit", known), "list");
  EXPECT_EQ(nearest("provisoin", known), "provision");
  EXPECT_EQ(nearest("prov", known), "provision");
  EXPECT_EQ(nearest("st", known), "");
  EXPECT_EQ(nearest("nonsense", known), "");
  EXPECT_EQ(nearest("", known), "");
}

}  // namespace
}  // namespace creel::cli
