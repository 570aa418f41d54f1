// The engine client against a scripted engine: versions, refusals, silence, and an engine that comes and goes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "reconciler/runtime/docker/docker_runtime.hpp"
#include "reconciler/runtime/docker/engine.hpp"
#include "tests/unit/http_scripted_server.hpp"

namespace creel::docker {
namespace {

using namespace std::chrono_literals;
using test::Peer;
using test::Server;

constexpr const char* kVersion = R"({"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"})";

class EngineTest : public testing::Test {
 protected:
  EngineTest() {
    char name[] = "/tmp/creel-engine-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    dir = name;
    options.docker_host = "unix://" + dir + "/docker.sock";
    options.read_deadline = 100ms;
    options.write_deadline = 5'000ms;
  }
  ~EngineTest() override { std::filesystem::remove_all(dir); }

  // An engine that answers as `answers` says by request line; what it does not know is 404.
  std::unique_ptr<Server> start(std::function<bool(const std::string& line, Peer&)> answer) {
    std::filesystem::remove(dir + "/docker.sock");
    return std::make_unique<Server>(
        [this, answer](Peer& peer) {
          for (std::string request; !(request = peer.read_request()).empty();) {
            const std::string line = request.substr(0, request.find(" HTTP/"));
            {
              std::lock_guard lock{mutex};
              asked.push_back(line);
            }
            if (!answer(line, peer)) peer.answer("{\"message\":\"page not found\"}", "404 Not Found");
          }
        },
        dir + "/docker.sock");
  }
  static bool healthy(const std::string& line, Peer& peer) {
    if (line == "GET /version") return peer.answer(kVersion), true;
    if (line == "GET /_ping") return peer.answer("OK"), true;
    return false;
  }
  std::unique_ptr<Engine> engine() { return std::move(*Engine::make(client, options)); }
  int count(const std::string& line) {
    std::lock_guard lock{mutex};
    return static_cast<int>(std::count(asked.begin(), asked.end(), line));
  }

