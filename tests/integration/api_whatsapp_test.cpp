// Meta's webhook of an agent over a real PostgreSQL, with deliveries signed as Meta signs them.
#include <gmock/gmock.h>

#include "controller/secrets/hmac.hpp"
#include "tests/integration/api_fixture.hpp"
#include "tests/support/fake_graph.hpp"

namespace creel::test {
namespace {

using testing::HasSubstr;
using testing::Not;

class ApiWhatsapp : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    if (HasFatalFailure()) return;
    settings_.whatsapp_app_secret = "for-all";
    id_ = provision(ann_key_);
    word_ = set("whatsapp", "EAAGfakeWhatsappToken").body["whatsapp"]["verifyToken"];
  }

  Answer set(const std::string& name, const std::string& value) {
    return ask("POST", "/api/agent", ann_key_,
               {{"action", "set-credential"}, {"key", name}, {"value", value}, {"agentId", id_}});
  }
  std::string path() const { return path(id_); }
  static std::string path(const std::string& id) { return "/api/channels/whatsapp/" + id + "/webhook"; }

  Answer shake(const std::string& word, const std::string& mode = "subscribe", const std::string& id = "") {
    return ask(
        "GET",
        path(id.empty() ? id_ : id) + "?hub.mode=" + mode + "&hub.verify_token=" + word + "&hub.challenge=1158201444",
        "");
  }

  static api::Incoming signed_with(const std::string& secret, const std::string& target, const std::string& body) {
    return {"POST",
            target,
            {{"Content-Type", "application/json"},
             {"X-Hub-Signature-256", "sha256=" + secrets::hmac_sha256_hex(secret, body)}},
            body,
            "31.13.24.1"};
  }
  Answer deliver(const json& body, const std::string& secret = "for-all") {
    return send(signed_with(secret, path(), body.dump()));
  }
  std::int64_t inbox() { return run("SELECT count(*) AS n FROM whatsapp_inbox")[0].integer("n"); }

  std::string id_, word_;
};

TEST_F(ApiWhatsapp, AnswersMetasQuestionWithTheChallenge) {
  const Answer answer = shake(word_);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.text, "1158201444");
  EXPECT_THAT(answer.header("Content-Type"), HasSubstr("text/plain"));
}

TEST_F(ApiWhatsapp, LooksTheSameForAWrongWordAndForAnAgentThatIsNotThere) {
  const std::string plain = provision(make_user_with("bob@example.com", "pro", "active"));
  const auto told = [](Answer answer) {
    answer.body.erase("requestId");
    return std::pair{answer.status, answer.body.dump()};
  };
  const auto refused = told(shake("wrong"));
  EXPECT_EQ(refused.first, 403);
  EXPECT_EQ(told(shake(word_, "unsubscribe")), refused);
  EXPECT_EQ(told(shake("")), refused);
  for (const std::string& other : {plain, std::string{"0123456789abcdef"}, std::string{"x"}, ann_.id.str()}) {
    EXPECT_EQ(told(shake(word_, "subscribe", other)), refused) << other;
    EXPECT_EQ(told(shake("", "subscribe", other)), refused) << other;
  }
  const auto unsigned_one = told(deliver(whatsapp_text("wamid.1", "x"), "wrong"));
  EXPECT_EQ(unsigned_one.first, 403);
  for (const std::string& other : {plain, std::string{"0123456789abcdef"}, std::string{"x"}})
    EXPECT_EQ(told(send(signed_with("for-all", path(other), whatsapp_text("wamid.1", "x").dump()))), unsigned_one)
        << other;
  ask("DELETE", "/api/agents/" + id_ + "?wait=0", ann_key_);
  EXPECT_EQ(told(shake(word_)), refused) << "deleted";
  EXPECT_EQ(told(deliver(whatsapp_text("wamid.1", "x"))), unsigned_one);
}

TEST_F(ApiWhatsapp, KeepsASignedMessageOnce) {
  const Answer first = deliver(whatsapp_text("wamid.1", "Hello!"));
  EXPECT_EQ(first.status, 200) << first.text;
  EXPECT_EQ(first.body, (json{{"received", true}, {"messages", 1}, {"statuses", 0}}));
  EXPECT_EQ(deliver(whatsapp_text("wamid.1", "Hello!")).body["messages"], 0);
  EXPECT_EQ(inbox(), 1);
  const auto kept = run("SELECT content, platform FROM messages");
  ASSERT_EQ(kept.size(), 1);
  EXPECT_EQ(kept[0].text("content"), "Hello!");
  EXPECT_EQ(kept[0].text("platform"), "whatsapp");
}

TEST_F(ApiWhatsapp, KeepsAMessageOnceThatIsDeliveredManyTimesAtOnce) {
  std::vector<std::future<Answer>> deliveries;
  for (int i = 0; i < 8; ++i)
    deliveries.push_back(std::async(std::launch::async, [&] { return deliver(whatsapp_text("wamid.1", "Hello!")); }));
  int fresh = 0;
  for (auto& delivery : deliveries) {
    const Answer answer = delivery.get();
    EXPECT_EQ(answer.status, 200) << answer.text;
    fresh += answer.body["messages"].get<int>();
  }
  EXPECT_EQ(fresh, 1);
  EXPECT_EQ(inbox(), 1);
}

