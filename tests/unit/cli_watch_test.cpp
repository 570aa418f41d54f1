// --watch and --follow, through controllers that go away and come back, until Ctrl-C; and progress.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>

#include "controller/cli/cli.hpp"
#include "controller/cli/terminal.hpp"
#include "controller/cli/watch.hpp"
#include "tests/support/support.hpp"
#include "tests/unit/gateway_fake_server.hpp"

namespace creel::cli {
namespace {

using test::FakeServer;
using test::http_answer;

constexpr int kInterrupted = 130;
constexpr std::chrono::milliseconds kBeat{10};

// What an answer becomes when the server ends in the middle of it.
const std::string kNothing =
    "HTTP/1.1 503 X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
    "20\r\n\r\n{\"error\":\"stopping\"}";

std::string events(const std::string& text) {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + text;
}

std::string agent(const std::string& id, const std::string& phase, const std::string& message = "",
                  const std::string& observed = "T0") {
  return R"({"id":")" + id + R"(","name":"n","phase":")" + phase + R"(","message":")" + message +
         R"(","observedAt":")" + observed + R"("})";
}

class WatchTest : public ::testing::Test {
 protected:
  int creel(const FakeServer& server, const std::vector<std::string>& arguments, std::size_t width = 0) {
    environment_["CREEL_URL"] = "http://" + server.address();
    std::istringstream in;
    Io io{in, out_, err_, width, width};
    io.beat = kBeat;
    return run(arguments, environment_, io, [](const Config&) { return 7; });
  }
  // Lines without the time that begins them.
  std::vector<std::string> rows() const {
    std::vector<std::string> rows;
    std::istringstream lines{out_.str()};
    for (std::string line; std::getline(lines, line);) rows.push_back(line.substr(line.find("  ") + 2));
    return rows;
  }
  // Once: the second Ctrl-C would end this process.
  void interrupt() {
    if (!interrupted_.exchange(true)) kill(getpid(), SIGINT);
  }

  config::Environment environment_{{"CREEL_STATE_DIR", "/nonexistent"},
                                   {"CREEL_SHARE_DIR", test::source_dir()},
                                   {"CREEL_API_KEY", "sk_test"},
                                   {"NO_COLOR", "1"}};
  std::ostringstream out_, err_;
  std::atomic<bool> interrupted_ = false;
};

TEST_F(WatchTest, PrintsARowForEachChangeAndEndsWithCtrlC) {
  int looks = 0;
  FakeServer server{[&](const std::string& request) {
    // An event at once: so the next look comes sooner than by the clock.
    if (request.find("/events") != std::string::npos) return events("id: 1\ndata: {}\n\n");
    switch (++looks) {
      case 1:
        return http_answer(200, R"({"agents":[)" + agent("00000000000000aa", "Pending") + "]}");
      case 2:
        return http_answer(200, R"({"agents":[)" + agent("00000000000000aa", "Pending") + "," +
                                    agent("00000000000000bb", "Pulling", "1 of 2 layers") + "]}");
      case 3:
        return kNothing;
      case 4:
        return http_answer(200, R"({"agents":[)" + agent("00000000000000bb", "Ready") + "]}");
      default:
        interrupt();
        return http_answer(200, R"({"agents":[)" + agent("00000000000000bb", "Ready") + "]}");
    }
  }};
  EXPECT_EQ(creel(server, {"agents", "list", "--watch"}), kInterrupted);
  const auto all = rows();
  ASSERT_EQ(all.size(), 5u) << out_.str();
  EXPECT_TRUE(all[1].starts_with("00000000000000aa  n     Pending"));
  EXPECT_TRUE(all[2].starts_with("00000000000000bb  n     Pulling"));
  EXPECT_TRUE(all[3].starts_with("00000000000000bb  n     Ready"));
  EXPECT_TRUE(all[4].starts_with("00000000000000aa  deleted"));
  EXPECT_NE(err_.str().find("stopping"), std::string::npos) << err_.str();
  EXPECT_NE(err_.str().find("waiting for it"), std::string::npos) << err_.str();
  EXPECT_NE(err_.str().find("answers again"), std::string::npos) << err_.str();
}

