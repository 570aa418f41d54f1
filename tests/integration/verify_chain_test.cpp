// Verification against a real node with the real contracts of EAS and ENS (tests/chain), through the API.
#include <set>

#include "tests/integration/api_fixture.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/node_script.hpp"
#include "tests/unit/http_scripted_server.hpp"

namespace creel::test {
namespace {

// Wallets, by number: 1 is Coinbase and the trusted attester, 2 the owner's, 3 and 4 are others'.
constexpr int kAttester = 1, kOwner = 2, kOther = 3, kStranger = 4;

class VerifyOnChain : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    if (HasFatalFailure()) return;
    chain_ = std::make_unique<NodeScript>("chain.js");
    ASSERT_TRUE(chain_->ready().contains("wallets"));
    const json& at = chain_->ready();
    auto& settings = verify_settings_;
    settings.eth_rpc_url = settings.base_rpc_url = at["url"];
    settings.eas_contract = settings.coinbase_eas_contract = at["eas"];
    settings.eas_schemas = {at["schemas"]["good"]};
    settings.coinbase_schema = at["schemas"]["good"];
    settings.eas_attesters = {wallet(kAttester)};
    settings.coinbase_attester = wallet(kAttester);
    settings.coinbase_indexer = at["indexer"];
    settings.ens_registry = at["ens"];
    settings.deadline = std::chrono::seconds{60};
    rebuild();
    agent_ = provision(ann_key_);
  }

  void TearDown() override {
    ApiTest::TearDown();
    chain_.reset();
  }

  void rebuild() {
    if (waiters_) waiters_->stop();
    build();
  }

  std::string wallet(int number) const { return chain_->ready()["wallets"][static_cast<std::size_t>(number)]; }
  std::string path() const { return "/api/agents/" + agent_ + "/verify"; }

  std::string message(const std::string& type, const json& more = json::object()) {
    json body = more;
    body["verificationType"] = type;
    const Answer answer = ask("POST", path() + "/challenge", ann_key_, body);
    EXPECT_EQ(answer.status, 200) << answer.text;
    return answer.body.value("message", "");
  }
  std::string sign(int number, const std::string& message) {
    return chain_->ask("sign", {{"wallet", number}, {"message", message}}).value("signature", "");
  }
  std::string attest(int attester, const std::string& schema, int recipient, int expires_in = 0) {
    const json question{
        {"attester", attester}, {"schema", schema}, {"recipient", recipient}, {"expires_in", expires_in}};
    return chain_->ask("attest", question).value("uid", "");
  }
  void index(int recipient, const std::string& uid) {
    chain_->ask("index", {{"recipient", recipient}, {"schema", "good"}, {"uid", uid}});
  }

  Answer verify(const json& body) { return ask("POST", path(), ann_key_, body); }
  Answer verify_eas(const std::string& uid) { return verify({{"verificationType", "eas"}, {"attestationUid", uid}}); }
  // With a new challenge, signed by that wallet.
  Answer verify_coinbase(int number) {
    return verify({{"verificationType", "coinbase"}, {"signature", sign(number, message("coinbase"))}});
  }
  Answer verify_ens(int number) {
    return verify(
        {{"verificationType", "ens"}, {"signature", sign(number, message("ens"))}, {"walletAddress", wallet(number)}});
  }

  // The status is read back from the row, not from the answer that was just given.
  void expect_verified(const Answer& answer, const std::string& type) {
    EXPECT_EQ(answer.status, 200) << answer.text;
    if (answer.status != 200) return;
    EXPECT_EQ(answer.body["success"], true);
    json stored = ask("GET", path(), ann_key_).body;
    EXPECT_EQ(stored["verified"], true);
    EXPECT_EQ(stored["verificationType"], type);
    for (const char* member : {"verified", "verificationType", "attestationUid", "verifiedAt"}) {
      EXPECT_EQ(answer.body[member], stored[member]);
      EXPECT_EQ(ask("GET", "/api/agents/" + agent_, ann_key_).body["agent"][member], stored[member]);
    }
  }
  void expect_refused(const Answer& answer, const std::string& reason) {
    EXPECT_EQ(answer.status, 422) << answer.text;
    EXPECT_EQ(answer.body.value("code", ""), "VERIFICATION_FAILED");
    EXPECT_EQ(answer.body.value("reason", ""), reason) << answer.text;
    expect_unverified();
  }
  void expect_unverified() {
    const json expected{{"verified", false},          {"verificationType", nullptr}, {"attestationUid", nullptr},
                        {"verifierAddress", nullptr}, {"verifiedAt", nullptr},       {"metadata", nullptr}};
    EXPECT_EQ(ask("GET", path(), ann_key_).body, expected);
    EXPECT_EQ(ask("GET", "/api/agents/" + agent_, ann_key_).body["agent"]["verified"], false);
  }
  void remove() { EXPECT_EQ(ask("DELETE", path(), ann_key_).body, (json{{"success", true}})); }

