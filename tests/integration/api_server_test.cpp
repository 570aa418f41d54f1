// The server on real sockets: connections, limits, deadlines, event streams, stopping.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "api/error.hpp"
#include "api/routes.hpp"
#include "api/server/server.hpp"
#include "tests/integration/api_fixture.hpp"
#include "tests/support/raw_client.hpp"

namespace creel::test {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string get(const std::string& target, const std::string& more = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: creel\r\n" + more + "\r\n";
}

// Handlers of the test's own table; what they share is reset by each test.
std::mutex g_mutex;
std::function<void(api::Response)> g_complete;
std::shared_ptr<api::StreamSink> g_sink;

api::Reply echo(const api::Request& request, api::Deps&) {
  return api::json_answer(200,
                          json{{"body", request.body.size()}, {"path", request.path}, {"peer", request.remote_ip}});
}
api::Reply large(const api::Request&, api::Deps&) {
  api::Response response;
  response.body = std::string(32 << 20, 'x');
  return response;
}
api::Reply later(const api::Request&, api::Deps&) {
  api::Later later;
  later.start = [](std::function<void(api::Response)> complete) {
    const std::lock_guard lock{g_mutex};
    g_complete = std::move(complete);
  };
  return later;
}
api::Reply stream(const api::Request&, api::Deps&) {
  api::Stream stream;
  stream.start = [](std::shared_ptr<api::StreamSink> sink) {
    const std::lock_guard lock{g_mutex};
    g_sink = std::move(sink);
  };
  return stream;
}
std::atomic<bool> g_blocked{false};
api::Reply blocked(const api::Request& request, api::Deps& deps) {
  g_blocked.wait(true);
  return echo(request, deps);
}
api::Reply broken(const api::Request&, api::Deps&) { throw std::runtime_error("on purpose"); }

class ApiServer : public ApiTest {
 protected:
  void SetUp() override {
    g_complete = nullptr;
    g_sink = nullptr;
    ApiTest::SetUp();
    settings_.listen = "127.0.0.1:0";
  }
  void TearDown() override {
    server_.reset();
    g_complete = nullptr;
    g_sink = nullptr;
    ApiTest::TearDown();
  }

  void serve() {
    using enum api::Who;
    table_ = {{"GET", "/echo", open, api::RateClass::none, "", echo},
              {"POST", "/echo", open, api::RateClass::none, "", echo},
              {"POST", "/small", open, api::RateClass::none, "", echo, false, 100},
              {"GET", "/large", open, api::RateClass::none, "", large},
              {"GET", "/later", open, api::RateClass::none, "", later},
              {"GET", "/stream", open, api::RateClass::none, "", stream},
              {"GET", "/blocked", open, api::RateClass::none, "", blocked},
              {"GET", "/broken", open, api::RateClass::none, "It broke", broken}};
    for (const auto& route : api::routes()) table_.push_back(route);
    build();
    dispatcher_ = std::make_unique<api::Dispatcher>(*deps_, api::TrustedProxies{}, table_);
    auto started = api::Server::start(settings_, *dispatcher_, *pool_, metrics_);
    ASSERT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
  }

  std::function<void(api::Response)> completion() {
    EXPECT_TRUE(eventually([] {
      const std::lock_guard lock{g_mutex};
      return g_complete != nullptr;
    }));
    const std::lock_guard lock{g_mutex};
    return g_complete;
  }
  std::shared_ptr<api::StreamSink> sink() {
    EXPECT_TRUE(eventually([] {
      const std::lock_guard lock{g_mutex};
      return g_sink != nullptr;
    }));
    const std::lock_guard lock{g_mutex};
    return g_sink;
  }
  bool connections_are(int count) {
    const std::string line = "creel_http_connections " + std::to_string(count) + "\n";
    return eventually([&] { return metrics_.text().find(line) != std::string::npos; });
  }
  std::string address() const { return server_->address(); }

  std::vector<api::Route> table_;
  std::unique_ptr<api::Server> server_;
};

TEST_F(ApiServer, AnswersOneRequestAfterTheOtherOnOneConnection) {
  serve();
  RawClient client{address()};
  for (int i = 0; i < 3; ++i) {
    client.say(get("/echo"));
    const std::string answer = client.answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr("\r\nDate: "));
    EXPECT_THAT(answer, HasSubstr("Content-Type: application/json\r\n"));
    EXPECT_THAT(answer, HasSubstr("\"peer\":\"127.0.0.1\""));
  }
}

