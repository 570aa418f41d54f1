// The API over a real PostgreSQL: what is done with an agent, with a reconciler, an engine and a gateway of the test.
#include <gmock/gmock.h>

#include <cmath>

#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

using testing::HasSubstr;
using testing::Not;

using ApiInstance = ApiTest;

TEST_F(ApiInstance, IsFoundByAgentIdAndByTheCallersOwnId) {
  const std::string first = provision(ann_key_, "first");
  run("UPDATE agents SET created_at = created_at - interval '1 hour' WHERE id = $1", {first});
  const std::string second = provision(ann_key_, "second");
  EXPECT_EQ(ask("GET", "/api/instance/" + second, ann_key_).body["userId"], second);
  EXPECT_EQ(ask("GET", "/api/instance/" + ann_.id.str(), ann_key_).body["userId"], first);
}

TEST_F(ApiInstance, IsForbiddenAlikeWhenForeignAndWhenUnknown) {
  const std::string id = provision(ann_key_);
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  for (const std::string& who : {id, std::string{"0123456789abcdef"}, ann_.id.str(), std::string{"x"}}) {
    for (const auto& [method, rest] : std::vector<std::pair<const char*, const char*>>{{"GET", ""},
                                                                                       {"GET", "/stats"},
                                                                                       {"GET", "/token"},
                                                                                       {"POST", "/start"},
                                                                                       {"POST", "/stop"},
                                                                                       {"POST", "/restart"},
                                                                                       {"POST", "/repair"},
                                                                                       {"POST", "/reset-memory"},
                                                                                       {"POST", "/update"}}) {
      const Answer answer = ask(method, "/api/instance/" + who + rest, bob);
      EXPECT_EQ(answer.status, 403) << who << rest;
      EXPECT_EQ(answer.body["success"], false);
      EXPECT_EQ(answer.body["status"], "error");
      EXPECT_EQ(answer.body["code"], "FORBIDDEN");
    }
  }
}

TEST_F(ApiInstance, StopsAndAnswersWhatWasObserved) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const auto before = generation(id);
  auto waiting = ask_aside("POST", "/api/instance/" + id + "/stop", ann_key_);
  ASSERT_TRUE(wished_after(id, before));
  observed(id, Phase::stopping);
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds{50}), std::future_status::timeout);
  observed(id, Phase::stopped);
  const Answer answer = waiting.get();
  EXPECT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.body["success"], true);
  EXPECT_EQ(answer.body["status"], "stopped");
  EXPECT_FALSE(answer.body.contains("pending"));
}

TEST_F(ApiInstance, MakesNoWishOfWhatIsSoAlready) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const auto before = generation(id);
  const Answer answer = ask("POST", "/api/instance/" + id + "/start", ann_key_);
  EXPECT_EQ(answer.body["status"], "running");
  EXPECT_EQ(generation(id), before);
}

TEST_F(ApiInstance, IsNotTakenForRestartedBeforeItIsAnotherRun) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const auto before = generation(id);
  auto waiting = ask_aside("POST", "/api/instance/" + id + "/restart", ann_key_);
  ASSERT_TRUE(wished_after(id, before));
  observed(id, Phase::ready);  // the wish was seen, the old run still stands
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds{50}), std::future_status::timeout);
  started_at_ += std::chrono::seconds{5};
  observed(id, Phase::starting);
  const Answer answer = waiting.get();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body["status"], "running");
  EXPECT_EQ(run("SELECT restart_wish FROM agents")[0].integer("restart_wish"), 1);
}

TEST_F(ApiInstance, IsRepairedOnceItIsAnotherContainer) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready, "old");
  const auto before = generation(id);
  auto waiting = ask_aside("POST", "/api/instance/" + id + "/repair", ann_key_);
  ASSERT_TRUE(wished_after(id, before));
  observed(id, Phase::ready, "old");
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds{50}), std::future_status::timeout);
  observed(id, Phase::ready, "new");
  const Answer answer = waiting.get();
  EXPECT_EQ(answer.body["success"], true);
  EXPECT_EQ(answer.body["message"], "Agent repaired successfully");
}

