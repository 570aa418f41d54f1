// WhatsApp from Meta's signed webhook to the reply at the Cloud API: `creel serve`, a real agent, and a Cloud API of
// the test.
#include "controller/store/whatsapp.hpp"

#include <gmock/gmock.h>

#include <mutex>
#include <thread>

#include "controller/secrets/hmac.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/fake_graph.hpp"

namespace creel::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;
using Fault = FakeGraph::Fault;

class WhatsappLive : public testing::Test {
 protected:
  void SetUp() override {
    creel.start();
    key = creel.user("owner@example.com", "pro");
    const Answer made = creel.call("POST", "/api/provision", key,
                                   {{"whatsappToken", graph.token},
                                    {"whatsappPhoneNumberId", "111"},
                                    {"aiProvider", "openai"},
                                    {"apiKey", "sk-1234567890"}});
    ASSERT_EQ(made.status, 201) << made.text << creel.log();
    id = made.json["userId"];
    path = made.json["whatsapp"]["webhookPath"];
    word = made.json["whatsapp"]["verifyToken"];
    graph.on_taken([this](const FakeGraph::Sent& sent) {
      const std::lock_guard lock{mutex};
      taken.push_back(sent);
    });
  }

  Answer deliver(const json& body) {
    return creel.call("POST", path, "", body,
                      {{"X-Hub-Signature-256", "sha256=" + secrets::hmac_sha256_hex("app-secret", body.dump())}});
  }
  // What Meta repeats until it is taken: that it has the messages.
  void deliver_statuses() {
    const std::lock_guard lock{mutex};
    for (const auto& sent : taken)
      EXPECT_EQ(deliver(whatsapp_delivery({{"statuses", json::array({{{"id", sent.wamid},
                                                                      {"status", "delivered"},
                                                                      {"timestamp", "1764000001"},
                                                                      {"biz_opaque_callback_data", sent.callback}}})}}))
                    .status,
                200);
  }
  bool sent_are(std::size_t count) {
    creel.until(
        "/healthz", key, [&](const Answer&) { return graph.sent().size() >= count; }, std::chrono::seconds{90});
    return graph.sent().size() == count;
  }
  json channel() { return creel.call("GET", "/api/instance/" + id, key).json["whatsapp"]; }
  std::vector<std::string> texts() {
    std::vector<std::string> all;
    for (const auto& sent : graph.sent()) all.push_back(sent.text);
    return all;
  }

  FakeGraph graph;
  CreelProcess creel{{{"WHATSAPP_GRAPH_URL", graph.url()}, {"WHATSAPP_APP_SECRET", "app-secret"}}};
  std::string key, id, path, word;
  std::mutex mutex;
  std::vector<FakeGraph::Sent> taken;
};

TEST_F(WhatsappLive, IsAnsweredByTheAgentOnceHoweverOftenMetaDelivers) {
  const Answer shaken = creel.call("GET", path + "?hub.mode=subscribe&hub.challenge=42&hub.verify_token=" + word);
  EXPECT_EQ(shaken.status, 200);
  EXPECT_EQ(shaken.text, "42");
  // The agent may still be starting: the message waits for it.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(deliver(whatsapp_text("wamid.1", "Hello!")).status, 200);
  ASSERT_TRUE(sent_are(1)) << creel.log();
  EXPECT_EQ(graph.sent()[0].text, "ECHO(1): Hello!");
  EXPECT_EQ(graph.sent()[0].to, "491701234567");
  EXPECT_EQ(deliver(whatsapp_text("wamid.1", "Hello!")).json["messages"], 0);
  EXPECT_EQ(creel.call("POST", path, "", whatsapp_text("wamid.2", "forged")).status, 403);

  // WhatsApp fails: the reply comes later, and the agent is not asked again.
  graph.next({Fault::error, Fault::busy});
  EXPECT_EQ(deliver(whatsapp_text("wamid.3", "and now?")).status, 200);
  ASSERT_TRUE(sent_are(2)) << creel.log();
  EXPECT_EQ(graph.sent()[1].text, "ECHO(2): and now?") << "one conversation for each number";
  deliver_statuses();
  creel.until("/api/instance/" + id, key, [](const Answer& a) { return a.json["whatsapp"]["waiting"] == 0; });
  EXPECT_EQ(channel()["failed"], 0);
  EXPECT_THAT(creel.call("GET", "/metrics").text,
              HasSubstr("creel_messages_total{outcome=\"sent\",platform=\"whatsapp\"} 2"));
  // Once among the messages, although the agent's own transcript has them too.
  EXPECT_EQ(creel.call("GET", "/api/agents/" + id + "/messages", key).json["total"], 4);
  for (const std::string& secret : {graph.token, std::string{"app-secret"}, word})
    EXPECT_EQ(creel.log().find(secret), std::string::npos);
}

TEST_F(WhatsappLive, WaitsForAStoppedAgentAndLosesNothing) {
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/stop", key).json["status"], "stopped");
  EXPECT_EQ(deliver(whatsapp_text("wamid.1", "anybody?")).status, 200);
  EXPECT_EQ(deliver(whatsapp_text("wamid.2", "hello?")).status, 200);
  EXPECT_EQ(channel()["waiting"], 2);
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/start", key).json["status"], "running");
  ASSERT_TRUE(sent_are(2)) << creel.log();
  EXPECT_THAT(texts(), ElementsAre("ECHO(1): anybody?", "ECHO(2): hello?"));
}

TEST_F(WhatsappLive, OutlivesAControllerThatIsKilledAtAnyPoint) {
  // WhatsApp takes the reply, and the controller dies before it hears of that.
  graph.next({Fault::late});
  ASSERT_EQ(deliver(whatsapp_text("wamid.0", "m0")).status, 200);
  ASSERT_TRUE(sent_are(1)) << creel.log();
  creel.kill_hard();
  creel.start();
  deliver_statuses();
  // Wherever the message has come to.
  const std::vector<int> after{0, 15, 60};
  for (std::size_t i = 0; i < after.size(); ++i) {
    const std::string number = std::to_string(i + 1);
    ASSERT_EQ(deliver(whatsapp_text("wamid." + number, "m" + number)).status, 200);
    std::this_thread::sleep_for(std::chrono::milliseconds{after[i]});  // how far it gets is what differs
    creel.kill_hard();
    creel.start();
    deliver_statuses();
  }
  ASSERT_TRUE(sent_are(4)) << creel.log();
  deliver_statuses();
  creel.until("/api/instance/" + id, key, [](const Answer& a) { return a.json["whatsapp"]["waiting"] == 0; });
  std::vector<std::string> messages;
  for (const auto& text : texts()) messages.push_back(text.substr(text.find(": ") + 2));
  EXPECT_THAT(messages, ElementsAre("m0", "m1", "m2", "m3")) << "each once, in order";
}

}  // namespace
}  // namespace creel::test
