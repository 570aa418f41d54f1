// POST /api/provision, credentials, token rotation: the API over a real PostgreSQL.
#include <gmock/gmock.h>

#include "controller/store/agent_secrets.hpp"
#include "controller/store/live_streams.hpp"
#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::string kTelegram = "123456789:AAFakeFakeFakeFakeFakeFakeFakeFakeFak";
const std::string kDiscord = "MTAxMDEwMTAxMDEwMTAxMDEw.GabcdE.abcdefghijklmnopqrstuvwxyz0123456789AB";
const std::string kWhatsapp = "EAAGfakeWhatsappToken";
const std::string kApiKey = "sk-fake-provider-key-1";

class ApiChannels : public ApiTest {
 protected:
  Answer make(const json& body, const std::string& key = "", api::Headers headers = {}) {
    return ask("POST", "/api/provision?wait=0", key.empty() ? ann_key_ : key, body, std::move(headers));
  }
  std::string made(const json& body) {
    const Answer answer = make(body);
    EXPECT_EQ(answer.status, 201) << answer.text;
    return answer.body["userId"].get<std::string>();
  }
  std::string secret(const std::string& id, const std::string& name) {
    auto tx = begin();
    const auto sealed = store::get_secret(tx, *AgentId::parse(id), name).value();
    return sealed ? sealer_.open(*sealed, secrets::secret_context(id, name)).value() : "";
  }
  // A rendered file as it would be delivered.
  std::string file(const std::string& id, const std::string& path) {
    for (const auto& one : json::parse(secret(id, "files")))
      if (one["path"] == path) return one["content"];
    return "(none)";
  }
  Answer set(const json& fields, const std::string& key = "") {
    json body = fields;
    body["action"] = "set-credential";
    return ask("POST", "/api/agent", key.empty() ? ann_key_ : key, body);
  }
  json credentials(const std::string& query = "") {
    return ask("GET", "/api/agent?action=credentials" + query, ann_key_).body["credentials"];
  }
  std::string restart_hash(const std::string& id) {
    return run("SELECT restart_files_hash FROM agents WHERE id = $1", {id})[0].text("restart_files_hash");
  }
  // Everything the database keeps, but for sealed bytes.
  std::string all_text() {
    std::string text;
    for (const char* table : {"agents", "events", "idempotency_keys", "live_streams", "agent_status"}) {
      const auto rows = run(std::string{"SELECT row_to_json(t)::text AS text FROM "} + table + " t");
      for (int i = 0; i < rows.size(); ++i) text += rows[i].text("text") + "\n";
    }
    return text;
  }
};

TEST_F(ApiChannels, AnswersInTheDocumentsShape) {
  const Answer answer = make({{"telegramToken", kTelegram},
                              {"telegramUserId", "987654321"},
                              {"aiProvider", "openai"},
                              {"apiKey", kApiKey},
                              {"plan", "free"},
                              {"unknown", 1}});
  ASSERT_EQ(answer.status, 201) << answer.text;
  const std::string id = answer.body["userId"];
  EXPECT_TRUE(AgentId::parse(id));
  EXPECT_EQ(answer.body["success"], true);
  EXPECT_EQ(answer.body["subdomain"], id + ".agents.localhost");
  EXPECT_EQ(answer.body["url"], "https://" + id + ".agents.localhost");
  EXPECT_TRUE(answer.body["streamKey"].is_null());
  EXPECT_TRUE(answer.body["liveStreamId"].is_null());
  ASSERT_EQ(answer.body["warnings"].size(), 1u) << answer.text;
  EXPECT_THAT(answer.body["warnings"][0].get<std::string>(), HasSubstr("MUX_TOKEN_ID"));
  EXPECT_EQ(answer.body["model"], "openai/gpt-4o");
  EXPECT_EQ(answer.body["plan"], "free");
  EXPECT_FALSE(answer.body.contains("whatsapp"));
  EXPECT_EQ(ask("GET", "/api/instance/" + id, ann_key_).body["plan"], "free");
}

