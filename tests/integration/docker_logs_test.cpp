// DockerLogs against a real engine.
#include "reconciler/runtime/docker/docker_logs.hpp"

#include <mutex>

#include "tests/integration/docker_fixture.hpp"

namespace creel::docker {
namespace {

using test::eventually;
using namespace std::chrono_literals;

class DockerLogsTest : public test::DockerTest {
 protected:
  std::vector<std::string> seen(const std::string& id) {
    const auto got = runtime->last_lines(id, 100, {}, {});
    EXPECT_TRUE(got) << got.error().message;
    std::vector<std::string> texts;
    if (got)
      for (const auto& line : *got) texts.push_back(line.text);
    return texts;
  }

  AgentId agent = new_agent_id();
};

TEST_F(DockerLogsTest, ReadsTheLastLinesWithTimeAndStream) {
  const std::string id = run(agent, {"count", "20", "err", "oops", "long", "40000", "sleep"});
  ASSERT_TRUE(eventually([&] { return seen(id).size() == 22; }));
  DockerLogs logs{*engine, controller};
  const auto tail = logs.tail(agent, 3, {});
  ASSERT_TRUE(tail) << tail.error().message;
  // The engine counts the pieces of a long line as lines; stdout and stderr may come in either order.
  ASSERT_GE(tail->size(), 1u);
  EXPECT_LE(tail->size(), 3u);
  const auto all_x = [](const std::string& text) { return text.find_first_not_of('x') == std::string::npos; };
  for (const auto& line : *tail) EXPECT_TRUE(line.is_stderr ? line.text == "oops" : all_x(line.text));
  const auto all = logs.tail(agent, 100, {});
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 22u);
  std::vector<std::string> out;
  for (const auto& line : *all) {
    if (line.is_stderr) {
      EXPECT_EQ(line.text, "oops");
    } else if (line.text.size() > 100) {
      EXPECT_EQ(line.text.size(), 40'000u);
      EXPECT_TRUE(all_x(line.text));
    } else {
      out.push_back(line.text);
    }
    EXPECT_LT(system_now() - line.at, 60s);
  }
  ASSERT_EQ(out.size(), 20u);
  for (int i = 1; i <= 20; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i - 1)], "line " + std::to_string(i));
  const auto none = logs.tail(new_agent_id(), 3, {});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, ErrorKind::not_found);
  DockerLogs stranger{*engine, "someone"};
  EXPECT_EQ(stranger.tail(agent, 3, {}).error().kind, ErrorKind::not_found);
}

TEST_F(DockerLogsTest, FollowsALogOverRestartsUntilTheContainerIsRemoved) {
  const std::string id = run(agent, {"count", "3", "sleep"});
  ASSERT_TRUE(eventually([&] { return seen(id).size() == 3; }));
  DockerLogs logs{*engine, controller};
  std::mutex mutex;
  std::vector<std::string> got;
  std::jthread reader{[&] {
    const auto ended = logs.follow(agent, 1,
                                   [&](const LogLine& line) {
                                     std::lock_guard lock{mutex};
                                     got.push_back(line.text);
                                     return true;
                                   },
                                   {});
    EXPECT_TRUE(ended) << ended.error().message;
  }};
  const auto size_is = [&](std::size_t size) {
    return eventually([&] {
      std::lock_guard lock{mutex};
      return got.size() >= size;
    });
  };
  ASSERT_TRUE(size_is(1));
  ASSERT_TRUE(runtime->apply(op::RestartWorkload{agent, id, 1}, {}));
  ASSERT_TRUE(size_is(4));
  ASSERT_TRUE(runtime->apply(op::StopWorkload{agent, id, 1}, {}));
  ASSERT_TRUE(runtime->apply(op::StartWorkload{agent, id}, {}));
  ASSERT_TRUE(size_is(7));
  ASSERT_TRUE(runtime->apply(op::RemoveWorkload{agent, id, 1}, {}));
  reader.join();
  EXPECT_EQ(got, (std::vector<std::string>{"line 3", "line 1", "line 2", "line 3", "line 1", "line 2", "line 3"}));
}

TEST_F(DockerLogsTest, AFollowerEndsWhenItHasEnoughAndWhenItIsTold) {
  run(agent, {"count", "5", "sleep"});
  DockerLogs logs{*engine, controller};
  int lines_seen = 0;
  EXPECT_TRUE(logs.follow(agent, 10, [&](const LogLine&) { return ++lines_seen < 2; }, {}));
  EXPECT_EQ(lines_seen, 2);
  std::stop_source stop;
  const auto ended = logs.follow(
      agent, 1,
      [&](const LogLine&) {
        stop.request_stop();
        return true;
      },
      stop.get_token());
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().kind, ErrorKind::cancelled);
}

}  // namespace
}  // namespace creel::docker