TEST_F(ApiServer, AnswersPipelinedRequestsInTheirOrder) {
  serve();
  RawClient client{address()};
  client.say(get("/echo?1") + "POST /echo HTTP/1.1\r\nHost: c\r\nContent-Length: 5\r\n\r\nhello" + get("/nowhere") +
             get("/healthz", "Connection: close\r\n"));
  EXPECT_THAT(client.answer(), HasSubstr("\"body\":0"));
  EXPECT_THAT(client.answer(), HasSubstr("\"body\":5"));
  EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(client.answer(), HasSubstr("\"live\""));
  client.hear_to_the_end();
  EXPECT_TRUE(client.ended());
}

TEST_F(ApiServer, LeavesTheBodyOfAHeadOut) {
  serve();
  RawClient client{address()};
  client.say("HEAD /echo HTTP/1.1\r\nHost: c\r\n\r\n" + get("/healthz", "Connection: close\r\n"));
  const std::string text = client.hear_to_the_end();
  EXPECT_THAT(text, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(text, HasSubstr("Content-Length: 4"));  // forty-something
  EXPECT_THAT(text, Not(HasSubstr("\"peer\"")));
  EXPECT_THAT(text, HasSubstr("\"live\""));
}

TEST_F(ApiServer, SpeaksToOldClients) {
  serve();
  RawClient client{address()};
  client.say("GET /healthz HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.hear_to_the_end(), HasSubstr("\"live\""));
  EXPECT_TRUE(client.ended());
}

TEST_F(ApiServer, ReadsChunkedBodiesAndAsksForThoseThatWait) {
  serve();
  RawClient client{address()};
  client.say("POST /echo HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_THAT(client.answer(), HasSubstr("\"body\":5"));
  client.say("POST /echo HTTP/1.1\r\nHost: c\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.answer(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.say("body");
  EXPECT_THAT(client.answer(), HasSubstr("\"body\":4"));
}

