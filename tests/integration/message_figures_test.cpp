// Figures of messages: what they say, that they stay right whatever happens to messages, and what a look costs.
#include "controller/store/message_figures.hpp"

#include "controller/store/messages.hpp"
#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

using namespace std::chrono_literals;
using store::MessageFigures;

class MessageFiguresTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    agent_ = provision(ann_key_);
    auto tx = begin();
    session_ = store::ensure_session(tx, *AgentId::parse(agent_), "topic:general", "api", system_now())->id;
    ASSERT_TRUE(tx.commit());
  }

  std::int64_t say(bool from_agent, std::chrono::minutes ago, std::optional<std::string> error = {},
                   std::optional<std::int64_t> response_ms = {}) {
    store::Message message;
    message.agent = *AgentId::parse(agent_);
    message.session_id = session_;
    message.from_agent = from_agent;
    message.platform = "api";
    message.content = "hello";
    message.at = system_now() - ago;
    message.error = std::move(error);
    message.response_ms = response_ms;
    auto tx = begin();
    const auto id = store::add_message(tx, message);
    EXPECT_TRUE(tx.commit());
    return id->value();
  }

  MessageFigures figures() {
    auto tx = begin();
    return store::message_figures(tx, *AgentId::parse(agent_), system_now()).value();
  }

  json stats() { return ask("GET", "/api/agents/" + agent_ + "/stats", ann_key_).body["stats"]; }

  std::string agent_, session_;
};

TEST_F(MessageFiguresTest, AreCountedFromWhatWasSaid) {
  observed(agent_, Phase::stopped);
  EXPECT_EQ(stats()["messagesProcessed"], "N/A");
  for (int i = 0; i < 20; ++i) {
    say(false, i < 12 ? 5min : 90min);
    say(true, i < 12 ? 5min : 90min, {}, i % 2 == 0 ? 100 : 201);
  }
  say(false, 1min, "no model");
  const json s = stats();
  EXPECT_EQ(s["messagesProcessed"], 21);
  EXPECT_EQ(s["messagesPerHour"], 13);
  EXPECT_EQ(s["averageResponseTime"], 151) << "150.5, rounded";
  EXPECT_EQ(s["successRate"], "95.24");
  EXPECT_EQ(s["errorRate"], "4.76");
}

TEST_F(MessageFiguresTest, AreThereWhileTheEngineIsAwayToo) {
  say(false, 1min);
  AgentStatus status = observed(agent_, Phase::unknown);
  status.conditions = {{"EngineReachable", "False", "NoAnswer", "", system_now()}};
  record(agent_, status);
  const json answer = ask("GET", "/api/agents/" + agent_ + "/stats", ann_key_).body;
  EXPECT_EQ(answer["status"], "mock");
  EXPECT_EQ(answer["stats"]["messagesProcessed"], 1);
  EXPECT_EQ(answer["stats"]["successRate"], "100.00");
  EXPECT_EQ(answer["stats"]["averageResponseTime"], nullptr) << "no reply was measured";
}

TEST_F(MessageFiguresTest, StayRightWhenMessagesChangeAndGo) {
  const auto first = say(false, 1min);
  const auto second = say(false, 1min);
  const auto reply = say(true, 1min, {}, 400);
  EXPECT_EQ(figures().failed, 0);
  {
    auto tx = begin();
    ASSERT_TRUE(store::fail_message(tx, first, "the gateway did not answer"));
    ASSERT_TRUE(tx.commit());
  }
  EXPECT_EQ(figures().processed, 2);
  EXPECT_EQ(figures().failed, 1);
  EXPECT_EQ(figures().average_response_ms, 400);
  run("DELETE FROM messages WHERE id IN ($1, $2)", {first, reply});
  EXPECT_EQ(figures().processed, 1);
  EXPECT_EQ(figures().failed, 0);
  EXPECT_EQ(figures().average_response_ms, std::nullopt);
  {  // what is rolled back was never counted
    auto tx = begin();
    ASSERT_TRUE(store::fail_message(tx, second, "no"));
  }
  EXPECT_EQ(figures().failed, 0);
  run("DELETE FROM agents WHERE id = $1", {agent_});
  EXPECT_EQ(run("SELECT count(*) AS n FROM message_totals")[0].integer("n"), 0);
}

TEST_F(MessageFiguresTest, CountOneAgentsWritersWithoutLosingAny) {
  std::vector<std::jthread> writers;
  for (int w = 0; w < 4; ++w)
    writers.emplace_back([this] {
      for (int i = 0; i < 25; ++i)
        say(i % 2 == 1, 1min, {}, i % 2 == 1 ? std::optional<std::int64_t>{10} : std::nullopt);
    });
  writers.clear();
  EXPECT_EQ(figures().processed, 4 * 13);
  EXPECT_EQ(figures().average_response_ms, 10);
}

TEST_F(MessageFiguresTest, CostOneRowAndOneHourOfALongHistory) {
  run("INSERT INTO messages (agent_id, session_id, sender, platform, content, at, response_ms) "
      "SELECT $1, $2, CASE WHEN n % 2 = 0 THEN 'user' ELSE 'agent' END, 'api', 'x', now() - n * interval '1 minute', "
      "CASE WHEN n % 2 = 1 THEN 50 END FROM generate_series(1, 60000) n",
      {agent_, session_});
  run("ANALYZE messages");
  EXPECT_EQ(figures().processed, 30'000);
  const auto plan = run("EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(*) FROM messages WHERE agent_id = '" + agent_ +
                        "' AND sender = 'user' AND at > now() - interval '1 hour' AND at <= now()");
  const json top = json::parse(plan[0].text("\"QUERY PLAN\""))[0]["Plan"];
  EXPECT_EQ(top.dump().find("Seq Scan"), std::string::npos) << top.dump(1);
  std::int64_t most = 0;
  const std::function<void(const json&)> walk = [&](const json& node) {
    most =
        std::max(most, node["Actual Rows"].get<std::int64_t>() + node.value("Rows Removed by Filter", std::int64_t{0}));
    for (const auto& child : node.value("Plans", json::array())) walk(child);
  };
  walk(top);
  EXPECT_LE(most, 61) << top.dump(1);
}

}  // namespace
}  // namespace creel::test
