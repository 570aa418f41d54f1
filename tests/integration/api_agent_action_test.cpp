// /api/agent over a real PostgreSQL: sessions, memory, chat by session.
#include <gmock/gmock.h>

#include <set>

#include "controller/store/chats.hpp"
#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

using testing::HasSubstr;

class ApiAgent : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    id_ = provision(ann_key_);
    observed(id_, Phase::ready);
    chat_ = [](const std::string&, gateway::ChatRequest request, auto done) {
      done(gateway::ChatReply{"re: " + request.message});
    };
  }
  Answer get(const std::string& query) { return ask("GET", "/api/agent" + query, ann_key_); }
  Answer post(json body) { return ask("POST", "/api/agent", ann_key_, std::move(body)); }
  std::string say(const std::string& message) { return post({{"message", message}}).body["sessionId"]; }
  // As if everything had been said so much earlier.
  void make_older(const std::string& interval) {
    run("UPDATE messages SET at = at - interval '" + interval + "'");
    run("UPDATE chat_sessions SET created_at = created_at - interval '" + interval +
        "', last_activity_at = last_activity_at - interval '" + interval + "'");
  }
  std::string id_;
};

TEST_F(ApiAgent, ListsItsEndpointsAsTheDocumentDoes) {
  const Answer answer = get("");
  ASSERT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.body["apiVersion"], "1.0.0");
  EXPECT_TRUE(answer.body["agentbotVersion"].is_string());
  EXPECT_EQ(answer.body["endpoints"], (json{{"GET /api/agent", "List endpoints"},
                                            {"GET /api/agent?action=health", "Health status"},
                                            {"GET /api/agent?action=sessions", "List sessions"},
                                            {"GET /api/agent?action=session&sessionId=xxx", "Get session details"},
                                            {"GET /api/agent?action=memory", "Get agent memory"},
                                            {"GET /api/agent?action=skills", "List available skills"},
                                            {"GET /api/agent?action=credentials", "List configured credentials"},
                                            {"POST /api/agent", "Send message to agent"},
                                            {"POST /api/agent?action=create-session", "Create new session"},
                                            {"POST /api/agent?action=update-skill", "Enable/disable skill"}}));
  EXPECT_EQ(ask("GET", "/api/agent", "").status, 401);
}

TEST_F(ApiAgent, RefusesActionsThereAreNot) {
  for (const Answer& answer : {get("?action=dance"), post({{"action", "dance"}})}) {
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.body["field"], "action");
    EXPECT_THAT(answer.body["error"].get<std::string>(), HasSubstr("session"));
  }
  EXPECT_EQ(post({{"action", 5}}).body["field"], "action");
  EXPECT_EQ(post({}).body["error"], "Message required");
  EXPECT_EQ(post({{"action", "chat"}, {"message", " "}}).body["error"], "Message required");
  EXPECT_EQ(post({{"message", "x"}, {"sessionId", 5}}).body["field"], "sessionId");
}

TEST_F(ApiAgent, TalksInASessionThatGoesOn) {
  const auto before = system_now().time_since_epoch().count();
  const Answer first = post({{"message", "Hello!"}});
  ASSERT_EQ(first.status, 200) << first.text;
  EXPECT_THAT(first.body["sessionId"].get<std::string>(), testing::MatchesRegex("sess_[0-9a-f]{16}"));
  EXPECT_EQ(first.body["reply"], "re: Hello!");
  EXPECT_GE(first.body["timestamp"].get<std::int64_t>(), before);
  EXPECT_EQ(say("again"), first.body["sessionId"]);
  EXPECT_EQ(post({{"action", "chat"}, {"message", "x"}, {"sessionId", first.body["sessionId"]}}).body["sessionId"],
            first.body["sessionId"]);
  // The chat route talks in the same conversation.
  EXPECT_EQ(ask("POST", "/api/chat", ann_key_, {{"message", "y"}}).body["sessionId"], first.body["sessionId"]);
  EXPECT_EQ(get("?action=sessions").body["count"], 1);
}

TEST_F(ApiAgent, GoesOnWhereTheChatRouteWas) {
  const std::string work = ask("POST", "/api/chat", ann_key_, {{"message", "y"}, {"topic", "work"}}).body["sessionId"];
  EXPECT_EQ(say("x"), work);
}

