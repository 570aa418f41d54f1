// The operator and the collector of transcripts with the real OpenClaw image.
#include "controller/gateway/operator.hpp"

#include <gtest/gtest.h>

#include <future>

#include "controller/http/client.hpp"
#include "controller/store/agent_secrets.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/messages.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/model_server.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

constexpr const char* kMasterKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

template <class T>
Result<T> wait(std::function<void(gateway::Operator::Done<T>)> call) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto future = promise->get_future();
  call([promise](Result<T> result) { promise->set_value(std::move(result)); });
  return future.get();
}

class OpenClawOperator : public testing::Test {
 protected:
  void SetUp() override {
    creel.start();
    key = creel.user("owner@example.com", "starter");
    const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}});
    ASSERT_EQ(made.status, 201) << made.text;
    id = made.json["agent"]["id"];
    ready();
    const json networks = creel.engine().container(id)["NetworkSettings"]["Networks"];
    const std::string host = networks.begin().value()["Gateway"];
    ASSERT_EQ(creel.call("PUT", "/api/agents/" + id + "/config", key, model_config(host, model.port())).status, 200);
    auto opened = store::Database::open(creel.conninfo(), 2);
    ASSERT_TRUE(opened) << opened.error().message;
    database = std::move(*opened);
  }
  void TearDown() override { database.reset(); }

  void ready() {
    const Answer answer = creel.until(
        "/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; },
        std::chrono::seconds{240});
    ASSERT_EQ(answer.json["agent"]["phase"], "Ready") << answer.text << creel.log();
  }
  // The agent takes a while to take its configuration in.
  void warm_up() {
    Answer reply;
    for (int attempt = 0; attempt < 60; ++attempt) {
      reply = creel.call("POST", "/api/chat", key, {{"message", "warm-up " + std::to_string(attempt)}});
      if (reply.status == 200 && reply.json["reply"].get<std::string>().find("MODEL(") != std::string::npos) return;
      std::this_thread::sleep_for(std::chrono::seconds{1});
    }
    FAIL() << reply.text << creel.log();
  }
  void chat(const std::string& message) {
    const Answer reply = creel.call("POST", "/api/chat", key, {{"message", message}});
    ASSERT_EQ(reply.status, 200) << reply.text << creel.log();
    ASSERT_NE(reply.json["reply"].get<std::string>().find("MODEL("), std::string::npos) << reply.text;
  }
  // How often that was stored, and taken from the transcript or taken up.
  int collected(bool from_agent, const std::string& words) {
    int times = 0;
    for (const auto& message : messages()) {
      if (message.from_agent != from_agent || message.content.find(words) == std::string::npos) continue;
      if (!message.external_id) return 0;
      ++times;
    }
    return times;
  }
  gateway::OperatorTarget target() {
    auto tx = database->begin().value();
    const auto row = store::get_agent(tx, *AgentId::parse(id)).value();
    gateway::OperatorTarget at{row->id, "openclaw", row->status.address, "", ""};
    for (auto [name, into] : {std::pair{"gateway_token", &at.token}, std::pair{"device_key", &at.device_key}}) {
      const auto sealed = store::get_secret(tx, row->id, name).value();
      *into = sealer.open(sealed.value(), secrets::secret_context(id, name)).value();
    }
    return at;
  }
  // The oldest first.
  std::vector<store::Message> messages() {
    auto tx = database->begin().value();
    auto list = store::list_messages(tx, *AgentId::parse(id), 1000, 0).value();
    std::reverse(list.begin(), list.end());
    return list;
  }
  bool eventually(const std::function<bool()>& done) {
    for (int i = 0; i < 900 && !done(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds{100});
    return done();
  }

  ModelServer model;
  CreelProcess creel{{{"CREEL_DEFAULT_TEMPLATE", "openclaw"}, {"CREEL_MASTER_KEY", kMasterKey}}};
  const secrets::Sealer sealer = secrets::Sealer::from_base64(kMasterKey).value();
  std::unique_ptr<store::Database> database;
  std::string key, id;
  http::Client client;
  gateway::Operator op{client};
};