TEST_F(WatchTest, PrintsAnObjectForEachChangeWithJson) {
  int looks = 0;
  FakeServer server{[&](const std::string& request) {
    if (request.find("/events") != std::string::npos) return events("id: 1\ndata: {}\n\n");
    if (++looks >= 4) return http_answer(404, R"({"error":"Agent not found","code":"AGENT_NOT_FOUND"})");
    // The second look shows the same as the first, seen at another time: no change.
    return http_answer(
        200, R"({"agent":)" +
                 agent("00000000000000aa", looks < 3 ? "Starting" : "Ready", "", "T" + std::to_string(looks)) + "}");
  }};
  EXPECT_EQ(creel(server, {"agents", "show", "00000000000000aa", "-w", "--json"}), 0) << err_.str();
  std::vector<nlohmann::json> objects;
  std::istringstream lines{out_.str()};
  for (std::string line; std::getline(lines, line);) objects.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(objects.size(), 3u) << out_.str();
  EXPECT_EQ(objects[0]["observedAt"], "T1");
  EXPECT_EQ(objects[1]["phase"], "Ready");
  EXPECT_EQ(objects[2], (nlohmann::json{{"deleted", "00000000000000aa"}}));
}

TEST_F(WatchTest, DrawsInPlaceOnATerminalAndSaysThereThatItWaits) {
  int looks = 0;
  FakeServer server{[&](const std::string& request) {
    if (request.find("/events") != std::string::npos) return events("id: 1\ndata: {}\n\n");
    if (++looks == 2) return kNothing;
    if (looks == 4) interrupt();
    return http_answer(200, R"({"agents":[)" + agent("00000000000000aa", looks == 1 ? "Pending" : "Ready") + "]}");
  }};
  EXPECT_EQ(creel(server, {"agents", "list", "--watch"}, 60), kInterrupted);
  const std::string drawn = out_.str();
  const auto waits = drawn.find("stopping");
  ASSERT_NE(waits, std::string::npos) << drawn;
  EXPECT_LT(drawn.find("Pending"), waits);
  EXPECT_NE(drawn.find("\x1b[2A\rID"), std::string::npos) << drawn;         // over two lines
  EXPECT_NE(drawn.find("\x1b[4A\rID", waits), std::string::npos) << drawn;  // over the note, too
  EXPECT_NE(drawn.find("Ready", waits), std::string::npos) << drawn;
  EXPECT_EQ(err_.str(), "");
}

TEST_F(WatchTest, FailsAtOnceWhenTheFirstLookDoes) {
  FakeServer server{[](const std::string&) { return http_answer(401, R"({"error":"Unauthorized"})"); }};
  EXPECT_EQ(creel(server, {"agents", "list", "-w"}), 1);
  EXPECT_NE(err_.str().find("creel key create"), std::string::npos) << err_.str();
}

