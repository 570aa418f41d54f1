// The bridge over a real PostgreSQL, with a gateway and a WhatsApp of the test that do what those in trouble do.
#include <gmock/gmock.h>

#include <deque>
#include <nlohmann/json.hpp>

#include "controller/channels/bridge.hpp"
#include "controller/core/agent_json.hpp"
#include "controller/store/agent_secrets.hpp"
#include "controller/store/messages.hpp"
#include "tests/integration/pg_fixture.hpp"
#include "tests/support/fake_graph.hpp"

namespace creel::test {
namespace {

using channels::Bridge;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Fault = FakeGraph::Fault;
using std::chrono::milliseconds;

const std::string kAnn = "491701234567", kBob = "15550002";

class WhatsappBridge : public PgTest {
 protected:
  struct Asked {
    gateway::ChatRequest request;
    std::function<void(Result<gateway::ChatReply>)> done;
  };

  void SetUp() override {
    PgTest::SetUp();
    if (HasFatalFailure()) return;
    options_.first_retry = options_.longest_retry = options_.not_ready_retry = milliseconds{1};
    options_.grace = milliseconds{1};
    bridge_ = another();
    agent_ = ready_agent();
  }

  void TearDown() override {
    bridge_.reset();
    PgTest::TearDown();
  }

  static Template tiny() {
    Template tmpl;
    tmpl.name = "openclaw";
    tmpl.gateway = "reference";
    return tmpl;
  }

  std::unique_ptr<Bridge> another(milliseconds deadline = std::chrono::seconds{20}) {
    Bridge::Chat chat = [this](const std::string& kind, gateway::ChatRequest request, auto done) {
      EXPECT_EQ(kind, "reference");
      const std::lock_guard lock{mutex_};
      asked_.push_back({request, done});
      if (reply_) return done(reply_(request));
    };
    queues_.push_back(std::make_unique<gateway::ChatQueue>());
    return std::make_unique<Bridge>(Bridge::Parts{*database_, sealer_, templates_, *queues_.back(), std::move(chat),
                                                  channels::Whatsapp{client_, {fake_.url(), deadline}}},
                                    options_, [] {});
  }

  AgentId ready_agent() {
    const auto row = make_agent(make_user(random_hex(4) + "@example.com").id);
    seal(row.id, "whatsapp_token", fake_.token);
    seal(row.id, "gateway_token", "gateway-secret");
    set_phase(row.id, Phase::ready);
    return row.id;
  }
  void seal(const AgentId& agent, const std::string& name, const std::string& value) {
    auto tx = begin();
    EXPECT_TRUE(store::put_secret(tx, agent, name, sealer_.seal(value, secrets::secret_context(agent.str(), name))));
    EXPECT_TRUE(tx.commit());
  }
  void set_phase(const AgentId& agent, Phase phase) {
    AgentStatus status;
    status.phase = phase;
    if (phase == Phase::ready) status.address = "127.0.0.1:18789";
    run("UPDATE agent_status SET status = $2 WHERE agent_id = $1", {agent, nlohmann::json(status).dump()});
  }

  bool receive(const std::string& wamid, const std::string& text, const std::string& number = kAnn) {
    auto tx = begin();
    const auto kept = store::receive_whatsapp(tx, agent_, {wamid, number, "111", text, system_now(), true});
    EXPECT_TRUE(kept) << kept.error().message;
    EXPECT_TRUE(tx.commit());
    return kept.value();
  }
  bool status(store::WhatsappStatus status) {
    auto tx = begin();
    const auto noted = store::note_whatsapp_status(tx, agent_, status);
    EXPECT_TRUE(noted) << noted.error().message;
    EXPECT_TRUE(tx.commit());
    return noted.value();
  }
  void echo() {
    reply_ = [](const gateway::ChatRequest& request) { return gateway::ChatReply{"echo: " + request.message}; };
  }

  bool passes_until(const std::function<bool()>& done) {
    return eventually([&] {
      bridge_->pass({});
      return done();
    });
  }
  std::int64_t open() {
    auto tx = begin();
    return store::count_open_whatsapp(tx, "creel").value();
  }
  bool all_done() {
    return passes_until([&] { return open() == 0; });
  }
  std::vector<std::string> texts() {
    std::vector<std::string> all;
    for (const auto& sent : fake_.sent()) all.push_back(sent.text);
    return all;
  }
  std::vector<std::string> told() {
    const std::lock_guard lock{mutex_};
    std::vector<std::string> all;
    for (const auto& one : asked_) all.push_back(one.request.message);
    return all;
  }
  std::string only(const std::string& sql) { return run(sql)[0].text("value"); }

