// Transcripts and their collector: a real PostgreSQL, gateways of the test's. The real ones are in the e2e tests.
#include "controller/store/transcripts.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <nlohmann/json.hpp>

#include "controller/http/client.hpp"
#include "controller/store/agent_secrets.hpp"
#include "controller/store/chats.hpp"
#include "controller/store/messages.hpp"
#include "controller/transcripts/collector.hpp"
#include "tests/integration/pg_fixture.hpp"
#include "tests/unit/gateway_fake_server.hpp"

namespace creel::test {
namespace {

using nlohmann::json;
using std::chrono::seconds;

constexpr TimePoint kNoon{seconds{1'800'000'000}};

class TranscriptsTest : public PgTest {
 protected:
  void SetUp() override {
    PgTest::SetUp();
    if (HasFatalFailure()) return;
    agent_ = make_agent(make_user().id).id;
  }

  // As a chat route stores it; its id.
  std::int64_t stored(bool from_agent, const std::string& text, TimePoint at, const std::string& key = "topic:x") {
    auto tx = begin();
    const auto session = store::ensure_session(tx, agent_, key, "api", at).value();
    store::Message message;
    message.agent = agent_;
    message.session_id = session.id;
    message.from_agent = from_agent;
    message.platform = "api";
    message.content = text;
    message.at = at;
    if (from_agent) message.response_ms = 5;
    const auto id = store::add_message(tx, message).value().value();
    EXPECT_TRUE(tx.commit());
    return id;
  }
  store::Transcript transcript(std::vector<store::HeardMessage> messages, const std::string& key = "topic:x") {
    return {agent_, key, "api", std::move(messages)};
  }
  std::size_t keep(const store::Transcript& transcript, TimePoint read_to = kNoon) {
    auto tx = begin();
    const auto kept = store::keep_transcript(tx, transcript, read_to);
    EXPECT_TRUE(kept) << kept.error().message;
    EXPECT_TRUE(tx.commit());
    return kept ? *kept : 0;
  }
  // The oldest first.
  std::vector<store::Message> messages() {
    auto tx = begin();
    auto list = store::list_messages(tx, agent_, 1000, 0).value();
    std::reverse(list.begin(), list.end());
    return list;
  }

  AgentId agent_;
};

// Each holds what the other wants next, if they do not take session and totals in one order.
TEST_F(TranscriptsTest, AMessageAndAReplyThatAreStoredAtOnceDoNotWaitForEachOther) {
  const auto first = stored(false, "first", kNoon);
  auto asks = begin();
  store::Message second;
  second.session_id = store::ensure_session(asks, agent_, "topic:x", "api", kNoon + seconds{1}).value().id;
  second.agent = agent_;
  second.platform = "api";
  second.content = "second";
  second.at = kNoon + seconds{1};
  auto answers = std::async(std::launch::async, [&]() -> Result<void> {
    auto tx = begin();
    CREEL_TRY([[maybe_unused]] const bool known, store::answer_message(tx, first, "reply", kNoon + seconds{2}));
    return tx.commit();
  });
  ASSERT_TRUE(eventually([&] {
    auto tx = begin();
    return !tx.exec("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
                .value()
                .empty();
  }));
  const auto stored = store::add_message(asks, second);
  EXPECT_TRUE(stored) << stored.error().message;
  EXPECT_TRUE(asks.commit());
  const auto answered = answers.get();
  EXPECT_TRUE(answered) << answered.error().message;
  EXPECT_EQ(messages().size(), 3u);
}

TEST_F(TranscriptsTest, MessagesLeftBehindAreFailedAroundAReplyThatIsBeingStored) {
  const auto busy = stored(false, "busy", kNoon);
  run("UPDATE messages SET pending_until = clock_timestamp() - interval '1 s' WHERE id = $1", {busy});
  auto answers = begin();
  ASSERT_TRUE(store::answer_message(answers, busy, "reply", kNoon + seconds{2}));
  auto fails = std::async(std::launch::async, [&]() -> Result<std::int64_t> {
    auto tx = begin();
    CREEL_TRY(const auto lost, store::fail_lost_messages(tx, "left behind"));
    CREEL_CHECK(tx.commit());
    return lost;
  });
  const auto failed = fails.get();  // does not wait for the reply, whose transaction is open
  ASSERT_TRUE(failed) << failed.error().message;
  EXPECT_EQ(*failed, 0);
  ASSERT_TRUE(answers.commit());
  auto tx = begin();
  EXPECT_EQ(store::fail_lost_messages(tx, "left behind").value(), 0) << "it was answered";
}

TEST_F(TranscriptsTest, AReplyThatNobodyWaitedForEndsTheFailureOfItsMessage) {
  const auto asked = stored(false, "count to two", kNoon);
  run("UPDATE messages SET error = 'the connection broke' WHERE id = $1", {asked});
  const auto next = stored(false, "and now?", kNoon + seconds{60});
  run("UPDATE messages SET error = 'unreachable' WHERE id = $1", {next});
  keep(transcript({{"t_1", false, "count to two", kNoon, {}, {}},
                   {"t_2", true, "I count.", kNoon + seconds{1}, {}, 1000},
                   {"t_3", true, "one, two", kNoon + seconds{2}, {}, 2000}}));
  auto tx = begin();
  const auto exchanges = store::list_exchanges(tx, agent_, "topic:x", 10, 0).value();
  ASSERT_EQ(exchanges.size(), 2u);
  EXPECT_EQ(exchanges[1].reply, "one, two");
  EXPECT_EQ(exchanges[1].response_ms, 2000);
  EXPECT_FALSE(exchanges[1].message.error);
  EXPECT_FALSE(exchanges[0].reply);
  EXPECT_EQ(exchanges[0].message.error, "unreachable") << "what never reached the agent has no reply";
}

TEST_F(TranscriptsTest, AReplyIsFoundOnceTheWaitOfADeadControllerIsOver) {
  const auto asked = stored(false, "hello", kNoon);
  run("UPDATE messages SET pending_until = clock_timestamp() + interval '1 hour' WHERE id = $1", {asked});
  keep(transcript({{"t_1", false, "hello", kNoon, {}, {}}, {"t_2", true, "hi", kNoon + seconds{1}, {}, 1000}}));
  const auto lost = [this] {
    auto tx = begin();
    const auto failed = store::fail_lost_messages(tx, "left behind");
    EXPECT_TRUE(tx.commit());
    return failed.value();
  };
  EXPECT_EQ(lost(), 0);
  EXPECT_TRUE(messages()[0].pending_until) << "somebody may still wait for the whole reply";
  run("UPDATE messages SET pending_until = clock_timestamp() - interval '1 s' WHERE id = $1", {asked});
  EXPECT_EQ(lost(), 0);
  auto tx = begin();
  const auto exchanges = store::list_exchanges(tx, agent_, "topic:x", 10, 0).value();
  EXPECT_EQ(exchanges[0].reply, "hi");
  EXPECT_FALSE(exchanges[0].message.error);
}

TEST_F(TranscriptsTest, ATurnThatTheModelFailedStaysFailed) {
  keep(transcript({{"t_1", false, "hello", kNoon, "The agent's model failed: 401", {}},
                   {"t_2", true, "sorry", kNoon + seconds{1}, {}, {}}}));
  auto tx = begin();
  const auto exchanges = store::list_exchanges(tx, agent_, "topic:x", 10, 0).value();
  EXPECT_FALSE(exchanges[0].reply);
  EXPECT_EQ(exchanges[0].message.error, "The agent's model failed: 401");
}

TEST_F(TranscriptsTest, StoresWhatIsNewOnce) {
  const auto heard =
      transcript({{"t_1", false, "hello", kNoon, {}, {}}, {"t_2", true, "hi", kNoon + seconds{1}, {}, 1000}});
  EXPECT_EQ(keep(heard), 2u);
  EXPECT_EQ(keep(heard), 0u);
  const auto all = messages();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].content, "hi");
  EXPECT_EQ(all[1].response_ms, 1000);
  auto tx = begin();
  EXPECT_EQ(store::transcript_marks(tx, agent_)->at("topic:x"), kNoon);
  EXPECT_EQ(store::unknown_messages(tx, heard).value(), 0u);
}

TEST_F(TranscriptsTest, TakesUpWhatAChatRouteHasStored) {
  const auto asked = stored(false, "hello  there", kNoon, "Topic:X");
  const auto told = stored(true, "hi", kNoon + seconds{3}, "Topic:X");
  EXPECT_EQ(keep(transcript({{"t_1", false, "hello there", kNoon + seconds{2}, {}, {}},
                             {"t_2", true, "hi", kNoon + seconds{2}, {}, 1}})),
            2u);
  const auto all = messages();
  ASSERT_EQ(all.size(), 2u) << "a copy was stored";
  EXPECT_EQ(all[0].id, asked);
  EXPECT_EQ(all[0].external_id, "t_1");
  EXPECT_EQ(all[1].id, told);
  EXPECT_EQ(all[1].external_id, "t_2");
  EXPECT_EQ(all[1].response_ms, 5) << "what the route measured was changed";
}

TEST_F(TranscriptsTest, TheSameWordsAgainAreAnotherMessage) {
  stored(false, "hello", kNoon);
  const auto heard = transcript({{"t_1", false, "hello", kNoon, {}, {}},
                                 {"t_2", false, "hello", kNoon + seconds{5}, {}, {}},
                                 {"t_3", false, "hello", kNoon + std::chrono::hours{5}, {}, {}}});
  keep(heard);
  EXPECT_EQ(messages().size(), 3u);
  stored(false, "hello", kNoon + std::chrono::hours{9});
  keep(heard);
  EXPECT_EQ(messages().size(), 4u) << "a new message was taken for an old one";
}

TEST_F(TranscriptsTest, AMessageThatDidNotArriveIsNotTakenForTheOneThatWasAnswered) {
  const auto lost = stored(false, "hello", kNoon);
  run("UPDATE messages SET error = 'unreachable' WHERE id = $1", {lost});
  const auto sent = stored(false, "hello", kNoon + seconds{9});
  keep(transcript({{"t_1", false, "hello", kNoon + seconds{9}, {}, {}}}));
  const auto all = messages();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].id, sent);
  EXPECT_EQ(all[1].external_id, "t_1");
  EXPECT_EQ(all[0].error, "unreachable");
}

TEST_F(TranscriptsTest, APieceOfAReplyThatWasStoredWholeIsNoMessageOfItsOwn) {
  stored(false, "look", kNoon);
  stored(true, "Let me look.\n\nDone: it is green.", kNoon + seconds{9});
  const auto heard = transcript({{"t_1", false, "look", kNoon, {}, {}},
                                 {"t_2", true, "Let me look.", kNoon + seconds{2}, {}, {}},
                                 {"t_3", true, "Done: it is green.", kNoon + seconds{8}, {}, {}},
                                 {"t_4", true, "green", kNoon + seconds{8}, {}, {}}});
  keep(heard);
  keep(heard);
  const auto all = messages();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_TRUE(std::any_of(all.begin(), all.end(), [](const auto& m) { return m.content == "green"; }));
}

TEST_F(TranscriptsTest, AFailureComesAndGoesWithWhatTheTranscriptSays) {
  auto heard = transcript({{"t_1", false, "one", kNoon, "The agent's model failed: 500", {}}});
  keep(heard);
  EXPECT_EQ(messages()[0].error, "The agent's model failed: 500");
  heard.messages[0].error.reset();
  heard.messages.push_back({"t_2", true, "at last", kNoon + seconds{9}, {}, 9000});
  keep(heard);
  EXPECT_FALSE(messages()[0].error);
  run("UPDATE messages SET error = 'no answer in time' WHERE external_id = 't_1'");
  keep(heard);
  EXPECT_EQ(messages()[0].error, "no answer in time") << "what a chat route found out was taken back";
}

TEST_F(TranscriptsTest, OldMessagesGoABatchAtATime) {
  for (int i = 0; i < 5; ++i) stored(false, "old", kNoon - std::chrono::hours{48 + i});
  stored(false, "new", kNoon);
  auto tx = begin();
  EXPECT_EQ(store::drop_messages_before(tx, kNoon - std::chrono::hours{1}, 3).value(), 3);
  EXPECT_EQ(store::drop_messages_before(tx, kNoon - std::chrono::hours{1}, 3).value(), 2);
  EXPECT_EQ(store::drop_messages_before(tx, kNoon - std::chrono::hours{1}, 3).value(), 0);
  EXPECT_TRUE(tx.commit());
  ASSERT_EQ(messages().size(), 1u);
  EXPECT_EQ(messages()[0].content, "new");
}

// --- the collector ---

// A reference agent's gateway with one session, or one that never answers.
class TalkingServer {
 public:
  explicit TalkingServer(bool stuck = false)
      : server_([this, stuck](const std::string& request) {
          const std::lock_guard lock{mutex_};
          if (stuck) return std::string{};
          if (request.starts_with("GET /v1/sessions"))
            return http_answer(
                200, json{{"sessions", {{{"key", "topic:x"}, {"updatedAt", updated_}}}}, {"total", 1}}.dump());
          ++reads;
          return http_answer(200, json{{"messages", messages_}}.dump());
        }) {}
  void say(const char* role, const std::string& text, TimePoint at) {
    const std::lock_guard lock{mutex_};
    messages_.push_back({{"role", role}, {"content", text}, {"timestamp", to_rfc3339(at)}});
    updated_ = at.time_since_epoch().count();
  }
  std::string address() const { return server_.address(); }
  std::atomic<int> reads{0};

