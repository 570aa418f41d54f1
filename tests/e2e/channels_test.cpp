// Agents with channels, keys and live streams, from `creel serve` to the files in the agent's volume.
#include <gtest/gtest.h>

#include "tests/support/creel_process.hpp"
#include "tests/support/fake_mux.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

const std::string kTelegram = "123456789:AAFakeFakeFakeFakeFakeFakeFakeFakeFak";
const std::string kTelegram2 = "987654321:AAOtherOtherOtherOtherOtherOtherOthe";
const std::string kDiscord = "MTAxMDEwMTAxMDEwMTAxMDEw.GabcdE.abcdefghijklmnopqrstuvwxyz0123456789AB";
const std::string kApiKey = "sk-or-v1-fake-provider-key";
const std::string kAnthropic = "sk-ant-fake-provider-key";

class Channels : public testing::Test {
 protected:
  void start(CreelProcess::Env env) {
    creel = std::make_unique<CreelProcess>(std::move(env));
    creel->start();
    key = creel->user("owner@example.com", "pro");
  }
  Answer ready(const std::string& id, std::uint64_t generation = 0) {
    return creel->until(
        "/api/agents/" + id, key,
        [&](const Answer& a) {
          return a.json["agent"]["phase"] == "Ready" && a.json["agent"]["observedGeneration"] >= generation;
        },
        std::chrono::seconds{240});
  }
  // A file of the agent's volume, inside the tar that the engine gives.
  std::string file(const std::string& id, const std::string& path) {
    return creel->engine().call("GET", "/containers/creel-" + id + "/archive?path=" + path).text;
  }
  // Everything that whoever may ask the engine, or read the controller's log, can see.
  std::string seen(const std::string& id) {
    return creel->engine().container(id).dump() + creel->log() +
           creel->engine().call("GET", "/containers/creel-" + id + "/logs?stdout=1&stderr=1").text;
  }
  std::string started(const std::string& id) { return creel->engine().container(id)["State"]["StartedAt"]; }
  Answer set(const std::string& name, const std::string& value) {
    return creel->call("POST", "/api/agent", key, {{"action", "set-credential"}, {"key", name}, {"value", value}});
  }

  std::unique_ptr<CreelProcess> creel;
  std::string key;
};

TEST_F(Channels, OfTheReferenceAgentComeWithALiveStreamThatGoesWithTheAgent) {
  FakeMux mux;
  start({{"MUX_TOKEN_ID", "id"}, {"MUX_TOKEN_SECRET", "secret"}, {"MUX_BASE_URL", mux.url()}});
  const Answer made = creel->call("POST", "/api/provision", key,
                                  {{"telegramToken", kTelegram}, {"aiProvider", "openai"}, {"apiKey", kApiKey}});
  ASSERT_EQ(made.status, 201) << made.text << creel->log();
  const std::string id = made.json["userId"];
  EXPECT_EQ(made.json["status"], "running");
  EXPECT_EQ(made.json["liveStreamId"], "stream_1") << made.text;
  EXPECT_EQ(made.json["streamKey"], "live_key_1");
  EXPECT_EQ(made.json["warnings"], json::array());
  for (const std::string& secret : {kTelegram, kApiKey, std::string{"live_key_1"}})
    EXPECT_EQ(seen(id).find(secret), std::string::npos);

  // A Mux that is away costs the answer nothing but the stream, which comes later.
  mux.set_away(true);
  const Answer second = creel->call("POST", "/api/provision", key, {{"telegramToken", kTelegram}, {"apiKey", kApiKey}});
  ASSERT_EQ(second.status, 201) << second.text;
  EXPECT_TRUE(second.json["liveStreamId"].is_null());
  ASSERT_EQ(second.json["warnings"].size(), 1u) << second.text;
  EXPECT_NE(second.json["warnings"][0].get<std::string>().find("503"), std::string::npos) << second.text;
  mux.set_away(false);
  const std::string other = second.json["userId"];
  const Answer later =
      creel->until("/api/instance/" + other, key, [](const Answer& a) { return a.json["liveStreamId"].is_string(); });
  EXPECT_EQ(later.json["liveStreamId"], "stream_2") << later.text;
  EXPECT_EQ(later.json["streamKey"], "live_key_2");

  EXPECT_EQ(creel->call("DELETE", "/api/agents/" + id + "?purge=true", key).status, 200);
  creel->until("/api/agents", key, [&](const Answer&) { return mux.streams().size() == 1; });
  ASSERT_EQ(mux.streams().size(), 1u);
  EXPECT_EQ(mux.streams()[0].id, "stream_2");
}

