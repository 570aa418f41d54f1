#include "controller/gateway/gateway.hpp"

#include <gtest/gtest.h>

#include <future>
#include <nlohmann/json.hpp>

#include "controller/gateway/adapter.hpp"
#include "controller/http/client.hpp"
#include "tests/unit/gateway_fake_server.hpp"
#include "tests/unit/http_scripted_server.hpp"

namespace creel::gateway {
namespace {

using test::ClosedPort;
using test::FakeServer;
using test::http_answer;

std::string completion(const std::string& content) {
  const nlohmann::json body = {
      {"choices",
       {{{"index", 0}, {"message", {{"role", "assistant"}, {"content", content}}}, {"finish_reason", "stop"}}}}};
  return body.dump();
}

class GatewayTest : public ::testing::Test {
 protected:
  Result<ChatReply> chat(const std::string& kind, const std::string& address,
                         milliseconds deadline = milliseconds{5'000}) {
    std::promise<Result<ChatReply>> promise;
    auto future = promise.get_future();
    ChatRequest request{{}, address, "t0ken-of-the-gateway", session_key_, "hello \"you\"\n", deadline};
    gateways_.chat_async(kind, std::move(request),
                         [&promise](Result<ChatReply> reply) { promise.set_value(std::move(reply)); });
    return future.get();
  }

  std::string session_key_ = "topic:general";
  http::Client client_;
  Gateways gateways_{client_};
};

TEST_F(GatewayTest, IsReadyWhenTheGatewaySaysSo) {
  FakeServer server{[](const std::string&) { return http_answer(200, R"({"ready":true})"); }};
  const auto answer = gateways_.probe(server.address(), Readiness{}, {});
  EXPECT_EQ(answer.ready, true);
  ASSERT_EQ(server.requests().size(), 1u);
  EXPECT_EQ(server.requests()[0].find("GET /readyz HTTP/1.1\r\n"), 0u);
}

TEST_F(GatewayTest, IsNotReadyForTheReasonTheGatewayGives) {
  FakeServer server{
      [](const std::string&) { return http_answer(503, R"({"ready":false,"failing":["starting","disk"]})"); }};
  const auto answer = gateways_.probe(server.address(), Readiness{}, {});
  EXPECT_EQ(answer.ready, false);
  EXPECT_EQ(answer.message, "the gateway answered 503: starting, disk");
}

TEST_F(GatewayTest, IsNotReadyWhileNothingListens) {
  const ClosedPort port;
  const auto answer = gateways_.probe(port.address(), Readiness{}, {});
  EXPECT_EQ(answer.ready, false);
  EXPECT_EQ(answer.message, "the gateway is not listening yet");
}

TEST_F(GatewayTest, KnowsNothingWhenTheProbeIsNotAnswered) {
  FakeServer server{[](const std::string&) { return std::string{}; }};
  Gateways hurried{client_, nullptr, milliseconds{50}};
  const auto answer = hurried.probe(server.address(), Readiness{}, {});
  EXPECT_EQ(answer.ready, std::nullopt);
  EXPECT_EQ(answer.message, "the gateway did not answer within 50 ms");
  EXPECT_EQ(gateways_.probe("", Readiness{}, {}).ready, std::nullopt);
}

TEST_F(GatewayTest, SendsTheMessageAndGivesTheReply) {
  FakeServer server{[](const std::string&) { return http_answer(200, completion("hi\nthere")); }};
  const auto reply = chat("openclaw", server.address());
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->text, "hi\nthere");
  const std::string request = server.requests().at(0);
  EXPECT_EQ(request.find("POST /v1/chat/completions HTTP/1.1\r\n"), 0u);
  EXPECT_NE(request.find("uthorization: Bearer t0ken-of-the-gateway\r\n"), std::string::npos);
  EXPECT_NE(request.find("x-openclaw-session-key: topic:general\r\n"), std::string::npos);
  const auto body = nlohmann::json::parse(request.substr(request.find("\r\n\r\n") + 4));
  EXPECT_EQ(body["model"], "openclaw");
  EXPECT_EQ(body["messages"], nlohmann::json::parse(R"([{"role": "user", "content": "hello \"you\"\n"}])"));
}

TEST_F(GatewayTest, LetsNoSessionKeyAddAHeader) {
  FakeServer server{[](const std::string&) { return http_answer(200, completion("ok")); }};
  session_key_ = "topic:a\r\nx-evil: 1 %\xc3\xa4";
  ASSERT_TRUE(chat("reference", server.address()));
  EXPECT_NE(server.requests().at(0).find("x-openclaw-session-key: topic:a%0D%0Ax-evil:%201%20%25%C3%A4\r\n"),
            std::string::npos);
}

TEST_F(GatewayTest, TurnsOpenclawsModelErrorsIntoErrors) {
  FakeServer server{
      [](const std::string&) { return http_answer(200, completion("401 bad key t0ken-of-the-gateway")); }};
  const auto reply = chat("openclaw", server.address());
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().kind, ErrorKind::failed);
  EXPECT_EQ(reply.error().code, "MODEL_FAILED");
  EXPECT_EQ(reply.error().message, "The agent's model failed: 401 bad key ****");
  // The reference agent has statuses for its errors: what it says is what it was told.
  EXPECT_TRUE(chat("reference", server.address()));
}