 private:
  std::mutex mutex_;
  json messages_ = json::array();
  std::int64_t updated_ = 1;
  FakeServer server_;
};

class CollectorTest : public TranscriptsTest {
 protected:
  void SetUp() override {
    PgTest::SetUp();
    if (HasFatalFailure()) return;
    user_ = make_user().id;
    options_.period = milliseconds{200};
    options_.settle = milliseconds{0};
    Template tmpl;
    tmpl.name = "talking";
    tmpl.gateway = "reference";
    templates_ = std::make_unique<TemplateSet>(std::vector<Template>{tmpl});
    gateway::OperatorOptions asking;
    asking.request_deadline = milliseconds{5'000};
    operator_ = std::make_unique<gateway::Operator>(client_, asking);
    collector();
  }
  void TearDown() override {
    collector_.reset();
    operator_.reset();
    PgTest::TearDown();
  }
  AgentId running(const std::string& address) {
    auto row = agent_of_user(user_);
    row.template_name = "talking";
    row.status.phase = Phase::ready;
    row.status.address = address;
    auto tx = begin();
    EXPECT_TRUE(store::insert_agent(tx, row, -1));
    EXPECT_TRUE(store::put_secret(tx, row.id, "gateway_token",
                                  sealer_.seal("t", secrets::secret_context(row.id.str(), "gateway_token"))));
    EXPECT_TRUE(tx.commit());
    return agent_ = row.id;
  }
  // A new one, as after a restart of the controller.
  void collector() {
    collector_ =
        std::make_unique<transcripts::Collector>(*database_, sealer_, *templates_, *operator_, system_now, options_);
  }
  bool passes_until(const std::function<bool()>& done) {
    return eventually([&] {
      collector_->pass({});
      return done();
    });
  }
  std::int64_t count(const AgentId& agent) {
    auto tx = begin();
    return store::count_messages(tx, agent).value();
  }

  const secrets::Sealer sealer_ = secrets::Sealer::from_base64("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").value();
  http::Client client_;
  UserId user_;
  transcripts::CollectorOptions options_;
  std::unique_ptr<TemplateSet> templates_;
  std::unique_ptr<gateway::Operator> operator_;
  std::unique_ptr<transcripts::Collector> collector_;
};

TEST_F(CollectorTest, KeepsWhatWasSaidOnceAndReadsNothingTwice) {
  TalkingServer gateway;
  const TimePoint now = system_now();
  gateway.say("user", "hello", now - seconds{60});
  gateway.say("assistant", "hi", now - seconds{59});
  const auto agent = running(gateway.address());
  ASSERT_TRUE(passes_until([&] { return count(agent) == 2; }));
  const int reads = gateway.reads;
  collector();
  for (int i = 0; i < 5; ++i) collector_->pass({});
  EXPECT_EQ(gateway.reads, reads) << "what had not changed was read again";
  gateway.say("user", "more", now - seconds{2});
  ASSERT_TRUE(passes_until([&] { return count(agent) == 3; }));
  EXPECT_EQ(messages()[2].content, "more");
  EXPECT_EQ(messages()[1].response_ms, 1000);
}

TEST_F(CollectorTest, AStuckAgentDelaysNoOther) {
  TalkingServer stuck{true}, well;
  well.say("user", "hello", system_now() - seconds{60});
  running(stuck.address());
  const auto agent = running(well.address());
  for (int said = 1; said <= 3; ++said) {
    ASSERT_TRUE(eventually(
        [&] {
          collector_->pass({});
          return count(agent) == said;
        },
        seconds{15}));
    well.say("user", "again", system_now() - seconds{50 - said});
  }
}

TEST_F(CollectorTest, OldMessagesGoAndAreNotCollectedAgain) {
  options_.retention = std::chrono::hours{24};
  options_.drop_every = milliseconds{0};
  options_.drop_batch = 2;
  collector();
  TalkingServer gateway;
  const TimePoint now = system_now();
  gateway.say("user", "long ago", now - std::chrono::hours{30});
  gateway.say("user", "today", now - seconds{60});
  const auto agent = running(gateway.address());
  for (int i = 0; i < 5; ++i) stored(false, "old " + std::to_string(i), now - std::chrono::hours{48}, "topic:old");
  ASSERT_TRUE(passes_until([&] { return count(agent) == 1; }));
  EXPECT_EQ(messages()[0].content, "today");
}

}  // namespace
}  // namespace creel::test
