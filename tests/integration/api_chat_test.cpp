// The chat routes over a real PostgreSQL: what is stored of a message, when, and what people see of it. The gateway and
// the reconciler are the test's.
#include <gmock/gmock.h>

#include "controller/store/chats.hpp"
#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

using testing::HasSubstr;

class ApiChat : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    id_ = provision(ann_key_);
    chat_ = [this](const std::string& kind, gateway::ChatRequest request, auto done) {
      kind_ = kind;
      request_ = request;
      done(gateway::ChatReply{"You said: " + request.message});
    };
  }
  Answer say(json body) { return ask("POST", "/api/chat", ann_key_, std::move(body)); }
  json history(const std::string& query = "") { return ask("GET", "/api/chat" + query, ann_key_).body; }
  json messages(const std::string& query = "") {
    return ask("GET", "/api/agents/" + id_ + "/messages" + query, ann_key_).body;
  }
  // From now on the gateway takes messages and answers them when release() is called.
  void hold_replies() {
    chat_ = [this](const std::string&, gateway::ChatRequest request, auto done) {
      const std::lock_guard lock{mutex_};
      at_work_.emplace_back(request, std::move(done));
    };
  }
  std::vector<std::string> at_work() {
    const std::lock_guard lock{mutex_};
    std::vector<std::string> texts;
    for (const auto& [request, done] : at_work_) texts.push_back(request.message);
    return texts;
  }
  bool eventually_at_work(const std::vector<std::string>& texts) {
    return eventually([&] {
      auto now = at_work();
      std::sort(now.begin(), now.end());
      return now == texts;
    });
  }
  void release(const std::string& text, Result<gateway::ChatReply> reply) {
    Done done;
    {
      const std::lock_guard lock{mutex_};
      const auto found =
          std::find_if(at_work_.begin(), at_work_.end(), [&](const auto& one) { return one.first.message == text; });
      ASSERT_NE(found, at_work_.end()) << text;
      done = std::move(found->second);
      at_work_.erase(found);
    }
    done(std::move(reply));
  }
  void release(const std::string& text) { release(text, gateway::ChatReply{"re: " + text}); }

  using Done = std::function<void(Result<gateway::ChatReply>)>;
  std::string id_, kind_;
  gateway::ChatRequest request_;
  std::mutex mutex_;
  std::vector<std::pair<gateway::ChatRequest, Done>> at_work_;
};

TEST_F(ApiChat, BringsTheMessageToTheGatewayAndTheReplyBack) {
  observed(id_, Phase::ready);
  const Answer answer = say({{"message", "Hello!"}, {"topic", "work"}});
  ASSERT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.body["message"], "Hello!");
  EXPECT_EQ(answer.body["topic"], "work");
  EXPECT_EQ(answer.body["status"], "sent");
  EXPECT_EQ(answer.body["reply"], "You said: Hello!");
  EXPECT_TRUE(answer.body["id"].get<std::string>().starts_with("msg_"));
  EXPECT_TRUE(parse_rfc3339(answer.body["timestamp"].get<std::string>()));
  EXPECT_EQ(kind_, "reference");
  EXPECT_EQ(request_.address, "127.0.0.1:18789");
  EXPECT_EQ(request_.session_key, "topic:work");
  EXPECT_EQ(request_.token, ask("GET", "/api/instance/" + id_ + "/token", ann_key_).body["token"]);
  EXPECT_EQ(say({{"message", "Hello!"}}).body["topic"], "general");
}

TEST_F(ApiChat, NeedsAMessage) {
  for (const json& body :
       {json::object(), json{{"message", ""}}, json{{"message", "  "}}, json{{"message", nullptr}}}) {
    const Answer answer = say(body);
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.body["error"], "Message required");
  }
  EXPECT_EQ(say({{"message", 5}}).body["field"], "message");
  const Answer long_one = say({{"message", std::string(32 * 1024 + 1, 'x')}});
  EXPECT_EQ(long_one.status, 400);
  EXPECT_EQ(long_one.body["field"], "message");
  EXPECT_THAT(long_one.body["error"].get<std::string>(), HasSubstr("at most 32768"));
  EXPECT_EQ(messages()["total"], 0);
  EXPECT_EQ(say({{"message", "x"}, {"topic", std::string(129, 't')}}).body["field"], "topic");
}