TEST_F(ApiChannels, SealsTokensDeliversThemAndShowsThemNowhere) {
  const json body{{"telegramToken", kTelegram},
                  {"discordBotToken", kDiscord},
                  {"whatsappToken", kWhatsapp},
                  {"aiProvider", "gemini"},
                  {"apiKey", kApiKey}};
  const Answer answer = make(body, "", {{"Idempotency-Key", "one"}});
  ASSERT_EQ(answer.status, 201) << answer.text;
  const std::string id = answer.body["userId"];
  EXPECT_EQ(secret(id, "telegram"), kTelegram);
  EXPECT_EQ(secret(id, "discord"), kDiscord);
  EXPECT_EQ(secret(id, "whatsapp_token"), kWhatsapp);
  EXPECT_EQ(secret(id, "google"), kApiKey);
  EXPECT_EQ(json::parse(file(id, "config.json"))["telegram"]["token"], kTelegram);
  EXPECT_EQ(file(id, ".env"), "GOOGLE=" + kApiKey + "\n");
  const std::string stored = all_text();
  const std::string verify = secret(id, "whatsapp_verify_token");
  EXPECT_THAT(verify, testing::MatchesRegex("[0-9a-f]{32}"));
  for (const std::string& value : {kTelegram, kDiscord, kWhatsapp, kApiKey, verify})
    EXPECT_THAT(stored, Not(HasSubstr(value)));
  for (const std::string& value : {kTelegram, kDiscord, kWhatsapp, kApiKey})
    EXPECT_THAT(answer.text, Not(HasSubstr(value)));
}

TEST_F(ApiChannels, SaysOnceHowToSetWhatsappUp) {
  const Answer answer =
      make({{"whatsappToken", kWhatsapp}, {"whatsappPhoneNumberId", "15550001"}, {"whatsappBusinessAccountId", "42"}});
  ASSERT_EQ(answer.status, 201) << answer.text;
  const std::string id = answer.body["userId"];
  EXPECT_EQ(answer.body["whatsapp"]["webhookPath"], "/api/channels/whatsapp/" + id + "/webhook");
  EXPECT_EQ(answer.body["whatsapp"]["verifyToken"], secret(id, "whatsapp_verify_token"));
  EXPECT_EQ(secret(id, "whatsapp_phone_number_id"), "15550001");
  EXPECT_EQ(secret(id, "whatsapp_business_account_id"), "42");
  EXPECT_EQ(ask("GET", "/api/instance/" + id, ann_key_).body["whatsapp"]["verifyToken"],
            secret(id, "whatsapp_verify_token"));
  const std::string admin = make_user_with("root@example.com", "pro", "active", true);
  EXPECT_TRUE(ask("GET", "/api/instance/" + id, admin).body["whatsapp"].is_null()) << "for the owner alone";
}

TEST_F(ApiChannels, WantsAtLeastOneToken) {
  for (const json& body :
       {json::object(), json{{"telegramUserId", "1"}}, json{{"telegramToken", ""}}, json{{"telegramToken", nullptr}}}) {
    const Answer answer = make(body);
    EXPECT_EQ(answer.status, 400) << answer.text;
    EXPECT_EQ(answer.body["error"], "At least one channel token required (Telegram, WhatsApp, or Discord)");
  }
  EXPECT_EQ(run("SELECT id FROM agents").size(), 0);
}

TEST_F(ApiChannels, NamesTheFieldThatIsWrongAndStoresNothing) {
  const std::pair<const char*, json> wrong[] = {
      {"telegramToken", "12345"},
      {"telegramToken", 5},
      {"telegramUserId", "@me"},
      {"telegramUserId", 12345},
      {"whatsappToken", "with a blank"},
      {"whatsappPhoneNumberId", "+1555"},
      {"whatsappBusinessAccountId", "x"},
      {"discordBotToken", "abc"},
      {"discordGuildId", "123"},
      {"discordChannelId", "general"},
      {"aiProvider", "mistral"},
      {"apiKey", "two words"},
      {"plan", "gold"},
      {"plan", 3},
      {"name", std::string(65, 'x')},
      {"model", "best"},
      {"template", "none"},
  };
  for (const auto& [field, value] : wrong) {
    json body{{"telegramToken", kTelegram}};
    body[field] = value;
    const Answer answer = make(body);
    EXPECT_EQ(answer.status, 400) << field << ": " << answer.text;
    EXPECT_EQ(answer.body["field"], field) << answer.text;
    EXPECT_EQ(answer.body["code"], "INVALID_BODY");
    if (value.is_string() && value.get<std::string>().size() > 6) {
      EXPECT_THAT(answer.text, Not(HasSubstr(value.get<std::string>())));
    }
  }
  EXPECT_EQ(run("SELECT id FROM agents").size(), 0);
}

