// /api/agent asking the running agent: its gateway is the test's, PostgreSQL is real.
#include <gmock/gmock.h>

#include "controller/store/messages.hpp"
#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

using testing::HasSubstr;
using Skills = std::vector<gateway::GatewaySkill>;
using Sessions = std::vector<gateway::GatewaySession>;
using Shown = std::vector<gateway::GatewayMessage>;

Error away() { return Error{ErrorKind::unavailable, "The agent's gateway cannot be reached", {}, {}}; }

class ApiAgentGateway : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    id_ = provision(ann_key_);
    observed(id_, Phase::ready);
    chat_ = [](const std::string&, gateway::ChatRequest request, auto done) {
      done(gateway::ChatReply{"re: " + request.message});
    };
    gateway_calls_.health = [this](const auto& target, auto done) {
      ++asked_;
      target_ = target;
      done(health_);
    };
    gateway_calls_.skills = [this](const auto&, auto done) { done(skills_); };
    gateway_calls_.sessions = [this](const auto&, auto done) { done(sessions_); };
    gateway_calls_.history = [this](const auto&, const std::string& key, std::size_t, auto done) {
      history_key_ = key;
      done(history_);
    };
    gateway_calls_.set_skill = [this](const auto&, const std::string& skill, bool enabled, auto done) {
      if (!set_skill_error_) return done(gateway::GatewaySkill{skill, "Weather", "Tells it", enabled, true});
      done(*set_skill_error_);
    };
    health_ = gateway::GatewayHealth{};
    health_->version = "2026.3.13";
    health_->uptime = milliseconds{86'400'999};
    health_->model = "anthropic/claude-sonnet-4-5";
    health_->channels = {{"telegram", true, true, std::nullopt, ""}, {"discord", false, false, false, "no token"}};
    skills_ = Skills{{"weather", "Weather", "Tells it", true, true}, {"browser", "Browser", "Looks", false, true}};
  }
  Answer get(const std::string& query) { return ask("GET", "/api/agent" + query, ann_key_); }
  Answer post(json body) { return ask("POST", "/api/agent", ann_key_, std::move(body)); }
  std::string say(const std::string& message) { return post({{"message", message}}).body["sessionId"]; }
  // Nothing is remembered of what the gateway said before.
  void forget() { build(); }

  std::string id_, history_key_;
  std::atomic<int> asked_{0};
  gateway::OperatorTarget target_;
  Result<gateway::GatewayHealth> health_ = away();
  Result<Skills> skills_ = away();
  Result<Sessions> sessions_ = Sessions{};
  Result<Shown> history_ = Shown{};
  std::optional<Error> set_skill_error_;
};

TEST_F(ApiAgentGateway, TellsTheHealthThatTheAgentItselfTells) {
  const auto before = system_now().time_since_epoch().count();
  const Answer answer = get("?action=health");
  ASSERT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.body["status"], "running");
  EXPECT_EQ(answer.body["version"], "2026.3.13");
  EXPECT_EQ(answer.body["apiVersion"], "1.0.0");
  EXPECT_EQ(answer.body["uptime"], 86'400);
  EXPECT_EQ(answer.body["model"], "anthropic/claude-sonnet-4-5");
  EXPECT_EQ(answer.body["channels"], json::array({"telegram"}));
  EXPECT_EQ(answer.body["skills"], json::array({"weather"}));
  EXPECT_GE(answer.body["lastSeen"].get<std::int64_t>(), before);
  EXPECT_EQ(answer.body["channelDetails"][1]["error"], "no token");
  EXPECT_EQ(target_.kind, "reference");
  EXPECT_EQ(target_.address, "127.0.0.1:18789");
  EXPECT_EQ(target_.token, ask("GET", "/api/instance/" + id_ + "/token", ann_key_).body["token"]);
}