TEST_F(ApiChat, WaitsForAnAgentThatIsStarting) {
  observed(id_, Phase::starting);
  auto waiting = ask_aside("POST", "/api/chat", ann_key_, {{"message", "early"}});
  ASSERT_TRUE(eventually([&] { return waiters_->waiting() == 1; }));
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds{50}), std::future_status::timeout);
  observed(id_, Phase::ready);
  EXPECT_EQ(waiting.get().body["reply"], "You said: early");
}

TEST_F(ApiChat, SaysThatTheAgentIsAtWorkWhenTheReplyTakesLong) {
  settings_.chat_wait = std::chrono::seconds{1};
  observed(id_, Phase::ready);
  std::function<void(Result<gateway::ChatReply>)> later;
  chat_ = [&](const std::string&, gateway::ChatRequest request, auto done) {
    EXPECT_GE(request.deadline, settings_.chat_deadline) << "the agent is not to be cut off at its work";
    later = std::move(done);
  };
  const Answer answer = say({{"message", "think"}});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body["reply"], "Agent is processing your request...");
  later(gateway::ChatReply{"too late for the answer"});  // and harmless
}

TEST_F(ApiChat, TellsWhatKeepsTheAgentFromAnswering) {
  observed(id_, Phase::ready);
  chat_ = [](const std::string&, gateway::ChatRequest, auto done) {
    done(Error{ErrorKind::failed, "the model said: bad key", {}, {}});
  };
  const Answer failed = say({{"message", "x"}});
  EXPECT_EQ(failed.status, 502);
  EXPECT_EQ(failed.body["code"], "AGENT_UNREACHABLE");
  EXPECT_EQ(failed.body["error"],
            "the model said: bad key; the agent's log may say more: GET /api/agents/" + id_ + "/logs");

  AgentStatus status = observed(id_, Phase::crash_looping);
  status.message = "the agent keeps exiting";
  record(id_, status);
  const Answer looping = say({{"message", "x"}});
  EXPECT_EQ(looping.status, 502);
  EXPECT_THAT(looping.body["error"].get<std::string>(), HasSubstr("keeps exiting"));

  settings_.chat_wait = std::chrono::seconds{1};
  observed(id_, Phase::starting);
  EXPECT_EQ(say({{"message", "x"}}).body["code"], "AGENT_UNREACHABLE");

  ask("POST", "/api/instance/" + id_ + "/stop?wait=0", ann_key_);
  const Answer stopped = say({{"message", "x"}});
  EXPECT_EQ(stopped.status, 409);
  EXPECT_EQ(stopped.body["code"], "AGENT_NOT_RUNNING");
  EXPECT_THAT(stopped.body["error"].get<std::string>(), HasSubstr("/start"));
}

TEST_F(ApiChat, GoesOnlyToAgentsOfTheCaller) {
  observed(id_, Phase::ready);
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  EXPECT_EQ(ask("POST", "/api/chat", bob, {{"message", "x"}, {"agentId", id_}}).status, 404);
  EXPECT_EQ(ask("POST", "/api/chat", bob, {{"message", "x"}}).status, 404);
  EXPECT_EQ(ask("POST", "/api/chat", ann_key_, {{"message", "x"}, {"agentId", id_}}).body["agentId"], id_);
}

// --- what is kept

