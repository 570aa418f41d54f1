// Updates of the reference agent from a real registry: images that work, exit, and never get ready, with a controller
// that is killed in between.
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <filesystem>
#include <thread>

#include "tests/integration/docker_fixture.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/own_engine.hpp"
#include "tests/support/registry.hpp"

namespace creel::test {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

class UpdateTest : public testing::Test {
 protected:
  void SetUp() override {
    registry.start(client);
    repository = registry.host() + "/team/agent";
    build_box();
    publish("2", json::array({"LABEL version=2"}));
    publish("3", json::array({"LABEL version=3"}));
    const std::string spoil = R"("err","spoiling","write","/home/agent/state/spoiled",)"
                              R"("write","/home/agent/state/agents/main/sessions/topic%3Ageneral.jsonl",)";
    publish("broken", json::array({R"(ENTRYPOINT ["/box",)" + spoil + R"("err","it is broken","exit","3"])"}));
    publish("never", json::array({R"(ENTRYPOINT ["/box",)" + spoil + R"("sleep"])"}));
    creel = std::make_unique<CreelProcess>(CreelProcess::Env{{"CREEL_IMAGE_ALLOWLIST", repository}});
    creel->start();
    key = creel->user("owner@example.com", "enterprise");
    const Answer made = creel->call("POST", "/api/agents/provision?wait=60", key, {{"name", "demo"}});
    ASSERT_EQ(made.status, 201) << made.text << creel->log();
    id = made.json["agent"]["id"];
    creel->until("/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; });
    EXPECT_EQ(chat("one"), "ECHO(1): one") << creel->log();
  }
  void TearDown() override {
    creel.reset();
    EngineApi engine;
    for (const auto& name : references) engine.call("DELETE", "/images/" + name + "?force=true");
  }

  // The program that exits, sleeps and spoils what the agent has, put beside it.
  void build_box() {
    char folder[] = "/tmp/creel-box-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    const std::string base = folder;
    std::ofstream{base + "/box.cpp"} << kBoxSource;
    ASSERT_EQ(0, std::system(("c++ -O1 -static -s -o " + base + "/box " + base + "/box.cpp").c_str()));
    docker::TarWriter tar{0};
    tar.file("box", read_whole(base + "/box"), 0755, {});
    box = tar.finish();
    std::filesystem::remove_all(base);
  }
  Answer engine_call(const std::string& method, const std::string& path, std::string body) {
    http::Request request;
    request.method = method;
    request.url = "http://engine" + path;
    request.unix_socket = required_env("DOCKER_HOST").substr(7);
    request.headers = {{"Content-Type", "application/x-tar"}};
    request.body = std::move(body);
    const auto answer = client.send(std::move(request));
    return answer ? Answer{answer->status, {}, answer->body, {}} : Answer{0, {}, answer.error().message, {}};
  }
  // A variant of the reference agent's image, in the registry and nowhere else.
  void publish(const std::string& tag, const json& changes) {
    EngineApi engine;
    const std::string name = repository + ":" + tag;
    const Answer made = engine.call("POST", "/containers/create", {{"Image", "creel/reference-agent:1"}});
    ASSERT_EQ(made.status, 201) << made.text;
    const std::string container = made.json["Id"];
    EXPECT_EQ(engine_call("PUT", "/containers/" + container + "/archive?path=%2F", box).status, 200);
    digest[tag] = registry.publish(engine, container, tag, changes);
    engine.call("DELETE", "/containers/" + container + "?force=1");
    references.push_back(name);
    references.push_back(digest[tag]);
  }

  Answer update(const std::string& image, const std::string& query = "") {
    return creel->call("POST", "/api/instance/" + id + "/update" + query, key, {{"image", image}});
  }
  std::string chat(const std::string& message) {
    const Answer answer = creel->call("POST", "/api/chat", key, {{"message", message}});
    return answer.status == 200 ? answer.json["reply"].get<std::string>() : answer.text;
  }
  json agent() { return creel->call("GET", "/api/agents/" + id, key).json["agent"]; }
  bool spoiled() {
    return engine_call("HEAD", "/containers/creel-" + id + "/archive?path=/home/agent/state/spoiled", "").status == 200;
  }
  std::size_t live_containers() {
    EngineApi engine;
    const std::string filter = http::url_encode(json{{"label", {"dev.creel.agent=" + id}}}.dump());
    return engine.call("GET", "/containers/json?filters=" + filter).json.size();
  }

  http::Client client;
  LocalRegistry registry;
  std::string repository;
  std::string box;
  std::map<std::string, std::string> digest;
  std::vector<std::string> references;
  std::unique_ptr<CreelProcess> creel;
  std::string key;
  std::string id;
};

TEST_F(UpdateTest, TakesAnImageByTagAndByDigestAndKeepsWhatTheAgentKnows) {
  const std::string before = creel->engine().container(id)["Image"];
  const Answer by_tag = update(repository + ":2");
  ASSERT_EQ(by_tag.status, 200) << by_tag.text << creel->log();
  EXPECT_EQ(by_tag.json["success"], true);
  EXPECT_EQ(by_tag.json["status"], "running");
  const json second = creel->engine().container(id);
  EXPECT_NE(second["Image"], before);
  EXPECT_EQ(second["Config"]["Image"], digest["2"]) << "a tag is resolved and pinned";
  EXPECT_EQ(agent()["image"], repository + ":2");
  EXPECT_EQ(chat("two"), "ECHO(2): two") << "the token was delivered again, the history is there";

  const Answer by_digest = update(digest["3"]);
  ASSERT_EQ(by_digest.status, 200) << by_digest.text << creel->log();
  EXPECT_EQ(creel->engine().container(id)["Config"]["Image"], digest["3"]);
  EXPECT_EQ(chat("three"), "ECHO(3): three");

  // Other wishes leave the image as it is; a repair makes a container of the very same.
  EXPECT_EQ(creel->call("POST", "/api/instance/" + id + "/repair", key).json["message"], "Agent repaired successfully");
  EXPECT_EQ(creel->engine().container(id)["Config"]["Image"], digest["3"]);
  EXPECT_EQ(creel->call("PUT", "/api/agents/" + id + "/config", key, {{"note", "x"}}).status, 200);
  EXPECT_EQ(chat("four"), "ECHO(4): four");
  EXPECT_EQ(creel->engine().container(id)["Config"]["Image"], digest["3"]);

  // The copy goes with the agent.
  EXPECT_EQ(creel->engine().call("GET", "/volumes/creel-" + id + "-backup").status, 200);
  EXPECT_EQ(creel->call("DELETE", "/api/agents/" + id + "?purge=true", key).status, 200);
  creel->until("/healthz", key,
               [&](const Answer&) { return creel->engine().call("GET", "/volumes/creel-" + id).status == 404; });
  EXPECT_EQ(creel->engine().call("GET", "/volumes/creel-" + id + "-backup").status, 404);
  EXPECT_EQ(live_containers(), 0u);
}

TEST_F(UpdateTest, GoesBackWithImageAndDataWhenTheNewImageDoesNotWork) {
  const std::string before = creel->engine().container(id)["Image"];
  int said = 1;
  for (const char* tag : {"broken", "never"}) {
    const Answer answer = update(repository + ":" + tag);
    ASSERT_EQ(answer.status, 502) << answer.text << creel->log();
    EXPECT_EQ(answer.json["success"], false);
    EXPECT_EQ(answer.json["rolledBack"], true) << answer.text;
    EXPECT_EQ(answer.json["code"], "UPDATE_ROLLED_BACK");
    EXPECT_EQ(answer.json["observedStatus"], "running");
    EXPECT_EQ(creel->engine().container(id)["Image"], before);
    EXPECT_FALSE(spoiled());
    ++said;
    const std::string reply = chat("again");
    EXPECT_EQ(reply, "ECHO(" + std::to_string(said) + "): again") << creel->log();
  }
  EXPECT_NE(agent()["update"]["reason"].get<std::string>().find("not ready within"), std::string::npos);
  EXPECT_EQ(agent()["image"], "creel/reference-agent:1");
  // The copy goes once the agent has settled.
  const auto copy = [&] { return creel->engine().call("GET", "/volumes/creel-" + id + "-backup").status; };
  creel->until("/healthz", key, [&](const Answer&) { return copy() == 404; });
  EXPECT_EQ(copy(), 404);
  const std::string events = creel->call("GET", "/api/agents/" + id + "/events", key).text;
  for (const char* step : {"UpdatePulling", "UpdateBackingUp", "UpdateTrying", "UpdateRollingBack", "UpdateRolledBack",
                           "exits with code 3"})
    EXPECT_NE(events.find(step), std::string::npos) << step;
}

TEST_F(UpdateTest, LeavesTheAgentAloneWhenTheImageCannotBeHadOrMayNotBeTaken) {
  const json before = creel->engine().container(id);
  const Answer missing = update(repository + ":none");
  EXPECT_EQ(missing.status, 502) << missing.text;
  EXPECT_EQ(missing.json["code"], "UPDATE_FAILED");
  EXPECT_EQ(missing.json["rolledBack"], false);
  for (const std::string& image :
       {std::string{"elsewhere/agent:1"}, repository + "x:1", repository, std::string{"A B"}}) {
    const Answer refused = update(image);
    EXPECT_EQ(refused.status, 400) << image << refused.text;
    EXPECT_EQ(refused.json["field"], "image");
  }
  const json after = creel->engine().container(id);
  EXPECT_EQ(after["Id"], before["Id"]);
  EXPECT_EQ(after["State"]["StartedAt"], before["State"]["StartedAt"]);
}

TEST_F(UpdateTest, IsAskedForFromTheCommandLineAndShowsItsSteps) {
  const std::string admin = creel->user("admin@example.com", "enterprise", "active", true);
  std::ofstream{creel->state() / "admin.key"} << admin << "\n";
  std::filesystem::permissions(creel->state() / "admin.key", std::filesystem::perms::owner_read);
  const Finished taken = creel->run({"agents", "update", id, "--image", repository + ":2"});
  EXPECT_EQ(taken.code, 0) << taken.err;
  EXPECT_NE(taken.out.find("runs " + repository + ":2"), std::string::npos) << taken.out;
  EXPECT_NE(taken.err.find("updating to " + repository + ":2"), std::string::npos) << taken.err;
  const Finished refused = creel->run({"agents", "update", id, "--image", repository + ":broken"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.err.find("rolled back: the agent exits with code 3"), std::string::npos) << refused.err;
  EXPECT_EQ(agent()["image"], repository + ":2");
  // The template's image, which no registry has, but the engine.
  const Finished back = creel->run({"agents", "update", id});
  EXPECT_EQ(back.code, 0) << back.err;
  EXPECT_EQ(agent()["image"], "creel/reference-agent:1");
  EXPECT_EQ(chat("two"), "ECHO(2): two");
}

TEST_F(UpdateTest, ComesToAnEndWhereverTheControllerIsKilled) {
  int said = 1;
  std::string image = creel->engine().container(id)["Image"];
  const std::vector<std::pair<const char*, std::chrono::milliseconds>> rounds{
      {"broken", 150ms}, {"2", 300ms}, {"never", 700ms}, {"3", 1200ms}, {"broken", 2500ms}};
  for (const auto& [tag, delay] : rounds) {
    ASSERT_EQ(update(repository + ":" + tag, "?wait=0").status, 200) << creel->log();
    std::this_thread::sleep_for(delay);  // the point of the test: at whatever step that is
    creel->kill_hard();
    EXPECT_LE(live_containers(), 1u);
    creel->start();
    const Answer ended = creel->until(
        "/api/agents/" + id, key,
        [](const Answer& a) {
          return a.json["agent"]["update"]["outcome"].is_string() && a.json["agent"]["phase"] == "Ready";
        },
        120s);
    const std::string outcome = ended.json["agent"]["update"].value("outcome", "none");
    const bool works = std::string{tag} == "2" || std::string{tag} == "3";
    EXPECT_EQ(outcome, works ? "Committed" : "RolledBack") << tag << delay.count() << ended.text << creel->log();
    EXPECT_LE(live_containers(), 1u);
    const std::string now = creel->engine().container(id)["Image"];
    if (!works) {
      EXPECT_EQ(now, image) << tag;
    }
    image = now;
    EXPECT_FALSE(spoiled());
    ++said;
    EXPECT_EQ(chat("still"), "ECHO(" + std::to_string(said) + "): still") << tag << delay.count();
  }
}

// An engine whose disk has room for the agent's data once, and not twice.
class UpdateOnASmallDisk : public UpdateTest {
 protected:
  void SetUp() override {
    const std::string data = engine.data();
    std::filesystem::create_directories(data);
    ASSERT_EQ(mount("creel-small", data.c_str(), "tmpfs", 0, "size=96m"), 0) << "this test must run as root";
    engine.start(false);
    script("templates/reference/build-image.sh");
    UpdateTest::SetUp();
  }
  void TearDown() override {
    UpdateTest::TearDown();
    setenv("DOCKER_HOST", before.c_str(), 1);
  }
  std::string memories() const { return engine.data() + "/volumes/creel-" + id + "/_data/memories"; }
  void remember(std::size_t mebibytes) {
    std::ofstream file{memories()};
    const std::string piece(1u << 20, 'm');
    for (std::size_t i = 0; i < mebibytes; ++i) file << piece;
    ASSERT_TRUE(file.flush());
  }

  const std::string before = required_env("DOCKER_HOST");
  OwnEngine engine{required_env("CREEL_TEST_WORK") + "/small-engine"};
};

TEST_F(UpdateOnASmallDisk, GoesOnWithTheOldImageWhenTheDiskIsFullAndWithTheNewOneWhenItIsNot) {
  ASSERT_NO_FATAL_FAILURE(remember(50));
  const std::string image = creel->engine().container(id)["Image"];
  const Answer refused = update(repository + ":2");
  EXPECT_NE(refused.json["success"], true) << refused.text;
  EXPECT_NE(refused.text.find("no space left"), std::string::npos) << refused.text << creel->log();
  EXPECT_EQ(agent()["phase"], "Ready") << agent().dump();
  EXPECT_EQ(creel->engine().container(id)["Image"], image);
  EXPECT_EQ(chat("two"), "ECHO(2): two");
  EXPECT_EQ(std::filesystem::file_size(memories()), 50u << 20);
  EXPECT_EQ(creel->engine().call("GET", "/volumes/creel-" + id + "-backup").status, 404) << "half a copy is none";

  std::filesystem::remove(memories());
  const Answer taken = update(repository + ":2");
  EXPECT_EQ(taken.json["success"], true) << taken.text << creel->log();
  EXPECT_EQ(chat("three"), "ECHO(3): three");
}

}  // namespace
}  // namespace creel::test