TEST_F(ApiChannels, ChecksInTheDocumentsOrder) {
  settings_.rate.provision = 4;
  build();
  EXPECT_EQ(ask("POST", "/api/provision", "", json::object()).status, 401);
  const std::string unpaid = make_user_with("poor@example.com", "free", "inactive");
  EXPECT_EQ(make(json::object(), unpaid).status, 400);
  EXPECT_EQ(make({{"telegramToken", kTelegram}}, unpaid).status, 402);
  const std::string one = make_user_with("one@example.com", "starter", "active");
  EXPECT_EQ(make({{"telegramToken", kTelegram}}, one).status, 201);
  const Answer limited = ask("POST", "/api/provision", "", json::object());
  EXPECT_EQ(limited.status, 429) << "before credentials are looked at";
  EXPECT_EQ(limited.body["code"], "RATE_LIMITED");
  EXPECT_EQ(limited.header("RateLimit-Limit"), "4");
  EXPECT_EQ(limited.header("RateLimit-Remaining"), "0");
  EXPECT_GT(std::stoi(limited.header("Retry-After")), 0);
  EXPECT_FALSE(limited.header("RateLimit-Reset").empty());
  settings_.rate.provision = 0;
  build();
  const Answer full = make({{"telegramToken", kTelegram}}, one);
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.body["code"], "AGENT_LIMIT_REACHED");
  EXPECT_EQ(full.body["current"], 1);
  EXPECT_EQ(full.body["limit"], 1);
}

TEST_F(ApiChannels, LimitsEachClientBehindATrustedProxyAndNobodyElsesWord) {
  settings_.rate.provision = 1;
  settings_.trusted_proxies = {"10.1.2.3"};
  build();
  const auto from = [&](const std::string& peer, const std::string& forwarded) {
    return send({"POST",
                 "/api/provision",
                 {{"X-Forwarded-For", forwarded}, {"Content-Type", "application/json"}},
                 "{}",
                 peer})
        .status;
  };
  EXPECT_EQ(from("10.1.2.3", "192.0.2.1"), 401);
  EXPECT_EQ(from("10.1.2.3", "192.0.2.1"), 429);
  EXPECT_EQ(from("10.1.2.3", "192.0.2.2"), 401) << "another client of the same proxy";
  EXPECT_EQ(from("198.51.100.9", "192.0.2.3"), 401);
  EXPECT_EQ(from("198.51.100.9", "192.0.2.4"), 429) << "a stranger cannot choose its address";
}

TEST_F(ApiChannels, LowersThePlanAndNeverRaisesIt) {
  const auto plan = [&](json body) {
    body["telegramToken"] = kTelegram;
    const Answer answer = make(body);
    EXPECT_EQ(answer.status, 201) << answer.text;
    return answer.body["plan"];
  };
  EXPECT_EQ(plan(json::object()), "free") << "the document's default";
  EXPECT_EQ(plan({{"plan", "enterprise"}}), "pro") << "the caller's own";
  EXPECT_EQ(plan({{"plan", "starter"}}), "starter");
}

TEST_F(ApiChannels, ChoosesTheModelByTheProvider) {
  const auto model = [&](json body) {
    const std::string key = make_user_with(random_hex(4) + "@example.com", "pro", "active");
    body["telegramToken"] = kTelegram;
    return make(body, key).body["model"];
  };
  EXPECT_EQ(model({{"aiProvider", "gemini"}}), "google/gemini-2.0-flash");
  EXPECT_EQ(model({{"aiProvider", "groq"}}), "claude-opus-4-6") << "this template names none for groq";
  EXPECT_EQ(model({{"aiProvider", "gemini"}, {"model", "openai/gpt-4.1"}}), "openai/gpt-4.1");
}