  http::Client client;
  EngineOptions options;
  std::string dir;
  std::mutex mutex;
  std::vector<std::string> asked;
};

TEST_F(EngineTest, RefusesAnAddressThatIsNone) {
  for (const char* host :
       {"", "unix://", "unix://relative", "http://x", "tcp://", "tcp://host", "tcp://host:1/x", "ssh://a:1"}) {
    EngineOptions odd;
    odd.docker_host = host;
    EXPECT_FALSE(Engine::make(client, odd)) << host;
  }
  EngineOptions tcp;
  tcp.docker_host = "tcp://10.0.0.1:2376";
  ASSERT_TRUE(Engine::make(client, tcp));
  EXPECT_FALSE((*Engine::make(client, tcp))->is_unix_socket());
}

TEST_F(EngineTest, AsksForTheVersionOnceAndUsesIt) {
  const auto server = start(healthy);
  const auto e = engine();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(e->volume_inspect("x").error().kind, ErrorKind::not_found);
  EXPECT_EQ(count("GET /version"), 1);
  EXPECT_EQ(count("GET /v1.41/volumes/x"), 3);
}

TEST_F(EngineTest, TellsOfEachCallByMethodAndOutcomeAndOfThoseThatTheBreakerRefused) {
  std::map<std::string, int> told;
  options.called = [&](const char* verb, const std::string& code, std::chrono::microseconds took) {
    EXPECT_GE(took.count(), 0);
    const std::lock_guard lock{mutex};
    ++told[std::string{verb} + " " + code];
  };
  auto server = start([](const std::string& line, Peer& peer) {
    if (line.starts_with("GET /v1.41/containers/c/logs")) return peer.answer("", "200 OK"), true;
    return healthy(line, peer);
  });
  const auto e = engine();
  EXPECT_EQ(e->volume_inspect("x").error().kind, ErrorKind::not_found);
  EXPECT_EQ(e->container_start("c").error().kind, ErrorKind::not_found);
  EXPECT_TRUE(e->container_logs("c", {}, [](std::string_view) { return true; }));
  EXPECT_FALSE(e->container_logs("d", {}, [](std::string_view) { return true; }));
  EXPECT_EQ(told, (std::map<std::string, int>{{"version 200", 1},
                                              {"volume_inspect 404", 1},
                                              {"container_start 404", 1},
                                              {"container_logs 200", 1},
                                              {"container_logs 404", 1}}));
  server.reset();
  std::filesystem::remove(dir + "/docker.sock");
  told.clear();
  for (int i = 0; i < 7; ++i) EXPECT_FALSE(e->volume_inspect("x"));
  EXPECT_EQ(told["volume_inspect unavailable"], 1);
  EXPECT_EQ(told["version unavailable"], 4) << "it is asked for anew once the connection was lost";
  EXPECT_EQ(told["version refused"], 2);
}

TEST_F(EngineTest, ChangesNothingWithoutTheTermOrOnceItIsOver) {
  const auto server = start([](const std::string& line, Peer& peer) {
    if (line.starts_with("DELETE ")) return peer.answer("", "204 No Content"), true;
    return healthy(line, peer);
  });
  std::optional<std::uint64_t> term;
  options.term = [&] { return term; };
  const auto e = engine();
  EXPECT_EQ(e->volume_inspect("x").error().kind, ErrorKind::not_found) << "to look is always allowed";
  EXPECT_EQ(e->volume_remove("x").error().kind, ErrorKind::cancelled);
  term = 7;
  EXPECT_TRUE(e->volume_remove("x"));
  // It passes to another controller between the question and the first byte.
  options.term = [&] { return std::exchange(term, std::optional<std::uint64_t>{8}); };
  EXPECT_EQ(engine()->volume_remove("x").error().kind, ErrorKind::cancelled);
  EXPECT_EQ(count("DELETE /v1.41/volumes/x"), 1);
  EXPECT_TRUE(e->reachable()) << "that is no fault of the engine";
}

TEST_F(EngineTest, SaysThatAnEngineIsTooOld) {
  const auto server = start([](const std::string& line, Peer& peer) {
    if (line != "GET /version") return false;
    peer.answer(R"({"Version":"19.03","ApiVersion":"1.40","MinAPIVersion":"1.12"})");
    return true;
  });
  const auto answer = engine()->volume_inspect("x");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::failed);
  EXPECT_NE(answer.error().message.find("19.03 speaks API 1.40"), std::string::npos) << answer.error().message;
}

TEST_F(EngineTest, NegotiatesAgainWithTheEngineThatComesBack) {
  const auto e = engine();
  {
    const auto server = start(healthy);
    EXPECT_EQ(e->volume_inspect("x").error().kind, ErrorKind::not_found);
  }
  EXPECT_EQ(e->volume_inspect("x").error().kind, ErrorKind::unavailable);
  const auto server = start([](const std::string& line, Peer& peer) {
    if (line != "GET /version") return false;
    peer.answer(R"({"Version":"29.0","ApiVersion":"1.52","MinAPIVersion":"1.44"})");
    return true;
  });
  EXPECT_EQ(e->volume_inspect("x").error().kind, ErrorKind::not_found);
  EXPECT_EQ(count("GET /v1.48/volumes/x"), 1);
}

TEST_F(EngineTest, AlreadySoIsSuccess) {
  const auto server = start([](const std::string& line, Peer& peer) {
    if (healthy(line, peer)) return true;
    if (line.starts_with("POST /v1.41/containers/c/")) return peer.write("HTTP/1.1 304 Not Modified\r\n\r\n");
    return false;
  });
  const auto e = engine();
  EXPECT_TRUE(e->container_start("c"));
  EXPECT_TRUE(e->container_stop("c", 1s));
  EXPECT_EQ(e->container_start("d").error().kind, ErrorKind::not_found);
}

TEST_F(EngineTest, OneSilentContainerDoesNotStopTheRest) {
  const auto server = start([](const std::string& line, Peer& peer) {
    if (healthy(line, peer)) return true;
    if (line.find("/containers/stuck/") == std::string::npos) return false;
    peer.wait_closed();
    return true;
  });
  const auto e = engine();
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(e->container_inspect("stuck").error().kind, ErrorKind::timeout) << "unknown, not absent";
    EXPECT_EQ(e->container_inspect("other").error().kind, ErrorKind::not_found);
  }
  EXPECT_TRUE(e->reachable());
}

