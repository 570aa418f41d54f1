// The way to agents' own gateways, on real sockets and a real PostgreSQL, with agents that do what the test says.
#include <gmock/gmock.h>

#include <condition_variable>

#include "api/proxy/proxy.hpp"
#include "api/server/server.hpp"
#include "controller/gateway/frames.hpp"
#include "controller/store/tickets.hpp"
#include "tests/integration/api_fixture.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/raw_client.hpp"
#include "tests/unit/http_scripted_server.hpp"

namespace creel::test {
namespace {

using gateway::Opcode;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Says where agents are, as the engine does.
struct FakeLocator : Locator {
  std::string locate(const AgentId&, const std::string& observed) override {
    ++asked;
    const std::lock_guard lock{mutex};
    return elsewhere.empty() ? observed : elsewhere;
  }
  std::mutex mutex;
  std::string elsewhere;
  std::atomic<int> asked{0};
};

class GatewayProxy : public ApiTest {
 protected:
  void SetUp() override {
    settings_.agents_domain = "agents.test";
    settings_.listen = "127.0.0.1:0";
    settings_.gateway_listen = "127.0.0.1:0";
    ApiTest::SetUp();
    id_ = provision(ann_key_);
  }
  void TearDown() override {
    if (server_) server_->stop();
    pool_->join();
    server_.reset();
    proxy_.reset();
    agent_.reset();
    ApiTest::TearDown();
  }
  // The agent runs, and does this with each connection.
  void agent(std::function<void(Peer&)> script) {
    agent_ = std::make_unique<Server>(std::move(script));
    observed(id_, Phase::ready);
    address_ = agent_->url("").substr(7);
    place(address_);
    if (server_) return;
    proxy_ = std::make_unique<api::Proxy>(*deps_, api::TrustedProxies{}, &locator_);
    auto started = api::Server::start(settings_, *dispatcher_, *pool_, metrics_, proxy_.get());
    ASSERT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
  }
  void place(const std::string& address) {
    run("UPDATE agent_status SET status = jsonb_set(status, '{address}', to_jsonb($2::text)) WHERE agent_id = $1",
        {id_, address});
  }
  std::string bearer() const { return "Authorization: Bearer " + ann_key_ + "\r\n"; }
  std::string request(const std::string& method, const std::string& path, const std::string& more,
                      const std::string& body = "") const {
    return method + " /agent/" + id_ + path + " HTTP/1.1\r\nHost: gw.test\r\n" + more +
           (body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") + "\r\n" + body;
  }
  RawClient client() const { return RawClient{server_->gateway_address()}; }
  std::string ask(const std::string& text) {
    RawClient client{server_->gateway_address()};
    client.say(text);
    return client.answer();
  }
  std::string upgrade(const std::string& more = "") const {
    return request("GET", "/", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: a2V5\r\n" + more);
  }
  static void accept_upgrade(Peer& peer) {
    peer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: mine\r\n\r\n");
  }
  // A client whose upgrade was accepted.
  void open(RawClient& client, const std::string& more = "") {
    client.say(upgrade(more.empty() ? bearer() : more));
    const std::string head = client.hear([](const std::string& text) { return text.find("\r\n\r\n") != text.npos; });
    ASSERT_THAT(head, StartsWith("HTTP/1.1 101"));
    client.take(head.find("\r\n\r\n") + 4);
  }
  static std::string text_frame(const std::string& text) { return gateway::make_frame(Opcode::text, text); }
  std::string ticket() {
    const Answer answer = ApiTest::ask("POST", "/api/agents/" + id_ + "/ticket", ann_key_);
    EXPECT_EQ(answer.status, 201) << answer.text;
    return answer.body["ticket"];
  }
  std::string token() {
    const Answer answer = ApiTest::ask("GET", "/api/instance/" + id_ + "/token", ann_key_);
    return answer.body["token"];
  }

  std::string id_, address_;
  FakeLocator locator_;
  std::unique_ptr<Server> agent_;
  std::unique_ptr<api::Proxy> proxy_;
  std::unique_ptr<api::Server> server_;
};

// Answers with what it was asked.
void mirror(Peer& peer) {
  for (std::string request; !(request = peer.read_request()).empty();) peer.answer(request);
}

TEST_F(GatewayProxy, BringsARequestWithTheGatewaysTokenInsteadOfTheCallers) {
  agent(mirror);
  const std::string answer = ask(request("POST", "/v1/chat?x=1", bearer() + "X-Mine: yes\r\n", "hello"));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(answer, HasSubstr("POST /v1/chat?x=1 HTTP/1.1"));
  EXPECT_THAT(answer, HasSubstr("Authorization: Bearer " + token()));
  EXPECT_THAT(answer, Not(HasSubstr(ann_key_)));
  EXPECT_THAT(answer, AllOf(HasSubstr("X-Mine: yes"), HasSubstr("Host: gw.test"), EndsWith("hello")));
  EXPECT_THAT(answer, HasSubstr("X-Test: Yes")) << "and the agent's headers come back";
}

TEST_F(GatewayProxy, LetsNobodyElseIn) {
  agent(mirror);
  EXPECT_THAT(ask(request("GET", "/", "")),
              AllOf(StartsWith("HTTP/1.1 401"), HasSubstr("/ticket"), HasSubstr("Bearer")));
  EXPECT_THAT(ask(request("GET", "/", "Authorization: Bearer sk_" + std::string(64, '0') + "\r\n")),
              StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(ask(request("GET", "/?token=" + std::string(64, '0'), "")), StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(ask(request("GET", "/", "Cookie: creel-agent=" + std::string(64, '0') + "\r\n")),
              StartsWith("HTTP/1.1 401"));
  const std::string stranger = make_user_with("stranger@example.com", "pro", "active");
  EXPECT_THAT(ask(request("GET", "/", "Authorization: Bearer " + stranger + "\r\n")),
              AllOf(StartsWith("HTTP/1.1 404"), HasSubstr("AGENT_NOT_FOUND")));
  EXPECT_THAT(ask("GET /agent/ffffffffffffffff/ HTTP/1.1\r\nHost: x\r\n" + bearer() + "\r\n"),
              AllOf(StartsWith("HTTP/1.1 404"), HasSubstr("AGENT_NOT_FOUND")));
  EXPECT_EQ(agent_->connections(), 0);
  const std::string admin = make_user_with("admin@example.com", "pro", "active", true);
  EXPECT_THAT(ask(request("GET", "/", "Authorization: Bearer " + admin + "\r\n")), StartsWith("HTTP/1.1 200"));
}

TEST_F(GatewayProxy, TakesTheGatewaysOwnTokenOfThatAgentOnly) {
  agent(mirror);
  const std::string header = "Authorization: Bearer " + token() + "\r\n";
  EXPECT_THAT(ask(request("GET", "/", header)), StartsWith("HTTP/1.1 200"));
  const std::string admin = make_user_with("admin@example.com", "enterprise", "active");
  const std::string other = provision(admin);
  EXPECT_THAT(ask("GET /agent/" + other + "/ HTTP/1.1\r\nHost: x\r\n" + header + "\r\n"), StartsWith("HTTP/1.1 401"));
}

TEST_F(GatewayProxy, OpensAPageWithATicketAndKnowsTheBrowserByItsCookieAfterwards) {
  agent(mirror);
  const std::string secret = ticket();
  const std::string opened = ask(request("GET", "/chat?a=1&token=" + secret, "Accept: text/html\r\n"));
  EXPECT_THAT(opened, StartsWith("HTTP/1.1 303"));
  EXPECT_THAT(opened, HasSubstr("Location: /agent/" + id_ + "/chat?a=1\r\n"));
  EXPECT_EQ(agent_->connections(), 0) << "a ticket is not the agent's to see";
  const auto at = opened.find("Set-Cookie: ");
  ASSERT_NE(at, std::string::npos) << opened;
  const std::string cookie = opened.substr(at + 12, opened.find(';', at) - at - 12);
  EXPECT_THAT(opened, HasSubstr("; Path=/agent/" + id_ + "; HttpOnly; SameSite=Lax"));
  const std::string page = ask(request("GET", "/chat", "Cookie: " + cookie + "; mine=1\r\n"));
  EXPECT_THAT(page, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Cookie: mine=1\r\n"), Not(HasSubstr("creel-agent"))));

  // What the browser is made to ask by somebody else's page does not pass.
  const auto from = [&](const std::string& method, const std::string& headers) {
    return ask(request(method, "/", "Cookie: " + cookie + "\r\n" + headers)).substr(9, 3);
  };
  EXPECT_EQ(from("GET", "Sec-Fetch-Site: same-origin\r\n"), "200");
  EXPECT_EQ(from("GET", "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\n"), "403");
  EXPECT_EQ(from("GET", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"),
            "200");
  EXPECT_EQ(from("GET", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n"), "403");
  EXPECT_EQ(from("POST", "Origin: http://gw.test\r\n"), "200");
  EXPECT_EQ(from("POST", "Origin: http://evil.test\r\n"), "403");
  EXPECT_EQ(from("POST", ""), "403");
  EXPECT_EQ(from("GET", "Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://evil.test\r\n"), "403");

  // A program need not take the turn over a cookie, and the ticket is left out of what the agent sees.
  const std::string plain = ask(request("GET", "/api?token=" + secret + "&b=2", "Accept: application/json\r\n"));
  EXPECT_THAT(plain, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("GET /api?b=2 HTTP/1.1"), Not(HasSubstr(secret))));
  run("UPDATE agent_tickets SET expires_at = now() - interval '1 second' WHERE NOT cookie");
  proxy_->forget(*AgentId::parse(id_));
  EXPECT_THAT(ask(request("GET", "/api?token=" + secret, "")), StartsWith("HTTP/1.1 401"));
}

TEST_F(GatewayProxy, FindsAnAgentByItsNameAtTheApisAddress) {
  agent(mirror);
  RawClient client{server_->address()};
  client.say("GET /x HTTP/1.1\r\nHost: " + id_ + ".agents.test\r\n" + bearer() + "\r\n");
  EXPECT_THAT(client.answer(), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("GET /x HTTP/1.1")));
  // The same connection may go on with the API, and with another name.
  client.say("GET /healthz HTTP/1.1\r\nHost: creel\r\n\r\n");
  EXPECT_THAT(client.answer(), HasSubstr("live"));
  client.say("GET /agent/" + id_ + "/ HTTP/1.1\r\nHost: creel\r\n" + bearer() + "\r\n");
  EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 404")) << "paths lead to agents at the gateways' address only";
  EXPECT_THAT(ask("GET /healthz HTTP/1.1\r\nHost: creel\r\n\r\n"), StartsWith("HTTP/1.1 404"));
}

TEST_F(GatewayProxy, SaysWhatIsTheMatterWithAnAgentThatCannotBeReached) {
  agent(mirror);
  place("127.0.0.1:1");
  EXPECT_THAT(ask(request("GET", "/", bearer())),
              AllOf(StartsWith("HTTP/1.1 502"), HasSubstr("AGENT_UNREACHABLE"), HasSubstr("/api/agents/" + id_)));
  place("");
  proxy_->forget(*AgentId::parse(id_));
  EXPECT_THAT(ask(request("GET", "/", bearer())),
              AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("AGENT_NOT_READY"), HasSubstr("Retry-After")));
  run("UPDATE agents SET desired = 'stopped' WHERE id = $1", {id_});
  EXPECT_THAT(ask(request("GET", "/", bearer())), AllOf(StartsWith("HTTP/1.1 409"), HasSubstr("AGENT_NOT_RUNNING")));
}

TEST_F(GatewayProxy, FindsAnAgentThatHasMovedAndTellsNothingToWhoTookItsPlace) {
  agent(mirror);
  EXPECT_THAT(ask(request("GET", "/", bearer())), StartsWith("HTTP/1.1 200"));
  std::atomic<int> overheard{0};
  Server other{[&](Peer& peer) {
    if (!peer.read_request().empty()) ++overheard;
  }};
  place(other.url("").substr(7));
  proxy_->forget(*AgentId::parse(id_));
  {
    const std::lock_guard lock{locator_.mutex};
    locator_.elsewhere = address_;
  }
  EXPECT_THAT(ask(request("GET", "/", bearer())), StartsWith("HTTP/1.1 502"));
  EXPECT_EQ(overheard, 0) << "whom the engine does not know there is told nothing";
  place(address_);
  EXPECT_THAT(ask(request("GET", "/", bearer())), StartsWith("HTTP/1.1 200"));
}

TEST_F(GatewayProxy, AsksTheEngineOnceAConnectionAndTheDatabaseOnceInAWhile) {
  agent(mirror);
  RawClient client{server_->gateway_address()};
  for (int i = 0; i < 50; ++i) {
    client.say(request("GET", "/" + std::to_string(i), bearer()));
    EXPECT_THAT(client.answer(), HasSubstr("GET /" + std::to_string(i) + " "));
  }
  EXPECT_EQ(agent_->connections(), 1);
  EXPECT_EQ(locator_.asked, 1);
}

TEST_F(GatewayProxy, GoesOnAfterTheAgentHasClosedAKeptConnection) {
  agent([](Peer& peer) {
    if (const std::string request = peer.read_request(); !request.empty()) peer.answer("once");
  });
  RawClient client{server_->gateway_address()};
  for (int i = 0; i < 5; ++i) {
    client.say(request("GET", "/", bearer()));
    EXPECT_THAT(client.answer(), EndsWith("once"));
  }
  EXPECT_EQ(agent_->connections(), 5);
}

TEST_F(GatewayProxy, StreamsAnAnswerAsItComes) {
  std::mutex mutex;
  std::condition_variable changed;
  int allowed = 1;
  agent([&](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 3; ++i) {
      std::unique_lock lock{mutex};
      changed.wait(lock, [&] { return allowed > i; });
      peer.write("5\r\npart" + std::to_string(i) + "\r\n");
    }
    peer.write("0\r\n\r\n");
  });
  RawClient client{server_->gateway_address()};
  client.say(request("GET", "/", bearer()));
  for (int i = 0; i < 3; ++i) {
    const std::string want = "part" + std::to_string(i);
    EXPECT_THAT(client.hear([&](const std::string& text) { return text.find(want) != text.npos; }), HasSubstr(want));
    const std::lock_guard lock{mutex};
    ++allowed;
    changed.notify_all();
  }
  EXPECT_THAT(client.hear([](const std::string& text) { return text.ends_with("0\r\n\r\n"); }), EndsWith("0\r\n\r\n"));
  client.say(request("GET", "/", bearer() + "Connection: close\r\n"));
  EXPECT_THAT(client.hear_to_the_end(), HasSubstr("part2"));
}

TEST_F(GatewayProxy, StreamsABodyWithoutKeepingIt) {
  constexpr std::size_t kSize = 64 << 20;
  std::atomic<std::size_t> got{0};
  agent([&](Peer& peer) {
    std::vector<char> bytes(1 << 16);
    bool head = false;
    std::string text;
    for (ssize_t n; got < kSize && (n = recv(peer.fd(), bytes.data(), bytes.size(), 0)) > 0;) {
      if (head) {
        got += static_cast<std::size_t>(n);
        continue;
      }
      text.append(bytes.data(), static_cast<std::size_t>(n));
      if (const auto end = text.find("\r\n\r\n"); end != text.npos) {
        head = true;
        got += text.size() - end - 4;
      }
    }
    peer.answer("taken");
  });
  RawClient client{server_->gateway_address()};
  client.say("POST /agent/" + id_ + "/up HTTP/1.1\r\nHost: x\r\n" + bearer() +
             "Content-Length: " + std::to_string(kSize) + "\r\n\r\n");
  const std::string piece(1 << 20, 'x');
  for (std::size_t sent = 0; sent < kSize; sent += piece.size()) ASSERT_TRUE(client.say(piece));
  EXPECT_THAT(client.answer(), EndsWith("taken"));
  EXPECT_EQ(got, kSize);
}

TEST_F(GatewayProxy, BringsAChunkedBody) {
  agent([](Peer& peer) {
    std::string all;
    char bytes[4096];
    for (ssize_t n; all.find("0\r\n\r\n") == all.npos && (n = recv(peer.fd(), bytes, sizeof bytes, 0)) > 0;)
      all.append(bytes, static_cast<std::size_t>(n));
    peer.answer(all);
  });
  const std::string answer = ask("POST /agent/" + id_ + "/ HTTP/1.1\r\nHost: x\r\n" + bearer() +
                                 "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
  EXPECT_THAT(answer, AllOf(HasSubstr("Transfer-Encoding: chunked"), HasSubstr("hello"), HasSubstr(" world")));
}

TEST_F(GatewayProxy, SendsAnAgentNothingWhoseEndIsInDoubt) {
  std::mutex mutex;
  std::string seen;
  agent([&](Peer& peer) {
    char bytes[4096];
    for (ssize_t n; (n = recv(peer.fd(), bytes, sizeof bytes, 0)) > 0;) {
      const std::lock_guard lock{mutex};
      seen.append(bytes, static_cast<std::size_t>(n));
    }
  });
  const std::string post = "POST /agent/" + id_ + "/ HTTP/1.1\r\n" + bearer() + "Host: gw.test\r\n";
  const std::string chunked = post + "Transfer-Encoding: chunked\r\n\r\n";
  const std::string smuggled = "GET /agent/" + id_ + "/smuggled HTTP/1.1\r\nHost: gw.test\r\n" + bearer() + "\r\n";
  const std::pair<const char*, std::string> cases[] = {
      {"length and chunked", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"two lengths", post + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n"},
      {"chunked twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"an unknown coding", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
      {"a bare line feed", post + "X: y\nContent-Length: 5\r\n\r\n"},
      {"a blank before the colon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
      {"two hosts", post + "Host: other\r\nContent-Length: 0\r\n\r\n"},
      {"an address of another host",
       "GET http://other/agent/" + id_ + "/ HTTP/1.1\r\n" + bearer() + "Host: gw.test\r\n\r\n"},
      {"a chunk with a sign", chunked + "+2\r\n{}\r\n0\r\n\r\n"},
      {"a chunk that is longer than it says", chunked + "1\r\n{}\r\n0\r\n\r\n"},
      {"a chunk with a bare line feed", chunked + "2\n{}\r\n0\r\n\r\n"},
  };
  for (const auto& [what, bytes] : cases) {
    RawClient client{server_->gateway_address()};
    client.say(bytes + smuggled);
    const std::string told = client.hear_to_the_end();
    EXPECT_TRUE(client.ended()) << what;
    EXPECT_THAT(told, AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("\"code\":\"BAD_REQUEST\""))) << what;
    EXPECT_EQ(told.find("}HTTP/1.1 "), std::string::npos) << what << ": " << told;
    const std::lock_guard lock{mutex};
    EXPECT_THAT(seen, Not(HasSubstr("smuggled"))) << what;
  }
  server_->stop();
  agent_.reset();  // before what it writes to goes
}

TEST_F(GatewayProxy, KeepsNothingOfAFrameHoweverLargeItSaysItIs) {
  std::atomic<std::size_t> got{0};
  std::atomic<bool> reads{false};
  agent([&](Peer& peer) {
    peer.read_request();
    accept_upgrade(peer);
    while (!reads) std::this_thread::sleep_for(std::chrono::milliseconds{10});  // until the test says so
    std::vector<char> bytes(1 << 16);
    for (ssize_t n; (n = recv(peer.fd(), bytes.data(), bytes.size(), 0)) > 0;) got += static_cast<std::size_t>(n);
  });
  const std::string piece(1 << 20, 'x');
  RawClient client{server_->gateway_address()};
  open(client);
  const double before = memory_of(getpid(), "VmRSS");
  // A binary frame of 2^62 bytes, masked.
  std::size_t sent = 14;
  ASSERT_TRUE(client.say(std::string{"\x82\xff\x40\0\0\0\0\0\0\0", 10} + "mask"));
  while (sent < (256u << 20) && client.say(piece, std::chrono::seconds{1})) sent += piece.size();
  EXPECT_LT(sent, 64u << 20) << "an agent that does not read stops its client";
  reads = true;
  for (int i = 0; i < 256; ++i) ASSERT_TRUE(client.say(piece));
  EXPECT_LT(memory_of(getpid(), "VmRSS") - before, 32) << "MiB, of which the test's own buffers are some";
  client.leave();
  while (agent_->connections() > 0 && got < (256u << 20)) std::this_thread::sleep_for(std::chrono::milliseconds{20});
  EXPECT_GE(got, 256u << 20);
  server_->stop();
  agent_.reset();
}

TEST_F(GatewayProxy, HoldsAnAgentThatSaysMoreThanItsClientReads) {
  std::atomic<std::size_t> written{0};
  agent([&](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n");
    const std::string piece(1 << 20, 'x');
    for (int i = 0; i < 256 && peer.write(piece); ++i) written += piece.size();
  });
  RawClient client{server_->gateway_address()};
  client.small_window();
  client.say(request("GET", "/", bearer()));
  client.hear([](const std::string& text) { return text.size() > 1000; });
  // What the kernel's buffers of two connections take, and a piece of ours.
  std::size_t before = 0;
  while (before != written || before == 0) {
    before = written;
    std::this_thread::sleep_for(std::chrono::milliseconds{300});  // as long as anything moves
  }
  EXPECT_LT(written, 64u << 20);
  client.leave();
}

TEST_F(GatewayProxy, LeavesAnAgentWhoseClientHasLeft) {
  std::promise<void> asked, left;
  agent([&](Peer& peer) {
    peer.read_request();
    asked.set_value();
    peer.wait_closed();
    left.set_value();
  });
  RawClient client{server_->gateway_address()};
  client.say(request("GET", "/", bearer()));
  asked.get_future().wait();
  client.leave();
  EXPECT_EQ(left.get_future().wait_for(std::chrono::seconds{20}), std::future_status::ready);
}

TEST_F(GatewayProxy, AnswersForAnAgentThatBreaksOffOrSaysNothing) {
  settings_.agent_timeout = std::chrono::milliseconds{300};
  agent([](Peer& peer) {
    if (peer.read_request().find("/silent") != std::string::npos) peer.wait_closed();
  });
  EXPECT_THAT(ask(request("GET", "/broken", bearer())),
              AllOf(StartsWith("HTTP/1.1 502"), HasSubstr("AGENT_UNREACHABLE")));
  EXPECT_THAT(ask(request("GET", "/silent", bearer())), AllOf(StartsWith("HTTP/1.1 504"), HasSubstr("AGENT_TIMEOUT")));
}

TEST_F(GatewayProxy, CarriesAWebSocketOfAnySubprotocolBothWays) {
  std::promise<std::string> asked;
  agent([&](Peer& peer) {
    asked.set_value(peer.read_request());
    accept_upgrade(peer);
    char bytes[4096];
    for (ssize_t n; (n = recv(peer.fd(), bytes, sizeof bytes, 0)) > 0;)
      peer.write({bytes, static_cast<std::size_t>(n)});
  });
  RawClient client{server_->gateway_address()};
  client.say(upgrade(bearer() + "Sec-WebSocket-Protocol: mine, other\r\n"));
  const std::string head = client.hear([](const std::string& text) { return text.find("\r\n\r\n") != text.npos; });
  EXPECT_THAT(head, AllOf(StartsWith("HTTP/1.1 101"), HasSubstr("Sec-WebSocket-Protocol: mine"),
                          HasSubstr("Sec-WebSocket-Accept: x")));
  client.take(head.size());
  const std::string request = asked.get_future().get();
  EXPECT_THAT(request, AllOf(HasSubstr("Sec-WebSocket-Protocol: mine, other"), HasSubstr("Upgrade: websocket"),
                             HasSubstr("Sec-WebSocket-Key: a2V5"), HasSubstr("Bearer " + token())));
  for (const std::size_t size : {1, 1000, 1 << 20}) {
    const std::string frame = gateway::make_frame(Opcode::binary, std::string(size, 'x'), "abcd");
    ASSERT_TRUE(client.say(frame));
    client.hear([&](const std::string& text) { return text.size() >= frame.size(); });
    EXPECT_EQ(client.take(frame.size()), frame);
  }
}

TEST_F(GatewayProxy, SaysThatTheAgentIsGoneWhereAFrameEnds) {
  agent([](Peer& peer) {
    peer.read_request();
    accept_upgrade(peer);
    peer.write(text_frame("hello"));
  });
  RawClient client{server_->gateway_address()};
  open(client);
  const std::string all = client.hear_to_the_end();
  ASSERT_THAT(all, StartsWith(text_frame("hello")));
  const auto goodbye = gateway::frame_head(all.substr(text_frame("hello").size()));
  ASSERT_TRUE(goodbye);
  EXPECT_EQ(goodbye->opcode, Opcode::close);
  EXPECT_THAT(all, HasSubstr(std::string{"\x03\xf4"} + "the agent")) << "1012, service restart";
}

TEST_F(GatewayProxy, PutsNothingIntoTheMiddleOfAFrameAndAddsNothingToTheAgentsOwnGoodbye) {
  const std::string half = text_frame(std::string(1000, 'x')).substr(0, 500);
  const std::string goodbye = gateway::close_frame(4001, "enough");
  for (const std::string& last : {half, goodbye}) {
    agent([&](Peer& peer) {
      peer.read_request();
      accept_upgrade(peer);
      peer.write(last);
    });
    proxy_->forget(*AgentId::parse(id_));
    RawClient client{server_->gateway_address()};
    open(client);
    EXPECT_EQ(client.hear_to_the_end(), last);
  }
}

TEST_F(GatewayProxy, CarriesAnotherUpgradeWithBothHalvesClosingByThemselves) {
  agent([](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: mine\r\nConnection: Upgrade\r\n\r\n");
    std::string all;
    char bytes[4096];
    for (ssize_t n; (n = recv(peer.fd(), bytes, sizeof bytes, 0)) > 0;) all.append(bytes, static_cast<std::size_t>(n));
    peer.write("heard " + all);  // after the client's end
  });
  RawClient client{server_->gateway_address()};
  client.say(request("GET", "/", "Upgrade: mine\r\nConnection: Upgrade\r\n" + bearer()) + "first ");
  client.hear([](const std::string& text) { return text.find("\r\n\r\n") != text.npos; });
  client.say("words");
  client.say_no_more();
  EXPECT_THAT(client.hear_to_the_end(), EndsWith("heard first words"));
}

TEST_F(GatewayProxy, PassesARefusedUpgradeOn) {
  agent([](Peer& peer) {
    peer.read_request();
    peer.answer("no such thing", "404 Not Found");
  });
  RawClient client{server_->gateway_address()};
  client.say(upgrade(bearer()));
  EXPECT_THAT(client.answer(), AllOf(StartsWith("HTTP/1.1 404"), EndsWith("no such thing")));
}

TEST_F(GatewayProxy, AsksASilentClientWhetherItIsThereAndLeavesOneThatIsNot) {
  settings_.agent_ping = std::chrono::milliseconds{200};
  std::promise<void> left;
  agent([&](Peer& peer) {
    peer.read_request();
    accept_upgrade(peer);
    peer.wait_closed();
    left.set_value();
  });
  RawClient client{server_->gateway_address()};
  open(client);
  const std::string ping = gateway::make_frame(Opcode::ping, "");
  EXPECT_THAT(client.hear([&](const std::string& text) { return text.size() >= ping.size(); }), StartsWith(ping));
  client.hear_to_the_end();
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(left.get_future().wait_for(std::chrono::seconds{20}), std::future_status::ready);
}

TEST_F(GatewayProxy, EndsATunnelWhoseCallerMayNotAnyMore) {
  settings_.agent_check = std::chrono::milliseconds{50};
  agent([](Peer& peer) {
    peer.read_request();
    accept_upgrade(peer);
    peer.wait_closed();
  });
  const std::string secret = ticket();
  RawClient by_key{server_->gateway_address()};
  open(by_key);
  run("DELETE FROM api_keys");
  EXPECT_THAT(by_key.hear_to_the_end(), HasSubstr(std::string{"\x03\xf0"} + "access")) << "1008";

  RawClient by_ticket{server_->gateway_address()};
  by_ticket.say(request("GET", "/?token=" + secret, "Upgrade: websocket\r\nConnection: Upgrade\r\n"));
  by_ticket.hear([](const std::string& text) { return text.find("\r\n\r\n") != text.npos; });
  run("DELETE FROM agent_tickets");  // it was only for the door
  by_ticket.hear([](const std::string& text) { return text.find('\x03') != text.npos; }, std::chrono::seconds{1});
  EXPECT_FALSE(by_ticket.ended());
  make_user_with("next@example.com", "pro", "active");
  run("UPDATE agents SET owner_id = (SELECT id FROM users WHERE email = 'next@example.com')");
  EXPECT_THAT(by_ticket.hear_to_the_end(), HasSubstr(std::string{"\x03\xf0"} + "access"));
}

TEST_F(GatewayProxy, SaysGoodbyeWhenTheServerStops) {
  agent([](Peer& peer) {
    peer.read_request();
    accept_upgrade(peer);
    peer.wait_closed();
  });
  RawClient client{server_->gateway_address()};
  open(client);
  server_->stop();
  EXPECT_THAT(client.hear_to_the_end(), HasSubstr(std::string{"\x03\xe9"} + "Creel")) << "1001";
}

TEST_F(GatewayProxy, SpeaksTlsAndTellsThoseWhoDoNot) {
  const Certificates certificates;
  settings_.tls_certificate = certificates.dir + "/server.pem";
  settings_.tls_key = certificates.dir + "/server.key";
  agent(mirror);
  http::Client client;
  http::Request request;
  request.url = "https://" + server_->gateway_address() + "/agent/" + id_ + "/x";
  request.headers = {{"Authorization", "Bearer " + ann_key_}};
  request.tls = http::Tls{certificates.dir + "/ca.pem", "", ""};
  const auto answer = client.send(request);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 200);
  EXPECT_THAT(answer->body, AllOf(HasSubstr("GET /x HTTP/1.1"), HasSubstr("X-Forwarded-Proto: https")));
  RawClient plain{server_->address()};
  plain.say("GET /healthz HTTP/1.1\r\nHost: creel\r\n\r\n");
  EXPECT_THAT(plain.answer(), AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("https://")));
}

TEST_F(GatewayProxy, RefusesFilesThatAreNoCertificateByName) {
  settings_.tls_certificate = "/nowhere/cert.pem";
  settings_.tls_key = "/nowhere/key.pem";
  const auto started = api::Server::start(settings_, *dispatcher_, *pool_, metrics_);
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, AllOf(HasSubstr("CREEL_TLS_CERT"), HasSubstr("/nowhere/cert.pem")));
}

TEST_F(GatewayProxy, TellsCaddyAndTraefikWhichNamesAreAgents) {
  const auto from = [&](const std::string& peer, const std::string& target, api::Headers headers = {}) {
    return send({"GET", target, std::move(headers), "", peer});
  };
  const std::string ask = "/integrations/caddy/ask?domain=";
  EXPECT_EQ(from("127.0.0.1", ask + id_ + ".agents.test").status, 200);
  EXPECT_EQ(from("127.0.0.1", ask + "ffffffffffffffff.agents.test").status, 404);
  EXPECT_EQ(from("127.0.0.1", ask + "evil.test").status, 404);
  EXPECT_EQ(from("127.0.0.1", "/integrations/caddy/ask").status, 400);
  EXPECT_EQ(from("10.1.2.3", ask + id_ + ".agents.test").status, 403);
  EXPECT_EQ(from("127.0.0.1", ask + id_ + ".agents.test", {{"X-Forwarded-For", "6.6.6.6"}}).status, 403)
      << "passed on by a proxy that is not known as one";
  const Answer routes = from("127.0.0.1", "/integrations/traefik?entryPoints=websecure&certResolver=le");
  EXPECT_EQ(routes.body["http"]["routers"]["creel-" + id_], json({{"rule", "Host(`" + id_ + ".agents.test`)"},
                                                                  {"service", "creel"},
                                                                  {"entryPoints", {"websecure"}},
                                                                  {"tls", {{"certResolver", "le"}}}}));
  EXPECT_EQ(from("10.1.2.3", "/integrations/traefik").status, 403);
  EXPECT_EQ(from("10.1.2.3", "/integrations/traefik", {{"Authorization", "Bearer " + ann_key_}}).status, 403);
  const std::string admin = make_user_with("admin@example.com", "pro", "active", true);
  EXPECT_EQ(from("10.1.2.3", "/integrations/traefik", {{"Authorization", "Bearer " + admin}}).status, 200);
  run("UPDATE agents SET desired = 'deleted'");
  EXPECT_EQ(from("127.0.0.1", ask + id_ + ".agents.test").status, 404);
  EXPECT_EQ(from("127.0.0.1", "/integrations/traefik").text, "{}");
}

}  // namespace
}  // namespace creel::test