TEST_F(ApiChannels, WarnsOfWhatIsMissing) {
  const json warnings =
      make({{"discordBotToken", kDiscord}, {"discordChannelId", "123456789012345678"}}).body["warnings"];
  ASSERT_EQ(warnings.size(), 3u);
  EXPECT_THAT(warnings[0].get<std::string>(), HasSubstr("discordGuildId"));
  EXPECT_THAT(warnings[1].get<std::string>(), HasSubstr("openrouter"));
}

TEST_F(ApiChannels, RepeatsAnAnswerWithItsSecretsAndKeepsThemSealed) {
  settings_.live_streams = true;
  build();
  const json body{{"whatsappToken", kWhatsapp}, {"whatsappPhoneNumberId", "1"}};
  auto waiting = std::async(std::launch::async, [&] {
    return ask("POST", "/api/provision", ann_key_, body, {{"Idempotency-Key", "k"}});
  });
  ASSERT_TRUE(eventually([&] { return run("SELECT id FROM agents").size() == 1; }));
  const std::string id = run("SELECT id FROM agents")[0].text("id");
  observed(id, Phase::ready);
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds{50}), std::future_status::timeout) << "Mux gets a moment";
  {
    auto tx = begin();
    ASSERT_TRUE(store::keep_live_stream(tx, *AgentId::parse(id), "stream_9", false));
    ASSERT_TRUE(store::put_secret(tx, *AgentId::parse(id), "stream_key",
                                  sealer_.seal("live_9", secrets::secret_context(id, "stream_key"))));
    ASSERT_TRUE(tx.commit());
  }
  waiters_->notify(id);
  const Answer first = waiting.get();
  EXPECT_EQ(first.body["liveStreamId"], "stream_9") << first.text;
  EXPECT_EQ(first.body["streamKey"], "live_9");
  EXPECT_EQ(first.body["status"], "running");
  const Answer again = ask("POST", "/api/provision", ann_key_, body, {{"Idempotency-Key", "k"}});
  EXPECT_EQ(again.status, 201);
  EXPECT_EQ(again.header("Idempotency-Replayed"), "true");
  EXPECT_EQ(again.body, first.body);
  EXPECT_EQ(run("SELECT id FROM agents").size(), 1);
  for (const std::string& value : {std::string{"live_9"}, secret(id, "whatsapp_verify_token"), kWhatsapp})
    EXPECT_THAT(all_text(), Not(HasSubstr(value)));
  EXPECT_EQ(ask("POST", "/api/provision", ann_key_, {{"telegramToken", kTelegram}}, {{"Idempotency-Key", "k"}}).status,
            409);
}

TEST_F(ApiChannels, DoesNotWaitForAMuxThatFailed) {
  settings_.live_streams = true;
  build();
  auto waiting = ask_aside("POST", "/api/provision", ann_key_, {{"telegramToken", kTelegram}, {"apiKey", kApiKey}});
  ASSERT_TRUE(eventually([&] { return run("SELECT id FROM agents").size() == 1; }));
  const std::string id = run("SELECT id FROM agents")[0].text("id");
  {
    auto tx = begin();
    ASSERT_TRUE(store::fail_live_stream(tx, *AgentId::parse(id), "Mux answered 500", true, std::chrono::seconds{60}));
    ASSERT_TRUE(tx.commit());
  }
  observed(id, Phase::ready);
  const Answer answer = waiting.get();
  EXPECT_EQ(answer.status, 201);
  EXPECT_TRUE(answer.body["liveStreamId"].is_null());
  EXPECT_TRUE(answer.body["streamKey"].is_null());
  ASSERT_EQ(answer.body["warnings"].size(), 1u);
  EXPECT_THAT(answer.body["warnings"][0].get<std::string>(), HasSubstr("Mux answered 500"));
}

