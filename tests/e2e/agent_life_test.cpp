// The main job with the reference agent on a real engine and a real PostgreSQL, through `creel serve` alone.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "controller/core/ids.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

class AgentLife : public testing::Test {
 protected:
  std::string provision(const std::string& name = "demo", json extra = json::object()) {
    extra["name"] = name;
    const Answer made = creel.call("POST", "/api/agents/provision", key, extra);
    EXPECT_EQ(made.status, 201) << made.text << creel.log();
    return made.json["agent"]["id"];
  }
  Answer until_ready(const std::string& id) {
    return creel.until("/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; });
  }
  Answer chat(const std::string& message, const std::string& topic = "general") {
    return creel.call("POST", "/api/chat", key, {{"message", message}, {"topic", topic}});
  }

  CreelProcess creel;
  std::string key;
  void SetUp() override {
    creel.start();
    key = creel.user("owner@example.com", "enterprise");
  }
};

TEST_F(AgentLife, FromProvisionToDeleteWithAControllerKilledInBetween) {
  const std::string id = provision();
  ASSERT_EQ(until_ready(id).json["agent"]["status"], "active") << creel.log();
  EXPECT_EQ(creel.call("GET", "/api/agents", key).json["agents"][0]["status"], "running");

  const Answer first = chat("hello");
  ASSERT_EQ(first.status, 200) << first.text << creel.log();
  EXPECT_EQ(first.json["reply"], "ECHO(1): hello");

  // Stop and start: same container, history kept.
  const std::string container = creel.engine().container(id)["Id"];
  const Answer stopped = creel.call("POST", "/api/instance/" + id + "/stop", key);
  EXPECT_EQ(stopped.json["success"], true) << stopped.text;
  EXPECT_EQ(stopped.json["status"], "stopped") << stopped.text;
  EXPECT_EQ(creel.engine().container(id)["State"]["Running"], false);
  const Answer restarted = creel.call("POST", "/api/instance/" + id + "/start", key);
  EXPECT_EQ(restarted.json["success"], true) << restarted.text;
  EXPECT_EQ(restarted.json["status"], "running") << restarted.text;
  EXPECT_EQ(chat("again").json["reply"], "ECHO(2): again");
  EXPECT_EQ(creel.engine().container(id)["Id"], container);

  // The controller is killed and comes back: the agent is not touched.
  const json before = creel.engine().container(id)["State"];
  creel.kill_hard();
  EXPECT_EQ(creel.engine().container(id)["State"]["Running"], true);
  creel.start();
  EXPECT_EQ(chat("after").json["reply"], "ECHO(3): after");
  EXPECT_EQ(creel.engine().container(id)["State"]["StartedAt"], before["StartedAt"]);

  // Restart: a new run of the same container.
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/restart", key).json["status"], "running");
  EXPECT_NE(creel.engine().container(id)["State"]["StartedAt"], before["StartedAt"]);
  EXPECT_EQ(creel.engine().container(id)["Id"], container);

  // Delete with purge leaves nothing.
  const Answer deleted = creel.call("DELETE", "/api/agents/" + id + "?purge=true", key);
  EXPECT_EQ(deleted.status, 200) << deleted.text;
  EXPECT_EQ(deleted.json["deleted"], id);
  EXPECT_TRUE(creel.engine().container(id).is_discarded());
  creel.until("/api/agents/" + id, key,
              [&](const Answer&) { return creel.engine().call("GET", "/volumes/creel-" + id).status == 404; });
  EXPECT_EQ(creel.engine().call("GET", "/volumes/creel-" + id).status, 404);
  EXPECT_EQ(creel.call("GET", "/api/agents", key).json["count"], 0);
  EXPECT_EQ(creel.call("DELETE", "/api/agents/" + id, key).json["deleted"], id)
      << "a second delete gets the same answer";
}

TEST_F(AgentLife, IsLoggedInOneObjectALineThatSaysWhatItBelongsTo) {
  creel.stop();
  creel.set("CREEL_LOG_LEVEL", "debug");
  creel.start();
  const std::string id = provision();
  until_ready(id);
  EXPECT_EQ(creel.call("GET", "/api/agents/" + id, key, nullptr, {{"X-Request-Id", "look-for-this"}}).status, 200);
  creel.stop();
  bool request = false, pass = false;
  std::istringstream lines{creel.log()};
  for (std::string line; std::getline(lines, line);) {
    const json object = json::parse(line, nullptr, false);
    ASSERT_TRUE(object.is_object()) << line;
    EXPECT_TRUE(object.contains("time") && object.contains("level") && object.contains("message")) << line;
    request |= object.value("request", "") == "look-for-this" &&
               object["message"].get<std::string>().starts_with("GET /api/agents/" + id + " 200 ");
    pass |= object.value("agent", "") == id && !object.value("pass", "").empty() &&
            object["message"].get<std::string>().starts_with("create ");
  }
  EXPECT_TRUE(request) << creel.log();
  EXPECT_TRUE(pass) << creel.log();
}

TEST_F(AgentLife, ForgetsWhatWasSaidAndKeepsTheRest) {
  const std::string id = provision();
  until_ready(id);
  EXPECT_EQ(chat("hello").json["reply"], "ECHO(1): hello");
  EXPECT_EQ(chat("again").json["reply"], "ECHO(2): again");
  const std::string container = creel.engine().container(id)["Id"];
  const Answer reset = creel.call("POST", "/api/instance/" + id + "/reset-memory", key);
  ASSERT_EQ(reset.status, 200) << reset.text << creel.log();
  EXPECT_EQ(reset.json["success"], true);
  EXPECT_EQ(reset.json["message"], "Memory reset successfully") << reset.text;
  EXPECT_EQ(creel.engine().container(id)["Id"], container);
  EXPECT_EQ(chat("who am I").json["reply"], "ECHO(1): who am I") << "the token is still known, the history is not";

  // A stopped agent forgets, too, and stays stopped.
  ASSERT_EQ(creel.call("POST", "/api/instance/" + id + "/stop", key).json["status"], "stopped");
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/reset-memory", key).json["message"],
            "Memory reset successfully");
  EXPECT_EQ(creel.engine().container(id)["State"]["Running"], false);
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/start", key).json["status"], "running");
  EXPECT_EQ(chat("and now").json["reply"], "ECHO(1): and now");
}