TEST_F(ApiInstance, IsResetOnceThatWasSeenDoneEvenWhenANewerWishCameInBetween) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const auto before = generation(id);
  run("INSERT INTO chat_sessions (id, agent_id, key, platform, created_at, last_activity_at) VALUES ('sess_1', '" + id +
      "', 'topic:general', 'api', now(), now())");
  auto waiting = ask_aside("POST", "/api/instance/" + id + "/reset-memory", ann_key_);
  ASSERT_TRUE(wished_after(id, before));
  EXPECT_EQ(run("SELECT count(*) AS n FROM chat_sessions WHERE ended_at IS NOT NULL")[0].integer("n"), 1)
      << "what was said is kept, and the conversation has ended";
  EXPECT_EQ(run("SELECT memory_paths::text AS paths FROM agents")[0].text("paths"), R"(["notes/", "MEMORY.md"])");
  ask("POST", "/api/instance/" + id + "/restart?wait=0", ann_key_);
  started_at_ += std::chrono::seconds{5};
  AgentStatus status = observed(id, Phase::ready);
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds{50}), std::future_status::timeout);
  status.reset_done = 1;
  record(id, status);
  const Answer answer = waiting.get();
  EXPECT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.body["success"], true);
  EXPECT_EQ(answer.body["message"], "Memory reset successfully");
}

TEST_F(ApiInstance, IsUpdatedOnceTheNewImageHasShownThatItWorks) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const auto before = generation(id);
  auto waiting = ask_aside("POST", "/api/instance/" + id + "/update", ann_key_, {{"image", "example/tiny:2"}});
  ASSERT_TRUE(wished_after(id, before));
  EXPECT_EQ(run("SELECT update_image FROM agents")[0].text("update_image"), "example/tiny:2");
  EXPECT_EQ(run("SELECT spec->>'image' AS image FROM agents")[0].text("image"), "example/tiny:1")
      << "only a success changes by what the agent runs";
  AgentStatus status = observed(id, Phase::ready, "new");
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds{50}), std::future_status::timeout);
  status.update_done = 1;
  status.update_outcome = "Committed";
  status.image = "example/tiny:2";
  record(id, status);
  const Answer answer = waiting.get();
  EXPECT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.body["status"], "running");
  const json agent = ask("GET", "/api/agents/" + id, ann_key_).body["agent"];
  EXPECT_EQ(agent["image"], "example/tiny:2");
  EXPECT_EQ(agent["openclawVersion"], "2");
  EXPECT_EQ(agent["update"]["outcome"], "Committed");
}

TEST_F(ApiInstance, SaysThatAndWhyAnUpdateWasRolledBackOrGivenUp) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  for (const auto& [outcome, code] :
       {std::pair{"RolledBack", "UPDATE_ROLLED_BACK"}, std::pair{"GivenUp", "UPDATE_FAILED"}}) {
    const auto before = generation(id);
    auto waiting = ask_aside("POST", "/api/instance/" + id + "/update", ann_key_);
    ASSERT_TRUE(wished_after(id, before));
    EXPECT_EQ(run("SELECT update_image FROM agents")[0].text("update_image"), "example/tiny:1");
    AgentStatus status = observed(id, Phase::ready);
    status.update_done = static_cast<std::uint64_t>(run("SELECT update_wish FROM agents")[0].integer("update_wish"));
    status.update_outcome = outcome;
    status.update_reason = "it exits";
    record(id, status);
    const Answer answer = waiting.get();
    EXPECT_EQ(answer.status, 502) << answer.text;
    EXPECT_EQ(answer.body["code"], code);
    EXPECT_EQ(answer.body["rolledBack"], outcome == std::string{"RolledBack"});
    EXPECT_THAT(answer.body["error"].get<std::string>(), HasSubstr("it exits"));
    EXPECT_FALSE(answer.body.contains("pending"));
  }
}

