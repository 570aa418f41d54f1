#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <sstream>

#include "api/verify/abi.hpp"
#include "api/verify/attestation.hpp"
#include "api/verify/ens.hpp"
#include "api/verify/errors.hpp"
#include "api/verify/ethereum.hpp"
#include "api/verify/node.hpp"
#include "api/verify/signature.hpp"
#include "api/verify/verifier.hpp"
#include "api/verify/webauthn.hpp"
#include "controller/core/ids.hpp"
#include "tests/support/support.hpp"
#include "tests/unit/http_scripted_server.hpp"

namespace creel::verify {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::string bare(const Word& word) { return hex_of(word).substr(2); }
Address address(const std::string& text) { return parse_address(text).value(); }

// --- values ---------------------------------------------------------------------------------------------------------

TEST(Keccak, AgreesWithThePublishedDigests) {
  EXPECT_EQ(bare(keccak256("")), "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
  EXPECT_EQ(bare(keccak256("abc")), "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
}

TEST(Hex, IsReadStrictly) {
  EXPECT_EQ(bytes_of_hex("0x"), "");
  EXPECT_EQ(bytes_of_hex("0x00fF"), (std::string{"\0\xff", 2}));
  for (const char* bad : {"", "0", "00", "0x0", "0xzz", "0X00", " 0x00", "0x00 "})
    EXPECT_FALSE(bytes_of_hex(bad)) << bad;
  EXPECT_FALSE(parse_address("0x" + std::string(38, 'a')));
  EXPECT_FALSE(parse_address("0x" + std::string(64, 'a')));
  EXPECT_FALSE(parse_word("0x" + std::string(40, 'a')));
}

// The examples of EIP-55.
TEST(Addresses, AreWrittenWithTheCapitalsOfTheirChecksum) {
  for (const std::string text :
       {"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        "0x52908400098527886E0F7030069857D2E4169EE7", "0xde709f2102306220921060314715629080e2fb77"}) {
    std::string lower = text;
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    EXPECT_EQ(hex_of(address(lower)), text);
  }
}

// The examples of EIP-137, and the node of reverse names.
TEST(Namehash, AgreesWithThePublishedOnes) {
  EXPECT_TRUE(is_zero(namehash("")));
  EXPECT_EQ(bare(namehash("eth")), "93cdeb708b7545dc668eb9280176169d1c33cfd8ed6f04690a0bcc88a93fc4ae");
  EXPECT_EQ(bare(namehash("foo.eth")), "de9b09fd7c5f901e23a3f19fecc54828e9c848539801e86591bd9801b019f84f");
  EXPECT_EQ(bare(namehash("addr.reverse")), "91d1777781884d03a6757a803996e38de2a42967fb37eeaca72729271025a9e2");
  EXPECT_EQ(reverse_node(address("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")),
            namehash("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed.addr.reverse"));
}

TEST(Ens, BelievesOnlyNamesWhoseNormalFormIsCertain) {
  for (const char* name : {"vitalik.eth", "a.b.c", "x-y.eth", "_dnssec.example.com", "1.eth"})
    EXPECT_TRUE(is_plain_name(name)) << name;
  for (const char* name : {"", ".", "a.", ".a", "a..b", "A.eth", "ab--c.eth", "xn--80ak6aa92e.eth", "a_b.eth", "_.eth",
                           "vitalik eth", "vitalik.eth\n", "vіtalik.eth", "🔥.eth"})
    EXPECT_FALSE(is_plain_name(name)) << name;
  EXPECT_FALSE(is_plain_name(std::string(256, 'a')));
}

// --- signatures -----------------------------------------------------------------------------------------------------

// Published in the documentation of web3.js.
constexpr const char* kText = "Some data";
constexpr const char* kSigned =
    "0xb91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd6007e74cd82e037b800186422fc2da167c747ef045e5d18a"
    "5f"
    "5d4300f8e1a0291c";
constexpr const char* kSigner = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23";

std::string reason_of(const std::string& message, const std::string& signature) {
  const auto parsed = parse_signature(signature);
  if (!parsed) return "not parsed";
  const auto signer = signer_of(message, *parsed);
  return signer ? hex_of(*signer) : signer.error().field;
}

TEST(Signature, ShowsWhoseWalletSignedTheText) {
  EXPECT_EQ(bare(personal_message_hash(kText)), "1da44b586eb0729ff70a73c326926f6ed5a25f5b056e7f47fbc6e58d86871655");
  EXPECT_EQ(reason_of(kText, kSigned), kSigner);
  // v of 1 is v of 28.
  EXPECT_EQ(reason_of(kText, std::string{kSigned}.substr(0, 130) + "01"), kSigner);
}

TEST(Signature, OfAnotherTextHasAnotherSigner) {
  EXPECT_NE(reason_of("Some date", kSigned), kSigner);
  EXPECT_NE(reason_of(kText, std::string{kSigned}.substr(0, 130) + "1b"), kSigner);
}

TEST(Signature, IsRefusedWithAHighS) {
  // s mirrored at the order of the curve and v turned: the same key, the same text.
  const std::string twin =
      std::string{kSigned}.substr(0, 66) + "9ff818b327d1fc847ffe79bdd03d25e83e3a5df66962ceb160751b8bd754a1181b";
  ASSERT_EQ(twin.size(), 132u);
  EXPECT_EQ(reason_of(kText, twin), "signature_invalid");
}

TEST(Signature, IsRefusedWhenItIsNone) {
  const std::string rs = std::string{kSigned}.substr(0, 130);
  for (const char* v : {"02", "1a", "1d", "ff"}) EXPECT_EQ(reason_of(kText, rs + v), "signature_invalid") << v;
  EXPECT_EQ(reason_of(kText, "0x" + std::string(128, '0') + "1b"), "signature_invalid");
  EXPECT_EQ(reason_of(kText, "0x" + std::string(128, 'f') + "1b"), "signature_invalid");
  for (const std::string& bad : {std::string{}, std::string{"0x"}, rs, std::string{kSigned} + "00"})
    EXPECT_EQ(reason_of(kText, bad), "not parsed");
}

// --- ABI ------------------------------------------------------------------------------------------------------------

TEST(Abi, CallsFunctionsByTheirPublishedSelectors) {
  const auto selector = [](const char* function) { return hex_of(call_data(function, {})); };
  EXPECT_EQ(selector("transfer(address,uint256)"), "0xa9059cbb");
  EXPECT_EQ(selector("getAttestation(bytes32)"), "0xa3112a64");
  EXPECT_EQ(selector("resolver(bytes32)"), "0x0178b8bf");
  EXPECT_EQ(selector("addr(bytes32)"), "0x3b3b57de");
  EXPECT_EQ(selector("name(bytes32)"), "0x691f3431");
  EXPECT_EQ(hex_of(call_data("addr(bytes32)", {word_of(address(kSigner))})),
            "0x3b3b57de0000000000000000000000002c7536e3605d9c16a7a3d7b1898e529396a65c23");
}

std::string number_word(std::uint64_t value) {
  std::string bytes(32, '\0');
  for (int i = 31; value != 0; --i, value >>= 8) bytes[static_cast<std::size_t>(i)] = static_cast<char>(value & 255);
  return bytes;
}
std::string bytes_of(const Word& value) { return {value.begin(), value.end()}; }

const Word kUid = keccak256("uid"), kSchema = keccak256("schema");
const Address kRecipient = address(kSigner), kAttester = address("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed");

std::string attestation_answer() {
  return number_word(32) + bytes_of(kUid) + bytes_of(kSchema) + number_word(1'700'000'000) +
         number_word(1'900'000'000) + number_word(0) + number_word(0) + bytes_of(word_of(kRecipient)) +
         bytes_of(word_of(kAttester)) + number_word(1) + number_word(320) + number_word(32) + number_word(1);
}

TEST(Abi, ReadsAnAttestation) {
  const auto found = decode_attestation(attestation_answer());
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->uid, kUid);
  EXPECT_EQ(found->schema, kSchema);
  EXPECT_EQ(found->time, 1'700'000'000u);
  EXPECT_EQ(found->expires, 1'900'000'000u);
  EXPECT_EQ(found->revoked, 0u);
  EXPECT_EQ(found->recipient, kRecipient);
  EXPECT_EQ(found->attester, kAttester);
}

TEST(Abi, RefusesEveryAnswerThatIsCutShort) {
  const std::string whole = attestation_answer();
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(decode_attestation(std::string_view{whole}.substr(0, size))) << size;
}

TEST(Abi, RefusesOffsetsLengthsAndValuesThatLieElsewhere) {
  const auto with = [](std::size_t index, const std::string& value) {
    std::string answer = attestation_answer();
    answer.replace(index * 32, 32, value);
    return decode_attestation(answer).has_value();
  };
  const std::string huge(32, '\xff'), large = number_word(~std::uint64_t{0});
  for (const std::size_t index : {0u, 3u, 4u, 5u, 7u, 8u, 9u, 10u, 11u}) EXPECT_FALSE(with(index, huge)) << index;
  for (const std::size_t index : {0u, 9u, 10u, 11u}) EXPECT_FALSE(with(index, large)) << index;
  EXPECT_FALSE(with(9, number_word(2)));                             // neither true nor false
  EXPECT_FALSE(with(11, number_word(33)));                           // a byte longer than there is
  EXPECT_FALSE(with(10, number_word(attestation_answer().size())));  // just behind the end
  EXPECT_TRUE(with(11, number_word(0)));
}

TEST(Abi, ReadsTextsOfBoundedLength) {
  const std::string answer = number_word(32) + number_word(7) + "ann.eth" + std::string(25, '\0');
  EXPECT_EQ(Reader{answer}.text(0, 255).value(), "ann.eth");
  EXPECT_FALSE(Reader{answer}.text(0, 6));
  EXPECT_FALSE(Reader{std::string_view{answer}.substr(0, 70)}.text(0, 255));
  EXPECT_FALSE(Reader{answer}.text(1, 255));
  EXPECT_FALSE(Reader{""}.text(0, 255));
}

// --- attestations ---------------------------------------------------------------------------------------------------

std::string reason_of(const Attestation& attestation, const Wanted& wanted, std::int64_t now) {
  const auto checked = check_attestation(attestation, wanted, TimePoint{seconds{now}});
  return checked ? "holds" : checked.error().field;
}

TEST(Attestations, HoldOnlyWhenEverythingDoes) {
  const Attestation good{kUid, kSchema, 100, 200, 0, kRecipient, kAttester};
  const Wanted wanted{{kUid, kSchema}, {kRecipient, kAttester}, kRecipient};
  EXPECT_EQ(reason_of(good, wanted, 150), "holds");
  EXPECT_EQ(reason_of(good, {{kSchema}, {kAttester}, std::nullopt}, 150), "holds");
  EXPECT_EQ(reason_of(good, wanted, 199), "holds");
  EXPECT_EQ(reason_of(good, wanted, 200), "attestation_expired");
  Attestation endless = good;
  endless.expires = 0;
  EXPECT_EQ(reason_of(endless, wanted, 1'000'000), "holds");
  Attestation revoked = good;
  revoked.revoked = 120;
  EXPECT_EQ(reason_of(revoked, wanted, 150), "attestation_revoked");
  EXPECT_EQ(reason_of(good, {{kUid}, {kAttester}, {}}, 150), "wrong_schema");
  EXPECT_EQ(reason_of(good, {{kSchema}, {kRecipient}, {}}, 150), "wrong_attester");
  EXPECT_EQ(reason_of(good, {{kSchema}, {kAttester}, kAttester}, 150), "wrong_recipient");
  EXPECT_EQ(reason_of(good, {}, 150), "wrong_schema");
}

// --- nodes ----------------------------------------------------------------------------------------------------------

Until within(milliseconds limit) { return {std::chrono::steady_clock::now() + limit}; }

Result<std::string> call(const std::string& url, milliseconds limit = seconds{20}) {
  http::Client http;
  const Node node{http, "ETH_RPC_URL", url};
  return node.call(kRecipient, "data", within(limit));
}

// Of a node that always answers so.
Result<std::string> call_answered(const std::string& body, const std::string& status = "200 OK") {
  const test::Server server{[&](test::Peer& peer) {
    while (!peer.read_request().empty()) peer.answer(body, status);
  }};
  return call(server.url("/v1/secret-key"));
}

TEST(Node, AsksForTheNewestBlockAndReadsTheBytes) {
  std::promise<std::string> asked;
  const test::Server server{[&](test::Peer& peer) {
    asked.set_value(peer.read_request());
    peer.answer(R"({"jsonrpc":"2.0","id":1,"result":"0x0102"})");
  }};
  EXPECT_EQ(call(server.url("/v1/key")).value(), "\x01\x02");
  const std::string request = asked.get_future().get();
  EXPECT_TRUE(request.starts_with("POST /v1/key HTTP/1.1"));
  const json body = json::parse(request.substr(request.find("\r\n\r\n")));
  EXPECT_EQ(body, json::parse(R"({"jsonrpc":"2.0","id":1,"method":"eth_call","params":[
      {"to":"0x2c7536E3605D9C16a7a3D7b1898e529396a65c23","data":"0x64617461"},"latest"]})"));
}

TEST(Node, ThatAnswersBadlyIsUnreachable) {
  const std::pair<std::string, std::string> answers[] = {
      {"{}", "500 Internal Server Error"},
      {"{}", "429 Too Many Requests"},
      {R"({"result":"0x01"})", "301 Moved Permanently"},
      {"<html>hello</html>", "200 OK"},
      {"", "200 OK"},
      {"[]", "200 OK"},
      {"{}", "200 OK"},
      {R"({"jsonrpc":"2.0","id":1,"resul)", "200 OK"},
      {R"({"result":null})", "200 OK"},
      {R"({"result":12})", "200 OK"},
      {R"({"result":"12"})", "200 OK"},
      {R"({"result":"0x123"})", "200 OK"},
      {R"({"result":"0xzz"})", "200 OK"},
      {R"({"error":{"code":-32005,"message":"limit exceeded for secret-key"}})", "200 OK"},
      {R"({"error":{}})", "200 OK"},
      {R"({"result":"0x)" + std::string(1 << 20, '0') + "\"}", "200 OK"},
      {std::string(200'000, '['), "200 OK"},
  };
  for (const auto& [body, status] : answers) {
    const auto answer = call_answered(body, status);
    ASSERT_FALSE(answer) << body.substr(0, 80);
    EXPECT_EQ(answer.error().code, kUnreachable) << body.substr(0, 80);
    // What it is called and where it is says nothing to a user, and the path is often a key.
    EXPECT_NE(answer.error().message.find("ETH_RPC_URL"), std::string::npos);
    EXPECT_EQ(answer.error().message.find("secret-key"), std::string::npos);
    EXPECT_EQ(answer.error().message.find("127.0.0.1"), std::string::npos);
  }
}

TEST(Node, ThatIsSlowDownOrBreaksOffIsUnreachable) {
  const test::Server silent{[](test::Peer& peer) { peer.wait_closed(); }};
  const auto slow = call(silent.url(), milliseconds{200});
  ASSERT_FALSE(slow);
  EXPECT_EQ(slow.error().code, kUnreachable);
  EXPECT_NE(slow.error().message.find("in time"), std::string::npos);

  const test::Server short_one{[](test::Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"result\":\"0x01\"}");
  }};
  EXPECT_EQ(call(short_one.url()).error().code, kUnreachable);

  std::string nowhere;
  {
    const test::Server gone{[](test::Peer&) {}};
    nowhere = gone.url();
  }
  EXPECT_EQ(call(nowhere).error().code, kUnreachable);
  EXPECT_EQ(call(silent.url(), milliseconds{-1}).error().code, kUnreachable);
}

TEST(Node, TellsACallThatTheContractEndedFromOneThatFailed) {
  for (const char* body : {R"({"error":{"code":3,"message":"execution reverted","data":"0x"}})",
                           R"({"error":{"code":-32000,"message":"VM Exception: Reverted"}})"})
    EXPECT_EQ(call_answered(body).error().code, kReverted);
}

// --- the verifier ---------------------------------------------------------------------------------------------------

Settings configured(const std::string& url) {
  Settings settings;
  settings.eth_rpc_url = url;
  settings.eas_contract = hex_of(kAttester);
  settings.eas_schemas = {hex_of(kSchema)};
  settings.eas_attesters = {hex_of(kAttester)};
  return settings;
}

Claim eas_claim() {
  Claim claim;
  claim.attestation_uid = kUid;
  claim.now = TimePoint{seconds{1'750'000'000}};
  return claim;
}

// One thread for each piece of work, joined at the end.
class Threads {
 public:
  ~Threads() {
    for (auto& thread : threads_) thread.join();
  }
  Verifier::Post post() {
    return [this](std::function<void()> work) { threads_.emplace_back(std::move(work)); };
  }

 private:
  std::vector<std::thread> threads_;
};

std::future<Result<Proof>> start(Verifier& verifier, Claim claim) {
  auto promise = std::make_shared<std::promise<Result<Proof>>>();
  auto future = promise->get_future();
  verifier.check(std::move(claim), [promise](Result<Proof> proof) { promise->set_value(std::move(proof)); });
  return future;
}

TEST(Verifier, NamesTheSettingThatATypeMisses) {
  http::Client http;
  const auto missing = [&](Type type, auto change) {
    Settings settings = configured("http://127.0.0.1:1");
    change(settings);
    const Verifier verifier{http, settings, nullptr};
    const auto checked = verifier.check_configured(type);
    return checked ? std::string{} : checked.error().code + ": " + checked.error().message;
  };
  const auto expect = [](const std::string& message, const char* setting) {
    EXPECT_TRUE(message.starts_with("VERIFIER_NOT_CONFIGURED: ")) << message;
    EXPECT_NE(message.find(setting), std::string::npos) << message;
  };
  EXPECT_EQ(missing(Type::eas, [](Settings&) {}), "");
  expect(missing(Type::eas, [](Settings& s) { s.eth_rpc_url = ""; }), "ETH_RPC_URL");
  expect(missing(Type::eas, [](Settings& s) { s.eas_chain = "base"; }), "BASE_RPC_URL");
  expect(missing(Type::eas, [](Settings& s) { s.eas_schemas = {}; }), "CREEL_EAS_SCHEMAS");
  expect(missing(Type::eas, [](Settings& s) { s.eas_attesters = {}; }), "CREEL_EAS_ATTESTERS");
  expect(missing(Type::coinbase, [](Settings&) {}), "BASE_RPC_URL");
  expect(missing(Type::webauthn, [](Settings&) {}), "CREEL_WEBAUTHN_RP_ID");
  // Without a node a wallet's signature is what can be checked of it.
  EXPECT_EQ(missing(Type::ens, [](Settings& s) { s.eth_rpc_url = ""; }), "");
}

TEST(Verifier, AsksNoNodeAboutASignatureThatIsWrongAlready) {
  http::Client http;
  const test::Server server{[](test::Peer& peer) { peer.wait_closed(); }};
  Settings settings = configured(server.url());
  settings.base_rpc_url = server.url();
  Threads threads;
  Verifier verifier{http, settings, threads.post()};
  for (const Type type : {Type::eas, Type::coinbase, Type::ens}) {
    Claim claim = eas_claim();
    claim.type = type;
    claim.message = kText;
    claim.signature = parse_signature(kSigned);
    claim.wallet = kAttester;
    EXPECT_EQ(start(verifier, claim).get().error().field, "wrong_signer");
  }
  EXPECT_EQ(server.connections(), 0);
}

TEST(Verifier, LetsABoundedNumberWaitAndEndsThemWhenItStops) {
  http::Client http;
  const test::Server silent{[](test::Peer& peer) { peer.wait_closed(); }};
  Settings settings = configured(silent.url());
  settings.deadline = seconds{600};
  settings.most_waiting = 2;
  Threads threads;
  Verifier verifier{http, settings, threads.post()};
  auto first = start(verifier, eas_claim());
  auto second = start(verifier, eas_claim());
  EXPECT_EQ(start(verifier, eas_claim()).get().error().code, kBusy);
  verifier.stop();
  EXPECT_EQ(first.get().error().code, kUnreachable);
  EXPECT_EQ(second.get().error().code, kUnreachable);
}

TEST(Verifier, CountsTheTimeOfAllItsReadsTogether) {
  http::Client http;
  // Each answer is quick, but there is always one more to wait for.
  const test::Server server{[](test::Peer& peer) {
    while (!peer.read_request().empty()) {
      std::this_thread::sleep_for(milliseconds{150});
      peer.answer(json{{"result", hex_of(attestation_answer())}}.dump());
    }
  }};
  Settings settings = configured(server.url());
  settings.deadline = milliseconds{200};
  Threads threads;
  Verifier verifier{http, settings, threads.post()};
  EXPECT_EQ(start(verifier, eas_claim()).get().error().code, kUnreachable);
}

// --- WebAuthn -------------------------------------------------------------------------------------------------------

// As tests/chain/record_registrations.js wrote them.
struct Recorded {
  explicit Recorded(const std::string& name) {
    std::ifstream file{test::source_dir() + "/tests/golden/webauthn/" + name + ".json"};
    const json whole = json::parse(file, nullptr, false);
    EXPECT_TRUE(whole.is_object()) << name;
    credential = whole.value("credential", json::object());
    challenge = whole.value("challenge", "");
    party = {"localhost", {whole.value("origin", "")}};
  }
  Result<Registration> check() const { return check_registration(credential.dump(), challenge, party); }
  std::string reason() const {
    const auto checked = check();
    return checked ? "holds" : checked.error().kind == ErrorKind::invalid ? "invalid" : checked.error().field;
  }
  std::string& part(const char* name) { return credential["response"][name].get_ref<std::string&>(); }

  json credential;
  std::string challenge;
  RelyingParty party;
};

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string decoded(std::string_view text) {
  std::string bytes;
  unsigned buffer = 0;
  int bits = 0;
  for (const char c : text) {
    buffer = buffer << 6 | static_cast<unsigned>(kDigits.find(c));
    if ((bits += 6) >= 8) bytes += static_cast<char>(buffer >> (bits -= 8) & 255);
  }
  return bytes;
}

std::string encoded(std::string_view bytes) {
  std::string text;
  unsigned buffer = 0;
  int bits = 0;
  for (const char c : bytes) {
    buffer = buffer << 8 | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6; bits -= 6) text += kDigits[buffer >> (bits - 6) & 63];
  }
  if (bits > 0) text += kDigits[buffer << (6 - bits) & 63];
  return text;
}

TEST(WebAuthn, AcceptsWhatBrowsersAndAuthenticatorsMake) {
  const std::tuple<const char*, const char*, int> cases[] = {
      {"none", "none", -7},       {"packed", "certificate", -7}, {"fido_u2f", "certificate", -7},
      {"self_es256", "self", -7}, {"self_rs256", "self", -257},  {"self_eddsa", "self", -8},
  };
  for (const auto& [name, attestation, algorithm] : cases) {
    const Recorded recorded{name};
    const auto found = recorded.check();
    ASSERT_TRUE(found) << name << ": " << found.error().message;
    EXPECT_EQ(found->attestation, attestation) << name;
    EXPECT_EQ(found->algorithm, algorithm) << name;
    EXPECT_EQ(found->credential_id, recorded.credential["id"]) << name;
    EXPECT_EQ(found->origin, recorded.party.origins[0]) << name;
    EXPECT_EQ(found->aaguid, std::string{name} == "packed" ? "01020304050607080102030405060708" : std::string(32, '0'));
  }
  EXPECT_TRUE(Recorded{"none"}.check()->user_verified);
  EXPECT_FALSE(Recorded{"fido_u2f"}.check()->user_verified);
}

// The browser shows the same key in another form, of which the coordinates are a part.
TEST(WebAuthn, KeepsTheKeyThatTheBrowserShows) {
  Recorded recorded{"packed"};
  const std::string cose = decoded(recorded.check()->public_key);
  const std::string shown = decoded(recorded.part("publicKey"));
  ASSERT_EQ(cose.size(), 77u);
  EXPECT_EQ(cose.substr(10, 32) + cose.substr(45), shown.substr(shown.size() - 64));
}

TEST(WebAuthn, RefusesAnAnswerToSomethingElse) {
  Recorded recorded{"none"};
  recorded.challenge[0] = '1';
  EXPECT_EQ(recorded.reason(), "challenge_mismatch");
  recorded = Recorded{"none"};
  recorded.party.origins = {"http://localhost:1", "https://example.com"};
  EXPECT_EQ(recorded.reason(), "wrong_origin");
  recorded = Recorded{"none"};
  recorded.party.id = "example.com";
  EXPECT_EQ(recorded.reason(), "wrong_rp_id");
  const auto with_client_data = [](auto change) {
    Recorded changed{"none"};
    json data = json::parse(decoded(changed.part("clientDataJSON")));
    change(data);
    changed.part("clientDataJSON") = encoded(data.dump());
    return changed.reason();
  };
  EXPECT_EQ(with_client_data([](json&) {}), "holds");  // "none" signs nothing: this is why the rest is asked for
  EXPECT_EQ(with_client_data([](json& data) { data["type"] = "webauthn.get"; }), "wrong_ceremony");
  EXPECT_EQ(with_client_data([](json& data) { data["crossOrigin"] = true; }), "wrong_origin");
  EXPECT_EQ(with_client_data([](json& data) { data["origin"] = "http://evil.example"; }), "wrong_origin");
  EXPECT_EQ(with_client_data([](json& data) { data = json::array(); }), "response_malformed");
}

// Where the authenticator data begins in the attestation object: with the hash of the RP id.
std::size_t data_start(const std::string& object) {
  return object.find(bytes_of_hex("0x" + sha256_hex("localhost")).value());
}

TEST(WebAuthn, LooksAtTheFlagsOfTheAuthenticator) {
  const auto with_flags = [](unsigned char flags) {
    Recorded changed{"none"};
    std::string object = decoded(changed.part("attestationObject"));
    object[data_start(object) + 32] = static_cast<char>(flags);
    changed.part("attestationObject") = encoded(object);
    return changed.reason();
  };
  EXPECT_EQ(with_flags(0x41), "holds");
  EXPECT_EQ(with_flags(0x40), "user_absent");
  EXPECT_EQ(with_flags(0x44), "user_absent");
  EXPECT_EQ(with_flags(0x01), "response_malformed");  // no key
  EXPECT_EQ(with_flags(0x51), "response_malformed");  // kept elsewhere, but cannot be
  EXPECT_EQ(with_flags(0x59), "holds");
}

TEST(WebAuthn, RefusesWhatIsSignedWhenABitOfItChanges) {
  for (const char* name : {"packed", "fido_u2f", "self_es256", "self_rs256", "self_eddsa"}) {
    const Recorded recorded{name};
    const std::string whole = decoded(Recorded{recorded}.part("attestationObject"));
    const std::size_t start = data_start(whole);
    ASSERT_NE(start, std::string::npos);
    // U2F signs neither flags nor counter nor aaguid, and they are checked otherwise or only noted.
    const std::size_t from = std::string{name} == "fido_u2f" ? start + 55 : start;
    for (std::size_t at = from; at < whole.size(); ++at) {
      Recorded changed = recorded;
      std::string object = whole;
      object[at] = static_cast<char>(object[at] ^ 0x10);
      changed.part("attestationObject") = encoded(object);
      EXPECT_NE(changed.reason(), "holds") << name << " at " << at - start;
    }
    Recorded other = recorded;
    json data = json::parse(decoded(other.part("clientDataJSON")));
    data["more"] = 1;
    other.part("clientDataJSON") = encoded(data.dump());
    EXPECT_EQ(other.reason(), "attestation_signature") << name;
  }
}

TEST(WebAuthn, SurvivesEveryCutAndEveryFlippedBit) {
  for (const char* name : {"none", "packed", "fido_u2f", "self_rs256"}) {
    const Recorded recorded{name};
    const std::string whole = decoded(Recorded{recorded}.part("attestationObject"));
    for (std::size_t at = 0; at < whole.size(); ++at) {
      Recorded changed = recorded;
      changed.part("attestationObject") = encoded(std::string_view{whole}.substr(0, at));
      EXPECT_NE(changed.reason(), "holds") << name << " cut at " << at;
      std::string object = whole;
      object[at] = static_cast<char>(object[at] ^ (1 << (at % 8)));
      changed.part("attestationObject") = encoded(object);
      changed.reason();  // perhaps only a name in a certificate: it must not crash, whatever it says
    }
  }
}

TEST(WebAuthn, RefusesFormatsThatItDoesNotCheck) {
  Recorded recorded{"none"};
  std::string object = decoded(recorded.part("attestationObject"));
  object.replace(object.find("none"), 4, "tpm4");
  recorded.part("attestationObject") = encoded(object);
  EXPECT_EQ(recorded.reason(), "attestation_format");
  // And a "none" that says something all the same.
  recorded = Recorded{"self_es256"};
  object = decoded(recorded.part("attestationObject"));
  object.replace(object.find("fpacked"), 7, "dnone");
  recorded.part("attestationObject") = encoded(object);
  EXPECT_EQ(recorded.reason(), "response_malformed");
}

TEST(WebAuthn, SaysWhichPartOfTheAnswerIsMissing) {
  const auto message = [](const std::string& answer) {
    const auto checked = check_registration(answer, "c", {"localhost", {"http://localhost"}});
    if (checked) return std::string{"holds"};
    EXPECT_EQ(checked.error().kind, ErrorKind::invalid);
    EXPECT_EQ(checked.error().field, "signature");
    return checked.error().message;
  };
  const auto without = [&](const char* pointer) {
    Recorded recorded{"none"};
    recorded.credential = recorded.credential.patch(json::array({{{"op", "remove"}, {"path", pointer}}}));
    return message(recorded.credential.dump());
  };
  EXPECT_NE(message("").find("not a JSON object"), std::string::npos);
  EXPECT_NE(message("0x1234").find("not a JSON object"), std::string::npos);
  EXPECT_NE(message(std::string(100'000, '[')).find("not a JSON object"), std::string::npos);
  EXPECT_NE(without("/type").find("type"), std::string::npos);
  EXPECT_NE(without("/rawId").find("rawId is missing"), std::string::npos);
  EXPECT_NE(without("/response").find("clientDataJSON is missing"), std::string::npos);
  EXPECT_NE(without("/response/attestationObject").find("attestationObject is missing"), std::string::npos);
  Recorded padded{"none"};
  padded.part("attestationObject") += "=";
  EXPECT_NE(message(padded.credential.dump()).find("base64url"), std::string::npos);
  Recorded other{"none"};
  other.credential["rawId"] = "AAAA";
  EXPECT_EQ(other.reason(), "response_malformed");
}

TEST(WebAuthn, AsksBrowsersForAKeyOfThisSite) {
  const json options = json::parse(
      creation_options({"example.com", {"https://example.com"}}, "abcd", "user", "ann@example.com", seconds{9}));
  EXPECT_EQ(options["rp"]["id"], "example.com");
  EXPECT_EQ(options["challenge"], "abcd");
  EXPECT_EQ(options["user"]["id"], "dXNlcg");
  EXPECT_EQ(options["user"]["name"], "ann@example.com");
  EXPECT_EQ(options["timeout"], 9000);
  EXPECT_EQ(options["attestation"], "none");
  EXPECT_EQ(options["pubKeyCredParams"].size(), 3u);
}

}  // namespace
}  // namespace creel::verify