TEST_F(Channels, AreToldWhenNoLiveStreamCanBeMade) {
  start({});
  const Answer made = creel->call("POST", "/api/provision", key, {{"telegramToken", kTelegram}, {"apiKey", kApiKey}});
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_TRUE(made.json["streamKey"].is_null());
  EXPECT_TRUE(made.json["liveStreamId"].is_null());
  ASSERT_EQ(made.json["warnings"].size(), 1u);
  EXPECT_NE(made.json["warnings"][0].get<std::string>().find("MUX_TOKEN_ID"), std::string::npos);
}

TEST_F(Channels, AreLimitedAsTheSettingSays) {
  start({{"CREEL_RATE_LIMIT_PROVISION", "2"}});
  EXPECT_EQ(creel->call("POST", "/api/provision", "", json::object()).status, 401);
  EXPECT_EQ(creel->call("POST", "/api/provision", key, json::object()).status, 400);
  const Answer limited = creel->call("POST", "/api/provision", key, {{"telegramToken", kTelegram}});
  EXPECT_EQ(limited.status, 429) << limited.text;
  EXPECT_EQ(limited.json["code"], "RATE_LIMITED");
  EXPECT_EQ(limited.header("ratelimit-limit"), "2");
  EXPECT_NE(limited.header("retry-after"), "");
}

TEST_F(Channels, LeaveTheGatewaysTokenToBeRotated) {
  start({});
  const Answer made = creel->call("POST", "/api/provision", key, {{"telegramToken", kTelegram}});
  ASSERT_EQ(made.status, 201) << made.text;
  const std::string id = made.json["userId"];
  ready(id);
  const std::string run = started(id);
  const std::string old = creel->call("GET", "/api/instance/" + id + "/token", key).json["token"];
  const Answer rotated = creel->call("POST", "/api/instance/" + id + "/token/rotate", key);
  ASSERT_EQ(rotated.status, 200) << rotated.text;
  EXPECT_EQ(rotated.json["accepted"], true) << rotated.text << creel->log();
  EXPECT_NE(rotated.json["token"], old);
  EXPECT_EQ(started(id), run) << "without a restart";
  const Answer reply = creel->call("POST", "/api/chat", key, {{"message", "hello"}});
  EXPECT_EQ(reply.status, 200) << reply.text;
}