TEST_F(ApiInstance, TakesImagesOfTheAllowedRepositoriesOnly) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const auto before = generation(id);
  for (const json& image : {json("example/tiny"), json("example/tinier:1"), json("other/tiny:1"), json(""),
                            json("a b:1"), json("example/tiny@sha256:12"), json(7)}) {
    const Answer answer = ask("POST", "/api/instance/" + id + "/update", ann_key_, {{"image", image}});
    EXPECT_EQ(answer.status, 400) << image;
    EXPECT_EQ(answer.body["field"], "image") << image;
  }
  EXPECT_EQ(generation(id), before);
  for (const std::string& image :
       {std::string{"registry.example:5000/tiny:9"}, "example/tiny@sha256:" + std::string(64, 'a')})
    EXPECT_EQ(ask("POST", "/api/instance/" + id + "/update?wait=0", ann_key_, {{"image", image}}).status, 200) << image;
}

TEST_F(ApiInstance, ThatIsStoppedForgetsWithoutBeingStarted) {
  const std::string id = provision(ann_key_);
  ask("POST", "/api/instance/" + id + "/stop?wait=0", ann_key_);
  observed(id, Phase::stopped);
  ask("POST", "/api/instance/" + id + "/reset-memory?wait=0", ann_key_);
  EXPECT_EQ(run("SELECT desired FROM agents")[0].text("desired"), "stopped");
}

TEST_F(ApiInstance, AnswersWithTheNewerStateWhenItsWishWasReplaced) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const auto before = generation(id);
  auto restarting = ask_aside("POST", "/api/instance/" + id + "/restart", ann_key_);
  ASSERT_TRUE(wished_after(id, before));
  auto stopping = ask_aside("POST", "/api/instance/" + id + "/stop", ann_key_);
  ASSERT_TRUE(wished_after(id, before + 1));
  observed(id, Phase::stopped);
  EXPECT_EQ(stopping.get().body["status"], "stopped");
  EXPECT_EQ(restarting.get().body["status"], "stopped");
}

TEST_F(ApiInstance, KeepsTheWishWhenTheEngineIsAway) {
  const std::string id = provision(ann_key_);
  AgentStatus status = observed(id, Phase::ready);
  status.conditions = {{"EngineReachable", "False", "NoAnswer", "", system_now()}};
  record(id, status);
  const Answer answer = ask("POST", "/api/instance/" + id + "/stop?wait=0.05", ann_key_);
  EXPECT_EQ(answer.status, 502);
  EXPECT_EQ(answer.body["success"], false);
  EXPECT_EQ(answer.body["status"], "error");
  EXPECT_EQ(answer.body["code"], "ENGINE_UNREACHABLE");
  EXPECT_EQ(answer.body["pending"], true);
  EXPECT_EQ(run("SELECT desired FROM agents")[0].text("desired"), "stopped");
}

TEST_F(ApiInstance, SaysWhenNobodyTookTheWishUp) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const Answer answer = ask("POST", "/api/instance/" + id + "/restart?wait=0.05", ann_key_);
  EXPECT_EQ(answer.status, 502);
  EXPECT_EQ(answer.body["code"], "NOT_OBSERVED");
  EXPECT_EQ(answer.body["pending"], true);
}

TEST_F(ApiInstance, PassesTheReasonOnWhenTheAgentDoesNotRun) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::stopped);
  const auto before = generation(id);
  auto waiting = ask_aside("POST", "/api/instance/" + id + "/restart?wait=0.5", ann_key_);
  ASSERT_TRUE(wished_after(id, before));
  AgentStatus status = observed(id, Phase::failed);
  status.message = "image example/tiny:1 cannot be had";
  record(id, status);
  const Answer answer = waiting.get();
  EXPECT_EQ(answer.status, 502);
  EXPECT_EQ(answer.body["code"], "AGENT_FAILED");
  EXPECT_THAT(answer.body["error"].get<std::string>(), HasSubstr("cannot be had"));
}

TEST_F(ApiInstance, DoesNotWaitWhenItIsNotToWait) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const Answer answer = ask("POST", "/api/instance/" + id + "/stop?wait=0", ann_key_);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body["status"], "running");
  EXPECT_EQ(answer.body["pending"], true);
  EXPECT_EQ(ask("POST", "/api/instance/" + id + "/stop?wait=x", ann_key_).status, 400);
}

TEST_F(ApiInstance, AnswersWaitingRequestsWhenTheServerStops) {
  const std::string id = provision(ann_key_);
  const auto before = generation(id);
  auto waiting = ask_aside("POST", "/api/instance/" + id + "/stop", ann_key_);
  ASSERT_TRUE(wished_after(id, before));
  ASSERT_TRUE(eventually([&] { return waiters_->waiting() == 1; }));
  waiters_->stop();
  const Answer answer = waiting.get();
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.body["pending"], true);
}