TEST_F(ApiChat, StoresTheMessageBeforeItIsSentAndTheReplyWhenItComes) {
  observed(id_, Phase::ready);
  chat_ = [this](const std::string&, gateway::ChatRequest request, auto done) {
    const auto rows = run("SELECT content, sender, pending_until IS NOT NULL AS pending FROM messages");
    ASSERT_EQ(rows.size(), 1);
    EXPECT_EQ(rows[0].text("content"), request.message);
    EXPECT_EQ(rows[0].text("sender"), "user");
    EXPECT_TRUE(rows[0].boolean("pending"));
    done(gateway::ChatReply{"Hi!"});
  };
  const json said = say({{"message", "Hello!"}, {"topic", "work"}}).body;
  const json list = history();
  ASSERT_EQ(list["count"], 1) << list;
  EXPECT_EQ(list["total"], 1);
  const json& item = list["messages"][0];
  for (const char* name : {"id", "message", "topic", "status", "timestamp", "reply", "agentId", "sessionId"})
    EXPECT_EQ(item[name], said[name]) << name;
  EXPECT_EQ(item["reply"], "Hi!");
  EXPECT_EQ(item["error"], nullptr);
  EXPECT_GE(item["responseTime"].get<int>(), 0);

  const json all = messages();
  EXPECT_EQ(all["status"], "ok");
  EXPECT_EQ(all["total"], 2);
  EXPECT_EQ(all["messages"][0]["sender"], "agent");
  EXPECT_EQ(all["messages"][0]["content"], "Hi!");
  EXPECT_EQ(all["messages"][0]["responseTime"], item["responseTime"]);
  EXPECT_EQ(all["messages"][1]["sender"], "user");
  EXPECT_EQ("msg_" + all["messages"][1]["id"].get<std::string>().substr(4), said["id"]);
  EXPECT_EQ(all["messages"][1]["agentId"], id_);
  EXPECT_EQ(all["messages"][1]["platform"], "api");
  EXPECT_EQ(all["messages"][1]["timestamp"], said["timestamp"]);
}

TEST_F(ApiChat, KeepsAReplyThatComesAfterTheAnswer) {
  settings_.chat_wait = std::chrono::seconds{1};
  observed(id_, Phase::ready);
  hold_replies();
  const json said = say({{"message", "think"}}).body;
  EXPECT_EQ(said["reply"], "Agent is processing your request...");
  EXPECT_EQ(history()["messages"][0]["status"], "processing");
  EXPECT_EQ(history()["messages"][0]["reply"], nullptr);
  release("think", gateway::ChatReply{"42"});
  ASSERT_TRUE(eventually([&] { return history()["messages"][0]["status"] == "sent"; }));
  EXPECT_EQ(history()["messages"][0]["reply"], "42");
  EXPECT_EQ(history()["messages"][0]["id"], said["id"]);
}

TEST_F(ApiChat, KeepsWithTheMessageWhyThereIsNoReply) {
  observed(id_, Phase::ready);
  chat_ = [](const std::string&, gateway::ChatRequest, auto done) {
    done(Error{ErrorKind::failed, "the model said: bad key", {}, {}});
  };
  const Answer failed = say({{"message", "x"}});
  EXPECT_EQ(failed.status, 502);
  const json item = history()["messages"][0];
  EXPECT_EQ(item["id"], failed.body["id"]);
  EXPECT_EQ(item["status"], "failed");
  EXPECT_EQ(item["error"], failed.body["error"]);
  EXPECT_EQ(messages()["messages"][0]["error"], failed.body["error"]);
}

TEST_F(ApiChat, KeepsAReplyThatTheDatabaseCouldNotTakeAtOnce) {
  observed(id_, Phase::ready);
  hold_replies();
  auto waiting = ask_aside("POST", "/api/chat", ann_key_, {{"message", "x"}});
  ASSERT_TRUE(eventually_at_work({"x"}));
  run("ALTER TABLE messages RENAME TO elsewhere");
  release("x");
  EXPECT_EQ(waiting.get().body["reply"], "re: x") << "who waits is told all the same";
  run("ALTER TABLE elsewhere RENAME TO messages");
  ASSERT_TRUE(eventually([&] { return history()["messages"][0]["reply"] == "re: x"; }));
  EXPECT_EQ(messages()["total"], 2);
}