TEST_F(ApiWhatsapp, TakesNothingThatIsNotSignedForIt) {
  const std::string body = whatsapp_text("wamid.1", "x").dump();
  api::Incoming good = signed_with("for-all", path(), body), longer = good, bare = good, owner = good;
  longer.body += " ";
  bare.headers.pop_back();
  owner.headers.pop_back();
  owner.headers.emplace_back("Authorization", "Bearer " + ann_key_);
  for (auto& bad : {longer, bare, owner, signed_with("", path(), body), signed_with("another", path(), body)}) {
    const Answer answer = send(bad);
    EXPECT_EQ(answer.status, 403);
    EXPECT_EQ(answer.body["code"], "BAD_SIGNATURE");
  }
  EXPECT_EQ(inbox(), 0);
}

TEST_F(ApiWhatsapp, PrefersTheAgentsOwnSecretAndTakesNothingWithoutAny) {
  set("whatsapp_app_secret", "its-own-secret");
  EXPECT_EQ(deliver(whatsapp_text("wamid.1", "x"), "for-all").status, 403);
  EXPECT_EQ(deliver(whatsapp_text("wamid.1", "x"), "its-own-secret").status, 200);
  set("whatsapp_app_secret", "");
  EXPECT_EQ(deliver(whatsapp_text("wamid.2", "x"), "for-all").status, 200);
  settings_.whatsapp_app_secret = "";
  EXPECT_EQ(deliver(whatsapp_text("wamid.3", "x"), "").status, 403);
  EXPECT_EQ(deliver(whatsapp_text("wamid.3", "x"), "for-all").status, 403);
  const Answer told = deliver(whatsapp_text("wamid.3", "x"), "for-all");
  EXPECT_THAT(told.body["error"], HasSubstr("WHATSAPP_APP_SECRET"));
}

TEST_F(ApiWhatsapp, LeavesMessagesToOtherNumbersAlone) {
  EXPECT_EQ(set("whatsapp_phone_number_id", "+49").status, 400);
  ASSERT_EQ(set("whatsapp_phone_number_id", "111").status, 200);
  EXPECT_EQ(deliver(whatsapp_text("wamid.1", "x", "222")).body["messages"], 0);
  EXPECT_EQ(deliver(whatsapp_text("wamid.2", "x", "111")).body["messages"], 1);
}

TEST_F(ApiWhatsapp, KeepsReactionsWithoutAskingTheAgent) {
  deliver(whatsapp_delivery({{"messages", json::array({{{"from", "49170"},
                                                        {"id", "wamid.r"},
                                                        {"timestamp", "1764000000"},
                                                        {"type", "reaction"},
                                                        {"reaction", {{"emoji", "👍"}}}}})}}));
  EXPECT_EQ(run("SELECT state FROM whatsapp_inbox")[0].text("state"), "done");
  EXPECT_EQ(run("SELECT content FROM messages")[0].text("content"), "[reaction] 👍");
}

TEST_F(ApiWhatsapp, NamesTheFieldThatIsWrongInASignedBody) {
  for (const auto& [body, field] :
       std::vector<std::pair<std::string, std::string>>{{"{", "body"},
                                                        {"[]", "body"},
                                                        {"{}", "entry"},
                                                        {R"({"entry": {}})", "entry"},
                                                        {R"({"entry": [], "object": 7})", "object"}}) {
    const Answer answer = send(signed_with("for-all", path(), body));
    EXPECT_EQ(answer.status, 400) << body;
    EXPECT_EQ(answer.body["field"], field) << body;
  }
  EXPECT_EQ(send(signed_with("for-all", path(), R"({"entry": [7, null, {"changes": 5}]})")).status, 200);
  EXPECT_EQ(ask("GET", path() + "?hub.mode=subscribe&hub.verify_token=" + word_, "").body["field"], "hub.challenge");
}

TEST_F(ApiWhatsapp, ShowsTheOwnerHowTheChannelDoes) {
  deliver(whatsapp_text("wamid.1", "x"));
  const auto channel = [&](const std::string& key) { return ask("GET", "/api/instance/" + id_, key).body["whatsapp"]; };
  EXPECT_EQ(channel(ann_key_), (json{{"webhookPath", path()},
                                     {"webhookUrl", "http://127.0.0.1:8080" + path()},
                                     {"verifyToken", word_},
                                     {"appSecretConfigured", true},
                                     {"phoneNumberId", nullptr},
                                     {"waiting", 1},
                                     {"failed", 0},
                                     {"lastError", nullptr}}));
  EXPECT_TRUE(channel(make_user_with("root@example.com", "pro", "active", true)).is_null());
  settings_.whatsapp_app_secret = "";
  EXPECT_EQ(channel(ann_key_)["appSecretConfigured"], false);
  set("whatsapp", "");
  EXPECT_TRUE(channel(ann_key_).is_null());
}

}  // namespace
}  // namespace creel::test