TEST_F(EngineTest, FailsAtOnceAfterFiveTimeoutsAndComesBackByItself) {
  std::atomic<bool> silent{true};
  const auto server = start([&](const std::string& line, Peer& peer) {
    if (line == "GET /version" || !silent) return healthy(line, peer);
    peer.wait_closed();
    return true;
  });
  const auto e = engine();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(e->volume_inspect("x").error().kind, ErrorKind::timeout);
  EXPECT_FALSE(e->reachable());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(e->volume_inspect("x").error().kind, ErrorKind::unavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 90ms) << "a hundred calls in less than one deadline";
  EXPECT_EQ(count("GET /v1.41/volumes/x"), 5);
  silent = false;
  Result<VolumeInfo> answer = Error{};
  for (int i = 0; i < 300; ++i) {
    answer = e->volume_inspect("x");
    if (answer.error().kind == ErrorKind::not_found) break;
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(answer.error().kind, ErrorKind::not_found);
  EXPECT_TRUE(e->reachable());
  EXPECT_EQ(count("GET /_ping"), 1) << "it was one probe that found out";
}

TEST_F(EngineTest, ARegistryThatIsSilentIsNotTheEnginesFault) {
  options.pull_inactivity = 50ms;
  const auto server = start([](const std::string& line, Peer& peer) {
    if (healthy(line, peer)) return true;
    if (!line.starts_with("POST /v1.41/images/create")) return false;
    peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    peer.wait_closed();
    return true;
  });
  const auto e = engine();
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(e->image_pull("a:1", [](const std::string&) {}).error().kind, ErrorKind::timeout);
  }
  EXPECT_TRUE(e->reachable());
}

TEST_F(EngineTest, TellsAPullsErrorFromTheStream) {
  const auto server = start([](const std::string& line, Peer& peer) {
    if (healthy(line, peer)) return true;
    if (line != "POST /v1.41/images/create?fromImage=reg%3A5000%2Fa&tag=latest") return false;
    peer.answer(
        "{\"status\":\"Pulling from a\",\"id\":\"latest\"}\r\n"
        "{\"errorDetail\":{\"message\":\"unauthorized\"},\"error\":\"unauthorized\"}\r\n");
    return true;
  });
  const auto answer = engine()->image_pull("reg:5000/a", [](const std::string&) {});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().message, "the image reg:5000/a cannot be pulled: unauthorized");
}

TEST_F(EngineTest, TurnsGarbageIntoErrors) {
  const auto server = start([](const std::string& line, Peer& peer) {
    if (line != "GET /version") peer.answer("<html>a proxy's idea of an answer</html>");
    return line == "GET /version" ? healthy(line, peer) : true;
  });
  const auto e = engine();
  EXPECT_EQ(e->container_inspect("x").error().kind, ErrorKind::failed);
  EXPECT_EQ(e->container_list("").error().kind, ErrorKind::failed);
  EXPECT_EQ(e->container_create("x", {}).error().kind, ErrorKind::failed);
  EXPECT_EQ(e->archive_stat("x", "/").error().kind, ErrorKind::failed);
  EXPECT_EQ(e->container_logs("x", {}, [](std::string_view) { return true; }).has_error(), false)
      << "bytes are the decoder's";
}

TEST_F(EngineTest, AStreamOfEventsThatBreaksIsAnError) {
  const auto server = start([](const std::string& line, Peer& peer) {
    if (healthy(line, peer)) return true;
    if (line != "GET /v1.41/events") return false;
    peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{}\n\n\r\n0\r\n\r\n");
    return true;
  });
  bool open = false;
  int lines = 0;
  const auto ended = engine()->events(
      "", [&] { open = true; }, [&](std::string_view) -> Result<bool> { return ++lines > 0; });
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().kind, ErrorKind::unavailable);
  EXPECT_TRUE(open);
  EXPECT_EQ(lines, 1);
}

// What could not be asked is unknown, what could is told.
TEST_F(EngineTest, ATimeoutIsUnknownAndNeverAbsent) {
  const auto server = start([](const std::string& line, Peer& peer) {
    if (healthy(line, peer)) return true;
    if (line.find("/containers/") == std::string::npos) return false;  // no volume, no image
    peer.wait_closed();
    return true;
  });
  const auto e = engine();
  DockerRuntime runtime{*e, {"home"}};
  const auto observed = runtime.observe(*AgentId::parse("0123456789abcdef"), "a:1", {});
  ASSERT_TRUE(observed) << observed.error().message;
  EXPECT_EQ(observed->workload_presence, Presence::unknown);
  EXPECT_EQ(observed->storage_presence, Presence::absent);
  EXPECT_EQ(observed->image, ImageState::absent);
  EXPECT_NE(observed->error, "");
}

}  // namespace
}  // namespace creel::docker