TEST_F(ApiAgent, BeginsANewSessionOnceTheLastOneIsIdle) {
  const std::string first = say("yesterday");
  make_older("25 hours");
  EXPECT_EQ(get("?action=sessions").body["sessions"][0]["status"], "idle");
  const std::string second = say("today");
  EXPECT_NE(second, first);
  EXPECT_EQ(say("go on"), second);
  EXPECT_EQ(post({{"message", "that again"}, {"sessionId", first}}).body["sessionId"], first);
  EXPECT_EQ(get("?action=sessions").body["sessions"][0]["status"], "active");
}

TEST_F(ApiAgent, MakesSessionsWhichAreThenTheActiveOnes) {
  const std::string first = say("x");
  const Answer made = post({{"action", "create-session"}});
  ASSERT_EQ(made.status, 200) << made.text;
  EXPECT_EQ(made.body["status"], "active");
  EXPECT_NE(made.body["sessionId"], first);
  EXPECT_EQ(say("y"), made.body["sessionId"]);
  EXPECT_EQ(ask("POST", "/api/agent?action=create-session", ann_key_).status, 200) << "as the list of endpoints has it";
  EXPECT_EQ(get("?action=sessions").body["count"], 3);
}

TEST_F(ApiAgent, IsNotCalledBackToAnEarlierSessionByALateReply) {
  settings_.chat_wait = std::chrono::seconds{1};
  std::function<void(Result<gateway::ChatReply>)> later;
  const auto at_once = chat_;
  chat_ = [&](const std::string&, gateway::ChatRequest, auto done) { later = std::move(done); };
  const std::string first = say("think");
  chat_ = at_once;
  settings_.chat_wait = std::chrono::seconds{20};
  const std::string second = post({{"action", "create-session"}}).body["sessionId"];
  later(gateway::ChatReply{"42"});
  const auto said = [&] { return get("?action=session&sessionId=" + first).body["session"]["messageCount"] == 2; };
  ASSERT_TRUE(eventually(said));
  EXPECT_EQ(say("next"), second);
}

TEST_F(ApiAgent, BeginsOneSessionHoweverManyAskAtOnce) {
  say("long ago");
  make_older("3 days");
  std::vector<std::future<Answer>> users;
  for (int i = 0; i < 8; ++i) users.push_back(ask_aside("POST", "/api/agent", ann_key_, {{"message", "x"}}));
  std::set<std::string> sessions;
  for (auto& user : users) sessions.insert(user.get().body["sessionId"].get<std::string>());
  EXPECT_EQ(sessions.size(), 1u);
}

TEST_F(ApiAgent, KnowsOnlyItsOwnSessions) {
  const std::string session = say("x");
  const std::string second = provision(ann_key_, "second");
  observed(second, Phase::ready);
  for (const std::string& id : {std::string{"sess_0123456789abcdef"}, std::string{"x"}, std::string{}}) {
    const Answer answer = post({{"message", "x"}, {"sessionId", id}});
    EXPECT_EQ(answer.status, 404) << id;
    EXPECT_EQ(answer.body["error"], "Session not found");
  }
  EXPECT_EQ(post({{"message", "x"}, {"sessionId", session}, {"agentId", second}}).status, 404);
  EXPECT_EQ(get("?action=session&sessionId=" + session + "&agentId=" + second).status, 404);
  EXPECT_EQ(get("?action=session&sessionId=sess_0123456789abcdef").body["error"], "Session not found");
  const Answer none = get("?action=session");
  EXPECT_EQ(none.status, 400);
  EXPECT_EQ(none.body["field"], "sessionId");
}

