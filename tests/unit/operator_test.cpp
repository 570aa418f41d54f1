// The operator against gateways that misbehave. That it gets on with the real ones, the e2e tests show.
#include "controller/gateway/operator.hpp"

#include <gtest/gtest.h>

#include <future>

#include "controller/http/client.hpp"
#include "tests/unit/gateway_fake_server.hpp"
#include "tests/unit/scripted_gateway.hpp"

namespace creel::gateway {
namespace {

using nlohmann::json;
using test::GatewayPeer;
using test::ScriptedGateway;

constexpr const char* kSeed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

class OperatorTest : public testing::Test {
 protected:
  static OperatorOptions quick() {
    OperatorOptions options;
    options.connect_deadline = milliseconds{400};
    options.request_deadline = milliseconds{800};
    options.max_message = 64u << 10;
    return options;
  }
  static OperatorOptions patient() {
    OperatorOptions options = quick();
    options.connect_deadline = options.request_deadline = milliseconds{20'000};
    return options;
  }
  static OperatorTarget target(const std::string& address, const char* id = "0123456789abcdef") {
    return {*AgentId::parse(id), "openclaw", address, "t0ken", kSeed};
  }
  template <class T>
  static Result<T> wait(std::function<void(Operator::Done<T>)> call) {
    auto promise = std::make_shared<std::promise<Result<T>>>();
    auto future = promise->get_future();
    call([promise](Result<T> result) { promise->set_value(std::move(result)); });
    if (future.wait_for(std::chrono::seconds{60}) != std::future_status::ready)
      return Error{ErrorKind::internal, "never answered", {}, {}};
    return future.get();
  }
  static Result<std::vector<GatewaySession>> sessions(Operator& op, const OperatorTarget& target) {
    return wait<std::vector<GatewaySession>>([&](auto done) { op.sessions(target, std::move(done)); });
  }

  http::Client client;
};

const json kOneSession{{"sessions", {{{"key", "agent:main:topic:a"}, {"updatedAt", 1}}}}};

// Signs in and answers everything there is to ask.
void serve(GatewayPeer& peer, int protocol) {
  peer.sign_in(protocol);
  json skills{{"skills", {{{"skillKey", "weather"}, {"name", "weather"}, {"disabled", false}, {"eligible", true}}}}};
  for (json request; (request = peer.hear()).is_object();) {
    const std::string method = request["method"];
    if (method == "sessions.list") {
      peer.answer(request, kOneSession);
    } else if (method == "sessions.get") {
      peer.answer(request, {{"messages", {{{"role", "user"}, {"content", "hi"}, {"timestamp", 1}}}}});
    } else if (method == "skills.update") {
      skills["skills"][0]["disabled"] = !request["params"]["enabled"].get<bool>();
      peer.answer(request, {{"ok", true}});
    } else if (method == "skills.status") {
      peer.answer(request, skills);
    } else {
      peer.answer(request, json::object());
    }
  }
}

TEST_F(OperatorTest, SpeaksProtocolThreeAndFourOverOneConnection) {
  for (const int protocol : {3, 4}) {
    ScriptedGateway gateway{[&](GatewayPeer& peer, int) { serve(peer, protocol); }};
    Operator op{client, patient()};
    const auto at = target(gateway.address());
    const auto list = sessions(op, at);
    ASSERT_TRUE(list) << list.error().message;
    EXPECT_EQ(list->at(0).key, "topic:a");
    const auto said =
        wait<std::vector<GatewayMessage>>([&](auto done) { op.history(at, "topic:a", 10, std::move(done)); });
    ASSERT_TRUE(said) << said.error().message;
    EXPECT_EQ(said->at(0).text, "hi");
    const auto health = wait<GatewayHealth>([&](auto done) { op.health(at, std::move(done)); });
    ASSERT_TRUE(health) << health.error().message;
    EXPECT_EQ(health->version, "2026.3.13");
    EXPECT_GE(health->uptime, milliseconds{5000});
    const auto skill = wait<GatewaySkill>([&](auto done) { op.set_skill(at, "weather", false, std::move(done)); });
    ASSERT_TRUE(skill) << skill.error().message;
    EXPECT_FALSE(skill->enabled);
    const auto none = wait<GatewaySkill>([&](auto done) { op.set_skill(at, "nope", true, std::move(done)); });
    EXPECT_EQ(none.error().kind, ErrorKind::not_found);
    EXPECT_EQ(gateway.connections(), 1);
  }
}

TEST_F(OperatorTest, AnswersManyAtOnceEachWithItsOwn) {
  ScriptedGateway gateway{[](GatewayPeer& peer, int) {
    peer.sign_in();
    std::vector<json> requests;
    while (requests.size() < 8) requests.push_back(peer.hear());
    for (auto at = requests.rbegin(); at != requests.rend(); ++at)  // the last first
      peer.answer(*at, {{"messages", {{{"role", "user"}, {"content", (*at)["params"]["key"]}, {"timestamp", 1}}}}});
    peer.hear();
  }};
  Operator op{client, patient()};
  std::vector<std::future<std::string>> said;
  for (int i = 0; i < 8; ++i) {
    auto promise = std::make_shared<std::promise<std::string>>();
    said.push_back(promise->get_future());
    op.history(target(gateway.address()), "topic:" + std::to_string(i), 1,
               [promise](Result<std::vector<GatewayMessage>> r) {
                 promise->set_value(r ? r->at(0).text : r.error().message);
               });
  }
  for (int i = 0; i < 8; ++i) EXPECT_EQ(said[static_cast<std::size_t>(i)].get(), "topic:" + std::to_string(i));
}

TEST_F(OperatorTest, SaysWhatToDoWhenTheGatewayDoesNotKnowTheDevice) {
  ScriptedGateway gateway{[](GatewayPeer& peer, int) {
    peer.say({{"type", "event"}, {"event", "connect.challenge"}, {"payload", {{"nonce", "n"}}}});
    peer.refuse(peer.hear(), {{"code", "NOT_PAIRED"},
                              {"message", "pairing required"},
                              {"details", {{"code", "PAIRING_REQUIRED"}, {"requestId", "r"}}}});
    peer.close(1008);
  }};
  Operator op{client, patient()};
  const auto refused = sessions(op, target(gateway.address()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::conflict);
  EXPECT_EQ(refused.error().code, "GATEWAY_NOT_PAIRED");
  EXPECT_NE(refused.error().message.find("/api/instance/0123456789abcdef/repair"), std::string::npos);

  OperatorTarget old = target(gateway.address());
  old.device_key.clear();
  const auto never = sessions(op, old);
  EXPECT_EQ(never.error().code, "GATEWAY_NOT_PAIRED");
  EXPECT_NE(never.error().message.find("/api/agents/0123456789abcdef/config"), std::string::npos);
}

TEST_F(OperatorTest, TellsARefusedTokenAndKeepsItToItself) {
  ScriptedGateway gateway{[](GatewayPeer& peer, int) {
    peer.say({{"type", "event"}, {"event", "connect.challenge"}, {"payload", {{"nonce", "n"}}}});
    peer.refuse(peer.hear(), {{"code", "INVALID_REQUEST"},
                              {"message", "unauthorized: t0ken is wrong"},
                              {"details", {{"code", "AUTH_TOKEN_MISMATCH"}}}});
  }};
  Operator op{client, patient()};
  const auto refused = sessions(op, target(gateway.address()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "TOKEN_REFUSED");
  EXPECT_EQ(refused.error().message.find("t0ken"), std::string::npos);
}

TEST_F(OperatorTest, TellsAProtocolThatItDoesNotSpeak) {
  ScriptedGateway refusing{[](GatewayPeer& peer, int) {
    peer.say({{"type", "event"}, {"event", "connect.challenge"}, {"payload", {{"nonce", "n"}}}});
    peer.refuse(
        peer.hear(),
        {{"code", "INVALID_REQUEST"}, {"message", "protocol mismatch"}, {"details", {{"expectedProtocol", 7}}}});
    peer.close(1002);
  }};
  ScriptedGateway insisting{[](GatewayPeer& peer, int) {
    peer.sign_in(9);
    peer.hear();
  }};
  Operator op{client, patient()};
  const auto refused = sessions(op, target(refusing.address()));
  EXPECT_EQ(refused.error().code, "PROTOCOL_MISMATCH");
  EXPECT_NE(refused.error().message.find("protocol 7"), std::string::npos);
  EXPECT_EQ(sessions(op, target(insisting.address())).error().code, "PROTOCOL_MISMATCH");
}

TEST_F(OperatorTest, GivesUpOnWhoeverSaysNothing) {
  ScriptedGateway mute{[](GatewayPeer& peer, int) { peer.hear(); }};  // no challenge
  ScriptedGateway slow{[](GatewayPeer& peer, int) {
    peer.sign_in();
    while (peer.hear().is_object()) {
    }
  }};
  test::Server deaf{[](test::Peer& peer) { peer.wait_closed(); }};  // no handshake
  Operator op{client, quick()};
  EXPECT_EQ(sessions(op, target(mute.address())).error().kind, ErrorKind::timeout);
  EXPECT_EQ(sessions(op, target(slow.address())).error().kind, ErrorKind::timeout);
  // A connection on which nothing comes any more is not used again.
  EXPECT_EQ(sessions(op, target(slow.address())).error().kind, ErrorKind::timeout);
  EXPECT_EQ(slow.connections(), 2);
  const std::string url = deaf.url("");
  EXPECT_EQ(sessions(op, target(url.substr(url.rfind('/') + 1))).error().kind, ErrorKind::timeout);
}

TEST_F(OperatorTest, OneStuckGatewayDelaysNoOther) {
  ScriptedGateway stuck{[](GatewayPeer& peer, int) { peer.hear(); }};
  ScriptedGateway well{[](GatewayPeer& peer, int) { serve(peer, 3); }};
  OperatorOptions options = patient();
  std::promise<ErrorKind> end;
  Operator op{client, options};
  op.sessions(target(stuck.address()), [&](auto result) { end.set_value(result.error().kind); });
  EXPECT_TRUE(sessions(op, target(well.address(), "fedcba9876543210")));
  auto waiting = end.get_future();
  EXPECT_EQ(waiting.wait_for(std::chrono::seconds{0}), std::future_status::timeout) << "the stuck one was not stuck";
  // It ends with the operator, in the destructor.
  std::thread{[&, gone = std::make_unique<Operator>(client, options)]() mutable {
    std::promise<ErrorKind> cancelled;
    auto told = cancelled.get_future();
    gone->sessions(target(stuck.address()), [&](auto result) { cancelled.set_value(result.error().kind); });
    gone.reset();
    EXPECT_EQ(told.get(), ErrorKind::cancelled);
  }}.join();
}

TEST_F(OperatorTest, RefusesGarbage) {
  ScriptedGateway no_json{[](GatewayPeer& peer, int) {
    peer.say_text("hello?");
    peer.hear();
  }};
  test::Server no_websocket{[](test::Peer& peer) {
    peer.read_request();
    peer.answer("{}");
  }};
  test::Server no_frames{[](test::Peer& peer) {
    peer.read_request();
    peer.write("\x16\x03\x01 this is no answer to that\r\n\r\n");
  }};
  Operator op{client, patient()};
  EXPECT_EQ(sessions(op, target(no_json.address())).error().kind, ErrorKind::failed);
  for (const auto* server : {&no_websocket, &no_frames}) {
    const std::string url = server->url("");
    const auto result = sessions(op, target(url.substr(url.rfind('/') + 1)));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, ErrorKind::failed) << result.error().message;
  }
}

TEST_F(OperatorTest, ComesBackAfterTheGatewayRestarted) {
  ScriptedGateway gateway{[](GatewayPeer& peer, int connection) {
    if (connection > 1) return serve(peer, 3);
    peer.sign_in();
    peer.answer(peer.hear(), kOneSession);
    peer.hear();
    peer.close(1012);
  }};
  Operator op{client, patient()};
  EXPECT_TRUE(sessions(op, target(gateway.address())));
  const auto meanwhile = sessions(op, target(gateway.address()));
  ASSERT_FALSE(meanwhile);
  EXPECT_EQ(meanwhile.error().kind, ErrorKind::unavailable);
  EXPECT_NE(meanwhile.error().message.find("restarting"), std::string::npos) << meanwhile.error().message;
  EXPECT_TRUE(sessions(op, target(gateway.address())));
  EXPECT_EQ(gateway.connections(), 2);
}

TEST_F(OperatorTest, AsksForLessWhenAnAnswerIsTooLong) {
  ScriptedGateway gateway{[](GatewayPeer& peer, int) {
    peer.sign_in();
    for (json request; (request = peer.hear()).is_object();) {
      json messages{{{"role", "user"}, {"content", "short"}, {"timestamp", 1}}};
      if (request["method"] == "sessions.get") messages[0]["content"] = std::string(100u << 10, 'x');
      peer.answer(request, {{"messages", messages}});
    }
  }};
  Operator op{client, quick()};
  const auto said = wait<std::vector<GatewayMessage>>(
      [&](auto done) { op.history(target(gateway.address()), "topic:a", 10, std::move(done)); });
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_EQ(said->at(0).text, "short");
}

TEST_F(OperatorTest, AsksAnotherWayWhenTheGatewayDoesNotKnowTheMethod) {
  ScriptedGateway gateway{[](GatewayPeer& peer, int) {
    peer.sign_in(4);
    for (json request; (request = peer.hear()).is_object();) {
      if (request["method"] != "chat.history") {
        peer.refuse(request, {{"code", "INVALID_REQUEST"}, {"message", "unknown method: sessions.get"}});
      } else {
        EXPECT_EQ(request["params"]["sessionKey"], "topic:a%20b");
        peer.answer(request, {{"messages", {{{"role", "assistant"}, {"content", "hi"}, {"timestamp", 1}}}}});
      }
    }
  }};
  Operator op{client, patient()};
  const auto said = wait<std::vector<GatewayMessage>>(
      [&](auto done) { op.history(target(gateway.address()), "topic:a b", 10, std::move(done)); });
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_EQ(said->size(), 1u);
}

TEST_F(OperatorTest, ConnectsAnewWithANewTokenAndClosesWhatIsIdle) {
  std::mutex mutex;
  std::vector<std::string> tokens;
  std::atomic<int> ended{0};
  ScriptedGateway gateway{[&](GatewayPeer& peer, int) {
    const json connect = peer.sign_in();
    {
      const std::lock_guard lock{mutex};
      if (connect.is_object()) tokens.push_back(connect["params"]["auth"]["token"]);
    }
    for (json request; (request = peer.hear()).is_object();) peer.answer(request, kOneSession);
    ++ended;
  }};
  OperatorOptions options = patient();
  options.idle = milliseconds{100};
  Operator op{client, options};
  OperatorTarget at = target(gateway.address());
  EXPECT_TRUE(sessions(op, at));
  at.token = "an0ther";
  EXPECT_TRUE(sessions(op, at));
  {
    const std::lock_guard lock{mutex};
    EXPECT_EQ(tokens, (std::vector<std::string>{"t0ken", "an0ther"}));
  }
  for (int i = 0; i < 1000 && ended < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds{10});
  EXPECT_EQ(ended, 2);
}

TEST_F(OperatorTest, KeepsABoundedNumberOfConnections) {
  ScriptedGateway gateway{[](GatewayPeer& peer, int) { serve(peer, 3); }};
  ScriptedGateway stuck{[](GatewayPeer& peer, int) {
    peer.sign_in();
    while (peer.hear().is_object()) {
    }
  }};
  OperatorOptions options = patient();
  options.max_connections = 2;
  Operator op{client, options};
  EXPECT_TRUE(sessions(op, target(gateway.address(), "0000000000000001")));
  EXPECT_TRUE(sessions(op, target(gateway.address(), "0000000000000002")));
  EXPECT_TRUE(sessions(op, target(gateway.address(), "0000000000000003"))) << "the idlest did not give way";
  op.sessions(target(stuck.address(), "0000000000000004"), [](auto) {});
  op.sessions(target(stuck.address(), "0000000000000005"), [](auto) {});
  const auto refused = sessions(op, target(gateway.address(), "0000000000000006"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::unavailable);
}

TEST_F(OperatorTest, TellsWhereNobodyListens) {
  const test::ClosedPort closed;
  Operator op{client, patient()};
  EXPECT_EQ(sessions(op, target(closed.address())).error().kind, ErrorKind::unavailable);
  EXPECT_EQ(sessions(op, target("")).error().kind, ErrorKind::unavailable);
  EXPECT_EQ(sessions(op, target("nonsense")).error().kind, ErrorKind::unavailable);
  OperatorTarget strange = target(closed.address());
  strange.kind = "strange";
  EXPECT_EQ(sessions(op, strange).error().kind, ErrorKind::invalid);
}

TEST_F(OperatorTest, AsksTheReferenceAgentOverHttp) {
  test::FakeServer server{[](const std::string& request) {
    if (request.find("Bearer t0ken") == std::string::npos) return test::http_answer(401, "{}");
    if (request.starts_with("GET /v1/status"))
      return test::http_answer(200, R"({"version":"1","model":"m","uptimeMs":7})");
    if (request.starts_with("GET /v1/sessions"))
      return test::http_answer(200, R"({"sessions":[{"key":"topic:a%20b","messages":2,"updatedAt":1000}],"total":1})");
    if (request.starts_with("GET /v1/messages?limit=5") &&
        request.find("x-openclaw-session-key: topic:a%20b") != std::string::npos)
      return test::http_answer(
          200,
          R"({"messages":[{"role":"user","content":"q","timestamp":"2026-01-01T00:00:00.001Z"},{"role":"assistant","content":"a","timestamp":"2026-01-01T00:00:00.001Z"}]})");
    return test::http_answer(500, R"({"error":{"message":"no t0ken here"}})");
  }};
  Operator op{client, patient()};
  OperatorTarget at = target(server.address());
  at.kind = "reference";
  at.device_key.clear();
  const auto health = wait<GatewayHealth>([&](auto done) { op.health(at, std::move(done)); });
  ASSERT_TRUE(health) << health.error().message;
  EXPECT_EQ(health->model, "m");
  EXPECT_EQ(health->uptime, milliseconds{7});
  const auto list = sessions(op, at);
  ASSERT_TRUE(list) << list.error().message;
  EXPECT_EQ(list->at(0).key, "topic:a b");
  EXPECT_EQ(list->at(0).messages, 2);
  const auto said =
      wait<std::vector<GatewayMessage>>([&](auto done) { op.history(at, "topic:a b", 5, std::move(done)); });
  ASSERT_TRUE(said) << said.error().message;
  ASSERT_EQ(said->size(), 2u);
  EXPECT_NE(said->at(0).id, said->at(1).id);
  const auto failed = wait<std::vector<GatewayMessage>>([&](auto done) { op.history(at, "x", 5, std::move(done)); });
  EXPECT_EQ(failed.error().kind, ErrorKind::failed);
  EXPECT_EQ(failed.error().message.find("t0ken"), std::string::npos);
  at.token = "wrong";
  EXPECT_EQ(sessions(op, at).error().code, "TOKEN_REFUSED");
}

TEST_F(OperatorTest, AsksAnAgentWhereItIsNow) {
  test::FakeServer others{[](const std::string&) { return test::http_answer(200, "{}"); }};
  test::FakeServer own{[](const std::string&) { return test::http_answer(200, R"({"sessions":[]})"); }};
  struct : Locator {
    std::string now;
    std::string locate(const AgentId&, const std::string&) override { return now; }
  } locator;
  Operator op{client, quick(), &locator};
  OperatorTarget at = target(others.address());
  at.kind = "reference";
  locator.now = own.address();
  EXPECT_TRUE(sessions(op, at));
  EXPECT_EQ(own.requests().size(), 1u);
  locator.now.clear();
  EXPECT_EQ(sessions(op, at).error().kind, ErrorKind::unavailable);
  EXPECT_TRUE(others.requests().empty());
}

}  // namespace
}  // namespace creel::gateway
