// Talking to a real agent through a live `creel serve`: many at once, replies that come late, a controller that dies.
#include <gtest/gtest.h>

#include <future>
#include <set>

#include "tests/support/creel_process.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

class Chat : public testing::Test {
 protected:
  void SetUp() override {
    creel.start();
    key = creel.user("owner@example.com", "enterprise");
    const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}});
    ASSERT_EQ(made.status, 201) << made.text << creel.log();
    id = made.json["agent"]["id"];
    until_ready();
  }
  void until_ready() {
    creel.until("/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; });
  }
  Answer say(const std::string& message, const std::string& topic = "general") {
    return creel.call("POST", "/api/chat", key, {{"message", message}, {"topic", topic}});
  }
  // A process that is stopped takes connections and says nothing: an agent that thinks for a long time.
  void signal(const char* name) {
    ASSERT_EQ(creel.engine().call("POST", "/containers/creel-" + id + "/kill?signal=" + name).status, 204);
  }
  json newest() { return creel.call("GET", "/api/chat?limit=1", key).json["messages"][0]; }

  CreelProcess creel{{{"CREEL_CHAT_WAIT", "2"}}};
  std::string key, id;
};

TEST_F(Chat, AnswersTwentyUsersAtOnceEachInTheirOwnConversation) {
  std::vector<std::future<void>> users;
  for (int user = 0; user < 20; ++user)
    users.push_back(std::async(std::launch::async, [&, user] {
      for (int i = 1; i <= 5; ++i) {
        const std::string text = "user " + std::to_string(user) + " says " + std::to_string(i);
        const Answer answer = say(text, "user" + std::to_string(user));
        EXPECT_EQ(answer.status, 200) << answer.text;
        EXPECT_EQ(answer.json["reply"], "ECHO(" + std::to_string(i) + "): " + text) << answer.text;
      }
    }));
  for (auto& user : users) user.get();
  const Answer history = creel.call("GET", "/api/chat", key);
  EXPECT_EQ(history.json["total"], 100);
  for (const auto& item : history.json["messages"]) {
    EXPECT_EQ(item["status"], "sent") << item;
    EXPECT_TRUE(item["responseTime"].is_number()) << item;
  }
  EXPECT_EQ(creel.call("GET", "/api/agents/" + id + "/messages", key).json["total"], 200);
  EXPECT_EQ(creel.call("GET", "/api/agent?action=sessions", key).json["count"], 20);
  const json stats = creel.call("GET", "/api/agents/" + id + "/stats", key).json["stats"];
  EXPECT_EQ(stats["messagesProcessed"], 100) << stats;
  EXPECT_EQ(stats["messagesPerHour"], 100) << stats;
  EXPECT_GT(stats["averageResponseTime"], 0) << stats;
  EXPECT_EQ(stats["successRate"], "100.00") << stats;
  EXPECT_EQ(stats["errorRate"], "0.00") << stats;
}

TEST_F(Chat, BringsALateReplyIntoTheSession) {
  signal("SIGSTOP");
  const Answer said = creel.call("POST", "/api/agent", key, {{"message", "think"}});
  ASSERT_EQ(said.status, 200) << said.text;
  EXPECT_EQ(said.json["reply"], "Agent is processing your request...");
  EXPECT_EQ(newest()["status"], "processing");
  signal("SIGCONT");
  const std::string session = said.json["sessionId"];
  const Answer later = creel.until("/api/agent?action=session&sessionId=" + session, key,
                                   [](const Answer& a) { return a.json["session"]["messages"].size() == 2; });
  EXPECT_EQ(later.json["session"]["messages"][1]["content"], "ECHO(1): think") << later.text << creel.log();
  EXPECT_EQ(newest()["id"], said.json["id"]);
  EXPECT_EQ(newest()["status"], "sent");
}

TEST_F(Chat, KeepsItsHistoryOverStopStartAndADeadController) {
  EXPECT_EQ(say("one").json["reply"], "ECHO(1): one");
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/stop", key).json["status"], "stopped");
  EXPECT_EQ(say("nobody hears this").json["code"], "AGENT_NOT_RUNNING");
  const Answer stopped = creel.call("GET", "/api/agent?action=memory", key);
  EXPECT_EQ(stopped.json["status"], "stopped") << stopped.text;
  EXPECT_EQ(stopped.json["memory"],
            (json{{{"role", "user"}, {"content", "one"}}, {{"role", "assistant"}, {"content", "ECHO(1): one"}}}));
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/start", key).json["status"], "running");
  until_ready();
  EXPECT_EQ(say("two").json["reply"], "ECHO(2): two");
  creel.kill_hard();
  creel.start();
  EXPECT_EQ(say("three").json["reply"], "ECHO(3): three");
  const json history = creel.call("GET", "/api/chat", key).json["messages"];
  ASSERT_EQ(history.size(), 3u);
  EXPECT_EQ(history[2]["reply"], "ECHO(1): one");
}

TEST_F(Chat, ShowsWhatTheAgentItselfTells) {
  EXPECT_EQ(say("one").json["reply"], "ECHO(1): one");
  const Answer health = creel.call("GET", "/api/agent?action=health", key);
  ASSERT_EQ(health.status, 200) << health.text << creel.log();
  EXPECT_EQ(health.json["status"], "running");
  EXPECT_TRUE(health.json["version"].is_string()) << health.text;
  EXPECT_TRUE(health.json["uptime"].is_number()) << health.text;
  EXPECT_EQ(health.json["channels"], json::array());
  EXPECT_EQ(creel.call("GET", "/api/agent?action=skills", key).json["skills"], json::array());
  const Answer sessions = creel.call("GET", "/api/agent?action=sessions", key);
  EXPECT_EQ(sessions.json["gatewayError"], nullptr) << sessions.text;
  ASSERT_EQ(sessions.json["count"], 1) << sessions.text;
  EXPECT_EQ(sessions.json["sessions"][0]["messageCount"], 2) << sessions.text;
  const std::string id = sessions.json["sessions"][0]["id"];
  const Answer session = creel.call("GET", "/api/agent?action=session&sessionId=" + id, key);
  EXPECT_EQ(session.json["gatewayError"], nullptr) << session.text;
  EXPECT_EQ(session.json["session"]["messages"].size(), 2u) << "what both tell is shown once: " << session.text;
}

TEST_F(Chat, LosesNoMessageOfAControllerThatDiesWhileTheAgentIsAtWork) {
  signal("SIGSTOP");
  const Answer said = say("think");
  ASSERT_EQ(said.json["reply"], "Agent is processing your request...") << said.text;
  creel.kill_hard();
  signal("SIGCONT");
  creel.start();
  // Either its reply was found in the agent's transcript, or it is said that it is not known.
  creel.until("/api/chat", key, [](const Answer& a) { return a.json["messages"][0]["status"] != "processing"; });
  const json kept = newest();
  EXPECT_EQ(kept["id"], said.json["id"]);
  EXPECT_EQ(kept["message"], "think");
  if (kept["status"] == "failed") {
    EXPECT_NE(kept["error"].get<std::string>().find("send the message again"), std::string::npos) << kept;
  } else {
    EXPECT_EQ(kept["reply"], "ECHO(1): think") << kept;
  }
  EXPECT_EQ(say("again").status, 200);
}

}  // namespace
}  // namespace creel::test