TEST_F(ApiAgent, ShowsASessionWithItsMessages) {
  const std::string id = say("Hello!");
  say("again");
  const Answer answer = get("?action=session&sessionId=" + id);
  ASSERT_EQ(answer.status, 200) << answer.text;
  const json& session = answer.body["session"];
  EXPECT_EQ(session["id"], id);
  EXPECT_EQ(session["userId"], ann_.id.str());
  EXPECT_EQ(session["status"], "active");
  EXPECT_EQ(session["messageCount"], 4);
  EXPECT_GE(session["lastActivity"], session["createdAt"]);
  ASSERT_EQ(session["messages"].size(), 4u);
  EXPECT_EQ(session["messages"][0]["role"], "user");
  EXPECT_EQ(session["messages"][0]["content"], "Hello!");
  EXPECT_TRUE(session["messages"][0]["timestamp"].is_number());
  EXPECT_EQ(session["messages"][1]["role"], "assistant");
  EXPECT_EQ(session["messages"][3]["content"], "re: again");
  const json listed = get("?action=sessions").body["sessions"][0];
  for (const char* name : {"id", "status", "messageCount", "createdAt", "lastActivity"})
    EXPECT_EQ(listed[name], session[name]) << name;
  const json last = get("?action=session&limit=1&sessionId=" + id).body["session"];
  ASSERT_EQ(last["messages"].size(), 1u);
  EXPECT_EQ(last["messages"][0]["content"], "re: again");
  EXPECT_EQ(last["messageCount"], 4);
}

TEST_F(ApiAgent, RemembersTheLastTenMessagesCutBetweenCharacters) {
  EXPECT_EQ(get("?action=memory").body["memory"], json::array());
  std::string text;
  for (int i = 0; i < 150; ++i) text += "ü";
  for (int i = 0; i < 5; ++i) say("short");
  say(text);
  const json memory = get("?action=memory").body["memory"];
  ASSERT_EQ(memory.size(), 10u);
  EXPECT_EQ(memory[8]["role"], "user");
  EXPECT_EQ(memory[8]["content"], text.substr(0, 200)) << "a hundred characters of two bytes";
  EXPECT_EQ(memory[9]["role"], "assistant");
  EXPECT_EQ(memory[0]["content"], "short");
}

TEST_F(ApiAgent, RemembersNothingOfWhatWasForgotten) {
  const std::string id = say("x");
  const Answer reset = ask("POST", "/api/instance/" + id_ + "/reset-memory?wait=0", ann_key_);
  ASSERT_EQ(reset.status, 200) << reset.text;
  observed(id_, Phase::ready);
  EXPECT_EQ(get("?action=memory").body["memory"], json::array());
  EXPECT_EQ(get("?action=sessions").body["sessions"][0]["status"], "completed");
  EXPECT_NE(say("y"), id);
}

TEST_F(ApiAgent, ShowsWhatIsStoredOfAStoppedAgent) {
  const std::string id = say("x");
  ask("POST", "/api/instance/" + id_ + "/stop?wait=0", ann_key_);
  observed(id_, Phase::stopped);
  for (const std::string& query :
       {std::string{"?action=sessions"}, "?action=session&sessionId=" + id, std::string{"?action=memory"}}) {
    const Answer answer = get(query);
    EXPECT_EQ(answer.status, 200) << query;
    EXPECT_EQ(answer.body["status"], "stopped") << query;
    EXPECT_THAT(answer.text, HasSubstr(id)) << query;
  }
  const Answer refused = post({{"message", "y"}});
  EXPECT_EQ(refused.status, 409);
  EXPECT_THAT(refused.body["error"].get<std::string>(), HasSubstr("/start"));
}

TEST_F(ApiAgent, IsNobodysButItsOwners) {
  const std::string session = say("x");
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  for (const std::string& rest :
       {std::string{"sessions"}, "session&sessionId=" + session, std::string{"memory"}, std::string{"credentials"}}) {
    EXPECT_EQ(ask("GET", "/api/agent?action=" + rest + "&agentId=" + id_, bob).status, 404) << rest;
    const Answer none = ask("GET", "/api/agent?action=" + rest, bob);
    EXPECT_EQ(none.status, 404) << rest;
    EXPECT_THAT(none.body["error"].get<std::string>(), HasSubstr("POST /api/agents/provision"));
  }
  for (const json& body : {json{{"message", "x"}}, json{{"action", "create-session"}}}) {
    EXPECT_EQ(ask("POST", "/api/agent?agentId=" + id_, bob, body).status, 404) << body;
    EXPECT_EQ(ask("POST", "/api/agent", bob, body).status, 404) << body;
  }
  const std::string root = make_user_with("root@example.com", "free", "inactive", true);
  EXPECT_EQ(ask("GET", "/api/agent?action=sessions&agentId=" + id_, root).body["count"], 1);
}

}  // namespace
}  // namespace creel::test