TEST_F(GatewayTest, SaysWhatFailedWithoutTheToken) {
  struct Case {
    int status;
    const char* body;
    const char* expected;
  };
  for (const Case& c :
       {Case{401, R"({"error":{"message":"Unauthorized"}})", "refused the controller's token"},
        Case{404, "x", "no chat endpoint"},
        Case{500, R"({"error":{"message":"boom t0ken-of-the-gateway\u0007"}})", "answered 500: boom **** "},
        Case{502, "<html>", "answered 502"}, Case{200, "not json", "without a reply"},
        Case{200, R"({"choices":[]})", "without a reply"}, Case{200, R"([1])", "without a reply"}}) {
    FakeServer server{[&c](const std::string&) { return http_answer(c.status, c.body); }};
    const auto reply = chat("openclaw", server.address());
    ASSERT_FALSE(reply) << c.body;
    EXPECT_EQ(reply.error().kind, ErrorKind::failed);
    EXPECT_NE(reply.error().message.find(c.expected), std::string::npos) << reply.error().message;
    EXPECT_EQ(reply.error().message.find("t0ken"), std::string::npos);
  }
}

TEST_F(GatewayTest, TellsUnreachableFromSilent) {
  const ClosedPort port;
  EXPECT_EQ(chat("openclaw", port.address()).error().kind, ErrorKind::unavailable);
  EXPECT_EQ(chat("openclaw", "").error().kind, ErrorKind::unavailable);
  FakeServer server{[](const std::string&) { return std::string{}; }};
  EXPECT_EQ(chat("openclaw", server.address(), milliseconds{100}).error().kind, ErrorKind::timeout);
}

TEST_F(GatewayTest, RefusesAKindItDoesNotKnow) {
  EXPECT_EQ(chat("telnet", "127.0.0.1:1").error().kind, ErrorKind::invalid);
}

TEST(OpenclawModelError, IsRecognisedInItsKnownForms) {
  for (const char* content :
       {"401 bad key", "500 boom", R"(429 {"type":"error","error":{"type":"rate_limit_error"}})",
        "HTTP 500: Internal Server Error", "HTTP 429 rate_limit_error: Rate limited. (request_id: req_1)",
        "LLM request failed with an unknown error.", "LLM request timed out.", "No response from OpenClaw."}) {
    EXPECT_TRUE(is_openclaw_model_error(content)) << content;
  }
}

TEST(OpenclawModelError, IsNotSeenInOrdinaryReplies) {
  for (const std::string& content :
       {std::string{}, std::string{"hi"}, std::string{"404"}, std::string{"42 is the answer"}, std::string{"200 OK"},
        std::string{"418 teapots"}, std::string{"4010 things"}, std::string{"401: that is unauthorized"},
        std::string{"500 apples\nand pears"}, std::string{"HTTP 404 means not found"}, "500 " + std::string(700, 'x'),
        std::string{"The LLM request failed"}}) {
    EXPECT_FALSE(is_openclaw_model_error(content)) << content;
  }
}