  std::unique_ptr<NodeScript> chain_;
  std::string agent_;
};

TEST_F(VerifyOnChain, BelievesAnEasAttestationThatHolds) {
  const std::string uid = attest(kAttester, "good", kOwner);
  const Answer answer = verify_eas(uid);
  expect_verified(answer, "eas");
  EXPECT_EQ(answer.body["attestationUid"], uid);
  EXPECT_EQ(answer.body["verifierAddress"], wallet(kAttester));
  EXPECT_EQ(answer.body["metadata"]["recipient"], wallet(kOwner));
  EXPECT_EQ(answer.body["metadata"]["walletAddress"], nullptr);
  EXPECT_EQ(answer.body["metadata"]["chainId"], 31337);
  EXPECT_EQ(answer.body["metadata"]["checks"], json::array({"attestation"}));
  remove();
  expect_unverified();
  // Once more is harmless; and both are in the audit, once each.
  remove();
  std::multiset<std::string> reasons;
  const Answer events = ask("GET", "/api/agents/" + agent_ + "/events", ann_key_);
  EXPECT_TRUE(events.body.contains("events")) << events.text;
  for (const auto& event : events.body["events"]) reasons.insert(event["reason"]);
  EXPECT_EQ(reasons.count("Verified"), 1u);
  EXPECT_EQ(reasons.count("Unverified"), 1u);
}

TEST_F(VerifyOnChain, BindsAnEasAttestationToTheWalletThatSigns) {
  const std::string uid = attest(kAttester, "good", kOwner);
  const auto signed_by = [&](int number) {
    return verify({{"verificationType", "eas"}, {"attestationUid", uid}, {"signature", sign(number, message("eas"))}});
  };
  expect_refused(signed_by(kOther), "wrong_recipient");
  expect_refused(verify({{"verificationType", "eas"}, {"attestationUid", uid}, {"walletAddress", wallet(kOther)}}),
                 "wrong_recipient");
  const Answer answer = signed_by(kOwner);
  expect_verified(answer, "eas");
  EXPECT_EQ(answer.body["metadata"]["walletAddress"], wallet(kOwner));
  EXPECT_EQ(answer.body["metadata"]["checks"], (json::array({"attestation", "signature"})));
}

TEST_F(VerifyOnChain, RefusesAnEasAttestationThatDoesNotHold) {
  const std::string revoked = attest(kAttester, "good", kOwner);
  chain_->ask("revoke", {{"attester", kAttester}, {"schema", "good"}, {"uid", revoked}});
  expect_refused(verify_eas(revoked), "attestation_revoked");
  // By the chain's clock, which is a day late, it lives for another hour.
  expect_refused(verify_eas(attest(kAttester, "good", kOwner, 3600)), "attestation_expired");
  expect_refused(verify_eas(attest(kOther, "good", kOwner)), "wrong_attester");
  expect_refused(verify_eas(attest(kAttester, "other", kOwner)), "wrong_schema");
  expect_refused(verify_eas("0x" + std::string(64, '7')), "attestation_missing");
  expect_refused(verify_eas("0x" + std::string(64, '0')), "attestation_missing");
  // One that is still to expire does hold.
  expect_verified(verify_eas(attest(kAttester, "good", kOwner, 7 * 24 * 3600)), "eas");
  // And a later one that does not hold takes nothing away.
  EXPECT_EQ(verify_eas(revoked).status, 422);
  EXPECT_EQ(ask("GET", path(), ann_key_).body["verified"], true);
}