TEST_F(ApiChannels, ShowsTheStreamLaterToItsOwnerAlone) {
  settings_.live_streams = true;
  build();
  const std::string id = made({{"telegramToken", kTelegram}});
  const auto instance = [&](const std::string& key) { return ask("GET", "/api/instance/" + id, key).body; };
  EXPECT_TRUE(instance(ann_key_)["liveStreamId"].is_null());
  EXPECT_THAT(instance(ann_key_)["liveStreamMessage"].get<std::string>(), HasSubstr("being made"));
  {
    auto tx = begin();
    ASSERT_TRUE(store::keep_live_stream(tx, *AgentId::parse(id), "stream_9", false));
    ASSERT_TRUE(store::put_secret(tx, *AgentId::parse(id), "stream_key",
                                  sealer_.seal("live_9", secrets::secret_context(id, "stream_key"))));
    ASSERT_TRUE(tx.commit());
  }
  EXPECT_EQ(instance(ann_key_)["liveStreamId"], "stream_9");
  EXPECT_EQ(instance(ann_key_)["streamKey"], "live_9");
  EXPECT_TRUE(instance(ann_key_)["liveStreamMessage"].is_null());
  const std::string admin = make_user_with("root@example.com", "pro", "active", true);
  EXPECT_EQ(instance(admin)["userId"], id);
  EXPECT_TRUE(instance(admin)["streamKey"].is_null());
  EXPECT_TRUE(instance(admin)["liveStreamId"].is_null());
  const std::string plain = provision(ann_key_, "plain");
  const json other = ask("GET", "/api/instance/" + plain, ann_key_).body;
  EXPECT_TRUE(other["streamKey"].is_null());
  EXPECT_TRUE(other["liveStreamMessage"].is_null()) << "none was asked for";
}

// --- credentials

using ApiCredentials = ApiChannels;

TEST_F(ApiCredentials, AreListedWithoutTheirValues) {
  made({{"telegramToken", kTelegram}, {"aiProvider", "gemini"}, {"apiKey", kApiKey}});
  EXPECT_EQ(credentials(), json::parse(R"({"anthropic": false, "openai": false, "openrouter": false, "google": true,
      "groq": false, "telegram": true, "discord": false, "whatsapp": false, "whatsapp_app_secret": false,
      "whatsapp_phone_number_id": false})"));
}

TEST_F(ApiCredentials, AreSealedDeliveredAndRemoved) {
  const std::string id = provision(ann_key_);
  const auto before = generation(id);
  const std::string hash = restart_hash(id);
  const Answer answer = set({{"key", "openai"}, {"value", " " + kApiKey + "\n"}});
  ASSERT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.body["success"], true);
  EXPECT_EQ(answer.body["key"], "openai");
  EXPECT_EQ(answer.body["configured"], true);
  EXPECT_EQ(answer.body["generation"], before + 1);
  EXPECT_EQ(file(id, ".env"), "OPENAI=" + kApiKey + "\n");
  EXPECT_NE(restart_hash(id), hash) << "this template's agent reads its keys at its start";
  EXPECT_EQ(credentials()["openai"], true);
  EXPECT_THAT(answer.text + all_text(), Not(HasSubstr(kApiKey)));

  const Answer removed = set({{"key", "openai"}, {"value", ""}});
  EXPECT_EQ(removed.body["configured"], false);
  EXPECT_EQ(file(id, ".env"), "");
  EXPECT_EQ(secret(id, "openai"), "");
  EXPECT_EQ(credentials()["openai"], false);
}

TEST_F(ApiCredentials, OfAChannelNeedNoRestart) {
  const std::string id = provision(ann_key_);
  const std::string hash = restart_hash(id);
  EXPECT_EQ(set({{"key", "telegram"}, {"value", kTelegram}}).status, 200);
  EXPECT_EQ(json::parse(file(id, "config.json"))["telegram"]["token"], kTelegram);
  EXPECT_EQ(restart_hash(id), hash);
}

TEST_F(ApiCredentials, MakeNoWishOfWhatIsSoAlready) {
  const std::string id = provision(ann_key_);
  set({{"key", "openai"}, {"value", kApiKey}});
  const auto before = generation(id);
  EXPECT_EQ(set({{"key", "openai"}, {"value", kApiKey}}).body["configured"], true);
  EXPECT_EQ(set({{"key", "groq"}, {"value", ""}}).body["configured"], false);
  EXPECT_EQ(generation(id), before);
}