TEST_F(ApiInstance, GivesTheTokenItsGatewayAcceptsAndRemembersWhoAsked) {
  const std::string id = provision(ann_key_);
  const Answer first = ask("GET", "/api/instance/" + id + "/token", ann_key_);
  EXPECT_EQ(first.body["token"].get<std::string>().size(), 64u);
  EXPECT_EQ(first.header("Cache-Control"), "no-store");
  EXPECT_EQ(ask("GET", "/api/instance/" + id + "/token", ann_key_).body, first.body);
  EXPECT_EQ(
      run("SELECT count(*) AS n FROM events WHERE reason = 'TokenRead' AND actor = $1", {ann_.id})[0].integer("n"), 2);
  EXPECT_EQ(generation(id), 1u);
}

TEST_F(ApiInstance, MakesATokenWhereThereIsNone) {
  const std::string id = provision(ann_key_);
  run("DELETE FROM agent_secrets WHERE agent_id = $1 AND name = 'gateway_token'", {id});
  const std::string token = ask("GET", "/api/instance/" + id + "/token", ann_key_).body["token"];
  EXPECT_EQ(token.size(), 64u);
  EXPECT_EQ(generation(id), 2u) << "its gateway gets the files anew";
  EXPECT_EQ(ask("GET", "/api/instance/" + id + "/token", ann_key_).body["token"], token);
}

// --- deletion

TEST_F(ApiInstance, IsDeletedOnceItsContainerIsGone) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const auto before = generation(id);
  auto waiting = ask_aside("DELETE", "/api/agents/" + id, ann_key_);
  ASSERT_TRUE(wished_after(id, before));
  observed(id, Phase::deleted);
  const Answer answer = waiting.get();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, (json{{"success", true}, {"deleted", id}}));
  EXPECT_EQ(answer.header("Link"), "</api/instance/" + id + "/stop>; rel=\"successor-version\"");
  EXPECT_EQ(ask("GET", "/api/agents/" + id, ann_key_).status, 404);
  EXPECT_EQ(ask("POST", "/api/instance/" + id + "/start", ann_key_).status, 403);
  EXPECT_EQ(ask("GET", "/api/agents", ann_key_).body["count"], 0);
  EXPECT_EQ(ask("DELETE", "/api/agents/" + id, ann_key_).body, answer.body) << "a second time the same";
  EXPECT_EQ(generation(id), before + 1);
}

TEST_F(ApiInstance, GetsTheSameAnswerWhenItIsGoneForGood) {
  const std::string id = provision(ann_key_);
  run("INSERT INTO deleted_agents (id, owner_id) VALUES ($1, $2)", {id, ann_.id});
  run("DELETE FROM agents WHERE id = $1", {id});
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  const std::string root = make_user_with("root@example.com", "free", "inactive", true);
  EXPECT_EQ(ask("DELETE", "/api/agents/" + id, ann_key_).status, 200);
  EXPECT_EQ(ask("DELETE", "/api/agents/" + id, root).status, 200);
  EXPECT_EQ(ask("DELETE", "/api/agents/" + id, bob).status, 404);
  EXPECT_EQ(ask("DELETE", "/api/agents/0123456789abcdef", root).status, 404);
}

TEST_F(ApiInstance, IsPendingWhenItsContainerStays) {
  const std::string id = provision(ann_key_);
  const Answer answer = ask("DELETE", "/api/agents/" + id + "?wait=0.02&purge=true", ann_key_);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body["pending"], true);
  EXPECT_TRUE(run("SELECT purge FROM agents")[0].boolean("purge"));
}

// --- numbers

class ApiStats : public ApiTest {
 protected:
  json stats(const std::string& id) { return ask("GET", "/api/agents/" + id + "/stats", ann_key_).body; }
};

