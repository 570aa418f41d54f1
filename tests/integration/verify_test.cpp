// The routes of verification: who may, what they are told, and registrations of a real browser's authenticator. What is
// read from a chain is in verify_chain_test.cpp.
#include "controller/store/verifications.hpp"
#include "tests/integration/api_fixture.hpp"
#include "tests/support/node_script.hpp"
#include "tests/unit/http_scripted_server.hpp"

namespace creel::test {
namespace {

class VerifyTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    if (!HasFatalFailure()) agent_ = provision(ann_key_);
  }
  std::string path(const std::string& agent = "") const {
    return "/api/agents/" + (agent.empty() ? agent_ : agent) + "/verify";
  }
  Answer verify(const json& body) { return ask("POST", path(), ann_key_, body); }
  Answer challenge(const json& body) { return ask("POST", path() + "/challenge", ann_key_, body); }

  std::string agent_;
};

const std::string kSignature = "0x" + std::string(130, '1');
const std::string kWallet = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

TEST_F(VerifyTest, SaysThatNothingIsVerifiedOfANewAgent) {
  const json expected{{"verified", false},          {"verificationType", nullptr}, {"attestationUid", nullptr},
                      {"verifierAddress", nullptr}, {"verifiedAt", nullptr},       {"metadata", nullptr}};
  const Answer answer = ask("GET", path(), ann_key_);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, expected);
  EXPECT_EQ(ask("DELETE", path(), ann_key_).body, (json{{"success", true}}));
}

