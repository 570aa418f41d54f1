// The engine client against a real engine and a real registry.
#include "reconciler/runtime/docker/engine.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <tuple>

#include "tests/integration/docker_fixture.hpp"
#include "tests/support/registry.hpp"

namespace creel::docker {
namespace {

using test::eventually;
using namespace std::chrono_literals;

class EngineTest : public test::DockerTest {
 protected:
  std::string create(std::vector<std::string> command) {
    const nlohmann::json body{{"Image", with_state},
                              {"Cmd", command},
                              {"Labels", {{kLabelController, controller}}},
                              {"HostConfig", {{"NetworkMode", "none"}}}};
    const auto id = engine->container_create("creel-test-" + random_hex(4), body);
    EXPECT_TRUE(id) << id.error().message;
    return id ? *id : "";
  }
};

TEST_F(EngineTest, DescribesItself) {
  EXPECT_TRUE(engine->ping());
  const auto version = engine->version();
  ASSERT_TRUE(version) << version.error().message;
  EXPECT_EQ(version->os, "linux");
  const auto info = engine->info();
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_GT(info->cpus, 0);
  EXPECT_GT(info->memory_bytes, 0);
  EXPECT_NE(info->id, "");
}

TEST_F(EngineTest, LeadsAContainerThroughItsLife) {
  const std::string id = create({"stubborn"});
  EXPECT_EQ(engine->container_inspect(id)->state, ContainerState::created);
  ASSERT_TRUE(engine->container_start(id));
  ASSERT_TRUE(engine->container_start(id)) << "304";
  EXPECT_EQ(engine->container_inspect(id)->state, ContainerState::running);
  const auto waiting = std::async(std::launch::async, [&] { return engine->container_wait(id, "next-exit", 20s); });
  ASSERT_TRUE(engine->container_restart(id, 0s));
  EXPECT_EQ(engine->container_inspect(id)->state, ContainerState::running);
  ASSERT_TRUE(engine->container_kill(id, "SIGKILL"));
  ASSERT_TRUE(eventually([&] { return engine->container_inspect(id)->state == ContainerState::exited; }));
  EXPECT_EQ(engine->container_wait(id, "not-running", 5s).value(), 137);
  EXPECT_EQ(engine->container_kill(id, "SIGKILL").error().kind, ErrorKind::conflict) << "it does not run";
  ASSERT_TRUE(engine->container_stop(id, 1s)) << "304";
  ASSERT_TRUE(engine->container_remove(id, false));
  EXPECT_EQ(engine->container_inspect(id).error().kind, ErrorKind::not_found);
  EXPECT_EQ(engine->container_remove(id, true).error().kind, ErrorKind::not_found);
}

TEST_F(EngineTest, AWaitThatIsTooLongIsATimeoutAndOneThatIsCancelledIsNot) {
  const std::string id = create({"sleep"});
  ASSERT_TRUE(engine->container_start(id));
  EXPECT_EQ(engine->container_wait(id, "not-running", 100ms).error().kind, ErrorKind::timeout);
  std::stop_source stop;
  auto waiting =
      std::async(std::launch::async, [&] { return engine->container_wait(id, "not-running", 60s, stop.get_token()); });
  stop.request_stop();
  EXPECT_EQ(waiting.get().error().kind, ErrorKind::cancelled);
}

TEST_F(EngineTest, RemovesAnonymousVolumesWithTheContainerAndKeepsNamedOnes) {
  const std::string named = "creel-test-" + random_hex(4);
  ASSERT_TRUE(engine->volume_create(named, {{kLabelController, controller}}));
  const nlohmann::json body{
      {"Image", with_state},
      {"Labels", {{kLabelController, controller}}},
      {"Volumes", {{"/anonymous", nlohmann::json::object()}}},
      {"HostConfig", {{"Mounts", {{{"Type", "volume"}, {"Source", named}, {"Target", "/state"}}}}}}};
  const auto before = engine->volume_list("")->size();
  const auto id = engine->container_create("creel-test-" + random_hex(4), body);
  ASSERT_TRUE(id) << id.error().message;
  EXPECT_EQ(engine->volume_list("")->size(), before + 1);
  ASSERT_TRUE(engine->container_remove(*id, true));
  EXPECT_EQ(engine->volume_list("")->size(), before);
  EXPECT_TRUE(engine->volume_inspect(named));
}

TEST_F(EngineTest, AVolumeThatExistsIsAnsweredAsItIs) {
  const std::string name = "creel-test-" + random_hex(4);
  const Labels first{{kLabelController, controller}, {"a", "1"}};
  ASSERT_TRUE(engine->volume_create(name, first));
  const auto again = engine->volume_create(name, {{kLabelController, controller}, {"a", "2"}});
  ASSERT_TRUE(again);
  EXPECT_EQ(again->labels, first);
  EXPECT_EQ(again->driver, "local");
  ASSERT_TRUE(engine->volume_remove(name));
  EXPECT_EQ(engine->volume_remove(name).error().kind, ErrorKind::not_found);
}

TEST_F(EngineTest, PutsAndGetsArchivesAndStats) {
  const std::string id = create({"sleep"});
  TarWriter tar{1'700'000'000};
  tar.file("hello", std::string(200'000, 'h'), 0640, {12, 34});
  ASSERT_TRUE(engine->archive_put(id, "/tmp", tar.finish()));
  const auto stat = engine->archive_stat(id, "/tmp/hello");
  ASSERT_TRUE(stat) << stat.error().message;
  EXPECT_EQ(stat->size, 200'000);
  EXPECT_EQ(stat->mode, 0640u);
  EXPECT_FALSE(stat->is_directory);
  std::size_t bytes = 0;
  ASSERT_TRUE(engine->archive_get(id, "/tmp/hello", [&](std::string_view piece) {
    bytes += piece.size();
    return true;
  }));
  EXPECT_GT(bytes, 200'000u);
  EXPECT_EQ(engine->archive_stat(id, "/none").error().kind, ErrorKind::not_found);
  EXPECT_EQ(engine->archive_get(id, "/none", [](std::string_view) { return true; }).error().kind, ErrorKind::not_found);
  const auto bad = engine->archive_put(id, "/tmp", "this is no tar");
  ASSERT_FALSE(bad);
}

TEST_F(EngineTest, TellsUsageOfARunningContainerOnly) {
  const std::string id = create({"memory", "20", "burn"});
  EXPECT_EQ(engine->container_stats(id).error().kind, ErrorKind::not_found);
  ASSERT_TRUE(engine->container_start(id));
  ASSERT_TRUE(eventually([&] {
    const auto usage = engine->container_stats(id);
    return usage && usage->memory_bytes > (20 << 20) && usage->cpu_seconds > 0.05;
  }));
}

TEST_F(EngineTest, ReportsEventsFromTheMomentItSaysSo) {
  const nlohmann::json filters{{"label", {std::string{kLabelController} + "=" + controller}}};
  std::string id;
  std::vector<std::string> actions;
  const auto ended = engine->events(
      filters.dump(),
      [&] {
        id = create({"exit", "0"});
      },
      [&](std::string_view line) -> Result<bool> {
        actions.push_back(nlohmann::json::parse(line)["Action"]);
        return false;
      });
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(actions, std::vector<std::string>{"create"});
}

// --- a real registry ---

class RegistryTest : public EngineTest {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    registry.start(client);
    host = registry.host();
    // An image that nobody else has a layer of, pushed there and forgotten here.
    image = host + "/team/box:1";
    TarWriter tar{0};
    tar.file("unique", random_hex(100'000), 0644, {});
    post("/images/create?fromSrc=-&tag=1&repo=" + http::url_encode(host + "/team/box"), 200, tar.finish());
    post("/images/" + host + "/team/box/push?tag=1", 200);
    ASSERT_TRUE(engine->image_remove(image));
    ASSERT_EQ(engine->image_inspect(image).error().kind, ErrorKind::not_found);
  }
  void TearDown() override {
    if (!image.empty()) (void)engine->image_remove(image);
    EngineTest::TearDown();
  }
  void post(const std::string& path, int status, std::string body = "") {
    http::Request request;
    request.method = "POST";
    request.url = "http://docker" + path;
    request.unix_socket = engine->address().substr(7);
    request.headers = {{"X-Registry-Auth", "e30="}, {"Content-Type", "application/x-tar"}};
    request.body = std::move(body);
    const auto answer = client.send(std::move(request));
    ASSERT_TRUE(answer) << answer.error().message;
    ASSERT_EQ(answer->status, status) << answer->body;
    ASSERT_EQ(answer->body.find("errorDetail"), std::string::npos) << answer->body;
  }

  test::LocalRegistry registry;
  std::string host;
  std::string image;
};

TEST_F(RegistryTest, PullsByTagAndByDigest) {
  std::vector<std::string> progress;
  const auto pulled = engine->image_pull(image, [&](const std::string& line) { progress.push_back(line); });
  ASSERT_TRUE(pulled) << pulled.error().message;
  ASSERT_FALSE(progress.empty());
  EXPECT_NE(progress.back().find("1 of 1 layers"), std::string::npos) << progress.back();
  const auto info = engine->image_inspect(image);
  ASSERT_TRUE(info);
  std::string by_digest;
  for (const auto& digest : info->repo_digests) {
    if (digest.starts_with(host)) by_digest = digest;
  }
  ASSERT_NE(by_digest, "");
  ASSERT_TRUE(engine->image_remove(image));
  ASSERT_TRUE(engine->image_pull(by_digest, [](const std::string&) {}));
  EXPECT_EQ(engine->image_inspect(by_digest)->id, info->id);
  EXPECT_TRUE(engine->image_remove(by_digest));
}

TEST_F(RegistryTest, TheRuntimePullsInTheBackgroundAndSeesTheImageArrive) {
  const AgentId agent = new_agent_id();
  ASSERT_EQ(runtime->observe(agent, image, {})->image, ImageState::absent);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(runtime->apply(op::PullImage{image}, {}));
  EXPECT_TRUE(runtime->wait_for_pull(image, {}));
  const auto observed = runtime->observe(agent, image, {});
  ASSERT_TRUE(observed);
  EXPECT_EQ(observed->image, ImageState::present) << observed->image_message;
}

TEST_F(RegistryTest, SaysWhatIsWrongWithAnImageAndForgetsItOnceItIsThere) {
  const AgentId agent = new_agent_id();
  const std::string missing = host + "/team/box:none";
  ASSERT_TRUE(runtime->apply(op::PullImage{missing}, {}));
  EXPECT_TRUE(runtime->wait_for_pull(missing, {}));
  const auto observed = runtime->observe(agent, missing, {});
  ASSERT_TRUE(observed);
  EXPECT_EQ(observed->image, ImageState::failed);
  EXPECT_NE(observed->image_message.find("not found"), std::string::npos) << observed->image_message;
  // Somebody builds it by hand: what is there is there.
  post("/images/" + with_state + "/tag?repo=" + http::url_encode(host + "/team/box") + "&tag=none", 201);
  EXPECT_EQ(runtime->observe(agent, missing, {})->image, ImageState::present);
  EXPECT_TRUE(engine->image_remove(missing));
}

}  // namespace
}  // namespace creel::docker