StatsSample sample_now() {
  StatsSample sample;
  sample.at = system_now();
  sample.cpu_percent = 0.1499;
  sample.cpu_known = sample.network_known = true;
  sample.cpu_seconds_total = 30;
  sample.memory_bytes = 128LL << 20;
  sample.memory_limit_bytes = 2LL << 30;
  sample.network_rx_bytes = 1'200;
  sample.network_tx_bytes = 3'400;
  sample.pids = 12;
  return sample;
}

TEST_F(ApiStats, AreWrittenAsTheDocumentWritesThem) {
  const std::string id = provision(ann_key_);
  started_at_ = system_now() - std::chrono::hours{24};
  observed(id, Phase::ready);
  stats_.sample = sample_now();
  const json answer = stats(id);
  EXPECT_EQ(answer["status"], "ok");
  const json& s = answer["stats"];
  EXPECT_EQ(s["agentId"], id);
  EXPECT_EQ(s["cpu"], "0.15%");
  EXPECT_EQ(s["memory"], "128MiB / 2GiB");
  EXPECT_EQ(s["memoryPercent"], "6.25%");
  EXPECT_EQ(s["network"], "1.2kB / 3.4kB");
  EXPECT_EQ(s["uptimeFormatted"], "1d 0h");
  EXPECT_NEAR(s["uptime"].get<double>(), 86'400'000, 60'000);
  EXPECT_EQ(s["status"], "running");
  EXPECT_EQ(s["pids"], "12");
  for (const char* name : {"messagesProcessed", "messagesPerHour", "averageResponseTime", "successRate", "errorRate"})
    EXPECT_EQ(s[name], "N/A") << name;
  EXPECT_EQ(s["raw"]["memoryBytes"], 128LL << 20);
  EXPECT_EQ(s["source"], "live");
  const json instance = ask("GET", "/api/instance/" + id + "/stats", ann_key_).body;
  EXPECT_EQ(instance["userId"], id);
  EXPECT_EQ(instance["cpu"], "0.15%");
  EXPECT_EQ(instance["memory"], "128MiB");
  EXPECT_EQ(instance["status"], "running");
  EXPECT_EQ(instance["plan"], "pro");
  EXPECT_EQ(instance["openclawVersion"], "1.2.3");
}

TEST_F(ApiStats, TakeTheMeanSinceTheStartForTheFirstSample) {
  const std::string id = provision(ann_key_);
  started_at_ = system_now() - std::chrono::seconds{100};
  observed(id, Phase::ready);
  stats_.sample = sample_now();
  stats_.sample->cpu_known = stats_.sample->network_known = false;
  const json s = stats(id)["stats"];
  EXPECT_NEAR(s["raw"]["cpuPercent"].get<double>(), 30.0, 3.0);
  EXPECT_EQ(s["network"], "-- / --");
  EXPECT_EQ(s["raw"]["networkRxBytes"], nullptr);
}

TEST_F(ApiStats, AreZeroForAStoppedAgent) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::stopped);
  stats_.sample = sample_now();  // of a run that is over
  const json answer = stats(id);
  EXPECT_EQ(answer["status"], "ok");
  EXPECT_EQ(answer["stats"]["status"], "stopped");
  EXPECT_EQ(answer["stats"]["cpu"], "0.00%");
  EXPECT_EQ(answer["stats"]["memory"], "0B / 4GiB");
  EXPECT_EQ(answer["stats"]["uptime"], 0);
  EXPECT_EQ(answer["stats"]["pids"], "0");
}

TEST_F(ApiStats, FallBackToTheLastSampleAndInventNothing) {
  const std::string id = provision(ann_key_);
  AgentStatus status = observed(id, Phase::ready);
  status.conditions = {{"EngineReachable", "False", "NoAnswer", "", system_now()}};
  record(id, status);
  const json without = stats(id);
  EXPECT_EQ(without["status"], "mock");
  EXPECT_EQ(without["stats"]["source"], "history");
  for (const char* name : {"cpu", "memory", "network", "pids", "uptime", "messagesProcessed", "messagesPerHour",
                           "averageResponseTime", "successRate", "errorRate", "sampledAt"})
    EXPECT_EQ(without["stats"][name], nullptr) << name;
  EXPECT_TRUE(without["stats"]["timestamp"].is_string());
  stats_.sample = sample_now();
  const json with = stats(id);
  EXPECT_EQ(with["status"], "mock");
  EXPECT_EQ(with["stats"]["memory"], "128MiB / 2GiB");
  EXPECT_EQ(with["stats"]["sampledAt"], to_rfc3339(stats_.sample->at));
}

