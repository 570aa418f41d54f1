// The pure parts of the Docker runtime: archives, logs, image references, pull progress, breaker, pull pool, names.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <iterator>
#include <mutex>
#include <sstream>

#include "reconciler/runtime/docker/breaker.hpp"
#include "reconciler/runtime/docker/image.hpp"
#include "reconciler/runtime/docker/log_decoder.hpp"
#include "reconciler/runtime/docker/network_pool.hpp"
#include "reconciler/runtime/docker/pull_pool.hpp"
#include "reconciler/runtime/docker/quarantine.hpp"
#include "reconciler/runtime/docker/tar.hpp"
#include "tests/support/support.hpp"

namespace creel::docker {
namespace {

using namespace std::chrono_literals;

std::string recorded(const std::string& name) {
  std::ifstream file{test::source_dir() + "/tests/golden/engine/" + name, std::ios::binary};
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>{file}, {}};
}

// --- tar ---

struct Member {
  char type;
  std::string name;
  std::string link;
  int mode;
  long uid;
  long gid;
  std::string content;
};

// An independent reader, with checksums and pax records.
std::vector<Member> members(const std::string& tar) {
  std::vector<Member> result;
  EXPECT_EQ(tar.size() % 512, 0u);
  std::map<std::string, std::string> pax;
  for (std::size_t at = 0; at + 512 <= tar.size() && tar[at] != '\0';) {
    const std::string block = tar.substr(at, 512);
    const auto octal = [&](std::size_t offset, std::size_t size) {
      return std::strtol(block.substr(offset, size).c_str(), nullptr, 8);
    };
    unsigned sum = 0;
    for (std::size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(block[i]);
    EXPECT_EQ(octal(148, 8), static_cast<long>(sum));
    EXPECT_EQ(block.substr(257, 8), std::string("ustar\00000", 8));
    const auto size = static_cast<std::size_t>(octal(124, 12));
    const std::string content = tar.substr(at + 512, size);
    at += 512 + (size + 511) / 512 * 512;
    if (block[156] == 'x') {
      for (std::size_t p = 0; p < content.size();) {
        const std::size_t length = std::stoul(content.substr(p));
        const std::string record = content.substr(p, length);
        EXPECT_EQ(record.back(), '\n');
        const auto blank = record.find(' ');
        const auto equals = record.find('=');
        pax[record.substr(blank + 1, equals - blank - 1)] = record.substr(equals + 1, record.size() - equals - 2);
        p += length;
      }
      continue;
    }
    Member member{block[156],
                  block.substr(0, 100).c_str(),
                  block.substr(157, 100).c_str(),
                  static_cast<int>(octal(100, 8)),
                  octal(108, 8),
                  octal(116, 8),
                  content};
    if (pax.count("path")) member.name = pax["path"];
    if (pax.count("linkpath")) member.link = pax["linkpath"];
    if (pax.count("uid")) member.uid = std::stol(pax["uid"]);
    if (pax.count("gid")) member.gid = std::stol(pax["gid"]);
    pax.clear();
    result.push_back(member);
  }
  return result;
}

TEST(Delivery, WritesEachFileWholeBeforeItGetsItsName) {
  const auto tar = delivery_archive({{"a.json", "one", 0600, 1000, 1001, false}, {"d/e/b", "two", 0644, 7, 8, true}},
                                    Owner{1000, 1000}, 1'700'000'000);
  ASSERT_TRUE(tar);
  std::string text;
  for (const auto& m : members(*tar)) {
    std::ostringstream line;
    line << m.type << " " << m.name << (m.link.empty() ? "" : " -> " + m.link) << " " << std::oct << m.mode << std::dec
         << " " << m.uid << ":" << m.gid << " [" << m.content << "]\n";
    text += line.str();
  }
  EXPECT_EQ(text,
            "5 / 700 1000:1000 []\n"
            "0 .creel-delivery 600 1000:1001 [one]\n"
            "1 a.json -> .creel-delivery 600 1000:1001 []\n"
            "5 d/ 700 7:8 []\n"
            "5 d/e/ 700 7:8 []\n"
            "0 .creel-delivery 644 7:8 [two]\n"
            "1 d/e/b -> .creel-delivery 644 7:8 []\n"
            "0 .creel-delivery 600 7:8 []\n");
}

TEST(Delivery, RefusesPathsThatLeaveTheVolume) {
  for (const char* path :
       {"", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a/.", ".creel-delivery", "a\nb"}) {
    const auto tar = delivery_archive({{path, "x", 0600, 1, 1, false}}, std::nullopt, 0);
    ASSERT_FALSE(tar) << path;
    EXPECT_EQ(tar.error().kind, ErrorKind::invalid);
  }
  EXPECT_FALSE(delivery_archive({{"a", "x", 0600, -1, 1, false}}, std::nullopt, 0));
  EXPECT_TRUE(delivery_archive({{"..a/b..", "x", 0600, 1, 1, false}}, std::nullopt, 0));
}

TEST(Delivery, NothingToDeliverIsAnEmptyArchive) {
  EXPECT_EQ(delivery_archive({}, std::nullopt, 0).value(), std::string(1024, '\0'));
}

TEST(Tar, GivesTheContentOfItsFirstFile) {
  TarWriter plain{0};
  plain.file("paired.json", "{}", 0600, {1, 1});
  EXPECT_EQ(first_file(plain.finish()), "{}");
  TarWriter named{0};
  named.file(std::string(150, 'n'), "with a pax record", 0600, {1, 1});
  EXPECT_EQ(first_file(named.finish()), "with a pax record");
  TarWriter folder{0};
  folder.directory("devices/", 0700, {1, 1});
  EXPECT_EQ(first_file(folder.finish()), std::nullopt);
  TarWriter cut{0};
  cut.file("a", std::string(2000, 'x'), 0600, {1, 1});
  EXPECT_EQ(first_file(cut.finish().substr(0, 1500)), std::nullopt);
  EXPECT_EQ(first_file(""), std::nullopt);
  EXPECT_EQ(first_file(std::string(600, '\x80')), std::nullopt);
}

TEST(Tar, WritesLongNamesLargeOwnersAndBinaryContents) {
  const std::string deep = std::string(120, 'd') + "/" + std::string(90, 'f');
  std::string binary(1025, '\0');
  binary[1024] = '\xff';
  TarWriter tar{1};
  tar.file(deep, binary, 04755, {3'000'000, 4'000'000});
  tar.hard_link("x", deep, 0600, {1, 2});
  const auto read = members(tar.finish());
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].name, deep);
  EXPECT_EQ(read[0].content, binary);
  EXPECT_EQ(read[0].mode, 04755);
  EXPECT_EQ(read[0].uid, 3'000'000);
  EXPECT_EQ(read[0].gid, 4'000'000);
  EXPECT_EQ(read[1].link, deep);
  EXPECT_EQ(read[1].name, "x");
}

TEST(Tar, ALengthThatCountsItselfIsRightAtEveryWidth) {
  for (std::size_t length = 101; length < 1100; ++length) {
    TarWriter tar{1};
    tar.directory(std::string(length, 'a'), 0700, {});
    const auto read = members(tar.finish());
    ASSERT_EQ(read.size(), 1u);
    ASSERT_EQ(read[0].name.size(), length);
  }
}

// --- logs ---

std::string frame(char stream, const std::string& payload) {
  const auto size = payload.size();
  std::string head{stream, 0, 0, 0};
  for (int shift = 24; shift >= 0; shift -= 8) head += static_cast<char>(size >> shift & 0xFF);
  return head + payload;
}

struct Decoded {
  std::vector<RawLogLine> lines;
  Result<bool> result = true;
};

Decoded decode(const std::string& bytes, bool tty, std::size_t piece) {
  Decoded decoded;
  LogDecoder decoder{tty};
  const auto sink = [&](RawLogLine line) {
    decoded.lines.push_back(std::move(line));
    return true;
  };
  for (std::size_t at = 0; at < bytes.size() && decoded.result; at += piece) {
    decoded.result = decoder.push(std::string_view{bytes}.substr(at, piece), sink);
  }
  if (decoded.result) decoder.finish(sink);
  return decoded;
}

TEST(LogDecoder, ReadsARecordedLogInPiecesOfAnySize) {
  const std::string bytes = recorded("logs.bin");
  for (const std::size_t piece : {1ul, 2ul, 7ul, 8ul, 9ul, 4096ul, bytes.size()}) {
    const Decoded decoded = decode(bytes, false, piece);
    ASSERT_TRUE(decoded.result) << decoded.result.error().message;
    ASSERT_EQ(decoded.lines.size(), 3u) << piece;
    std::map<std::string, bool> texts;
    for (const auto& raw : decoded.lines) {
      texts[raw.line.text] = raw.line.is_stderr;
      EXPECT_GT(raw.unix_nanoseconds, 1'700'000'000'000'000'000);
      EXPECT_EQ(raw.line.at.time_since_epoch().count(), raw.unix_nanoseconds / 1'000'000);
    }
    EXPECT_EQ(texts,
              (std::map<std::string, bool>{{"hello", false}, {"oops", true}, {std::string(40'000, 'x'), false}}));
  }
}

TEST(LogDecoder, JoinsThePiecesOfALongLineEachStreamByItself) {
  const std::string time = "2026-03-19T08:00:00.123456789Z ";
  const std::string bytes = frame(1, time + "first ") + frame(2, time + "error\n") +
                            frame(1, "2026-03-19T08:00:01.000000000Z second\n") +
                            frame(1, time + "end without newline");
  const Decoded decoded = decode(bytes, false, 5);
  ASSERT_TRUE(decoded.result);
  ASSERT_EQ(decoded.lines.size(), 3u);
  EXPECT_EQ(decoded.lines[0].line.text, "error");
  EXPECT_TRUE(decoded.lines[0].line.is_stderr);
  EXPECT_EQ(decoded.lines[1].line.text, "first second");
  EXPECT_EQ(decoded.lines[1].unix_nanoseconds % 1'000'000'000, 123'456'789) << "the time is that of its beginning";
  EXPECT_EQ(decoded.lines[2].line.text, "end without newline");
}

TEST(LogDecoder, ReadsATerminalsRawBytes) {
  const Decoded decoded = decode("2026-03-19T08:00:00.5Z one\r\n2026-03-19T08:00:00.6Z two\r\n", true, 3);
  ASSERT_TRUE(decoded.result);
  ASSERT_EQ(decoded.lines.size(), 2u);
  EXPECT_EQ(decoded.lines[0].line.text, "one");
  EXPECT_EQ(decoded.lines[1].unix_nanoseconds % 1'000'000'000, 600'000'000);
}

TEST(LogDecoder, TurnsAMalformedStreamIntoAnError) {
  const std::vector<std::string> malformed{std::string{"\x04\0\0\0\0\0\0\1x", 9}, std::string{"\x01\1\0\0\0\0\0\1x", 9},
                                           std::string{"\x01\0\0\0\xff\0\0\0", 8}, "GET / HTTP/1.1\r\n"};
  for (const auto& bytes : malformed) {
    const Decoded decoded = decode(bytes, false, 1);
    ASSERT_FALSE(decoded.result);
    EXPECT_EQ(decoded.result.error().kind, ErrorKind::failed);
  }
  const Decoded error = decode(frame(3, "Error grabbing logs: no"), false, 100);
  ASSERT_FALSE(error.result);
  EXPECT_NE(error.result.error().message.find("Error grabbing logs: no"), std::string::npos);
  const std::string whole = recorded("logs.bin");
  for (std::size_t length = 0; length < 200; ++length) {  // a cut stream is no error: the rest may still come
    EXPECT_TRUE(decode(whole.substr(0, length), false, 11).result);
  }
}

TEST(LogDecoder, KeepsLinesWithoutTimeAndCutsEndlessOnes) {
  const Decoded plain = decode(frame(1, "no time here\n") + frame(1, "\n"), false, 100);
  ASSERT_EQ(plain.lines.size(), 2u);
  EXPECT_EQ(plain.lines[0].line.text, "no time here");
  EXPECT_EQ(plain.lines[0].unix_nanoseconds, 0);
  EXPECT_EQ(plain.lines[1].line.text, "");
  std::string endless;
  for (int i = 0; i < 64; ++i) endless += frame(1, std::string(16u << 10, 'x'));
  const Decoded cut = decode(endless, false, 1u << 16);
  ASSERT_TRUE(cut.result);
  ASSERT_EQ(cut.lines.size(), 4u);
  EXPECT_EQ(cut.lines[0].line.text.size(), 256u << 10);
}

TEST(LogDecoder, EndsWhenTheSinkHasEnough) {
  LogDecoder decoder{false};
  int lines = 0;
  const auto result =
      decoder.push(frame(1, "a\n") + frame(1, "b\n") + frame(1, "c\n"), [&](RawLogLine) { return ++lines < 2; });
  ASSERT_TRUE(result);
  EXPECT_FALSE(*result);
  EXPECT_EQ(lines, 2);
}

TEST(LogDecoder, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(to_valid_utf8("h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"), "h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80");
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(to_valid_utf8("a\xff"
                          "b"),
            "a" + bad + "b");
  EXPECT_EQ(to_valid_utf8("\xC3"), bad);
  EXPECT_EQ(to_valid_utf8("\xC0\x80"), bad + bad) << "overlong";
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80"), bad + bad + bad) << "surrogate";
  EXPECT_EQ(to_valid_utf8("\xF4\x90\x80\x80"), bad + bad + bad + bad) << "beyond Unicode";
}

// --- pulls ---

TEST(PullProgress, SumsUpARecordedPull) {
  PullProgress progress;
  EXPECT_EQ(progress.message(), "waiting for the registry");
  std::istringstream lines{recorded("pull.jsonl")};
  std::vector<std::string> shown;
  for (std::string line; std::getline(lines, line);) {
    ASSERT_TRUE(progress.take_line(line)) << line;
    if (shown.empty() || shown.back() != progress.message()) shown.push_back(progress.message());
  }
  EXPECT_EQ(shown.front(), "waiting for the registry");
  EXPECT_EQ(shown.back(), "3 of 3 layers, 9.3 of 9.3 MB");
  EXPECT_GE(shown.size(), 6u);
}

TEST(PullProgress, TurnsAnErrorLineIntoTheError) {
  PullProgress progress;
  const auto failed =
      progress.take_line(R"({"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"})");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "manifest unknown");
  EXPECT_FALSE(progress.take_line(R"({"error":"short"})"));
  for (const char* line :
       {"", "garbage", "[]", "{\"id\":7}", "{\"id\":\"x\",\"status\":\"Downloading\",\"progressDetail\":[]}",
        "{\"id\":\"x\",\"status\":\"Downloading\",\"progressDetail\":{\"current\":\"a\",\"total\":-5}}"}) {
    EXPECT_TRUE(progress.take_line(line)) << line;
  }
}

// --- breaker ---

TEST(Quarantine, LeavesWhatIsSilentAloneForLongerAndLongerUntilItAnswers) {
  Quarantine quarantine;
  Quarantine::Time now{};
  EXPECT_FALSE(quarantine.left("a", now));
  std::chrono::milliseconds expected = Quarantine::kFirst;
  for (int i = 0; i < 10; ++i) {
    quarantine.silent("a", now);
    EXPECT_EQ(quarantine.left("a", now), expected);
    EXPECT_FALSE(quarantine.left("b", now)) << "the others are asked";
    now += expected;
    EXPECT_FALSE(quarantine.left("a", now));
    expected = std::min(expected * 2, Quarantine::kLongest);
  }
  quarantine.answered("a");
  EXPECT_EQ(quarantine.size(), 0u);
  quarantine.silent("a", now);
  EXPECT_EQ(quarantine.left("a", now), Quarantine::kFirst);
  quarantine.silent("b", now + Quarantine::kLongest * 3);
  EXPECT_EQ(quarantine.size(), 1u) << "what nobody asks about is forgotten";
}

TEST(Breaker, StaysClosedWhenOneContainerIsSilentAgainAndAgain) {
  Breaker breaker;
  const Breaker::Time t0{};
  for (int i = 0; i < 50; ++i) breaker.failed(t0, "x", "stuck");
  EXPECT_EQ(breaker.admit(t0), Breaker::Verdict::go);
  for (const char* other : {"a", "b", "c", "d"}) breaker.failed(t0, "x", other);
  EXPECT_NE(breaker.admit(t0), Breaker::Verdict::go) << "five of them: it is the engine";
}

TEST(Breaker, OpensAfterFiveFailuresInARowAndNoSooner) {
  Breaker breaker;
  const Breaker::Time t0{};
  for (int i = 0; i < 4; ++i) breaker.failed(t0, "x");
  breaker.succeeded();
  for (int i = 0; i < 4; ++i) breaker.failed(t0, "x");
  EXPECT_EQ(breaker.admit(t0), Breaker::Verdict::go);
  breaker.failed(t0, "refused");
  EXPECT_EQ(breaker.admit(t0 + 999ms), Breaker::Verdict::refuse);
  EXPECT_EQ(breaker.reason(), "refused");
}

TEST(Breaker, LetsOneProbeThroughAndWaitsTwiceAsLongEachTime) {
  Breaker breaker;
  Breaker::Time now{};
  for (int i = 0; i < 5; ++i) breaker.failed(now, "x");
  for (const auto pause : {1s, 2s, 4s, 8s, 15s, 15s}) {
    EXPECT_EQ(breaker.admit(now + pause - 1ms), Breaker::Verdict::refuse);
    now += pause;
    EXPECT_EQ(breaker.admit(now), Breaker::Verdict::probe);
    EXPECT_EQ(breaker.admit(now), Breaker::Verdict::refuse) << "one at a time";
    breaker.probe_failed(now, "x");
  }
  now += 15s;
  EXPECT_EQ(breaker.admit(now), Breaker::Verdict::probe);
  breaker.probe_abandoned();
  EXPECT_EQ(breaker.admit(now), Breaker::Verdict::probe) << "a cancelled probe leaves it to the next";
  breaker.probe_succeeded();
  EXPECT_EQ(breaker.admit(now), Breaker::Verdict::go);
  for (int i = 0; i < 5; ++i) breaker.failed(now, "x");
  EXPECT_EQ(breaker.admit(now + 1s), Breaker::Verdict::probe) << "it begins with one second again";
}

TEST(Breaker, ALateAnswerClosesIt) {
  Breaker breaker;
  const Breaker::Time t0{};
  for (int i = 0; i < 7; ++i) breaker.failed(t0, "x");
  breaker.succeeded();
  EXPECT_EQ(breaker.admit(t0), Breaker::Verdict::go);
}

// --- pull pool ---

TEST(PullPool, SharesAPullAndRunsAtMostTwoAtATime) {
  std::mutex mutex;
  std::condition_variable_any changed;
  bool go = false;
  int running = 0;
  int most = 0;
  int pulls = 0;
  PullPool pool{[&](const std::string&, const PullPool::Progress& progress, std::stop_token stop) -> Result<void> {
                  std::unique_lock lock{mutex};
                  ++pulls;
                  most = std::max(most, ++running);
                  progress("half");
                  changed.notify_all();
                  changed.wait(lock, stop, [&] { return go; });
                  --running;
                  return {};
                },
                2};
  for (const char* image : {"a", "b", "c", "a", "a"}) pool.start(image);
  {
    std::unique_lock lock{mutex};
    changed.wait(lock, [&] { return running == 2; });
    EXPECT_EQ(pool.state("a")->message, "half");
    EXPECT_EQ(pool.state("c")->message, "waiting for its turn");
    EXPECT_TRUE(pool.state("c")->under_way);
    go = true;
    changed.notify_all();
  }
  for (const char* image : {"a", "b", "c"}) {
    EXPECT_TRUE(pool.wait(image, {}));
    ASSERT_TRUE(pool.state(image));
    EXPECT_FALSE(pool.state(image)->under_way);
    EXPECT_TRUE(pool.state(image)->succeeded) << "an update wants to know that it was pulled, and not only is there";
  }
  EXPECT_EQ(pulls, 3);
  EXPECT_EQ(most, 2);
}

TEST(PullPool, RemembersAFailureUntilItIsAskedAgain) {
  std::atomic<bool> works{false};
  PullPool pool{[&](const std::string&, const PullPool::Progress&, std::stop_token) -> Result<void> {
                  if (works) return {};
                  return Error{ErrorKind::failed, "no such host"};
                },
                1};
  pool.start("a");
  ASSERT_TRUE(pool.wait("a", {}));
  ASSERT_TRUE(pool.state("a"));
  EXPECT_FALSE(pool.state("a")->under_way);
  EXPECT_FALSE(pool.state("a")->succeeded);
  EXPECT_EQ(pool.state("a")->message, "no such host");
  works = true;
  pool.start("a");
  ASSERT_TRUE(pool.wait("a", {}));
  EXPECT_TRUE(pool.state("a")->succeeded);
}

TEST(PullPool, CancelsWhatIsUnderWayWhenItEnds) {
  std::atomic<bool> cancelled{false};
  std::atomic<bool> begun{false};
  {
    PullPool pool{[&](const std::string&, const PullPool::Progress&, std::stop_token stop) -> Result<void> {
                    std::mutex mutex;
                    std::unique_lock lock{mutex};
                    begun = true;
                    begun.notify_all();
                    std::condition_variable_any{}.wait(lock, stop, [] { return false; });
                    cancelled = stop.stop_requested();
                    return Error{ErrorKind::cancelled, "cancelled"};
                  },
                  1};
    pool.start("a");
    pool.start("b");
    begun.wait(false);
  }
  EXPECT_TRUE(cancelled);
}

// --- names ---

TEST(BridgeName, FitsTheKernelAndDiffersByControllerAndEngine) {
  EXPECT_LE(bridge_name("home", "ENGINE", 9'999).size(), 15u);
  EXPECT_NE(bridge_name("home", "E", 1), bridge_name("home", "F", 1));
  EXPECT_NE(bridge_name("home", "E", 1), bridge_name("away", "E", 1));
  EXPECT_NE(bridge_name("home", "E", 1), bridge_name("home", "E", 2));
  EXPECT_EQ(bridge_name("home", "E", 1), bridge_name("home", "E", 1));
}

}  // namespace
}  // namespace creel::docker