TEST_F(AgentLife, KeepsTheVolumeOfADeletedAgentWithoutPurge) {
  const std::string id = provision();
  EXPECT_EQ(creel.call("DELETE", "/api/agents/" + id, key).status, 200);
  EXPECT_TRUE(creel.engine().container(id).is_discarded());
  EXPECT_EQ(creel.engine().call("GET", "/volumes/creel-" + id).status, 200);
}

TEST_F(AgentLife, MakesAgainWhatSomebodyRemovedOrStoppedOrAltered) {
  const std::string id = provision();
  until_ready(id);
  const std::string container = creel.engine().container(id)["Id"];
  creel.engine().call("DELETE", "/containers/" + container + "?force=1");
  creel.until("/api/agents/" + id, key, [&](const Answer& a) {
    const json now = creel.engine().container(id);
    return a.json["agent"]["phase"] == "Ready" && !now.is_discarded() && now["Id"] != container;
  });
  ASSERT_FALSE(creel.engine().container(id).is_discarded()) << creel.log();

  creel.engine().call("POST", "/containers/creel-" + id + "/stop?t=1");
  creel.until("/api/agents/" + id, key,
              [&](const Answer&) { return creel.engine().container(id)["State"]["Running"] == true; });
  EXPECT_EQ(creel.engine().container(id)["State"]["Running"], true);

  const std::string altered = creel.engine().container(id)["Id"];
  creel.engine().call("POST", "/containers/creel-" + id + "/update",
                      {{"PidsLimit", 5000}, {"Memory", 3221225472}, {"MemorySwap", 3221225472}});
  creel.until("/api/agents/" + id, key, [&](const Answer&) {
    const json now = creel.engine().container(id);
    return !now.is_discarded() && now["Id"] != altered;
  });
  EXPECT_NE(creel.engine().container(id)["Id"], altered) << "limits raised behind Creel's back are put right";
}