TEST_F(ApiAgentGateway, InventsNoHealth) {
  health_ = gateway::GatewayHealth{};
  skills_ = away();
  const json running = get("?action=health").body;
  for (const char* name : {"version", "uptime", "model", "skills"}) EXPECT_EQ(running[name], nullptr) << name;
  EXPECT_EQ(running["channels"], json::array());

  AgentStatus status = observed(id_, Phase::stopped);
  status.started_at = started_at_;
  status.conditions.push_back({"Ready", "False", "Stopped", "", TimePoint{milliseconds{1'710'806'400'000}}});
  record(id_, status);
  const json stopped = get("?action=health").body;
  EXPECT_EQ(stopped["status"], "stopped");
  EXPECT_EQ(stopped["apiVersion"], "1.0.0");
  EXPECT_EQ(stopped["lastSeen"], 1'710'806'400'000);
  for (const char* name : {"version", "uptime", "model"}) EXPECT_EQ(stopped[name], nullptr) << name;
  EXPECT_EQ(stopped["channels"], json::array());
  EXPECT_EQ(stopped["skills"], json::array());
  EXPECT_EQ(asked_, 1) << "a stopped agent is not asked";
}

TEST_F(ApiAgentGateway, SaysWhenTheAgentCannotBeAsked) {
  health_ = away();
  skills_ = away();
  for (const Answer& answer : {get("?action=health"), get("?action=skills")}) {
    EXPECT_EQ(answer.status, 502);
    EXPECT_EQ(answer.body["code"], "AGENT_UNREACHABLE");
    EXPECT_THAT(answer.body["error"].get<std::string>(), HasSubstr("/logs"));
  }
  health_ = Error{
      ErrorKind::conflict, "The gateway does not know this controller; restart the agent", {}, "GATEWAY_NOT_PAIRED"};
  EXPECT_EQ(get("?action=health").body["code"], "GATEWAY_NOT_PAIRED") << "errors are not kept";
}