TEST_F(ApiChat, FailsWhatAControllerThatEndedHasLeftBehind) {
  settings_.chat_wait = std::chrono::seconds{1};
  chat_hold_ = std::chrono::milliseconds{100};
  build();
  observed(id_, Phase::ready);
  hold_replies();
  say({{"message", "mine"}});
  {
    // Of another process, which does not move its time on.
    auto tx = begin();
    auto session = store::ensure_session(tx, *AgentId::parse(id_), "topic:general", "api", system_now()).value();
    store::Message left;
    left.agent = *AgentId::parse(id_);
    left.session_id = session.id;
    left.platform = "api";
    left.content = "left";
    left.at = system_now();
    ASSERT_TRUE(store::send_message(tx, left, chat_hold_));
    ASSERT_TRUE(tx.commit());
  }
  ASSERT_TRUE(eventually([&] {
    chats_->pass();
    return history()["messages"][0]["status"] == "failed";
  }));
  const json list = history()["messages"];
  EXPECT_EQ(list[0]["message"], "left");
  EXPECT_THAT(list[0]["error"].get<std::string>(), HasSubstr("send the message again"));
  EXPECT_EQ(list[1]["message"], "mine");
  EXPECT_EQ(list[1]["status"], "processing");
  release("mine");
  EXPECT_TRUE(eventually([&] { return history()["messages"][1]["reply"] == "re: mine"; }));
}

TEST_F(ApiChat, TakesAReplyThatTheTranscriptShowedFirstForTheSame) {
  observed(id_, Phase::ready);
  hold_replies();
  auto waiting = ask_aside("POST", "/api/chat", ann_key_, {{"message", "x"}});
  ASSERT_TRUE(eventually_at_work({"x"}));
  {
    auto tx = begin();
    store::Message seen;
    seen.agent = *AgentId::parse(id_);
    seen.session_id = run("SELECT id FROM chat_sessions")[0].text("id");
    seen.from_agent = true;
    seen.platform = "api";
    seen.content = "re: x";
    seen.at = system_now();
    seen.external_id = "transcript-1";
    ASSERT_TRUE(store::add_message(tx, seen));
    ASSERT_TRUE(tx.commit());
  }
  release("x");
  EXPECT_EQ(waiting.get().body["reply"], "re: x");
  EXPECT_EQ(messages()["total"], 2);
  EXPECT_EQ(history()["messages"][0]["reply"], "re: x");
  EXPECT_TRUE(messages()["messages"][0]["responseTime"].is_number());
}

// --- what is shown

TEST_F(ApiChat, PagesTheMessagesNewestFirstWithTheRealTotal) {
  observed(id_, Phase::ready);
  for (int i = 0; i < 60; ++i) say({{"message", "m" + std::to_string(i)}});
  const json first = messages();
  EXPECT_EQ(first["limit"], 50);
  EXPECT_EQ(first["offset"], 0);
  EXPECT_EQ(first["total"], 120);
  ASSERT_EQ(first["messages"].size(), 50u);
  EXPECT_EQ(first["messages"][1]["content"], "m59");
  EXPECT_EQ(messages("?limit=1000")["limit"], 100);
  EXPECT_EQ(messages("?limit=1000")["messages"].size(), 100u);
  EXPECT_EQ(messages("?limit=0")["limit"], 1);
  EXPECT_EQ(messages("?limit=x")["limit"], 50);
  EXPECT_EQ(messages("?limit=2&offset=118")["messages"][1]["content"], "m0");
  EXPECT_EQ(messages("?offset=-5")["offset"], 0);
  EXPECT_EQ(messages("?offset=x")["offset"], 0);
  const json beyond = messages("?offset=99999999999999999999");
  EXPECT_EQ(beyond["messages"], json::array());
  EXPECT_EQ(beyond["total"], 120);

  EXPECT_EQ(history()["count"], 60);
  EXPECT_EQ(history("?limit=3&offset=1")["messages"][0]["message"], "m58");
  EXPECT_EQ(history("?limit=3&offset=1")["count"], 3);
  EXPECT_EQ(history("?limit=3&offset=1")["total"], 60);
}