TEST_F(AgentLife, RunsTheContainerHardened) {
  const std::string id = provision();
  const json inspect = creel.engine().container(id);
  const json& host = inspect["HostConfig"];
  EXPECT_EQ(host["CapDrop"], json({"ALL"}));
  EXPECT_EQ(host["SecurityOpt"], json({"no-new-privileges"}));
  EXPECT_EQ(host["ReadonlyRootfs"], true);
  EXPECT_EQ(host["Privileged"], false);
  EXPECT_EQ(host["RestartPolicy"]["Name"], "unless-stopped");
  EXPECT_GT(host["PidsLimit"].get<int>(), 0);
  EXPECT_GT(host["Memory"].get<std::int64_t>(), 0);
  EXPECT_EQ(host["LogConfig"]["Type"], "local");
  EXPECT_NE(inspect["Config"]["User"], "");
  // The gateway's token is nowhere in what the engine shows.
  const std::string token = creel.call("GET", "/api/instance/" + id + "/token", key).json["token"];
  EXPECT_EQ(token.size(), 64u);
  EXPECT_EQ(inspect.dump().find(token), std::string::npos);
  EXPECT_EQ(creel.log().find(token), std::string::npos);
}

TEST_F(AgentLife, GivesEachAgentItsPlansLimitsAndReportsMeasuredNumbers) {
  const std::string id = provision("small", {{"tier", "starter"}});
  EXPECT_EQ(creel.engine().container(id)["HostConfig"]["Memory"], 2147483648);
  const Answer stats = creel.until("/api/agents/" + id + "/stats", key, [](const Answer& a) {
    return a.json["status"] == "ok" && a.json["stats"]["raw"]["memoryBytes"].is_number() &&
           a.json["stats"]["raw"]["memoryBytes"] > 0;
  });
  EXPECT_EQ(stats.json["stats"]["status"], "running") << stats.text;
  EXPECT_EQ(stats.json["stats"]["agentId"], id);
  EXPECT_NE(stats.json["stats"]["memory"].get<std::string>().find(" / 2GiB"), std::string::npos) << stats.text;
  EXPECT_EQ(creel.call("GET", "/api/instance/" + id + "/stats", key).json["userId"], id);
}

TEST_F(AgentLife, DeliversANewConfigurationAtomicallyAndWithoutARestart) {
  const std::string id = provision();
  until_ready(id);
  const std::string started = creel.engine().container(id)["State"]["StartedAt"];
  const Answer put = creel.call("PUT", "/api/agents/" + id + "/config", key, {{"model", "another"}});
  ASSERT_EQ(put.status, 200) << put.text;
  EXPECT_EQ(put.json["status"], "updated");
  EXPECT_EQ(creel.call("GET", "/api/agents/" + id + "/config", key).json["config"], (json{{"model", "another"}}));
  creel.until("/api/agents/" + id, key,
              [](const Answer& a) { return a.json["agent"]["observedGeneration"] == a.json["agent"]["generation"]; });
  EXPECT_EQ(creel.engine().container(id)["State"]["StartedAt"], started);
  EXPECT_EQ(creel.call("PUT", "/api/agents/" + id + "/config", key, {{"gateway", {{"token", "mine"}}}}).status, 400);
}