TEST_F(VerifyOnChain, BelievesCoinbaseAboutTheWalletThatSigns) {
  expect_refused(verify_coinbase(kOwner), "attestation_missing");
  const std::string uid = attest(kAttester, "good", kOwner);
  index(kOwner, uid);
  expect_refused(verify_coinbase(kOther), "attestation_missing");
  // An index that leads to somebody else's attestation is not believed.
  index(kOther, uid);
  expect_refused(verify_coinbase(kOther), "wrong_recipient");
  index(kStranger, attest(kOther, "good", kStranger));
  expect_refused(verify_coinbase(kStranger), "wrong_attester");

  const Answer answer = verify_coinbase(kOwner);
  expect_verified(answer, "coinbase");
  EXPECT_EQ(answer.body["attestationUid"], uid);
  EXPECT_EQ(answer.body["metadata"]["walletAddress"], wallet(kOwner));
  remove();
  chain_->ask("revoke", {{"attester", kAttester}, {"schema", "good"}, {"uid", uid}});
  expect_refused(verify_coinbase(kOwner), "attestation_revoked");
}

TEST_F(VerifyOnChain, BelievesAnEnsNameThatLeadsBack) {
  expect_refused(verify_ens(kOwner), "no_primary_name");
  const auto claim = [&](const char* name) { chain_->ask("claim_name", {{"wallet", kOwner}, {"name", name}}); };
  const auto point = [&](const char* name, int to) { chain_->ask("point_name", {{"name", name}, {"wallet", to}}); };
  claim("ann.eth");
  expect_refused(verify_ens(kOwner), "name_mismatch");  // not registered
  point("ann.eth", kOther);
  expect_refused(verify_ens(kOwner), "name_mismatch");  // somebody else's
  claim("Ann.eth");
  expect_refused(verify_ens(kOwner), "name_not_supported");
  claim("аnn.eth");  // its first letter is Cyrillic
  expect_refused(verify_ens(kOwner), "name_not_supported");
  claim("");
  expect_refused(verify_ens(kOwner), "no_primary_name");
  claim("ann.eth");
  point("ann.eth", kOwner);
  const Answer answer = verify_ens(kOwner);
  expect_verified(answer, "ens");
  EXPECT_EQ(answer.body["attestationUid"], nullptr);
  EXPECT_EQ(answer.body["verifierAddress"], wallet(kOwner));
  EXPECT_EQ(answer.body["metadata"]["ensName"], "ann.eth");
}

TEST_F(VerifyOnChain, TakesAWalletsSignatureForItsOwnChallengeOnly) {
  const std::string for_other_type = sign(kOwner, message("eas"));
  verify_settings_.eth_rpc_url = "";  // the signature is all there is to check
  rebuild();
  const auto with = [&](const std::string& signature, int number = kOwner) {
    return verify({{"verificationType", "ens"}, {"signature", signature}, {"walletAddress", wallet(number)}});
  };
  const std::string old = sign(kOwner, message("ens"));
  const std::string text = message("ens");
  expect_refused(with(old), "wrong_signer");             // a newer challenge has taken its place
  expect_refused(with(for_other_type), "wrong_signer");  // of another type
  expect_refused(with(sign(kOther, text)), "wrong_signer");
  expect_refused(with(sign(kOwner, text), kOther), "wrong_signer");
  const std::string good = sign(kOwner, text);
  expect_refused(with(chain_->ask("high_s", {{"signature", good}}).value("signature", "")), "signature_invalid");
  expect_refused(with(good.substr(0, 130) + "1d"), "signature_invalid");
  expect_refused(with("0x" + std::string(128, '0') + "1b"), "signature_invalid");

  const Answer answer = with(good);
  expect_verified(answer, "ens");
  EXPECT_EQ(answer.body["metadata"]["ensName"], nullptr);
  EXPECT_EQ(answer.body["metadata"]["checks"], json::array({"signature"}));
  const Answer again = with(good);
  EXPECT_EQ(again.status, 409) << again.text;
  EXPECT_EQ(again.body.value("code", ""), "CHALLENGE_USED");
  EXPECT_NE(again.body["error"].get<std::string>().find("/verify/challenge"), std::string::npos);
}