TEST_F(WatchTest, FollowsEventsThroughABrokenConnectionByTheLastId) {
  int streams = 0;
  FakeServer server{[&](const std::string& request) {
    if (request.find("follow=true") == std::string::npos)
      return http_answer(
          200,
          R"({"events":[{"id":7,"timestamp":"T7","kind":"state","reason":"Pulling","message":"m","actor":"creel",
           "source":"192.0.2.7","durationMs":12}],"nextAfter":7,"more":false})");
    switch (++streams) {
      case 1:
        return events("id: 8\ndata: {\"id\":8,\"timestamp\":\"T8\",\"kind\":\"state\",\"reason\":\"Ready\"}\n\n");
      case 2:
        return kNothing;
      case 3:
        return events("id: 9\ndata: {\"id\":9,\"timestamp\":\"T9\",\"kind\":\"state\",\"reason\":\"Unready\"}\n\n");
      default:
        interrupt();
        return kNothing;
    }
  }};
  EXPECT_EQ(creel(server, {"agents", "events", "00000000000000aa", "-f", "--limit", "1"}), kInterrupted);
  std::vector<std::string> streams_asked;
  for (const auto& request : server.requests())
    if (request.find("follow=true") != std::string::npos) streams_asked.push_back(request);
  ASSERT_GE(streams_asked.size(), 4u);
  EXPECT_NE(streams_asked[0].find("last-event-id: 7\r\n"), std::string::npos) << streams_asked[0];
  EXPECT_NE(streams_asked[1].find("last-event-id: 8\r\n"), std::string::npos);
  EXPECT_NE(streams_asked[2].find("last-event-id: 8\r\n"), std::string::npos);
  EXPECT_NE(streams_asked[3].find("last-event-id: 9\r\n"), std::string::npos);
  EXPECT_EQ(server.requests()[0].find("GET /api/agents/00000000000000aa/events?newest=true&limit=1 HTTP"), 0)
      << server.requests()[0];
  for (const char* part : {"Pulling", "192.0.2.7", "12 ms", "Ready", "Unready"})
    EXPECT_NE(out_.str().find(part), std::string::npos) << part;
  EXPECT_NE(err_.str().find("waiting to go on"), std::string::npos) << err_.str();
  EXPECT_NE(err_.str().find("connection is back"), std::string::npos) << err_.str();
}

TEST_F(WatchTest, FollowsLogsUntilTheAgentIsStopped) {
  FakeServer server{[](const std::string& request) {
    if (request.find("/logs") == std::string::npos)
      return http_answer(200, R"({"agent":)" + agent("00000000000000aa", "Stopped") + "}");
    return events(
        ": hello\n\nid: log_1\ndata: {\"timestamp\":\"T1\",\"level\":\"info\",\"message\":\"one\"}\n\n"
        "data: {\"timestamp\":\"T2\",\"level\":\"warn\",\"message\":\"two\"}\n\n"
        "event: end\ndata: {}\n\n");
  }};
  EXPECT_EQ(creel(server, {"agents", "logs", "00000000000000aa", "-f"}), 0) << err_.str();
  EXPECT_EQ(out_.str(), "T1  info  one\nT2  warn  two\n");
  EXPECT_EQ(server.requests().at(0).find("GET /api/agents/00000000000000aa/logs?follow=true&limit=50 HTTP"), 0u);
}

TEST_F(WatchTest, ShowsEachLogLineOnceThoughAStreamBeginsAnewBeforeIt) {
  const auto line = [](const char* second, const char* text) {
    return std::string{R"(data: {"timestamp":"2026-03-19T00:00:)"} + second + R"(Z","level":"info","message":")" +
           text + "\"}\n\n";
  };
  int streams = 0;
  FakeServer server{[&](const std::string& request) {
    if (request.find("/logs") == std::string::npos)
      return http_answer(200, R"({"agent":)" + agent("00000000000000aa", streams < 3 ? "Starting" : "Stopped") + "}");
    switch (++streams) {
      case 1:  // ends without a word: the controller was killed
        return events(line("01", "one") + line("02", "two") + line("02", "too"));
      case 2:  // ends with one: the container did
        return events(line("01", "one") + line("02", "two") + line("02", "too") + line("02", "three") +
                      line("03", "four") + "event: end\ndata: {}\n\n");
      default:
        return events(line("03", "four") + line("04", "five") + "event: end\ndata: {}\n\n");
    }
  }};
  EXPECT_EQ(creel(server, {"agents", "logs", "00000000000000aa", "-f", "--limit", "3"}), 0) << err_.str();
  std::string texts;
  std::istringstream lines{out_.str()};
  for (std::string text; std::getline(lines, text);) texts += text.substr(text.rfind(' ')) + ";";
  EXPECT_EQ(texts, " one; two; too; three; four; five;");
  EXPECT_NE(server.requests().at(1).find("limit=100"), std::string::npos);
}