TEST_F(OpenClawOperator, IsAnsweredAndWhatWasSaidIsCollectedOnce) {
  warm_up();
  chat("hello creel");
  const auto at = target();
  const auto health = wait<gateway::GatewayHealth>([&](auto done) { op.health(at, std::move(done)); });
  ASSERT_TRUE(health) << health.error().message;
  EXPECT_EQ(health->version, "2026.3.13");
  EXPECT_EQ(health->model, "local/echo-1");
  EXPECT_GT(health->uptime.value_or(milliseconds{0}).count(), 0);
  EXPECT_TRUE(health->channels.empty());

  const auto sessions =
      wait<std::vector<gateway::GatewaySession>>([&](auto done) { op.sessions(at, std::move(done)); });
  ASSERT_TRUE(sessions) << sessions.error().message;
  ASSERT_FALSE(sessions->empty());
  EXPECT_EQ(sessions->at(0).key, "topic:general");
  EXPECT_EQ(sessions->at(0).platform, "api");
  EXPECT_TRUE(sessions->at(0).updated_at);

  const auto history = wait<std::vector<gateway::GatewayMessage>>(
      [&](auto done) { op.history(at, "topic:general", 100, std::move(done)); });
  ASSERT_TRUE(history) << history.error().message;
  ASSERT_GE(history->size(), 2u);
  EXPECT_EQ(history->at(history->size() - 2).text, "hello creel");
  EXPECT_NE(history->back().text.find("MODEL("), std::string::npos);
  const auto again = wait<std::vector<gateway::GatewayMessage>>(
      [&](auto done) { op.history(at, "topic:general", 2, std::move(done)); });
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->back().id, history->back().id);

  // Collected, each once, and not again by a controller that was killed.
  ASSERT_TRUE(eventually([&] { return collected(false, "hello creel") == 1 && collected(true, "hello creel") == 1; }))
      << creel.log();
  creel.kill_hard();
  creel.start();
  chat("still there?");
  ASSERT_TRUE(eventually([&] { return collected(false, "still there?") == 1 && collected(true, "still there?") == 1; }))
      << creel.log();
  EXPECT_EQ(collected(false, "hello creel"), 1);
  EXPECT_EQ(collected(true, "hello creel"), 1);
  for (const auto& message : messages()) EXPECT_EQ(message.platform, "api");
}

TEST_F(OpenClawOperator, SwitchesASkillWithoutARestart) {
  const auto at = target();
  const auto skills = wait<std::vector<gateway::GatewaySkill>>([&](auto done) { op.skills(at, std::move(done)); });
  ASSERT_TRUE(skills) << skills.error().message;
  EXPECT_GT(skills->size(), 10u);
  const auto weather =
      std::find_if(skills->begin(), skills->end(), [](const auto& skill) { return skill.id == "weather"; });
  ASSERT_NE(weather, skills->end());
  EXPECT_TRUE(weather->enabled);
  EXPECT_FALSE(weather->description.empty());

  const std::string started = creel.engine().container(id)["State"]["StartedAt"];
  auto changed = wait<gateway::GatewaySkill>([&](auto done) { op.set_skill(at, "weather", false, std::move(done)); });
  ASSERT_TRUE(changed) << changed.error().message;
  EXPECT_FALSE(changed->enabled);
  changed = wait<gateway::GatewaySkill>([&](auto done) { op.set_skill(at, "weather", true, std::move(done)); });
  ASSERT_TRUE(changed) << changed.error().message;
  EXPECT_TRUE(changed->enabled);
  const auto none = wait<gateway::GatewaySkill>([&](auto done) { op.set_skill(at, "no-such", true, std::move(done)); });
  EXPECT_EQ(none.error().kind, ErrorKind::not_found);
  EXPECT_EQ(creel.engine().container(id)["State"]["StartedAt"], started);

  // A device that is not paired is told what to do.
  auto stranger = at;
  stranger.device_key = std::string(64, '1');
  const auto refused =
      wait<std::vector<gateway::GatewaySkill>>([&](auto done) { op.skills(stranger, std::move(done)); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "GATEWAY_NOT_PAIRED") << refused.error().message;
}

}  // namespace
}  // namespace creel::test