TEST_F(VerifyTest, NamesTheFieldThatIsMissingOrWrong) {
  const auto expect_field = [&](const json& body, const char* field) {
    const Answer answer = verify(body);
    EXPECT_EQ(answer.status, 400) << answer.text;
    EXPECT_EQ(answer.body.value("code", ""), "INVALID_BODY");
    EXPECT_EQ(answer.body.value("field", ""), field) << body;
  };
  expect_field(json::object(), "verificationType");
  expect_field({{"verificationType", "passport"}}, "verificationType");
  expect_field({{"verificationType", "EAS"}}, "verificationType");
  expect_field({{"verificationType", 1}}, "verificationType");
  expect_field({{"verificationType", "eas"}}, "attestationUid");
  expect_field({{"verificationType", "eas"}, {"attestationUid", ""}}, "attestationUid");
  expect_field({{"verificationType", "eas"}, {"attestationUid", "0x123"}}, "attestationUid");
  expect_field({{"verificationType", "eas"}, {"attestationUid", 123}}, "attestationUid");
  for (const char* type : {"coinbase", "ens", "webauthn"}) expect_field({{"verificationType", type}}, "signature");
  for (const char* type : {"coinbase", "ens"})
    expect_field({{"verificationType", type}, {"signature", "0x12"}, {"walletAddress", kWallet}}, "signature");
  expect_field({{"verificationType", "ens"}, {"signature", kSignature}}, "walletAddress");
  expect_field({{"verificationType", "ens"}, {"signature", kSignature}, {"walletAddress", "ann.eth"}}, "walletAddress");
  expect_field({{"verificationType", "webauthn"}, {"signature", json::object()}}, "signature");
  expect_field({{"verificationType", "webauthn"}, {"signature", std::string(300'000, '1')}}, "signature");
  const Answer answer = challenge({{"verificationType", "ens"}, {"walletAddress", "me"}});
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.body.value("field", ""), "walletAddress");
  EXPECT_EQ(challenge(json::object()).body.value("field", ""), "verificationType");
}

TEST_F(VerifyTest, IsForTheOwnerAlone) {
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  const std::string admin = make_user_with("root@example.com", "pro", "active", true);
  const json body{{"verificationType", "ens"}, {"signature", kSignature}, {"walletAddress", kWallet}};
  const std::tuple<const char*, std::string, json> requests[] = {{"GET", path(), nullptr},
                                                                 {"DELETE", path(), nullptr},
                                                                 {"POST", path(), body},
                                                                 {"POST", path() + "/challenge", body}};
  for (const auto& [method, target, sent] : requests) {
    EXPECT_EQ(ask(method, target, "", sent).status, 401) << method;
    EXPECT_EQ(ask(method, target, bob, sent).status, 404) << method;
    const Answer refused = ask(method, target, admin, sent);
    EXPECT_EQ(refused.status, 403) << method;
    EXPECT_EQ(refused.body.value("code", ""), "FORBIDDEN");
  }
  EXPECT_EQ(ask("GET", path("0123456789abcdef"), ann_key_).status, 404);
  EXPECT_EQ(ask("GET", path("nonsense"), ann_key_).status, 404);
  EXPECT_EQ(ask("GET", path("0123456789abcdef"), admin).status, 404);
}

TEST_F(VerifyTest, SaysWhichSettingATypeNeeds) {
  const auto expect_setting = [&](const Answer& answer, const char* setting) {
    EXPECT_EQ(answer.status, 503) << answer.text;
    EXPECT_EQ(answer.body.value("code", ""), "VERIFIER_NOT_CONFIGURED");
    EXPECT_NE(answer.body.value("error", "").find(setting), std::string::npos) << answer.text;
  };
  const std::string uid = "0x" + std::string(64, '1');
  expect_setting(verify({{"verificationType", "eas"}, {"attestationUid", uid}}), "ETH_RPC_URL");
  expect_setting(verify({{"verificationType", "coinbase"}, {"signature", kSignature}}), "BASE_RPC_URL");
  expect_setting(verify({{"verificationType", "webauthn"}, {"signature", "{}"}}), "CREEL_WEBAUTHN_RP_ID");
  expect_setting(challenge({{"verificationType", "coinbase"}}), "BASE_RPC_URL");
}

TEST_F(VerifyTest, MakesAChallengeThatSaysWhatItIsFor) {
  const Answer answer = challenge({{"verificationType", "ens"}, {"walletAddress", kWallet}});
  ASSERT_EQ(answer.status, 200) << answer.text;
  const std::string nonce = answer.body["challenge"], message = answer.body["message"];
  EXPECT_EQ(nonce.size(), 64u);
  for (const std::string& part : {agent_, ann_.id.str(), kWallet, nonce, settings_.public_url,
                                  answer.body["expiresAt"].get<std::string>(), std::string{"Verification: ens"}})
    EXPECT_NE(message.find(part), std::string::npos) << part;
  const auto left = *parse_rfc3339(answer.body["expiresAt"].get<std::string>()) - system_now();
  EXPECT_GT(left, std::chrono::minutes{8});
  EXPECT_LE(left, std::chrono::minutes{10});
  EXPECT_NE(challenge({{"verificationType", "ens"}}).body["challenge"], nonce);
  EXPECT_FALSE(answer.body.contains("options"));
  // Only the wallet it was made for may answer it.
  challenge({{"verificationType", "ens"}, {"walletAddress", kWallet}});
  const Answer other = verify({{"verificationType", "ens"},
                               {"signature", kSignature},
                               {"walletAddress", "0x0000000000000000000000000000000000000001"}});
  EXPECT_EQ(other.status, 422);
  EXPECT_EQ(other.body.value("reason", ""), "wrong_signer");
}

TEST_F(VerifyTest, WantsAChallengeThatIsThereUnusedAndNew) {
  const json body{{"verificationType", "ens"}, {"signature", kSignature}, {"walletAddress", kWallet}};
  const auto expect_code = [&](const char* code) {
    const Answer answer = verify(body);
    EXPECT_EQ(answer.status, 409) << answer.text;
    EXPECT_EQ(answer.body.value("code", ""), code);
    EXPECT_NE(answer.text.find("/verify/challenge"), std::string::npos);
  };
  expect_code("CHALLENGE_MISSING");
  challenge({{"verificationType", "ens"}});
  EXPECT_EQ(verify(body).status, 422);
  run("UPDATE verification_challenges SET expires_at = now() - interval '1 second'");
  expect_code("CHALLENGE_EXPIRED");
  run("UPDATE verification_challenges SET expires_at = now() + interval '1 minute', used_at = now()");
  expect_code("CHALLENGE_USED");
  challenge({{"verificationType", "ens"}});
  EXPECT_EQ(verify(body).status, 422);
  EXPECT_EQ(run("SELECT count(*) AS n FROM verification_challenges")[0].integer("n"), 1);
}

TEST_F(VerifyTest, KeepsTheChallengesOfAgentsUsersAndTypesApart) {
  const json made = challenge({{"verificationType", "ens"}}).body;
  const store::User bob = make_user("bob@example.com");
  const AgentId agent = *AgentId::parse(agent_);
  auto tx = begin();
  const auto mine = store::get_challenge(tx, agent, ann_.id, "ens").value();
  ASSERT_TRUE(mine);
  EXPECT_EQ(mine->challenge, made["challenge"]);
  EXPECT_FALSE(store::get_challenge(tx, agent, bob.id, "ens").value());
  EXPECT_FALSE(store::get_challenge(tx, agent, ann_.id, "coinbase").value());
  EXPECT_FALSE(store::get_challenge(tx, new_agent_id(), ann_.id, "ens").value());
  // Nor does one use up another: not of another user, and not the one that has taken its place.
  store::Challenge other = *mine;
  other.user = bob.id;
  EXPECT_FALSE(store::use_challenge(tx, other, system_now()).value());
  other = *mine;
  other.challenge = "older";
  EXPECT_FALSE(store::use_challenge(tx, other, system_now()).value());
  EXPECT_TRUE(store::use_challenge(tx, *mine, system_now()).value());
  EXPECT_FALSE(store::use_challenge(tx, *mine, system_now()).value());
}

TEST_F(VerifyTest, GoesWithTheAgent) {
  challenge({{"verificationType", "ens"}});
  {
    auto tx = begin();
    const store::Verification found{*AgentId::parse(agent_), "ens", {}, kWallet, system_now(),
                                    R"({"ensName":"a.eth"})"};
    ASSERT_TRUE(store::put_verification(tx, found));
    ASSERT_TRUE(tx.commit());
  }
  EXPECT_EQ(ask("GET", path(), ann_key_).body["metadata"], (json{{"ensName", "a.eth"}}));
  EXPECT_EQ(ask("DELETE", "/api/agents/" + agent_ + "?wait=0", ann_key_).status, 200);
  EXPECT_EQ(ask("GET", path(), ann_key_).status, 404);
  run("DELETE FROM agents WHERE id = $1", {agent_});
  EXPECT_EQ(run("SELECT count(*) AS n FROM verifications")[0].integer("n"), 0);
  EXPECT_EQ(run("SELECT count(*) AS n FROM verification_challenges")[0].integer("n"), 0);
}

TEST_F(VerifyTest, HoldsUpNothingElseWhileANodeIsSilent) {
  const Server silent{[](Peer& peer) { peer.wait_closed(); }};
  verify_settings_.eth_rpc_url = silent.url();
  verify_settings_.eas_schemas = {"0x" + std::string(64, '1')};
  verify_settings_.eas_attesters = {kWallet};
  verify_settings_.deadline = std::chrono::hours{1};
  waiters_->stop();
  build();
  const json body{{"verificationType", "eas"}, {"attestationUid", "0x" + std::string(64, '2')}};
  // More than there are threads, of handlers (3) and of the verifier (2) together.
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 12; ++i) answers.push_back(ask_aside("POST", path(), ann_key_, body));
  EXPECT_TRUE(eventually([&] { return silent.connections() == 2; }));
  EXPECT_EQ(ask("GET", path(), ann_key_).status, 200);
  EXPECT_EQ(ask("GET", "/api/agents/" + agent_, ann_key_).status, 200);
  EXPECT_EQ(challenge({{"verificationType", "ens"}}).status, 200);
  for (const auto& answer : answers) EXPECT_EQ(answer.wait_for(std::chrono::seconds{0}), std::future_status::timeout);
  verifier_->stop();
  for (auto& answer : answers) EXPECT_EQ(answer.get().status, 502);
}

// Chromium, whose virtual authenticator makes the keys.
class VerifyInBrowser : public VerifyTest {
 protected:
  void SetUp() override {
    VerifyTest::SetUp();
    if (HasFatalFailure()) return;
    browser_ = std::make_unique<NodeScript>("browser.js");
    ASSERT_TRUE(browser_->ready().contains("origins"));
    verify_settings_.webauthn_rp_id = "localhost";
    verify_settings_.webauthn_origins = {browser_->ready()["origins"][0]};
    waiters_->stop();
    build();
  }
  void TearDown() override {
    VerifyTest::TearDown();
    browser_.reset();
  }

  // What the page answers to a new challenge, as the text that is sent.
  std::string registered(json how = json::object()) {
    how["options"] = challenge({{"verificationType", "webauthn"}}).body["options"];
    return browser_->ask("register", how).value("credential", json::object()).dump();
  }
  Answer verify_with(const std::string& registration) {
    return verify({{"verificationType", "webauthn"}, {"signature", registration}});
  }

  std::unique_ptr<NodeScript> browser_;
};

TEST_F(VerifyInBrowser, AcceptsARegistrationOnce) {
  const std::string registration = registered();
  const Answer answer = verify_with(registration);
  ASSERT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.body["verified"], true);
  const json stored = ask("GET", path(), ann_key_).body;
  EXPECT_EQ(stored["verificationType"], "webauthn");
  EXPECT_EQ(stored["attestationUid"], nullptr);
  EXPECT_EQ(stored["metadata"]["credentialId"], json::parse(registration)["id"]);
  EXPECT_EQ(stored["metadata"]["attestation"], "none");
  EXPECT_EQ(stored["metadata"]["userVerified"], true);
  EXPECT_EQ(stored["metadata"]["origin"], browser_->ready()["origins"][0]);
  EXPECT_FALSE(stored["metadata"]["publicKey"].get<std::string>().empty());

  const Answer again = verify_with(registration);
  EXPECT_EQ(again.status, 409) << again.text;
  EXPECT_EQ(again.body.value("code", ""), "CHALLENGE_USED");
  // Nor does it answer the next challenge.
  challenge({{"verificationType", "webauthn"}});
  const Answer late = verify_with(registration);
  EXPECT_EQ(late.status, 422);
  EXPECT_EQ(late.body.value("reason", ""), "challenge_mismatch");
}

TEST_F(VerifyInBrowser, ChecksTheSignatureOfAnAttestation) {
  for (const char* protocol : {"ctap2", "u2f"}) {
    const std::string registration = registered({{"attestation", "direct"}, {"protocol", protocol}});
    // Another registration's object, for the same challenge, is not what was signed.
    json mixed = json::parse(registration);
    mixed["response"]["clientDataJSON"] = mixed["response"]["clientDataJSON"].get<std::string>() + "IA";
    EXPECT_NE(verify_with(mixed.dump()).status, 200);
    const Answer answer = verify_with(registration);
    ASSERT_EQ(answer.status, 200) << protocol << ": " << answer.text;
    EXPECT_EQ(answer.body["metadata"]["attestation"], "certificate");
  }
}

TEST_F(VerifyInBrowser, RefusesAnotherOriginAndAnotherPersonsChallenge) {
  const Answer elsewhere = verify_with(registered({{"origin", 1}}));
  EXPECT_EQ(elsewhere.status, 422) << elsewhere.text;
  EXPECT_EQ(elsewhere.body.value("reason", ""), "wrong_origin");
  // Bob's answer to Ann's challenge is of no use to Bob.
  const std::string registration = registered();
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  const std::string his = provision(bob);
  const json body{{"verificationType", "webauthn"}, {"signature", registration}};
  EXPECT_EQ(ask("POST", path(his), bob, body).body.value("code", ""), "CHALLENGE_MISSING");
  ask("POST", path(his) + "/challenge", bob, {{"verificationType", "webauthn"}});
  EXPECT_EQ(ask("POST", path(his), bob, body).body.value("reason", ""), "challenge_mismatch");
  EXPECT_EQ(ask("GET", path(his), bob).body["verified"], false);
  EXPECT_EQ(ask("GET", path(), ann_key_).body["verified"], false);
}

}  // namespace
}  // namespace creel::test