  const secrets::Sealer sealer_ = secrets::Sealer::from_base64("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").value();
  const TemplateSet templates_{{tiny()}};
  std::vector<std::unique_ptr<gateway::ChatQueue>> queues_;  // of each bridge, as each is a process
  FakeGraph fake_;
  channels::BridgeOptions options_;
  std::mutex mutex_;
  std::deque<Asked> asked_;
  std::function<Result<gateway::ChatReply>(const gateway::ChatRequest&)> reply_;  // empty: answered by the test
  std::unique_ptr<Bridge> bridge_;
  AgentId agent_;
  http::Client client_;  // its callbacks use what stands above
};

TEST_F(WhatsappBridge, CarriesAMessageToTheAgentAndItsReplyBack) {
  echo();
  ASSERT_TRUE(receive("wamid.1", "Hello!"));
  ASSERT_TRUE(all_done());
  ASSERT_EQ(fake_.sent().size(), 1u);
  EXPECT_EQ(fake_.sent()[0].text, "echo: Hello!");
  EXPECT_EQ(fake_.sent()[0].to, kAnn);
  EXPECT_EQ(fake_.sent()[0].phone_number_id, "111") << "from the number it was written to";
  EXPECT_EQ(asked_[0].request.session_key, "whatsapp:" + kAnn);
  EXPECT_EQ(asked_[0].request.token, "gateway-secret");
  EXPECT_EQ(asked_[0].request.address, "127.0.0.1:18789");
  auto tx = begin();
  const auto messages = store::list_messages(tx, agent_, 10, 0).value();
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_TRUE(messages[0].from_agent);
  EXPECT_EQ(messages[0].content, "echo: Hello!");
  EXPECT_EQ(messages[0].platform, "whatsapp");
  EXPECT_GE(messages[0].response_ms.value_or(-1), 0);
  EXPECT_EQ(messages[1].content, "Hello!");
  EXPECT_EQ(messages[1].session_id, messages[0].session_id);
  const auto& counters = bridge_->counters();
  EXPECT_EQ(counters.received, 1u);
  EXPECT_EQ(counters.answered, 1u);
  EXPECT_EQ(counters.sent, 1u);
  EXPECT_EQ(counters.failed, 0u);
  EXPECT_EQ(counters.waiting, 0);
}

TEST_F(WhatsappBridge, TakesAMessageThatComesTwiceOnce) {
  echo();
  EXPECT_TRUE(receive("wamid.1", "Hello!"));
  EXPECT_FALSE(receive("wamid.1", "Hello!"));
  ASSERT_TRUE(all_done());
  EXPECT_FALSE(receive("wamid.1", "Hello!")) << "nor when it was answered";
  ASSERT_TRUE(all_done());
  EXPECT_THAT(texts(), ElementsAre("echo: Hello!"));
}

TEST_F(WhatsappBridge, KeepsTheOrderForEachNumberAndLetsNoNumberWaitForAnother) {
  receive("wamid.1", "one");
  receive("wamid.2", "two");
  receive("wamid.3", "hi", kBob);
  ASSERT_TRUE(passes_until([&] { return told().size() == 2; }));
  for (int i = 0; i < 5; ++i) bridge_->pass({});
  EXPECT_THAT(told(), testing::UnorderedElementsAre("one", "hi")) << "two waits for the reply to one";
  echo();
  std::vector<Asked> waiting;
  {
    const std::lock_guard lock{mutex_};
    waiting.assign(asked_.begin(), asked_.end());
  }
  for (const auto& one : waiting) one.done(gateway::ChatReply{"re: " + one.request.message});
  ASSERT_TRUE(all_done());
  std::vector<std::string> to_ann;
  for (const auto& sent : fake_.sent())
    if (sent.to == kAnn) to_ann.push_back(sent.text);
  EXPECT_THAT(to_ann, ElementsAre("re: one", "echo: two"));
}

TEST_F(WhatsappBridge, SendsALongReplyInPartsInOrder) {
  std::string reply;
  for (int i = 0; i < 3000; ++i) reply += "word" + std::to_string(i) + " ";
  reply_ = [&](const auto&) { return gateway::ChatReply{reply}; };
  fake_.next({Fault::none, Fault::error, Fault::none});
  receive("wamid.1", "tell me");
  ASSERT_TRUE(all_done());
  ASSERT_GT(fake_.sent().size(), 3u);
  std::string joined;
  for (const auto& text : texts()) {
    EXPECT_LE(text.size(), 4096u);
    joined += text + " ";
  }
  EXPECT_EQ(joined, reply) << "one that had to be repeated holds back those behind it";
}

TEST_F(WhatsappBridge, WaitsForAnAgentThatIsStoppedOrNotReady) {
  echo();
  run("UPDATE agents SET desired = 'stopped'");
  receive("wamid.1", "anybody?");
  for (int i = 0; i < 20; ++i) bridge_->pass({});
  run("UPDATE agents SET desired = 'running'");
  set_phase(agent_, Phase::starting);
  for (int i = 0; i < 20; ++i) bridge_->pass({});
  EXPECT_THAT(told(), IsEmpty());
  EXPECT_EQ(only("SELECT attempts::text AS value FROM whatsapp_inbox"), "0");
  set_phase(agent_, Phase::ready);
  ASSERT_TRUE(all_done());
  EXPECT_THAT(texts(), ElementsAre("echo: anybody?"));
}

TEST_F(WhatsappBridge, TriesAgainWhenWhatsappIsAwayOrBusy) {
  echo();
  fake_.next({Fault::error, Fault::busy, Fault::limited});
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(all_done());
  EXPECT_THAT(texts(), ElementsAre("echo: Hello!"));
  EXPECT_EQ(fake_.asked(), 4);
  EXPECT_THAT(told(), ElementsAre("Hello!")) << "the agent is not asked again";
  EXPECT_EQ(only("SELECT attempts::text AS value FROM whatsapp_outbox"), "3");
}

TEST_F(WhatsappBridge, GoesOnWhenTheTokenWasRenewed) {
  echo();
  seal(agent_, "whatsapp_token", "EAAGanOldOne");
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(passes_until([&] { return fake_.asked() > 2; }));
  EXPECT_THAT(only("SELECT last_error AS value FROM whatsapp_outbox"), HasSubstr("set-credential"));
  EXPECT_THAT(only("SELECT last_error AS value FROM whatsapp_outbox"), testing::Not(HasSubstr("EAAG")));
  seal(agent_, "whatsapp_token", fake_.token);
  ASSERT_TRUE(all_done());
  EXPECT_THAT(texts(), ElementsAre("echo: Hello!"));
}

TEST_F(WhatsappBridge, GivesUpWhatWhatsappRefusesForGood) {
  reply_ = [](const auto&) { return gateway::ChatReply{std::string(5000, 'x')}; };
  fake_.next({Fault::refused});
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(all_done());
  EXPECT_THAT(texts(), IsEmpty()) << "the second part makes no sense without the first";
  EXPECT_EQ(fake_.asked(), 1);
  EXPECT_THAT(only("SELECT last_error AS value FROM whatsapp_outbox ORDER BY id LIMIT 1"), HasSubstr("undeliverable"));
  EXPECT_THAT(only("SELECT message AS value FROM events WHERE reason = 'WhatsappFailed'"), HasSubstr("undeliverable"));
  EXPECT_EQ(bridge_->counters().failed, 1u);
  echo();
  receive("wamid.2", "and now?");
  ASSERT_TRUE(all_done());
  EXPECT_THAT(texts(), ElementsAre("echo: and now?"));
}

TEST_F(WhatsappBridge, GivesUpAMessageTheAgentFailsAtAndGoesOnWithTheNext) {
  options_.most_attempts = 3;
  bridge_ = another();
  int asked = 0;
  reply_ = [&](const gateway::ChatRequest& request) -> Result<gateway::ChatReply> {
    ++asked;
    if (request.message == "bad") return Error{ErrorKind::failed, "The agent's model failed", {}, {}};
    return gateway::ChatReply{"fine"};
  };
  receive("wamid.1", "bad");
  receive("wamid.2", "good");
  ASSERT_TRUE(all_done());
  EXPECT_EQ(asked, 4);
  EXPECT_THAT(texts(), ElementsAre("fine"));
  EXPECT_EQ(only("SELECT error AS value FROM messages WHERE content = 'bad'"), "The agent's model failed");
  EXPECT_EQ(only("SELECT count(*)::text AS value FROM events WHERE reason = 'WhatsappFailed'"), "1");
}

TEST_F(WhatsappBridge, AsksAnAgentThatDoesNotAnswerInTimeOnceMoreAndNotForEver) {
  reply_ = [](const auto&) -> Result<gateway::ChatReply> { return Error{ErrorKind::timeout, "no answer", {}, {}}; };
  receive("wamid.1", "think hard");
  ASSERT_TRUE(all_done());
  EXPECT_EQ(told().size(), 2u);
}

TEST_F(WhatsappBridge, CountsNoAttemptsWhileTheGatewayCannotBeReached) {
  std::atomic<int> left{20};
  reply_ = [&](const gateway::ChatRequest&) -> Result<gateway::ChatReply> {
    if (left-- > 0) return Error{ErrorKind::unavailable, "connection refused", {}, {}};
    return gateway::ChatReply{"back"};
  };
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(all_done());
  EXPECT_THAT(texts(), ElementsAre("back"));
}

TEST_F(WhatsappBridge, GivesUpWhatCouldNotBeBroughtBackForADay) {
  echo();
  fake_.set_away(true);
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(passes_until([&] { return fake_.asked() > 1; }));
  run("UPDATE whatsapp_outbox SET created_at = now() - interval '25 hours'");
  ASSERT_TRUE(all_done());
  EXPECT_EQ(only("SELECT state AS value FROM whatsapp_outbox"), "failed");
}

// --- one controller dies and another goes on

TEST_F(WhatsappBridge, AsksAgainWhatADeadControllerHadAskedAndSendsOneAnswer) {
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(passes_until([&] { return told().size() == 1; }));
  auto dead = std::exchange(bridge_, another());  // it lives on, as one that lost its lease would
  bridge_->lead();
  ASSERT_TRUE(passes_until([&] { return told().size() == 2; }));
  std::vector<Asked> waiting;
  {
    const std::lock_guard lock{mutex_};
    waiting.assign(asked_.begin(), asked_.end());
  }
  waiting[0].done(gateway::ChatReply{"of the dead one"});
  for (int i = 0; i < 5; ++i) dead->pass({});
  EXPECT_EQ(only("SELECT count(*)::text AS value FROM whatsapp_outbox"), "0") << "it has not claimed it last";
  waiting[1].done(gateway::ChatReply{"of the living one"});
  ASSERT_TRUE(all_done());
  EXPECT_THAT(texts(), ElementsAre("of the living one"));
}

TEST_F(WhatsappBridge, SendsAgainWhatADeadControllerMayHaveSent) {
  echo();
  fake_.next({Fault::late});
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(passes_until([&] { return fake_.sent().size() == 1; }));
  auto dead = std::exchange(bridge_, another());
  bridge_->lead();
  ASSERT_TRUE(all_done());
  EXPECT_EQ(fake_.sent().size(), 2u) << "twice rather than lost: nobody told that it has arrived";
}

TEST_F(WhatsappBridge, SendsNothingAgainThatAStatusNames) {
  echo();
  options_.grace = std::chrono::minutes{10};
  bridge_ = another();
  fake_.next({Fault::lost});
  fake_.on_taken([&](const FakeGraph::Sent& sent) {
    status({sent.wamid, store::outbox_id_in(sent.callback), store::WhatsappDelivery::sent, system_now(), ""});
  });
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(all_done());
  EXPECT_EQ(fake_.sent().size(), 1u);
  EXPECT_EQ(only("SELECT wamid AS value FROM whatsapp_outbox"), "wamid.out1");
}

TEST_F(WhatsappBridge, WaitsALittleForAStatusBeforeItSendsAgain) {
  echo();
  options_.grace = std::chrono::minutes{10};
  bridge_ = another();
  fake_.next({Fault::lost});
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(passes_until([&] {
    return only("SELECT coalesce((SELECT state FROM whatsapp_outbox), '') AS value") == "waiting" &&
           fake_.sent().size() == 1;
  }));
  for (int i = 0; i < 20; ++i) bridge_->pass({});
  EXPECT_EQ(fake_.sent().size(), 1u);
}

TEST_F(WhatsappBridge, RecordsWhatItKnowsOnceTheDatabaseIsBack) {
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(passes_until([&] { return told().size() == 1; }));
  echo();
  asked_[0].done(gateway::ChatReply{"late"});
  run("ALTER TABLE whatsapp_inbox RENAME TO elsewhere");
  for (int i = 0; i < 5; ++i) bridge_->pass({});
  run("ALTER TABLE elsewhere RENAME TO whatsapp_inbox");
  ASSERT_TRUE(all_done());
  EXPECT_THAT(texts(), ElementsAre("late"));
  EXPECT_EQ(told().size(), 1u);
}

// --- what becomes of replies

TEST_F(WhatsappBridge, KeepsTheNewestStatusOfAReply) {
  echo();
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(all_done());
  using enum store::WhatsappDelivery;
  for (const auto one : {sent, read, delivered})
    EXPECT_FALSE(status({"wamid.out1", std::nullopt, one, system_now(), ""}));
  EXPECT_EQ(only("SELECT delivery AS value FROM whatsapp_outbox"), "read") << "delivered came late";
  EXPECT_FALSE(status({"wamid.unknown", 987654, failed, system_now(), "nobody's"}));
}

TEST_F(WhatsappBridge, KeepsWhyAReplyDidNotArrive) {
  echo();
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(all_done());
  const store::WhatsappStatus lost{"wamid.out1", std::nullopt, store::WhatsappDelivery::failed, system_now(),
                                   "too late"};
  EXPECT_TRUE(status(lost));
  EXPECT_FALSE(status(lost)) << "told once";
  auto tx = begin();
  const auto totals = store::whatsapp_totals(tx, agent_).value();
  EXPECT_EQ(totals.failed, 1);
  EXPECT_EQ(totals.last_error, "too late");
}

TEST_F(WhatsappBridge, SendsNothingForAnEmptyReply) {
  reply_ = [](const auto&) { return gateway::ChatReply{" \n"}; };
  receive("wamid.1", "shh");
  ASSERT_TRUE(all_done());
  EXPECT_EQ(fake_.asked(), 0);
}

TEST_F(WhatsappBridge, LeavesAgentsOfOtherControllersAndDeletedOnesAlone) {
  echo();
  receive("wamid.1", "Hello!");
  run("UPDATE agents SET controller_id = 'other'");
  for (int i = 0; i < 5; ++i) bridge_->pass({});
  run("UPDATE agents SET controller_id = 'creel', desired = 'deleted'");
  for (int i = 0; i < 5; ++i) bridge_->pass({});
  EXPECT_THAT(told(), IsEmpty());
  run("DELETE FROM agents");
  EXPECT_EQ(run("SELECT id FROM whatsapp_inbox").size(), 0);
}

TEST_F(WhatsappBridge, OutlivesAnAgentThatGoesWhileItIsAsked) {
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(passes_until([&] { return told().size() == 1; }));
  run("DELETE FROM agents");
  asked_[0].done(gateway::ChatReply{"too late"});
  for (int i = 0; i < 5; ++i) bridge_->pass({});
  agent_ = ready_agent();
  echo();
  receive("wamid.2", "new");
  ASSERT_TRUE(all_done());
  EXPECT_THAT(texts(), ElementsAre("echo: new"));
}

TEST_F(WhatsappBridge, ForgetsWhatIsDoneAfterTwoWeeks) {
  echo();
  receive("wamid.1", "Hello!");
  ASSERT_TRUE(all_done());
  bridge_ = another();
  bridge_->pass({});
  EXPECT_EQ(run("SELECT id FROM whatsapp_inbox").size(), 1);
  run("UPDATE whatsapp_inbox SET done_at = now() - interval '15 days'");
  bridge_ = another();
  bridge_->pass({});
  EXPECT_EQ(run("SELECT id FROM whatsapp_inbox").size(), 0);
  EXPECT_EQ(run("SELECT id FROM whatsapp_outbox").size(), 0);
  EXPECT_EQ(run("SELECT id FROM messages").size(), 2) << "the conversation has a retention of its own";
}

TEST_F(WhatsappBridge, ServesManyNumbersAtOnceAndLosesNothing) {
  echo();
  fake_.next({Fault::error, Fault::busy, Fault::none, Fault::error, Fault::limited, Fault::error});
  for (int i = 0; i < 60; ++i)
    receive("wamid." + std::to_string(i), std::to_string(i / 20), "49" + std::to_string(i % 20));
  ASSERT_TRUE(all_done());
  std::map<std::string, std::string> by_number;
  for (const auto& sent : fake_.sent()) by_number[sent.to] += sent.text.substr(6);
  EXPECT_EQ(by_number.size(), 20u);
  for (const auto& [number, order] : by_number) EXPECT_EQ(order, "012") << number;
}

}  // namespace
}  // namespace creel::test