TEST_F(WatchTest, ShowsWhatAnAgentThatIsMadeWaitsFor) {
  int looks = 0;
  FakeServer server{[&](const std::string& request) {
    if (request.starts_with("POST"))
      return http_answer(201, R"({"agent":{"id":"00000000000000aa","name":"n","status":"provisioning"}})");
    const char* const agents[] = {
        R"({"agent":{"status":"provisioning","phase":"Pulling","message":"pulling x: 1 of 2 layers","generation":1,"observedGeneration":1}})",
        R"({"agent":{"status":"provisioning","phase":"Creating","generation":1,"observedGeneration":1}})",
        R"({"agent":{"status":"active","phase":"Ready","generation":1,"observedGeneration":1}})"};
    return http_answer(200, agents[std::min(looks++, 2)]);
  }};
  EXPECT_EQ(creel(server, {"provision", "--name", "n"}), 0) << err_.str();
  EXPECT_EQ(server.requests().at(0).find("POST /api/agents/provision?wait=0 HTTP"), 0u);
  EXPECT_EQ(err_.str(),
            "Pulling: pulling x: 1 of 2 layers\n"
            "Creating\n");
  EXPECT_NE(out_.str().find("id    00000000000000aa\n"), std::string::npos) << out_.str();
  EXPECT_NE(out_.str().find("status     running\n"), std::string::npos) << out_.str();
}

TEST_F(WatchTest, FailsWhenWhatWasMadeDoesNotRun) {
  FakeServer server{[&](const std::string& request) {
    if (request.starts_with("POST"))
      return http_answer(201, R"({"agent":{"id":"00000000000000aa","name":"n","status":"provisioning"}})");
    return http_answer(
        200,
        R"({"agent":{"status":"error","phase":"Failed","message":"no such image","generation":1,"observedGeneration":1}})");
  }};
  EXPECT_EQ(creel(server, {"provision", "--name", "n"}), 1);
  EXPECT_NE(err_.str().find("no such image; `creel agents plan 00000000000000aa`"), std::string::npos) << err_.str();
}

TEST_F(WatchTest, EndsTheWaitingWithCtrlCAndSaysThatTheWishGoesOn) {
  FakeServer server{[&](const std::string& request) {
    if (request.starts_with("POST")) return http_answer(200, R"({"agentId":"00000000000000aa"})");
    interrupt();
    return http_answer(200, R"({"agent":{"phase":"Ready","message":"pulling","update":{"step":"Pulling"}}})");
  }};
  EXPECT_EQ(creel(server, {"agents", "update", "00000000000000aa"}), kInterrupted);
  EXPECT_NE(err_.str().find("It goes on; see `creel agents show 00000000000000aa`"), std::string::npos) << err_.str();
}

TEST_F(WatchTest, ShowsTheStateOfAnAgentWhileTheApiIsWaitedFor) {
  std::atomic<int> looks = 0;
  FakeServer server{[&](const std::string&) {
    ++looks;
    looks.notify_all();
    return http_answer(200, R"({"agent":)" + agent("00000000000000aa", "Starting", "no answer yet") + "}");
  }};
  Config config;
  config.url = "http://" + server.address();
  ApiClient api{config};
  std::istringstream in;
  Io io{in, out_, err_};
  io.beat = kBeat;
  {
    const Follower follower{Client{config, api, io}, "00000000000000aa"};
    while (looks < 2) looks.wait(looks);  // what the first saw is shown before the second
  }
  EXPECT_EQ(err_.str(), "Starting: no answer yet\n");
}

TEST(Interrupts, AskToStopAndGiveTheSignalBack) {
  struct sigaction before {};
  sigaction(SIGINT, nullptr, &before);
  {
    Interrupts interrupts;
    EXPECT_FALSE(interrupts.token().stop_requested());
    kill(getpid(), SIGINT);
    std::atomic<bool> asked = false;
    const std::stop_callback callback{interrupts.token(), [&] {
                                        asked = true;
                                        asked.notify_all();
                                      }};
    asked.wait(false);
  }
  struct sigaction after {};
  sigaction(SIGINT, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

}  // namespace
}  // namespace creel::cli