TEST_F(ApiChat, HasOneConversationATopic) {
  observed(id_, Phase::ready);
  const json work = say({{"message", "one"}, {"topic", "work"}}).body;
  EXPECT_EQ(say({{"message", "two"}, {"topic", "work"}}).body["sessionId"], work["sessionId"]);
  EXPECT_NE(say({{"message", "three"}}).body["sessionId"], work["sessionId"]);
  EXPECT_EQ(history("?topic=work")["count"], 2);
  EXPECT_EQ(history("?topic=work")["messages"][0]["message"], "two");
  EXPECT_EQ(history("?topic=general")["total"], 1);
  EXPECT_EQ(history("?topic=nothing")["messages"], json::array());
  EXPECT_EQ(ask("GET", "/api/chat?topic=%01", ann_key_).body["field"], "topic");
}

TEST_F(ApiChat, ShowsNobodyWhatOthersSaid) {
  observed(id_, Phase::ready);
  say({{"message", "private"}});
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  EXPECT_EQ(ask("GET", "/api/chat?agentId=" + id_, bob).status, 404);
  EXPECT_EQ(ask("GET", "/api/agents/" + id_ + "/messages", bob).status, 404);
  EXPECT_EQ(ask("GET", "/api/agents/" + id_ + "/messages", "").status, 401);
  EXPECT_EQ(ask("GET", "/api/chat", "").status, 401);
  EXPECT_EQ(ask("GET", "/api/chat", bob).body, (json{{"messages", json::array()}, {"count", 0}, {"total", 0}}));
  EXPECT_EQ(ask("GET", "/api/chat?agentId=" + id_, ann_key_).body["count"], 1);
}

// --- many at once

TEST_F(ApiChat, LetsOneConversationSayOneThingAtATimeAndNoOtherWaitForIt) {
  observed(id_, Phase::ready);
  hold_replies();
  auto first = ask_aside("POST", "/api/chat", ann_key_, {{"message", "a1"}, {"topic", "a"}});
  ASSERT_TRUE(eventually_at_work({"a1"}));
  auto second = ask_aside("POST", "/api/chat", ann_key_, {{"message", "a2"}, {"topic", "a"}});
  ASSERT_TRUE(eventually([&] { return chat_queue_->load().waiting == 1; }));
  auto other = ask_aside("POST", "/api/chat", ann_key_, {{"message", "b1"}, {"topic", "b"}});
  ASSERT_TRUE(eventually_at_work({"a1", "b1"}));
  release("b1");
  EXPECT_EQ(other.get().body["reply"], "re: b1");
  EXPECT_EQ(at_work(), std::vector<std::string>{"a1"});
  release("a1");
  EXPECT_EQ(first.get().body["reply"], "re: a1");
  ASSERT_TRUE(eventually_at_work({"a2"}));
  release("a2");
  EXPECT_EQ(second.get().body["reply"], "re: a2");
}