TEST_F(VerifyOnChain, LetsOneOfManyUseAChallenge) {
  const std::string uid = attest(kAttester, "good", kOwner);
  index(kOwner, uid);
  const json body{{"verificationType", "coinbase"}, {"signature", sign(kOwner, message("coinbase"))}};
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 6; ++i) answers.push_back(ask_aside("POST", path(), ann_key_, body));
  int verified = 0;
  for (auto& waiting : answers) {
    const Answer answer = waiting.get();
    verified += answer.status == 200;
    EXPECT_TRUE(answer.status == 200 || answer.body.value("code", "") == "CHALLENGE_USED") << answer.text;
  }
  EXPECT_EQ(verified, 1);
}

TEST_F(VerifyOnChain, KnowsNothingOfOtherPeoplesChallenges) {
  verify_settings_.eth_rpc_url = "";
  rebuild();
  // Bob's challenge for Bob's agent, signed with the wallet that Ann names.
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  const std::string his = provision(bob);
  const std::string text =
      ask("POST", "/api/agents/" + his + "/verify/challenge", bob, {{"verificationType", "ens"}}).body["message"];
  const json body{{"verificationType", "ens"}, {"signature", sign(kOwner, text)}, {"walletAddress", wallet(kOwner)}};
  EXPECT_EQ(verify(body).body.value("code", ""), "CHALLENGE_MISSING");
  message("ens");
  expect_refused(verify(body), "wrong_signer");
  EXPECT_EQ(ask("POST", "/api/agents/" + his + "/verify", ann_key_, body).status, 404);
  // Nor of those for another agent of the same owner.
  const std::string second = provision(bob, "second");
  EXPECT_EQ(ask("POST", "/api/agents/" + second + "/verify", bob, body).body.value("code", ""), "CHALLENGE_MISSING");
  EXPECT_EQ(ask("POST", "/api/agents/" + his + "/verify", bob, body).status, 200);
}

TEST_F(VerifyOnChain, SaysThatItCouldNotFindOutWhenTheNodeIsAway) {
  const std::string uid = attest(kAttester, "good", kOwner);
  const auto expect_unreachable = [&](const Answer& answer) {
    EXPECT_EQ(answer.status, 502) << answer.text;
    EXPECT_EQ(answer.body.value("code", ""), "VERIFIER_UNREACHABLE");
    EXPECT_EQ(answer.text.find("127.0.0.1"), std::string::npos) << answer.text;
    expect_unverified();
  };
  // Settings that name other contracts than they should.
  const auto with = [&](auto change) {
    const verify::Settings before = verify_settings_;
    change(verify_settings_);
    rebuild();
    const Answer answer = verify_eas(uid);
    verify_settings_ = before;
    rebuild();
    return answer;
  };
  expect_unreachable(with([&](auto& settings) { settings.eas_contract = settings.ens_registry; }));
  expect_unreachable(with([&](auto& settings) { settings.eas_contract = wallet(kOther); }));

  // There is an end to how many may wait.
  const Answer busy = with([](auto& settings) { settings.most_waiting = 0; });
  EXPECT_EQ(busy.status, 503) << busy.text;
  EXPECT_EQ(busy.body.value("code", ""), "VERIFIER_BUSY");
  EXPECT_EQ(busy.header("Retry-After"), "5");

  // A node that hangs holds up the verifications that need it, and nothing else.
  verify_settings_.deadline = std::chrono::seconds{2};
  rebuild();
  const std::string text = message("ens");
  chain_->ask("freeze");
  std::vector<std::future<Answer>> waiting;
  for (int i = 0; i < 8; ++i)
    waiting.push_back(ask_aside("POST", path(), ann_key_, {{"verificationType", "eas"}, {"attestationUid", uid}}));
  expect_unverified();  // answered while they wait
  for (auto& answer : waiting) expect_unreachable(answer.get());
  chain_->ask("thaw");
  verify_settings_.deadline = std::chrono::seconds{60};
  rebuild();
  expect_verified(verify_eas(uid), "eas");
  remove();

  const json ens{{"verificationType", "ens"}, {"signature", sign(kOwner, text)}, {"walletAddress", wallet(kOwner)}};
  chain_->ask("kill");
  expect_unreachable(verify_eas(uid));
  expect_unreachable(verify(ens));
  // The challenge is not lost: the same signature is good when the node answers again, or is not asked.
  verify_settings_.eth_rpc_url = "";
  rebuild();
  expect_verified(verify(ens), "ens");
}