TEST_F(ApiCredentials, KeepTheOwnersConfiguration) {
  const std::string id = provision(ann_key_);
  ASSERT_EQ(ask("PUT", "/api/agents/" + id + "/config", ann_key_, {{"theme", "dark"}}).status, 200);
  set({{"key", "telegram"}, {"value", kTelegram}});
  EXPECT_EQ(json::parse(file(id, "config.json"))["theme"], "dark");
  ASSERT_EQ(ask("PUT", "/api/agents/" + id + "/config", ann_key_, {{"theme", "light"}}).status, 200);
  EXPECT_EQ(json::parse(file(id, "config.json"))["telegram"]["token"], kTelegram);
  EXPECT_EQ(json::parse(file(id, "config.json"))["theme"], "light");
}

TEST_F(ApiCredentials, OfWhatsappComeWithAWordForMetaOnce) {
  const std::string id = provision(ann_key_);
  const Answer first = set({{"key", "whatsapp"}, {"value", kWhatsapp}});
  EXPECT_EQ(secret(id, "whatsapp_token"), kWhatsapp);
  EXPECT_EQ(first.body["whatsapp"]["webhookPath"], "/api/channels/whatsapp/" + id + "/webhook");
  EXPECT_EQ(first.body["whatsapp"]["verifyToken"], secret(id, "whatsapp_verify_token"));
  EXPECT_FALSE(set({{"key", "whatsapp"}, {"value", kWhatsapp + "2"}}).body.contains("whatsapp"));
}

TEST_F(ApiCredentials, AreCheckedBeforeAnythingIsStored) {
  const std::string id = provision(ann_key_);
  const auto before = generation(id);
  const std::pair<const char*, json> wrong[] = {{"key", {{"value", "x"}}},
                                                {"key", {{"key", "aws"}, {"value", kApiKey}}},
                                                {"key", {{"key", 1}, {"value", kApiKey}}},
                                                {"value", {{"key", "openai"}}},
                                                {"value", {{"key", "openai"}, {"value", 1}}},
                                                {"value", {{"key", "openai"}, {"value", "two words"}}},
                                                {"value", {{"key", "telegram"}, {"value", kApiKey}}},
                                                {"agentId", {{"key", "openai"}, {"value", kApiKey}, {"agentId", 1}}}};
  for (const auto& [field, body] : wrong) {
    const Answer answer = set(body);
    EXPECT_EQ(answer.status, 400) << body;
    EXPECT_EQ(answer.body["field"], field) << answer.text;
  }
  EXPECT_EQ(generation(id), before);
}

TEST_F(ApiCredentials, AreThoseOfTheCallersOwnAgents) {
  const std::string first = provision(ann_key_, "first");
  run("UPDATE agents SET created_at = created_at - interval '1 hour' WHERE id = $1", {first});
  const std::string second = provision(ann_key_, "second");
  EXPECT_EQ(set({{"key", "openai"}, {"value", kApiKey}, {"agentId", second}}).body["agentId"], second);
  EXPECT_EQ(credentials("&agentId=" + second)["openai"], true);
  EXPECT_EQ(credentials()["openai"], false) << "the oldest one";
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  EXPECT_EQ(set({{"key", "openai"}, {"value", kApiKey}, {"agentId", first}}, bob).status, 404);
  EXPECT_EQ(ask("GET", "/api/agent?action=credentials&agentId=" + first, bob).status, 404);
  EXPECT_EQ(ask("GET", "/api/agent?action=credentials", bob).status, 404) << "no agent at all";
}

// --- the gateway's token

using ApiTokenRotation = ApiChannels;

