#include "controller/gateway/relay.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "controller/secrets/device_key.hpp"

namespace creel::gateway {
namespace {

using Json = nlohmann::json;

constexpr const char* kSeed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
constexpr const char* kMask = "\x01\x02\x03\x04";
const TimePoint kNow{milliseconds{1234}};
const std::string kChallenge = R"({"type":"event","event":"connect.challenge","payload":{"nonce":"n0nce"}})";
const std::string kConnect =
    R"({"type":"req","id":"c1","method":"connect","params":{"minProtocol":3,"maxProtocol":3,)"
    R"("client":{"id":"openclaw-control-ui","version":"1","platform":"MacIntel","mode":"webchat","deviceFamily":"x"},)"
    R"("role":"operator","scopes":["operator.admin","operator.read","other.thing"],"caps":["tool-events"],)"
    R"("auth":{"token":"of the browser"},"device":{"id":"of the browser"}}})";
const std::string kHello =
    R"({"type":"res","id":"c1","ok":true,"payload":{"type":"hello-ok","auth":{"role":"operator","deviceToken":"dev1ce"}}})";

std::string from_client(std::string_view text) { return make_frame(Opcode::text, text, kMask); }
std::string from_agent(std::string_view text) { return make_frame(Opcode::text, text); }

// The payload of a whole frame.
std::string payload(std::string_view frame) {
  const auto head = frame_head(frame);
  if (!head || frame.size() != head->size + head->length) return "(not one frame)";
  const auto text = frame.substr(head->size);
  return head->mask ? unmasked(text, *head->mask) : std::string{text};
}

WebSocketRelay openclaw() { return WebSocketRelay{{"openclaw", "t0ken", kSeed}}; }

TEST(Frames, HaveTheLengthsOfTheStandard) {
  for (const std::size_t size : {0, 1, 125, 126, 65535, 65536, 100000}) {
    for (const bool masked : {false, true}) {
      const std::string text(size, 'x');
      const std::string frame =
          make_frame(Opcode::binary, text, masked ? std::optional<std::string_view>{kMask} : std::nullopt);
      const auto head = frame_head(frame);
      ASSERT_TRUE(head) << size;
      EXPECT_EQ(head->length, size);
      EXPECT_EQ(head->size, frame.size() - size);
      EXPECT_EQ(head->opcode, Opcode::binary);
      EXPECT_TRUE(head->last);
      EXPECT_EQ(head->mask.has_value(), masked);
      EXPECT_EQ(payload(frame), text);
      for (std::size_t cut = 0; cut < head->size; ++cut) EXPECT_FALSE(frame_head(frame.substr(0, cut))) << cut;
    }
  }
}

TEST(FrameTracker, KnowsWhereAFrameEndsHoweverTheBytesCome) {
  const std::string frames = make_frame(Opcode::text, "hello") + make_frame(Opcode::binary, std::string(300, 'x')) +
                             make_frame(Opcode::ping, "", kMask);
  const std::size_t first = 7, second = first + 4 + 300;
  FrameTracker tracker;
  EXPECT_TRUE(tracker.at_boundary());
  for (std::size_t i = 0; i < frames.size(); ++i) {
    tracker.push(frames.substr(i, 1));
    const bool boundary = i + 1 == first || i + 1 == second || i + 1 == frames.size();
    EXPECT_EQ(tracker.at_boundary(), boundary) << i;
  }
  EXPECT_FALSE(tracker.closed());
  tracker.push(close_frame(1012, "bye"));
  EXPECT_TRUE(tracker.closed());
}

TEST(WebSocketRelay, SignsAClientInAsCreelsOwnDevice) {
  WebSocketRelay relay = openclaw();
  EXPECT_EQ(payload(relay.from_agent(from_agent(kChallenge))), kChallenge);
  const Json sent = Json::parse(payload(relay.from_client(from_client(kConnect), kNow)));
  EXPECT_EQ(sent["id"], "c1");
  const Json& params = sent["params"];
  EXPECT_EQ(params["auth"], Json({{"token", "t0ken"}}));
  EXPECT_EQ(params["scopes"], Json({"operator.admin", "operator.read"})) << "what it asks for and the device has";
  EXPECT_EQ(params["caps"], Json({"tool-events"}));
  EXPECT_EQ(params["client"]["id"], "openclaw-control-ui");
  const auto device = secrets::DeviceKey::from_seed(kSeed);
  const std::string text = "v3|" + device->id() +
                           "|openclaw-control-ui|webchat|operator|operator.admin,operator.read|1234|t0ken|n0nce|linux|";
  EXPECT_EQ(params["device"]["signature"], device->sign(text));
  EXPECT_EQ(params["client"]["platform"], "linux");

  const Json hello = Json::parse(payload(relay.from_agent(from_agent(kHello))));
  EXPECT_EQ(hello["payload"]["auth"], Json({{"role", "operator"}})) << "the device's token stays here";
  const std::string later = from_client("{\"type\":\"req\",\"id\":\"2\",\"method\":\"connect\",\"params\":{}}");
  EXPECT_EQ(relay.from_client(later, kNow), later) << "everything after that is as it was";
  const std::string event = from_agent(kChallenge + " ");
  EXPECT_EQ(relay.from_agent(event), event);
}

TEST(WebSocketRelay, HoldsASignInUntilTheChallengeIsThere) {
  WebSocketRelay relay = openclaw();
  const std::string next = from_client("{\"next\":1}");
  EXPECT_EQ(relay.from_client(from_client(kConnect) + next, kNow), "");
  EXPECT_TRUE(relay.waits_for_agent());
  EXPECT_EQ(relay.from_client("", kNow), "");
  relay.from_agent(from_agent(kChallenge));
  EXPECT_FALSE(relay.waits_for_agent());
  const std::string sent{relay.from_client("", kNow)};
  ASSERT_TRUE(sent.ends_with(next));
  const Json connect = Json::parse(payload(sent.substr(0, sent.size() - next.size())));
  EXPECT_EQ(connect["params"]["device"]["nonce"], "n0nce");
}

TEST(WebSocketRelay, TakesASignInByteByByteAndInFragments) {
  WebSocketRelay relay = openclaw();
  std::string down;
  for (const char c : from_agent(kChallenge)) down += relay.from_agent({&c, 1});
  EXPECT_EQ(payload(down), kChallenge);
  // Two fragments with a ping in between, which may not wait.
  std::string first = from_client(kConnect.substr(0, 50)), second = from_client(kConnect.substr(50));
  first[0] = static_cast<char>(static_cast<unsigned char>(first[0]) & 0x7f);
  second[0] = static_cast<char>(0x80);
  const std::string ping = make_frame(Opcode::ping, "?", kMask);
  std::string up;
  for (const char c : first + ping + second) up += relay.from_client({&c, 1}, kNow);
  ASSERT_TRUE(up.starts_with(ping));
  EXPECT_EQ(Json::parse(payload(up.substr(ping.size())))["params"]["auth"]["token"], "t0ken");
}

TEST(WebSocketRelay, LeavesAloneWhatIsNoSignInOfAnOperator) {
  for (const std::string& said :
       {std::string{R"({"type":"req","id":"1","method":"health"})"}, std::string{"not JSON"}, std::string(70'000, 'x'),
        std::string{R"({"type":"req","id":"1","method":"connect","params":{"role":"node"}})"}}) {
    WebSocketRelay relay = openclaw();
    relay.from_agent(from_agent(kChallenge));
    const std::string frame = from_client(said);
    EXPECT_EQ(relay.from_client(frame, kNow), frame);
    const std::string answer = from_agent(kHello);
    EXPECT_EQ(relay.from_agent(answer), answer);
  }
}

TEST(WebSocketRelay, PassesOtherKindsOfGatewaysAsTheyAre) {
  WebSocketRelay relay{{"reference", "t0ken", ""}};
  const std::string frame = from_client(kConnect);
  EXPECT_EQ(relay.from_client(frame, kNow), frame);
  const std::string half = from_agent(kChallenge).substr(0, 10);
  EXPECT_EQ(relay.from_agent(half), half);
  EXPECT_FALSE(relay.at_boundary());
}

TEST(WebSocketRelay, TellsTheTokenAloneWhenTheAgentKnowsOfNoDevice) {
  WebSocketRelay relay{{"openclaw", "t0ken", ""}};
  relay.from_agent(from_agent(kChallenge));
  const Json sent = Json::parse(payload(relay.from_client(from_client(kConnect), kNow)));
  EXPECT_EQ(sent["params"]["auth"]["token"], "t0ken");
  EXPECT_FALSE(sent["params"].contains("device"));
}

}  // namespace
}  // namespace creel::gateway