TEST_F(ApiServer, RefusesABodyThatIsTooLarge) {
  serve();
  {
    RawClient client{address()};
    client.say("POST /small HTTP/1.1\r\nHost: c\r\nContent-Length: 101\r\n\r\n");
    const std::string answer = client.answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 "));
    EXPECT_THAT(answer, HasSubstr("\"code\":\"BODY_TOO_LARGE\""));
  }
  {
    RawClient client{address()};
    client.say("POST /small HTTP/1.1\r\nHost: c\r\nContent-Length: 100\r\n\r\n" + std::string(100, 'x'));
    EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 200 "));
  }
  {
    // It says nothing of its size and goes on sending: it still gets to read why.
    RawClient client{address()};
    client.say("POST /echo HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string piece = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
    for (int i = 0; i < 40; ++i)
      if (!client.say(piece)) break;
    const std::string answer = client.answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 "));
    EXPECT_THAT(answer, HasSubstr("Connection: close"));
  }
}

TEST_F(ApiServer, AnswersWhatIsNotHttpInJsonAndHangsUp) {
  serve();
  for (const char* bad : {"rubbish\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /echo HTTP/1.1\r\nBad Header: x\r\n\r\n",
                          "GET /echo HTTP/1.1\r\n\r\n", "GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                          "POST /echo HTTP/1.1\r\nHost: c\r\nContent-Length: x\r\n\r\n",
                          "POST /echo HTTP/1.1\r\nHost: c\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                          "POST /echo HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}) {
    RawClient client{address()};
    client.say(bad);
    const std::string answer = client.answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 400 ")) << bad;
    EXPECT_THAT(answer, HasSubstr("\"code\":\"BAD_REQUEST\"")) << bad;
    EXPECT_THAT(answer, HasSubstr("X-Request-Id: req_")) << bad;
  }
}

TEST_F(ApiServer, RefusesAHeadThatIsTooLarge) {
  serve();
  RawClient client{address()};
  client.say(get("/echo", "X: " + std::string(20'000, 'x') + "\r\n"));
  EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 431 "));
  RawClient fits{address()};
  fits.say(get("/echo", "X: " + std::string(15'000, 'x') + "\r\n"));
  EXPECT_THAT(fits.answer(), StartsWith("HTTP/1.1 200 "));
}

TEST_F(ApiServer, HangsUpOnWhoIsSlowWithAHead) {
  settings_.header_timeout = milliseconds{300};
  serve();
  RawClient silent{address()}, slow{address()};
  const auto began = std::chrono::steady_clock::now();
  std::jthread trickle([&](std::stop_token stop) {
    slow.say("GET /echo HTTP/1.1\r\n");
    // A byte now and then does not make a head: the deadline is for all of it.
    while (!stop.stop_requested() && slow.say("X")) std::this_thread::sleep_for(milliseconds{20});
  });
  EXPECT_EQ(silent.hear_to_the_end(), "") << "there is nothing to answer";
  EXPECT_THAT(slow.hear_to_the_end(), AllOf(StartsWith("HTTP/1.1 408 "), HasSubstr("\"code\":\"REQUEST_TIMEOUT\"")));
  EXPECT_TRUE(silent.ended());
  EXPECT_TRUE(slow.ended());
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds{15});
  EXPECT_TRUE(connections_are(0));
}

TEST_F(ApiServer, HangsUpOnWhoIsSlowWithABodyAndOnTheIdle) {
  settings_.body_timeout = settings_.idle_timeout = milliseconds{300};
  serve();
  RawClient slow{address()};
  slow.say("POST /echo HTTP/1.1\r\nHost: c\r\nContent-Length: 10\r\n\r\nabc");
  RawClient idle{address()};
  idle.say(get("/echo"));
  idle.answer();
  idle.hear_to_the_end();
  EXPECT_TRUE(idle.ended());
  EXPECT_THAT(slow.hear_to_the_end(), AllOf(StartsWith("HTTP/1.1 408 "), HasSubstr("body of the request")));
  EXPECT_TRUE(slow.ended());
}

TEST_F(ApiServer, HangsUpOnWhoDoesNotReadItsAnswer) {
  settings_.write_timeout = milliseconds{300};
  serve();
  RawClient client{address()};
  client.small_window();
  client.say(get("/large"));
  ASSERT_TRUE(connections_are(1));
  EXPECT_TRUE(connections_are(0)) << "a connection is held by who does not read";
}

TEST_F(ApiServer, TellsTheConnectionThatIsTooMany) {
  settings_.max_connections = 2;
  serve();
  RawClient one{address()};
  auto two = std::make_unique<RawClient>(address());
  for (RawClient* client : {&one, two.get()}) {
    client->say(get("/echo"));
    EXPECT_THAT(client->answer(), StartsWith("HTTP/1.1 200 "));
  }
  RawClient three{address()};
  three.say(get("/echo"));
  const std::string answer = three.hear_to_the_end();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("\"code\":\"TOO_MANY_CONNECTIONS\""));
  two.reset();
  ASSERT_TRUE(connections_are(1));
  RawClient four{address()};
  four.say(get("/echo"));
  EXPECT_THAT(four.answer(), StartsWith("HTTP/1.1 200 "));
}

TEST_F(ApiServer, HoldsNoThreadForARequestThatWaits) {
  serve();
  std::vector<std::unique_ptr<RawClient>> waiting;
  for (int i = 0; i < 20; ++i) {  // more than there are handler threads
    waiting.push_back(std::make_unique<RawClient>(address()));
    waiting.back()->say(get("/later"));
  }
  RawClient other{address()};
  other.say(get("/echo"));
  EXPECT_THAT(other.answer(), StartsWith("HTTP/1.1 200 "));
  completion();
}

TEST_F(ApiServer, AnswersScrapesAndProbesWhileEveryHandlerThreadIsBusy) {
  serve();
  g_blocked = true;
  std::vector<std::unique_ptr<RawClient>> busy;
  for (int i = 0; i < 20; ++i) {  // more than there are handler threads
    busy.push_back(std::make_unique<RawClient>(address()));
    busy.back()->say(get("/blocked"));
  }
  for (const char* target : {"/metrics", "/healthz"}) {
    RawClient machine{address()};
    machine.say(get(target));
    EXPECT_THAT(machine.answer(), StartsWith("HTTP/1.1 200 ")) << target;
  }
  EXPECT_TRUE(g_blocked) << "the others still wait";
  g_blocked = false;
  g_blocked.notify_all();
  for (const auto& client : busy) EXPECT_THAT(client->answer(), StartsWith("HTTP/1.1 200 "));
}

TEST_F(ApiServer, WritesTheAnswerThatCameFirstAndDropsOthers) {
  serve();
  RawClient client{address()};
  client.say(get("/later"));
  const auto complete = completion();
  complete(api::json_answer(201, json{{"n", 1}}));
  complete(api::json_answer(202, json{{"n", 2}}));
  EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 201 "));
  client.say(get("/echo"));
  EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 200 "));
}

TEST_F(ApiServer, SurvivesAHandlerThatThrows) {
  serve();
  RawClient client{address()};
  client.say(get("/broken"));
  const std::string answer = client.answer();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(answer, HasSubstr("\"error\":\"It broke\""));
  EXPECT_THAT(answer, Not(HasSubstr("on purpose")));
  client.say(get("/echo"));
  EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 200 "));
}

TEST_F(ApiServer, ServesManyAtOnce) {
  serve();
  std::vector<std::jthread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        RawClient client{address()};
        for (int n = 0; n < 4; ++n) {
          client.say(get("/echo"));
          good += client.answer().starts_with("HTTP/1.1 200 ") ? 1 : 0;
        }
      }
    });
  threads.clear();
  EXPECT_EQ(good, 800);
  EXPECT_TRUE(connections_are(0));
}

// --- event streams

TEST_F(ApiServer, SendsEventsAsTheyComeAndEndsWithTheirSource) {
  serve();
  RawClient client{address()};
  client.say(get("/stream"));
  const auto events = sink();
  EXPECT_TRUE(events->send("data: one\n\n"));
  const std::string head = client.hear([](const std::string& text) { return text.find("one") != std::string::npos; });
  EXPECT_THAT(head, HasSubstr("Content-Type: text/event-stream\r\n"));
  EXPECT_THAT(head, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(head, HasSubstr("X-Request-Id: "));
  EXPECT_TRUE(events->send("data: two\n\n"));
  events->close();
  EXPECT_FALSE(events->send("data: three\n\n"));
  const std::string all = client.hear_to_the_end();
  EXPECT_THAT(all, HasSubstr("b\r\ndata: two\n\n\r\n0\r\n\r\n"));
  EXPECT_TRUE(client.ended());
}

TEST_F(ApiServer, BeatsWhileNothingHappens) {
  settings_.heartbeat = milliseconds{20};
  serve();
  RawClient client{address()};
  client.say(get("/stream"));
  sink();
  const std::string text = client.hear([](const std::string& heard) {
    const auto first = heard.find(": keep-alive");
    return first != std::string::npos && heard.find(": keep-alive", first + 1) != std::string::npos;
  });
  EXPECT_THAT(text, HasSubstr(": keep-alive\n\n"));
}

TEST_F(ApiServer, TellsTheSourceWhenTheClientHasLeft) {
  serve();
  RawClient client{address()};
  client.say(get("/stream"));
  const auto events = sink();
  std::atomic<int> told{0};
  events->on_close([&] { ++told; });
  client.leave();
  EXPECT_TRUE(eventually([&] { return told == 1; }));
  EXPECT_FALSE(events->send("data: x\n\n"));
  EXPECT_TRUE(events->closed());
  EXPECT_TRUE(connections_are(0));
  events->on_close([&] { ++told; });
  EXPECT_EQ(told, 2) << "who asks late is told at once";
}

TEST_F(ApiServer, MakesAWriterWaitForASlowReader) {
  settings_.stream_buffer_bytes = 64 * 1024;
  serve();
  RawClient client{address()};
  client.small_window();
  client.say(get("/stream"));
  const auto events = sink();
  std::atomic<std::size_t> sent{0};
  const std::string piece = "data: " + std::string(32 * 1024, 'x') + "\n\n";
  std::jthread writer([&] {
    while (events->send(piece)) sent += piece.size();
  });
  // The kernel's buffers fill, then ours; then nothing more is taken.
  std::size_t before = 0;
  ASSERT_TRUE(eventually([&] {
    const bool same = sent > 0 && sent == before;
    before = sent;
    std::this_thread::sleep_for(milliseconds{100});
    return same;
  }));
  EXPECT_LT(sent, 64u << 20);
  client.leave();
  writer.join();
}

TEST_F(ApiServer, StreamsTheLogOfAnAgent) {
  logs_.lines = {{TimePoint{milliseconds{1'700'000'000'000}}, false, "hello"},
                 {TimePoint{milliseconds{1'700'000'000'001}}, true, "ERROR: no"}};
  logs_.endless = true;
  serve();
  const std::string id = provision(ann_key_);
  RawClient client{address()};
  client.say(get("/api/agents/" + id + "/logs?follow=true", "Authorization: Bearer " + ann_key_ + "\r\n"));
  const std::string text =
      client.hear([](const std::string& heard) { return heard.find("no\"") != std::string::npos; });
  EXPECT_THAT(text, HasSubstr("id: log_1700000000000_0\ndata: {"));
  EXPECT_THAT(text, HasSubstr("\"level\":\"error\""));
  client.leave();
  EXPECT_TRUE(connections_are(0));

  logs_.endless = false;
  RawClient other{address()};
  other.say(get("/api/agents/" + id + "/logs?follow=true&level=error", "Authorization: Bearer " + ann_key_ + "\r\n"));
  const std::string errors = other.hear_to_the_end();
  EXPECT_THAT(errors, Not(HasSubstr("hello")));
  EXPECT_THAT(errors, HasSubstr("event: end\n"));
}

TEST_F(ApiServer, RefusesAStreamThatIsTooMany) {
  settings_.max_streams = 1;
  logs_.endless = true;
  logs_.lines = {{TimePoint{milliseconds{1'700'000'000'000}}, false, "hello"}};
  serve();
  const std::string id = provision(ann_key_);
  const std::string follow =
      get("/api/agents/" + id + "/logs?follow=true", "Authorization: Bearer " + ann_key_ + "\r\n");
  RawClient one{address()};
  one.say(follow);
  one.hear([](const std::string& heard) { return heard.find("hello") != std::string::npos; });
  RawClient two{address()};
  two.say(follow);
  EXPECT_THAT(two.answer(), HasSubstr("\"code\":\"TOO_MANY_STREAMS\""));
}

// --- starting and stopping

TEST_F(ApiServer, SaysWhatToDoWhenItCannotListen) {
  serve();
  settings_.listen = address();
  const auto taken = api::Server::start(settings_, *dispatcher_, *pool_, metrics_);
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message, HasSubstr("another process uses this port; stop it, or set CREEL_LISTEN"));
  for (const char* bad : {"nonsense", "127.0.0.1:99999", "127.0.0.1:", "127.0.0.1:x"}) {
    settings_.listen = bad;
    EXPECT_EQ(api::Server::start(settings_, *dispatcher_, *pool_, metrics_).error().field, "CREEL_LISTEN") << bad;
  }
  settings_.listen = "192.0.2.1:0";
  EXPECT_THAT(api::Server::start(settings_, *dispatcher_, *pool_, metrics_).error().message,
              HasSubstr("no such address"));
}

TEST_F(ApiServer, AnswersWhatIsUnderWayBeforeItStops) {
  serve();
  RawClient busy{address()}, idle{address()}, streaming{address()};
  idle.say(get("/echo"));
  idle.answer();
  streaming.say(get("/stream"));
  const auto events = sink();
  busy.say(get("/later"));
  const auto complete = completion();
  std::thread stopping([&] { server_->stop(); });
  idle.hear_to_the_end();
  EXPECT_TRUE(idle.ended());
  streaming.hear_to_the_end();
  EXPECT_TRUE(streaming.ended());
  EXPECT_FALSE(events->send("data: x\n\n"));
  complete(api::json_answer(200, json{{"done", true}}));
  const std::string answer = busy.hear_to_the_end();
  EXPECT_THAT(answer, HasSubstr("\"done\":true"));
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  stopping.join();
  EXPECT_FALSE(RawClient{address()}.connected());
}

TEST_F(ApiServer, CutsWhatDoesNotEndInTime) {
  settings_.drain_timeout = milliseconds{200};
  serve();
  RawClient busy{address()};
  busy.say(get("/later"));
  const auto complete = completion();
  const auto began = std::chrono::steady_clock::now();
  server_->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds{15});
  busy.hear_to_the_end();
  EXPECT_TRUE(busy.ended());
  complete(api::json_answer(200, json::object()));  // harmless
  server_.reset();
  complete(api::json_answer(200, json::object()));  // and still
}

}  // namespace
}  // namespace creel::test