TEST_F(ApiAgentGateway, AsksTheAgentOnceHoweverManyAsk) {
  std::mutex mutex;
  std::vector<gateway::Operator::Done<gateway::GatewayHealth>> waiting;
  gateway_calls_.health = [&](const auto&, auto done) {
    const std::lock_guard lock{mutex};
    ++asked_;
    waiting.push_back(std::move(done));
  };
  std::vector<std::future<Answer>> users;
  std::atomic<int> began{0};
  for (int i = 0; i < 10; ++i)
    users.push_back(std::async(std::launch::async, [&] {
      ++began;
      return get("?action=health");
    }));
  ASSERT_TRUE(eventually([&] { return began == 10 && asked_ == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds{100});  // for those who have not come so far
  for (const auto& done : waiting) done(health_);
  for (auto& user : users) EXPECT_EQ(user.get().body["version"], "2026.3.13");
  EXPECT_EQ(asked_, 1);
}

TEST_F(ApiAgentGateway, ListsSkillsAndSwitchesThem) {
  const json listed = get("?action=skills").body;
  EXPECT_EQ(listed["count"], 2);
  EXPECT_EQ(
      listed["skills"][0],
      (json{
          {"id", "weather"}, {"name", "Weather"}, {"description", "Tells it"}, {"enabled", true}, {"eligible", true}}));
  const Answer set = post({{"action", "update-skill"}, {"skillId", "browser"}, {"enabled", true}});
  ASSERT_EQ(set.status, 200) << set.text;
  EXPECT_EQ(set.body["success"], true);
  EXPECT_EQ(set.body["skillId"], "browser");
  EXPECT_EQ(set.body["enabled"], true);
  skills_->at(1).enabled = true;
  EXPECT_EQ(get("?action=skills").body["skills"][1]["enabled"], true) << "what was known before is asked anew";
  EXPECT_EQ(
      run("SELECT count(*) AS n FROM events WHERE reason = 'SkillEnabled' AND actor = $1", {ann_.id})[0].integer("n"),
      1);
}

TEST_F(ApiAgentGateway, RefusesSwitchesThatMeanNothing) {
  const auto refused = [&](json body) {
    body["action"] = "update-skill";
    return post(std::move(body));
  };
  EXPECT_EQ(refused({{"enabled", true}}).body["field"], "skillId");
  EXPECT_EQ(refused({{"skillId", ""}, {"enabled", true}}).body["field"], "skillId");
  EXPECT_EQ(refused({{"skillId", "x"}}).body["field"], "enabled");
  EXPECT_EQ(refused({{"skillId", "x"}, {"enabled", "yes"}}).body["field"], "enabled");
  EXPECT_EQ(refused({{"skillId", "x"}, {"enabled", "yes"}}).status, 400);
  set_skill_error_ = Error{ErrorKind::not_found, "unknown skill", {}, {}};
  const Answer unknown = refused({{"skillId", "x"}, {"enabled", true}});
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.body["code"], "SKILL_NOT_FOUND");
  EXPECT_THAT(unknown.body["error"].get<std::string>(), HasSubstr("action=skills"));
  set_skill_error_ = away();
  EXPECT_EQ(refused({{"skillId", "x"}, {"enabled", true}}).body["code"], "AGENT_UNREACHABLE");
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  const json body{{"action", "update-skill"}, {"skillId", "x"}, {"enabled", true}, {"agentId", id_}};
  EXPECT_EQ(ask("POST", "/api/agent", bob, body).status, 404);
  observed(id_, Phase::starting);
  EXPECT_EQ(post(body).status, 502);
  ask("POST", "/api/instance/" + id_ + "/stop?wait=0", ann_key_);
  observed(id_, Phase::stopped);
  EXPECT_EQ(post(body).body["code"], "AGENT_NOT_RUNNING");
  const json stopped = get("?action=skills").body;
  EXPECT_EQ(stopped["skills"], json::array());
  EXPECT_EQ(stopped["status"], "stopped");
  EXPECT_THAT(stopped["message"].get<std::string>(), HasSubstr("/start"));
}

TEST_F(ApiAgentGateway, ShowsHowFarItsSessionsAreAsItTellsItself) {
  const std::string own = say("Hello!");
  {
    auto tx = begin();
    ASSERT_TRUE(store::ensure_session(tx, *AgentId::parse(id_), "telegram:direct:42", "telegram", system_now()));
    ASSERT_TRUE(tx.commit());
  }
  const TimePoint later = system_now() + std::chrono::hours{1};
  sessions_ = Sessions{{"telegram:direct:42", "telegram", "", later, later, 7},
                       {"topic:GENERAL", "api", "", std::nullopt, std::nullopt, 5},
                       {"cron:daily", "cron", "", later, later, 3}};
  const json first = get("?action=sessions").body;
  ASSERT_EQ(first["count"], 2) << first;
  EXPECT_EQ(first["gatewayError"], nullptr);
  EXPECT_EQ(first["sessions"][0]["platform"], "telegram");
  EXPECT_EQ(first["sessions"][0]["messageCount"], 7);
  EXPECT_EQ(first["sessions"][0]["lastActivity"], later.time_since_epoch().count());
  EXPECT_THAT(first["sessions"][0]["id"].get<std::string>(), testing::MatchesRegex("sess_[0-9a-f]{16}"));
  EXPECT_EQ(first["sessions"][1]["id"], own);
  EXPECT_EQ(first["sessions"][1]["messageCount"], 5);
  sessions_ = away();
  forget();
  const Answer stored = get("?action=sessions");
  EXPECT_EQ(stored.status, 200);
  EXPECT_EQ(stored.body["count"], 2) << "what is stored is shown all the same";
  EXPECT_THAT(stored.body["gatewayError"].get<std::string>(), HasSubstr("cannot be reached"));
}

TEST_F(ApiAgentGateway, ShowsWhatTheTranscriptHasAndTheStoreHasNot) {
  const std::string id = say("Hello!");
  const TimePoint now = system_now();
  history_ = Shown{{"t1", false, "Hello!", now, std::nullopt},
                   {"t2", true, "re: Hello!", now, std::nullopt},
                   {"t3", true, "By the way", now + std::chrono::minutes{1}, std::nullopt}};
  const json session = get("?action=session&sessionId=" + id).body["session"];
  EXPECT_EQ(history_key_, "topic:general");
  ASSERT_EQ(session["messages"].size(), 3u) << session;
  EXPECT_EQ(session["messageCount"], 3);
  EXPECT_EQ(session["messages"][2]["content"], "By the way");
  EXPECT_EQ(session["messages"][2]["role"], "assistant");
  const json memory = get("?action=memory").body["memory"];
  ASSERT_EQ(memory.size(), 3u);
  EXPECT_EQ(memory[2]["content"], "By the way");
  history_ = away();
  forget();
  EXPECT_EQ(get("?action=memory").body["memory"].size(), 2u);
  EXPECT_THAT(get("?action=session&sessionId=" + id).body["gatewayError"].get<std::string>(),
              HasSubstr("cannot be reached"));
}

}  // namespace
}  // namespace creel::test