// The program itself, with what it takes from its environment.
TEST(VerifyServed, TakesItsSettingsFromTheEnvironmentAndStopsWhileANodeHangs) {
  NodeScript chain{"chain.js"};
  const json at = chain.ready();
  ASSERT_TRUE(at.contains("wallets"));
  const auto wallet = [&](int number) { return at["wallets"][static_cast<std::size_t>(number)].get<std::string>(); };
  const Server silent{[](Peer& peer) { peer.wait_closed(); }};
  CreelProcess creel{{{"ETH_RPC_URL", silent.url()},
                      {"BASE_RPC_URL", at["url"]},
                      {"CREEL_EAS_CHAIN", "base"},
                      {"CREEL_EAS_CONTRACT", at["eas"]},
                      {"CREEL_EAS_SCHEMAS",
                       at["schemas"]["other"].get<std::string>() + "," + at["schemas"]["good"].get<std::string>()},
                      {"CREEL_EAS_ATTESTERS", wallet(kAttester)},
                      {"CREEL_COINBASE_EAS_CONTRACT", at["eas"]},
                      {"CREEL_COINBASE_INDEXER", at["indexer"]},
                      {"CREEL_COINBASE_ATTESTER", wallet(kAttester)},
                      {"CREEL_COINBASE_SCHEMA", at["schemas"]["good"]}}};
  creel.start();
  const std::string key = creel.user("ann@example.com");
  const auto made = creel.call("POST", "/api/agents/provision?wait=0", key, {{"name", "fred"}});
  ASSERT_EQ(made.status, 201) << made.text;
  const std::string path = "/api/agents/" + made.json["agent"]["id"].get<std::string>() + "/verify";

  const json question{{"attester", kAttester}, {"schema", "good"}, {"recipient", kOwner}};
  const std::string uid = chain.ask("attest", question)["uid"];
  chain.ask("index", {{"recipient", kOwner}, {"schema", "good"}, {"uid", uid}});
  const json eas{{"verificationType", "eas"}, {"attestationUid", uid}};
  EXPECT_EQ(creel.call("POST", path, key, eas).status, 200);
  const auto asked = creel.call("POST", path + "/challenge", key, {{"verificationType", "coinbase"}});
  ASSERT_EQ(asked.status, 200) << asked.text;
  // The listener's own address, because nothing else is said.
  EXPECT_NE(asked.json["message"].get<std::string>().find(creel.url()), std::string::npos);
  const json signed_text = chain.ask("sign", {{"wallet", kOwner}, {"message", asked.json["message"]}});
  const auto verified =
      creel.call("POST", path, key, {{"verificationType", "coinbase"}, {"signature", signed_text["signature"]}});
  EXPECT_EQ(verified.status, 200) << verified.text;
  const auto options = creel.call("POST", path + "/challenge", key, {{"verificationType", "webauthn"}});
  EXPECT_EQ(options.json["options"]["rp"]["id"], "localhost") << options.text;

  const auto text = creel.call("POST", path + "/challenge", key, {{"verificationType", "ens"}}).json["message"];
  const json ens{{"verificationType", "ens"},
                 {"signature", chain.ask("sign", {{"wallet", kOwner}, {"message", text}})["signature"]},
                 {"walletAddress", wallet(kOwner)}};
  auto waiting = std::async(std::launch::async, [&] { return creel.call("POST", path, key, ens); });
  EXPECT_TRUE(eventually([&] { return silent.connections() > 0; }));
  EXPECT_EQ(creel.stop(), 0);
  const auto cut = waiting.get();
  EXPECT_EQ(cut.status, 502) << cut.text;
  EXPECT_NE(cut.text.find("stopping"), std::string::npos) << cut.text;
}

}  // namespace
}  // namespace creel::test
