// The main job with the real OpenClaw image against a small local OpenAI-compatible model server.
#include <gtest/gtest.h>

#include "controller/secrets/hmac.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/fake_graph.hpp"
#include "tests/support/model_server.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

TEST(OpenClaw, FromProvisionToDeleteOnTheRealImage) {
  ModelServer model;
  FakeGraph graph;
  CreelProcess creel{{{"CREEL_DEFAULT_TEMPLATE", "openclaw"},
                      {"WHATSAPP_GRAPH_URL", graph.url()},
                      {"WHATSAPP_APP_SECRET", "app-secret"}}};
  creel.start();
  const std::string key = creel.user("owner@example.com", "starter");

  // Provision → ready.
  const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}});
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.json["agent"]["status"], "running") << creel.log();
  const std::string id = made.json["agent"]["id"];
  auto ready = [&] {
    return creel.until(
        "/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; },
        std::chrono::seconds{240});
  };
  const Answer first_ready = ready();
  ASSERT_EQ(first_ready.json["agent"]["phase"], "Ready") << first_ready.text << creel.log();
  EXPECT_EQ(first_ready.json["agent"]["openclawVersion"], "2026.3.13");

  // The owner points it at a model; the agent takes the new configuration in.
  const json networks = creel.engine().container(id)["NetworkSettings"]["Networks"];
  const std::string host = networks.begin().value()["Gateway"];
  ASSERT_EQ(creel.call("PUT", "/api/agents/" + id + "/config", key, model_config(host, model.port())).status, 200);
  Answer reply;
  for (int attempt = 0; attempt < 30; ++attempt) {
    reply = creel.call("POST", "/api/chat", key, {{"message", "hello creel"}});
    if (reply.status == 200 && reply.json["reply"].get<std::string>().find("MODEL(") != std::string::npos) break;
    creel.until(
        "/api/agents/" + id, key, [](const Answer&) { return false; }, std::chrono::seconds{2});
  }
  ASSERT_EQ(reply.status, 200) << reply.text << creel.log();
  EXPECT_NE(reply.json["reply"].get<std::string>().find("hello creel"), std::string::npos) << reply.text;

  // What the agent itself tells, and a skill switched without a restart.
  const std::string running_since = creel.engine().container(id)["State"]["StartedAt"];
  const Answer health = creel.call("GET", "/api/agent?action=health", key);
  ASSERT_EQ(health.status, 200) << health.text << creel.log();
  EXPECT_EQ(health.json["version"], "2026.3.13") << health.text;
  EXPECT_EQ(health.json["model"], "local/echo-1") << health.text;
  const auto enabled = [&](const std::string& skill) -> json {
    const Answer skills = creel.call("GET", "/api/agent?action=skills", key);
    for (const auto& one : skills.json["skills"])
      if (one["id"] == skill) return one["enabled"];
    return skills.text;
  };
  EXPECT_EQ(enabled("weather"), true);
  const json off{{"action", "update-skill"}, {"skillId", "weather"}, {"enabled", false}};
  const Answer switched = creel.call("POST", "/api/agent", key, off);
  EXPECT_EQ(switched.json["success"], true) << switched.text;
  EXPECT_EQ(enabled("weather"), false);
  const Answer unknown = creel.call("POST", "/api/agent", key,
                                    {{"action", "update-skill"}, {"skillId", "no-such-skill"}, {"enabled", true}});
  EXPECT_EQ(unknown.status, 404) << unknown.text;
  EXPECT_EQ(unknown.json["code"], "SKILL_NOT_FOUND");
  EXPECT_EQ(creel.engine().container(id)["State"]["StartedAt"], running_since);

  // Its sessions, and what was said in the one of the chat: each message once, though store and transcript have both.
  const Answer sessions = creel.call("GET", "/api/agent?action=sessions", key);
  ASSERT_EQ(sessions.json.value("gatewayError", json{"none told"}), nullptr) << sessions.text;
  std::string chatted;
  for (const auto& session : sessions.json["sessions"])
    if (session["key"] == "topic:general") chatted = session["id"];
  const Answer session = creel.call("GET", "/api/agent?action=session&sessionId=" + chatted, key);
  ASSERT_EQ(session.status, 200) << session.text << sessions.text;
  ASSERT_EQ(session.json.value("gatewayError", json{"none told"}), nullptr) << session.text;
  int said = 0;
  for (const auto& message : session.json["session"]["messages"])
    if (message["role"] == "assistant" && message["content"] == reply.json["reply"]) ++said;
  EXPECT_EQ(said, 1) << session.text;

  // Somebody writes on WhatsApp: a conversation of its own, answered by the same model.
  const Answer channel = creel.call("POST", "/api/agent", key,
                                    {{"action", "set-credential"}, {"key", "whatsapp"}, {"value", graph.token}});
  ASSERT_EQ(channel.status, 200) << channel.text;
  ASSERT_TRUE(channel.json.contains("whatsapp")) << channel.text;
  const json written = whatsapp_text("wamid.1", "hello from a phone");
  const Answer taken =
      creel.call("POST", channel.json["whatsapp"]["webhookPath"], "", written,
                 {{"X-Hub-Signature-256", "sha256=" + secrets::hmac_sha256_hex("app-secret", written.dump())}});
  EXPECT_EQ(taken.status, 200) << taken.text;
  creel.until(
      "/healthz", key, [&](const Answer&) { return !graph.sent().empty(); }, std::chrono::seconds{120});
  ASSERT_EQ(graph.sent().size(), 1u) << creel.log();
  EXPECT_EQ(graph.sent()[0].to, "491701234567");
  EXPECT_NE(graph.sent()[0].text.find("MODEL(1)"), std::string::npos) << graph.sent()[0].text;
  EXPECT_NE(graph.sent()[0].text.find("hello from a phone"), std::string::npos) << graph.sent()[0].text;

  // Stop → start → history kept: the model is shown the earlier turn too.
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/stop", key).json["status"], "stopped");
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/start", key).json["status"], "running");
  ready();
  const Answer second = creel.call("POST", "/api/chat", key, {{"message", "and again"}});
  ASSERT_EQ(second.status, 200) << second.text;
  EXPECT_EQ(second.json["reply"].get<std::string>().find("MODEL(1)"), std::string::npos)
      << "the model saw only one user message: " << second.text;
  EXPECT_NE(second.json["reply"].get<std::string>().find("and again"), std::string::npos) << second.text;

  // The controller is killed and restarted without touching the agent.
  const std::string started = creel.engine().container(id)["State"]["StartedAt"];
  creel.kill_hard();
  creel.start();
  EXPECT_EQ(creel.call("POST", "/api/chat", key, {{"message", "still there?"}}).status, 200);
  EXPECT_EQ(creel.engine().container(id)["State"]["StartedAt"], started);

  // Another image (of the same content, by another name): a new container, and what was said is still known.
  const std::string tag = "test-" + creel.controller();
  ASSERT_EQ(
      creel.engine()
          .call("POST", "/images/ghcr.io/openclaw/openclaw:2026.3.13/tag?repo=ghcr.io/openclaw/openclaw&tag=" + tag)
          .status,
      201);
  const std::string container = creel.engine().container(id)["Id"];
  const Answer updated =
      creel.call("POST", "/api/instance/" + id + "/update", key, {{"image", "ghcr.io/openclaw/openclaw:" + tag}});
  EXPECT_EQ(updated.status, 200) << updated.text << creel.log();
  EXPECT_EQ(updated.json["status"], "running") << updated.text;
  EXPECT_NE(creel.engine().container(id)["Id"], container);
  EXPECT_EQ(creel.call("GET", "/api/agents/" + id, key).json["agent"]["image"], "ghcr.io/openclaw/openclaw:" + tag);
  const Answer known = creel.call("POST", "/api/chat", key, {{"message", "after the update"}});
  ASSERT_EQ(known.status, 200) << known.text;
  EXPECT_EQ(known.json["reply"].get<std::string>().find("MODEL(1)"), std::string::npos) << known.text;
  creel.engine().call("DELETE", "/images/ghcr.io/openclaw/openclaw:" + tag);

  // It forgets: the model is shown the new turn alone.
  const Answer reset = creel.call("POST", "/api/instance/" + id + "/reset-memory", key);
  EXPECT_EQ(reset.json["message"], "Memory reset successfully") << reset.text << creel.log();
  ready();
  const Answer fresh = creel.call("POST", "/api/chat", key, {{"message", "who am I"}});
  ASSERT_EQ(fresh.status, 200) << fresh.text;
  EXPECT_NE(fresh.json["reply"].get<std::string>().find("MODEL(1)"), std::string::npos) << fresh.text;

  // Real numbers.
  const Answer stats = creel.until("/api/agents/" + id + "/stats", key, [](const Answer& a) {
    return a.json["stats"]["raw"]["memoryBytes"].is_number() && a.json["stats"]["raw"]["memoryBytes"] > 100'000'000;
  });
  EXPECT_GT(stats.json["stats"]["raw"]["memoryBytes"].get<std::int64_t>(), 100'000'000) << stats.text;

  // Delete leaves nothing.
  EXPECT_EQ(creel.call("DELETE", "/api/agents/" + id + "?purge=true", key).status, 200);
  EXPECT_TRUE(creel.engine().container(id).is_discarded());
  creel.until("/api/agents", key,
              [&](const Answer&) { return creel.engine().call("GET", "/volumes/creel-" + id).status == 404; });
  EXPECT_EQ(creel.engine().call("GET", "/volumes/creel-" + id).status, 404);
}

}  // namespace
}  // namespace creel::test