TEST_F(ApiChat, AnswersEveryOneOfTwentyUsersAtOnceHowLongEverTheQueue) {
  chat_limits_.at_once = 2;
  build();
  observed(id_, Phase::ready);
  std::atomic<int> now{0}, most{0};
  std::vector<std::thread> replies;
  chat_ = [&](const std::string&, gateway::ChatRequest request, auto done) {
    const int busy = ++now;
    if (busy > most) most = busy;
    const std::lock_guard lock{mutex_};
    replies.emplace_back([&now, request, done = std::move(done)] {
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
      --now;
      done(gateway::ChatReply{"re: " + request.message});
    });
  };
  std::vector<std::future<Answer>> users;
  for (int i = 0; i < 20; ++i)
    users.push_back(ask_aside("POST", "/api/chat", ann_key_,
                              {{"message", "m" + std::to_string(i)}, {"topic", "user" + std::to_string(i)}}));
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(users[static_cast<std::size_t>(i)].get().body["reply"], "re: m" + std::to_string(i));
  for (auto& reply : replies) reply.join();
  EXPECT_EQ(most, 2);
  EXPECT_EQ(history()["total"], 20);
  EXPECT_EQ(messages()["total"], 40);
}

TEST_F(ApiChat, RefusesWhatWouldWaitTooLongAndKeepsNothingOfIt) {
  chat_limits_ = {.at_once = 1, .waiting = 100, .waiting_session = 1};
  settings_.chat_wait = std::chrono::seconds{1};
  build();
  observed(id_, Phase::ready);
  hold_replies();
  EXPECT_EQ(say({{"message", "1"}}).status, 200);
  EXPECT_EQ(say({{"message", "2"}}).status, 200);
  const Answer full = say({{"message", "3"}});
  EXPECT_EQ(full.status, 429) << full.text;
  EXPECT_EQ(full.body["code"], "CHAT_QUEUE_FULL");
  EXPECT_EQ(full.header("Retry-After"), "5");
  EXPECT_EQ(history()["total"], 2);
  EXPECT_EQ(say({{"message", "4"}, {"topic", "other"}}).status, 200);
  release("1");
  ASSERT_TRUE(eventually_at_work({"4"}));
  release("4");
  ASSERT_TRUE(eventually_at_work({"2"}));
  EXPECT_EQ(say({{"message", "5"}}).status, 200) << "there is room again";
}

TEST_F(ApiChat, SendsAMessageToWhereTheAgentIsWhenItsTurnHasCome) {
  chat_limits_.at_once = 1;
  build();
  observed(id_, Phase::ready);
  hold_replies();
  auto first = ask_aside("POST", "/api/chat", ann_key_, {{"message", "first"}});
  ASSERT_TRUE(eventually_at_work({"first"}));
  auto second = ask_aside("POST", "/api/chat", ann_key_, {{"message", "second"}});
  ASSERT_TRUE(eventually([&] { return chat_queue_->load().waiting == 1; }));
  AgentStatus moved = observed(id_, Phase::ready);
  moved.address = "127.0.0.2:18789";
  record(id_, moved);
  release("first");
  ASSERT_TRUE(eventually_at_work({"second"}));
  EXPECT_EQ(at_work_[0].first.address, "127.0.0.2:18789");
  release("second");
  EXPECT_EQ(second.get().status, 200);
}

TEST_F(ApiChat, TellsWhoWaitsForItsTurnThatTheAgentWasStopped) {
  chat_limits_.at_once = 1;
  build();
  observed(id_, Phase::ready);
  hold_replies();
  auto first = ask_aside("POST", "/api/chat", ann_key_, {{"message", "first"}});
  ASSERT_TRUE(eventually_at_work({"first"}));
  auto second = ask_aside("POST", "/api/chat", ann_key_, {{"message", "second"}});
  ASSERT_TRUE(eventually([&] { return chat_queue_->load().waiting == 1; }));
  ask("POST", "/api/instance/" + id_ + "/stop?wait=0", ann_key_);
  release("first", Error{ErrorKind::unavailable, "connection reset", {}, {}});
  EXPECT_EQ(first.get().status, 502);
  const Answer stopped = second.get();
  EXPECT_EQ(stopped.status, 409) << stopped.text;
  EXPECT_EQ(stopped.body["code"], "AGENT_NOT_RUNNING");
  EXPECT_THAT(history()["messages"][0]["error"].get<std::string>(), HasSubstr("stopped before"));
}

}  // namespace
}  // namespace creel::test