// --- logs

class ApiLogs : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    id_ = provision(ann_key_);
  }
  void print(const std::string& text, bool is_stderr = false) {
    logs_.lines.push_back(
        {TimePoint{milliseconds{1'700'000'000'000 + 10 * static_cast<int>(logs_.lines.size())}}, is_stderr, text});
  }
  Answer logs(const std::string& query = "") { return ask("GET", "/api/agents/" + id_ + "/logs" + query, ann_key_); }
  std::string id_;
};

TEST_F(ApiLogs, ShowTheNewestLast) {
  for (int i = 0; i < 120; ++i) print("line " + std::to_string(i));
  const json answer = logs().body;
  EXPECT_EQ(answer["status"], "ok");
  EXPECT_EQ(answer["total"], 120);
  EXPECT_EQ(answer["limit"], 50);
  ASSERT_EQ(answer["logs"].size(), 50u);
  const json& last = answer["logs"].back();
  EXPECT_EQ(last["message"], "line 119");
  EXPECT_EQ(last["level"], "info");
  EXPECT_EQ(last["source"], "stdout");
  EXPECT_EQ(last["agentId"], id_);
  EXPECT_EQ(last["timestamp"], "2023-11-14T22:13:21.190Z");
  EXPECT_EQ(logs("?limit=1000").body["logs"].size(), 100u);
  EXPECT_EQ(logs("?limit=x").body["limit"], 50);
  EXPECT_EQ(logs("?limit=0").body["logs"].size(), 1u);
}

TEST_F(ApiLogs, AreFilteredByLevel) {
  for (int i = 0; i < 300; ++i) print(i % 3 == 0 ? "ERROR: no" : "fine");
  print("on stderr", true);
  const json errors = logs("?level=error&limit=10").body;
  EXPECT_EQ(errors["total"], 100);
  EXPECT_EQ(errors["logs"].size(), 10u);
  EXPECT_EQ(logs("?level=WARNING").body["total"], 1);
  const Answer bad = logs("?level=loud");
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(bad.body["field"], "level");
}

TEST_F(ApiLogs, GiveEveryLineAnIdThatStaysTheSame) {
  for (int i = 0; i < 60; ++i) print("line");
  logs_.lines[59].at = logs_.lines[58].at;
  const json first = logs("?limit=10").body["logs"];
  std::set<std::string> ids;
  for (const auto& entry : first) ids.insert(entry["id"].get<std::string>());
  EXPECT_EQ(ids.size(), 10u);
  EXPECT_EQ(logs("?limit=5&level=info").body["logs"].back()["id"], first.back()["id"]);
}

TEST_F(ApiLogs, HoldNoSecretOfTheAgent) {
  const std::string token = ask("GET", "/api/instance/" + id_ + "/token", ann_key_).body["token"];
  ask("PUT", "/api/agents/" + id_ + "/config", ann_key_,
      {{"provider", {{"apiKey", "plain-looking-value"}}}, {"name", "visible-name"}});
  print("token is " + token);
  print("key plain-looking-value of visible-name");
  print("Authorization: Bearer abcdefghijklmnop");
  const std::string text = logs().text;
  EXPECT_THAT(text, Not(HasSubstr(token)));
  EXPECT_THAT(text, Not(HasSubstr("plain-looking-value")));
  EXPECT_THAT(text, Not(HasSubstr("abcdefghijklmnop")));
  EXPECT_THAT(text, HasSubstr("visible-name"));
}

TEST_F(ApiLogs, AreEmptyWithoutAContainerAndAnErrorWithoutAnEngine) {
  logs_.error = Error{ErrorKind::not_found, "no container", {}, {}};
  EXPECT_EQ(logs().status, 200);
  EXPECT_EQ(logs().body["total"], 0);
  logs_.error = Error{ErrorKind::unavailable, "no answer from the engine", {}, {}};
  EXPECT_EQ(logs().status, 502);
  EXPECT_EQ(logs().body["code"], "ENGINE_UNREACHABLE");
}

}  // namespace
}  // namespace creel::test