TEST_F(ApiTokenRotation, AnswersOnceTheGatewayItselfAcceptsTheNewToken) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const std::string old = ask("GET", "/api/instance/" + id + "/token", ann_key_).body["token"];
  std::atomic<int> asked{0};
  std::mutex mutex;
  std::string shown;
  accepts_ = [&](const std::string& address, const std::string& token, auto done) {
    EXPECT_EQ(address, "127.0.0.1:18789");
    const std::lock_guard lock{mutex};
    shown = token;
    if (++asked < 3) return done(asked == 1 ? Result<bool>{false} : Error{ErrorKind::unavailable, "restarts", {}, {}});
    done(true);
  };
  const auto before = generation(id);
  auto waiting = ask_aside("POST", "/api/instance/" + id + "/token/rotate", ann_key_);
  ASSERT_TRUE(wished_after(id, before));
  EXPECT_EQ(asked, 0) << "not before the files are delivered";
  observed(id, Phase::ready);
  const Answer answer = waiting.get();
  ASSERT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.body["accepted"], true);
  EXPECT_FALSE(answer.body.contains("pending"));
  const std::string token = answer.body["token"];
  EXPECT_THAT(token, testing::MatchesRegex("[0-9a-f]{64}"));
  EXPECT_NE(token, old);
  EXPECT_EQ(token, shown);
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(answer.header("Cache-Control"), "no-store");
  EXPECT_EQ(json::parse(file(id, "config.json"))["gateway"]["token"], token);
  EXPECT_EQ(ask("GET", "/api/instance/" + id + "/token", ann_key_).body["token"], token);
  EXPECT_EQ(run("SELECT kind FROM events WHERE reason = 'TokenRotated'")[0].text("kind"), "audit");
  EXPECT_THAT(all_text(), Not(HasSubstr(token)));
}

TEST_F(ApiTokenRotation, SaysWhenTheGatewayDoesNotAcceptItYet) {
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  const Answer unseen = ask("POST", "/api/instance/" + id + "/token/rotate?wait=0.05", ann_key_);
  EXPECT_EQ(unseen.status, 200);
  EXPECT_EQ(unseen.body["accepted"], false);
  EXPECT_EQ(unseen.body["pending"], true);
  accepts_ = [](const std::string&, const std::string&, auto done) { done(false); };
  const auto before = generation(id);
  auto waiting = ask_aside("POST", "/api/instance/" + id + "/token/rotate?wait=1", ann_key_);
  ASSERT_TRUE(wished_after(id, before));
  observed(id, Phase::ready);
  EXPECT_EQ(waiting.get().body["pending"], true);
}

TEST_F(ApiTokenRotation, RestartsAGatewayThatGoesOnRefusingTheTokenOnce) {
  settings_.lifecycle_wait = std::chrono::seconds{20};
  build();
  const std::string id = provision(ann_key_);
  observed(id, Phase::ready);
  std::atomic<bool> restarted{false};
  accepts_ = [&](const std::string&, const std::string&, auto done) { done(restarted.load()); };
  const auto before = generation(id);
  // Without a wait, too: it is answered at once, and what is needed is done all the same.
  const Answer answer = ask("POST", "/api/instance/" + id + "/token/rotate?wait=0", ann_key_);
  EXPECT_EQ(answer.body["pending"], true);
  observed(id, Phase::ready);
  ASSERT_TRUE(wished_after(id, before + 1));
  EXPECT_EQ(run("SELECT restart_wish FROM agents")[0].integer("restart_wish"), 1);
  EXPECT_EQ(run("SELECT id FROM events WHERE reason = 'RestartRequested'").size(), 1);
  restarted = true;
  observed(id, Phase::ready);
  const Answer again = ask("GET", "/api/instance/" + id + "/token", ann_key_);
  EXPECT_EQ(again.body["token"], answer.body["token"]);
  EXPECT_EQ(generation(id), before + 2);
}

TEST_F(ApiTokenRotation, WaitsForTheNextStartOfAStoppedAgent) {
  const std::string id = provision(ann_key_);
  run("UPDATE agents SET desired = 'stopped'");
  observed(id, Phase::stopped);
  const Answer answer = ask("POST", "/api/instance/" + id + "/token/rotate", ann_key_);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body["pending"], true);
  EXPECT_EQ(answer.body["token"], secret(id, "gateway_token"));
}

TEST_F(ApiTokenRotation, IsForbiddenToStrangers) {
  const std::string id = provision(ann_key_);
  const std::string token = secret(id, "gateway_token");
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  EXPECT_EQ(ask("POST", "/api/instance/" + id + "/token/rotate", bob).status, 403);
  EXPECT_EQ(secret(id, "gateway_token"), token);
}

}  // namespace
}  // namespace creel::test