TEST(ForPeople, MakesOneShortHarmlessLine) {
  EXPECT_EQ(for_people("a\nb\x1b[31m", ""), "a b [31m");
  std::string accents;
  for (int i = 0; i < 200; ++i) accents += "\xc3\xa4";
  const std::string cut = for_people(accents, "");
  EXPECT_LE(cut.size(), 300u);
  EXPECT_EQ(cut.substr(cut.size() - 5), "\xc3\xa4...");
}

TEST_F(GatewayTest, SaysAMessageOnceEvenWhenTheConnectionEndsWithoutAnAnswer) {
  std::atomic<int> said{0};
  test::Server server{[&](test::Peer& peer) {
    for (std::string request; !(request = peer.read_request()).empty();) {
      if (request.find("hello") != std::string::npos && ++said > 1) return;
      peer.answer(completion("hi"));
    }
  }};
  const std::string address = server.url("").substr(7);
  EXPECT_TRUE(chat("reference", address));
  EXPECT_FALSE(chat("reference", address)) << "the connection of the first would be used again";
  EXPECT_EQ(said, 2);
}

TEST_F(GatewayTest, LearnsFromARefusedEmptyChatWhetherATokenIsAccepted) {
  const auto accepts = [this](const std::string& address) {
    std::promise<Result<bool>> promise;
    auto future = promise.get_future();
    gateways_.accepts_async({}, address, "t0ken",
                            [&promise](Result<bool> answer) { promise.set_value(std::move(answer)); });
    return future.get();
  };
  FakeServer server{[](const std::string& request) {
    return http_answer(request.find("Bearer t0ken\r\n") == std::string::npos ? 401 : 400, "{}");
  }};
  EXPECT_EQ(accepts(server.address()).value(), true);
  FakeServer other{[](const std::string&) { return http_answer(401, "{}"); }};
  EXPECT_EQ(accepts(other.address()).value(), false);
  const ClosedPort port;
  EXPECT_EQ(accepts(port.address()).error().kind, ErrorKind::unavailable);
  EXPECT_EQ(accepts("").error().kind, ErrorKind::unavailable);
}

TEST_F(GatewayTest, SaysNothingToAnAddressThatIsAnothersByNow) {
  FakeServer others{[](const std::string&) { return http_answer(200, completion("I am listening")); }};
  FakeServer own{[](const std::string&) { return http_answer(200, completion("hello")); }};
  struct : Locator {
    std::string now;
    std::string locate(const AgentId&, const std::string&) override { return now; }
  } locator;
  Gateways gateways{client_, &locator};
  const auto chat_with = [&](const std::string& observed) {
    std::promise<Result<ChatReply>> promise;
    gateways.chat_async("reference", {{}, observed, "t0ken", "main", "for me alone"},
                        [&promise](Result<ChatReply> reply) { promise.set_value(std::move(reply)); });
    return promise.get_future().get();
  };
  const auto accepts = [&](const std::string& observed) {
    std::promise<Result<bool>> promise;
    gateways.accepts_async({}, observed, "t0ken",
                           [&promise](Result<bool> answer) { promise.set_value(std::move(answer)); });
    return promise.get_future().get();
  };
  locator.now = own.address();
  EXPECT_EQ(chat_with(others.address()).value().text, "hello");
  EXPECT_TRUE(accepts(others.address()));
  locator.now.clear();
  EXPECT_EQ(chat_with(others.address()).error().kind, ErrorKind::unavailable);
  EXPECT_NE(chat_with(others.address()).error().message.find("does not run at this moment"), std::string::npos);
  EXPECT_EQ(accepts(others.address()).error().kind, ErrorKind::unavailable);
  EXPECT_TRUE(others.requests().empty());
}

}  // namespace
}  // namespace creel::gateway