TEST_F(Channels, AndKeysReachTheRealOpenClawAndStayThroughChangesAndRepair) {
  start({{"CREEL_DEFAULT_TEMPLATE", "openclaw"}});
  const Answer made = creel->call("POST", "/api/provision", key,
                                  {{"telegramToken", kTelegram},
                                   {"telegramUserId", "987654321"},
                                   {"discordBotToken", kDiscord},
                                   {"discordGuildId", "123456789012345678"},
                                   {"discordChannelId", "223456789012345678"},
                                   {"aiProvider", "openrouter"},
                                   {"apiKey", kApiKey}});
  ASSERT_EQ(made.status, 201) << made.text << creel->log();
  EXPECT_EQ(made.json["model"], "openrouter/moonshotai/kimi-k2.5");
  EXPECT_EQ(made.json["plan"], "free");  // the smallest: 1 GiB and half a core must do
  const std::string id = made.json["userId"];
  const Answer first = ready(id);
  ASSERT_EQ(first.json["agent"]["phase"], "Ready") << first.text << creel->log();
  const std::string state = "/home/node/.openclaw/";
  const auto logs = [&] {
    return creel->engine().call("GET", "/containers/creel-" + id + "/logs?stdout=1&stderr=1").text;
  };
  // OpenClaw has taken the configuration: both channels are started, the model is the provider's.
  creel->until("/api/agents/" + id, key, [&](const Answer&) {
    const std::string text = logs();
    return text.find("[discord] [default] starting provider") != std::string::npos &&
           text.find("[telegram]") != std::string::npos;
  });
  EXPECT_NE(logs().find("agent model: openrouter/moonshotai/kimi-k2.5"), std::string::npos) << logs();
  EXPECT_NE(logs().find("[discord] [default] starting provider"), std::string::npos) << logs();
  EXPECT_NE(logs().find("[telegram]"), std::string::npos) << logs();
  EXPECT_EQ(logs().find("Config invalid"), std::string::npos);
  EXPECT_NE(file(id, state + "openclaw.json").find("223456789012345678"), std::string::npos);
  EXPECT_NE(file(id, state + ".env").find("OPENROUTER_API_KEY=" + kApiKey), std::string::npos);

  // A channel changes without a restart of the container.
  const std::string run = started(id);
  const Answer channel = set("telegram", kTelegram2);
  ASSERT_EQ(channel.status, 200) << channel.text;
  ready(id, channel.json["generation"]);
  EXPECT_NE(file(id, state + "openclaw.json").find(kTelegram2), std::string::npos);
  EXPECT_EQ(file(id, state + "openclaw.json").find(kTelegram), std::string::npos);
  EXPECT_EQ(started(id), run);

  // A provider's key is read at the start: the agent is restarted.
  const Answer provider = set("anthropic", kAnthropic);
  ASSERT_EQ(provider.status, 200) << provider.text;
  ready(id, provider.json["generation"]);
  EXPECT_NE(file(id, state + ".env").find("ANTHROPIC_API_KEY=" + kAnthropic), std::string::npos);
  EXPECT_NE(started(id), run);
  const json credentials = creel->call("GET", "/api/agent?action=credentials", key).json["credentials"];
  EXPECT_EQ(credentials["anthropic"], true);
  EXPECT_EQ(credentials["telegram"], true);
  EXPECT_EQ(credentials["openai"], false);

  // The gateway takes a new token, if need be by a restart: it may have missed the file, so soon after its start.
  const Answer rotated = creel->call("POST", "/api/instance/" + id + "/token/rotate?wait=120", key);
  EXPECT_EQ(rotated.json["accepted"], true) << rotated.text << creel->log();

  // A repaired agent has all of it, in another container.
  const std::string container = creel->engine().container(id)["Id"];
  const Answer repaired = creel->call("POST", "/api/instance/" + id + "/repair", key);
  EXPECT_EQ(repaired.json["success"], true) << repaired.text;
  ready(id);
  EXPECT_NE(creel->engine().container(id)["Id"], container);
  for (const std::string& secret : {kTelegram2, kDiscord, rotated.json["token"].get<std::string>()})
    EXPECT_NE(file(id, state + "openclaw.json").find(secret), std::string::npos);
  for (const std::string& secret : {kApiKey, kAnthropic})
    EXPECT_NE(file(id, state + ".env").find(secret), std::string::npos);

  const std::string all = seen(id);
  for (const std::string& secret :
       {kTelegram, kTelegram2, kDiscord, kApiKey, kAnthropic, rotated.json["token"].get<std::string>()})
    EXPECT_EQ(all.find(secret), std::string::npos) << "inspect, the agent's log or the controller's shows a secret";
  EXPECT_EQ(creel->call("DELETE", "/api/agents/" + id + "?purge=true", key).status, 200);
}

}  // namespace
}  // namespace creel::test