TEST_F(AgentLife, ShowsAnAgentThatKeepsExitingWithItsOwnLastLineAndRecoversByItself) {
  const std::string id = provision("broken", {{"config", {{"fail", "exit"}}}});
  const Answer broken =
      creel.until("/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "CrashLooping"; });
  ASSERT_EQ(broken.json["agent"]["phase"], "CrashLooping") << broken.text;
  EXPECT_EQ(broken.json["agent"]["status"], "error");
  EXPECT_NE(broken.json["agent"]["message"].get<std::string>().find("exited with code 3"), std::string::npos)
      << broken.text;
  EXPECT_EQ(creel.call("PUT", "/api/agents/" + id + "/config", key, json::object()).status, 200);
  EXPECT_EQ(until_ready(id).json["agent"]["status"], "active") << creel.log();
}

TEST_F(AgentLife, TakesWishesWhileTheEngineIsAwayAndSaysSo) {
  const std::string id = provision();
  until_ready(id);
  creel.stop();
  CreelProcess away{{{"DOCKER_HOST", "unix:///nonexistent/docker.sock"}}};
  away.start();
  const std::string other = away.user("away@example.com", "pro");
  const Answer made = away.call("POST", "/api/agents/provision?wait=0", other, {{"name", "later"}});
  EXPECT_EQ(made.status, 201);
  EXPECT_EQ(made.json["agent"]["status"], "provisioning");
  const std::string later = made.json["agent"]["id"];
  const Answer stop = away.call("POST", "/api/instance/" + later + "/stop?wait=1", other);
  EXPECT_EQ(stop.status, 502);
  EXPECT_EQ(stop.json["pending"], true);
  EXPECT_EQ(stop.json["success"], false);
}

TEST_F(AgentLife, LetsNobodySeeOrDriveWhatIsNotTheirs) {
  const std::string id = provision();
  const std::string other = creel.user("other@example.com");
  for (const char* path : {"", "/config", "/stats", "/logs", "/plan"})
    EXPECT_EQ(creel.call("GET", "/api/agents/" + id + path, other).status, 404) << path;
  for (const char* path : {"", "/stats", "/token"})
    EXPECT_EQ(creel.call("GET", "/api/instance/" + id + path, other).status, 403) << path;
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/stop", other).status, 403);
  EXPECT_EQ(creel.call("DELETE", "/api/agents/" + id, other).status, 404);
  EXPECT_EQ(creel.call("GET", "/api/agents", other).json["count"], 0);
  EXPECT_EQ(creel.call("GET", "/api/agents").json, (json{{"agents", json::array()}, {"count", 0}, {"status", "ok"}}));
  EXPECT_EQ(creel.call("GET", "/api/agents/" + id).status, 401);
}

TEST_F(AgentLife, NeverExceedsThePlansLimitHoweverManyAskAtOnce) {
  const std::string pro = creel.user("pro@example.com", "pro");
  std::vector<std::thread> threads;
  std::atomic<int> made{0}, refused{0};
  for (int i = 0; i < 10; ++i)
    threads.emplace_back([&, i] {
      const int status =
          creel.call("POST", "/api/agents/provision?wait=0", pro, {{"name", "a" + std::to_string(i)}}).status;
      if (status == 201) ++made;
      if (status == 429) ++refused;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(made, 3);
  EXPECT_EQ(refused, 7);
}

TEST_F(AgentLife, AnswersARepeatedIdempotencyKeyWithTheFirstAnswer) {
  const http::Headers header{{"Idempotency-Key", "once"}};
  const Answer first = creel.call("POST", "/api/agents/provision", key, {{"name", "one"}}, header);
  const Answer second = creel.call("POST", "/api/agents/provision", key, {{"name", "one"}}, header);
  EXPECT_EQ(first.status, 201);
  EXPECT_EQ(second.status, 201);
  EXPECT_EQ(first.json["agent"]["id"], second.json["agent"]["id"]);
  EXPECT_EQ(creel.call("POST", "/api/agents/provision", key, {{"name", "two"}}, header).json["code"],
            "IDEMPOTENCY_MISMATCH");
}

TEST_F(AgentLife, StopsCleanlyOnSigtermAndLeavesAgentsRunning) {
  const std::string id = provision();
  until_ready(id);
  EXPECT_EQ(creel.stop(), 0);
  EXPECT_EQ(creel.engine().container(id)["State"]["Running"], true);
}

TEST_F(AgentLife, IsDrivenFromTheCommandLineToo) {
  const CreelProcess::Env none;
  auto cli = [&](std::vector<std::string> arguments) { return creel.run(arguments); };
  // The client commands take address and key from the environment; an admin key lies in the state folder by convention.
  const std::string admin = creel.user("admin@example.com", "enterprise", "active", true);
  {
    std::ofstream file{creel.state() / "admin.key"};
    file << admin << "\n";
  }
  std::filesystem::permissions(creel.state() / "admin.key", std::filesystem::perms::owner_read);
  const Finished made = cli({"provision", "--name", "by-hand", "--json"});
  ASSERT_EQ(made.code, 0) << made.err;
  const std::string id = json::parse(made.out)["agent"]["id"];
  EXPECT_EQ(cli({"agents", "list"}).code, 0);
  const Finished reset = cli({"agents", "reset-memory", id, "--json"});
  EXPECT_EQ(json::parse(reset.out, nullptr, false).value("message", reset.err), "Memory reset successfully");
  EXPECT_NE(cli({"agents", "list"}).out.find("by-hand"), std::string::npos);
  EXPECT_EQ(cli({"agents", "stop", id}).code, 0);
  EXPECT_EQ(cli({"agents", "start", id}).code, 0);
  EXPECT_EQ(cli({"agents", "logs", id}).code, 0);
  EXPECT_NE(cli({"agents", "plan", id}).out.size(), 0u);
  EXPECT_NE(cli({"agents", "show", "by-hand"}).out.find(id), std::string::npos);
  EXPECT_NE(cli({"agents", "events", id}).out.find("StopRequested"), std::string::npos);
  const Finished waited = cli({"provision", "--name", "waited-for"});
  EXPECT_EQ(waited.code, 0) << waited.err;
  EXPECT_NE(waited.out.find("status     running"), std::string::npos) << waited.out;
  const Finished unknown = cli({"agents", "stop", "by-hnad", "--json"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_NE(json::parse(unknown.err, nullptr, false).value("hint", unknown.err).find("did you mean \"by-hand\"?"),
            std::string::npos);
  EXPECT_EQ(cli({"__complete", "agents", "show", "by"}).out.find("by-hand\t" + id), 0u);
  EXPECT_EQ(cli({"agents", "show", "0000000000000000"}).code, 1);
  EXPECT_EQ(cli({"agents", "delete", id}).code, 0);
  const Finished mistyped = cli({"agnets", "list"});
  EXPECT_NE(mistyped.code, 0);
  EXPECT_NE(mistyped.err.size(), 0u);
}

TEST(EmbeddedCluster, BehavesAsAnExternalDatabaseDoes) {
  CreelProcess creel{{{"DATABASE_URL", ""}}};
  creel.start();
  const std::string key = creel.user("owner@example.com");
  const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}});
  ASSERT_EQ(made.status, 201) << made.text << creel.log();
  const std::string id = made.json["agent"]["id"];
  creel.kill_hard();
  creel.start();
  EXPECT_EQ(creel.call("GET", "/api/agents", key).json["agents"][0]["id"], id);
  EXPECT_EQ(creel.stop(), 0);
}

TEST(BadDays, EachFailureToStartIsOneLineWithAReasonAndARemedy) {
  struct Case {
    const char* what;
    CreelProcess::Env env;
    const char* says;
  };
  const std::filesystem::path bad = std::filesystem::path{required_env("CREEL_TEST_WORK")} / "bad-templates";
  std::filesystem::create_directories(bad / "broken");
  {
    std::ofstream file{bad / "broken" / "template.yaml"};
    file << "name: broken\nport: many\n";
  }
  const std::vector<Case> cases{
      {"PostgreSQL refused", {{"DATABASE_URL", "host=127.0.0.1 port=1 dbname=none"}}, "PostgreSQL"},
      {"address that is none", {{"CREEL_LISTEN", "127.0.0.1:0x1"}}, "CREEL_LISTEN"},
      {"wrong master key", {{"CREEL_MASTER_KEY", "c2hvcnQ="}}, "CREEL_MASTER_KEY"},
      {"unreadable template", {{"CREEL_TEMPLATES", bad.string()}}, "template.yaml"},
      {"state folder that cannot be made", {{"CREEL_STATE_DIR", "/proc/creel"}}, "/proc/creel"},
  };
  for (const auto& one : cases) {
    CreelProcess creel{one.env};
    const Finished done = creel.run({"serve"});
    EXPECT_NE(done.code, 0) << one.what;
    EXPECT_NE((done.err + done.out).find(one.says), std::string::npos) << one.what << ": " << done.err << done.out;
  }
}

TEST(BadDays, APortInUseIsNamedAndTheRunningControllerIsNotDisturbed) {
  CreelProcess first;
  first.start();
  CreelProcess second{{{"CREEL_LISTEN", first.url().substr(std::string{"http://"}.size())}}};
  const Finished done = second.run({"serve"});
  EXPECT_NE(done.code, 0);
  EXPECT_NE((done.err + done.out).find(first.url().substr(7)), std::string::npos) << done.err << done.out;
  EXPECT_EQ(first.call("GET", "/healthz").status, 200);
}

TEST(BadDays, AFullDiskIsSaidAndNothingHalfMadeIsTrusted) {
  CreelProcess creel{{{"DATABASE_URL", ""}}};
  // Mounting needs root; whoever runs the tests has that, or sudo for the engine.
  const std::string sudo = geteuid() == 0 ? "" : "sudo -n ";
  const std::string state = creel.state().string();
  ASSERT_EQ(
      std::system(
          (sudo + "mount -t tmpfs -o size=8m,mode=755,uid=" + std::to_string(geteuid()) + " tmpfs " + state).c_str()),
      0);
  const Finished full = creel.run({"serve"});
  ASSERT_EQ(std::system((sudo + "umount -l " + state).c_str()), 0);
  EXPECT_NE(full.code, 0);
  EXPECT_NE((full.err + full.out).find("space"), std::string::npos) << full.err << full.out;
  // With room again the same folder works.
  creel.start();
  EXPECT_EQ(creel.call("GET", "/healthz").status, 200);
}

TEST(BadDays, AnImageThatCannotBeHadShowsAsErrorAndTheAgentRecoversWhenItAppears) {
  const std::string tag = "absent" + random_hex(3);
  const std::filesystem::path folder = std::filesystem::path{required_env("CREEL_TEST_WORK")} / tag;
  std::filesystem::create_directories(folder / "absent");
  {
    std::ifstream in{test::source_dir() + "/templates/reference/template.yaml"};
    std::stringstream text;
    text << in.rdbuf();
    std::string yaml = text.str();
    const auto at = yaml.find("creel/reference-agent:1");
    ASSERT_NE(at, std::string::npos);
    yaml.replace(at, std::string{"creel/reference-agent:1"}.size(), "127.0.0.1:1/creel/reference-agent:" + tag);
    std::ofstream{folder / "absent" / "template.yaml"} << yaml;
  }
  CreelProcess creel{{{"CREEL_TEMPLATES", folder.string()}}};
  creel.start();
  const std::string key = creel.user("owner@example.com");
  const Answer made = creel.call("POST", "/api/agents/provision?wait=0", key, {{"name", "x"}, {"template", "absent"}});
  ASSERT_EQ(made.status, 201) << made.text;
  const std::string id = made.json["agent"]["id"];
  const Answer failed =
      creel.until("/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["status"] == "error"; });
  EXPECT_EQ(failed.json["agent"]["status"], "error") << failed.text;
  EXPECT_NE(failed.json["agent"]["message"].get<std::string>().find("127.0.0.1:1"), std::string::npos) << failed.text;
  const std::string target = "127.0.0.1:1/creel/reference-agent";
  ASSERT_EQ(creel.engine()
                .call("POST", "/images/creel%2Freference-agent:1/tag?repo=" + http::url_encode(target) + "&tag=" + tag)
                .status,
            201);
  const Answer running =
      creel.until("/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; });
  EXPECT_EQ(running.json["agent"]["phase"], "Ready") << running.text;
  creel.call("DELETE", "/api/agents/" + id + "?purge=true", key);
  creel.engine().call("DELETE", "/images/" + http::url_encode(target + ":" + tag));
  std::filesystem::remove_all(folder);
}

TEST(BadDays, ASecondMasterKeyIsRefusedBeforeAnythingIsTouched) {
  CreelProcess creel;
  creel.start();
  creel.stop();
  std::filesystem::remove(creel.state() / "master.key");
  const Finished done = creel.run({"serve"});
  EXPECT_NE(done.code, 0);
  EXPECT_NE((done.err + done.out).find("master key"), std::string::npos) << done.err << done.out;
}

TEST(TwoControllers, ShareOneEngineWithoutTouchingEachOthersAgents) {
  CreelProcess one, two;
  one.start();
  two.start();
  const std::string key = one.user("one@example.com");
  const std::string id = one.call("POST", "/api/agents/provision", key, {{"name", "mine"}}).json["agent"]["id"];
  const std::string started = one.engine().container(id)["State"]["StartedAt"];
  two.stop();
  two.start();
  EXPECT_EQ(one.engine().container(id)["State"]["StartedAt"], started);
}

}  // namespace
}  // namespace creel::test
