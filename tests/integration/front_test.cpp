// The HTTP front of a live `creel serve` against those who mean it ill: slow ones, many, large ones, ambiguous ones.
// Others are served all the while, and memory stays bounded. How fast others are served is for tests/bench/front_bench.
#include <gmock/gmock.h>
#include <openssl/ssl.h>

#include <deque>
#include <iostream>
#include <thread>

#include "tests/support/certificates.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/raw_client.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Steady = std::chrono::steady_clock;

constexpr double kMostMemory = 150;  // MiB, at any moment

// Each attacker has an address of its own, none of which is that of the others' clients (127.0.0.1).
std::string attacker(int number) { return "127.0.66." + std::to_string(number); }

int answers_in(const std::string& text) {
  int count = 0;
  for (auto at = text.find("HTTP/1.1 "); at != std::string::npos; at = text.find("HTTP/1.1 ", at + 1))
    count += at + 9 < text.size() && std::isdigit(static_cast<unsigned char>(text[at + 9])) != 0 ? 1 : 0;
  return count;
}

class Front : public testing::Test {
 protected:
  void start(CreelProcess::Env env = {}, const Certificates* tls = nullptr) {
    raise_open_files();
    creel = std::make_unique<CreelProcess>(std::move(env));
    if (tls != nullptr) creel->speak_tls(tls->dir + "/server.pem", tls->dir + "/server.key", tls->dir + "/ca.pem");
    creel->start();
    key = creel->user("owner@example.com");
  }
  void TearDown() override {
    attackers.clear();
    if (!creel) return;
    const double most = memory_of(creel->pid(), "VmHWM");
    std::cout << "memory: " << memory_of(creel->pid(), "VmRSS") << " MiB, at most " << most << " MiB\n";
    EXPECT_GT(most, 0);
    EXPECT_LT(most, kMostMemory);
    EXPECT_TRUE(serves());
    EXPECT_EQ(creel->stop(), 0);
  }

  // Whether others get their answers: one that reads, and one with a body.
  bool serves() {
    return creel->call("GET", "/api/agents", key).status == 200 &&
           creel->call("POST", "/api/auth/login", "", {{"email", "a@b"}, {"password", std::string(2'000, 'x')}})
                   .json.value("code", "") == "INVALID_CREDENTIALS";
  }
  // All that the server answers to these bytes, until it closes.
  std::string told(const std::string& bytes, bool& closed) {
    RawClient client{creel->url()};
    client.say(bytes);
    const std::string text = client.hear_to_the_end(3s);
    closed = client.ended();
    return text;
  }
  // Until at least this share of the attackers has lost its connection.
  std::size_t gone() {
    std::size_t count = 0;
    for (auto& client : attackers) count += client.gone() ? 1 : 0;
    return count;
  }
  bool all_gone(std::chrono::seconds longest) {
    const auto end = Steady::now() + longest;
    while (gone() < attackers.size() && Steady::now() < end) std::this_thread::sleep_for(100ms);
    return gone() == attackers.size();
  }
  enum class Door { api, both };
  void attack(int count, int from_each = 1'000, int buffer = 0, Door door = Door::api) {
    for (int i = 0; i < count; ++i)
      attackers.emplace_back(door == Door::api || i / 2 % 2 == 0 ? creel->url() : creel->gateway(),
                             attacker(1 + i / from_each), buffer);
  }
  int connections() {
    const std::string text = creel->call("GET", "/metrics").text;
    const auto at = text.find("\ncreel_http_connections ");
    return at == std::string::npos ? -1 : std::stoi(text.substr(at + 24));
  }

  std::unique_ptr<CreelProcess> creel;
  std::string key;
  std::deque<RawClient> attackers;
};

const std::string kPost = "POST /api/auth/login HTTP/1.1\r\nHost: creel\r\nContent-Type: application/json\r\n";
const std::string kSmuggled = "GET /healthz HTTP/1.1\r\nHost: creel\r\nX-Request-Id: smuggled\r\n\r\n";

TEST_F(Front, RefusesEachRequestThatOthersCouldReadInAnotherWay) {
  start();
  const std::string chunked = kPost + "Transfer-Encoding: chunked\r\n\r\n";
  const std::string get = "GET /healthz HTTP/1.1\r\n";
  const std::pair<const char*, std::string> cases[] = {
      {"length and chunked", kPost + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"chunked and length", kPost + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"},
      {"two lengths", kPost + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n"},
      {"two equal lengths", kPost + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"},
      {"a list of lengths", kPost + "Content-Length: 2, 2\r\n\r\n{}"},
      {"a length with a sign", kPost + "Content-Length: +2\r\n\r\n{}"},
      {"a negative length", kPost + "Content-Length: -2\r\n\r\n{}"},
      {"a length in hex", kPost + "Content-Length: 0x2\r\n\r\n{}"},
      {"a length with a blank inside", kPost + "Content-Length: 0 2\r\n\r\n{}"},
      {"an empty length", kPost + "Content-Length: \r\n\r\n{}"},
      {"a length that overflows", kPost + "Content-Length: 18446744073709551618\r\n\r\n{}"},
      {"xchunked", kPost + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
      {"xchunked and length", kPost + "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}"},
      {"chunked with a vertical tab", kPost + "Transfer-Encoding: \x0b" + "chunked\r\n\r\n0\r\n\r\n"},
      {"chunked with a dot", kPost + "Transfer-Encoding: chunked.\r\n\r\n0\r\n\r\n"},
      {"quoted chunked", kPost + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"},
      {"chunked, identity", kPost + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"},
      {"identity", kPost + "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}"},
      {"gzip, chunked", kPost + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
      {"chunked twice", kPost + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"chunked and identity", kPost + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"},
      {"identity and chunked", kPost + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"an empty coding", kPost + "Transfer-Encoding:\r\nContent-Length: 2\r\n\r\n{}"},
      {"chunked of an old client",
       "POST /api/auth/login HTTP/1.0\r\nHost: creel\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"a blank before the colon", kPost + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
      {"a blank before the colon of the length", kPost + "Content-Length : 2\r\n\r\n{}"},
      {"a name with a blank", get + "Host: creel\r\nX Y: z\r\n\r\n"},
      {"a line without a colon", get + "Host: creel\r\nContent-Length\r\n\r\n"},
      {"an empty name", get + "Host: creel\r\n: x\r\n\r\n"},
      {"a first header that is folded", get + " Host: creel\r\nHost: creel\r\n\r\n"},
      {"zero in a value", get + "Host: creel\r\nX: a" + std::string(1, '\0') + "b\r\n\r\n"},
      {"zero in a name", get + "Host: creel\r\nX" + std::string(1, '\0') + ": b\r\n\r\n"},
      {"zero in the address", "GET /health" + std::string(1, '\0') + "z HTTP/1.1\r\nHost: creel\r\n\r\n"},
      {"a bare line feed after a header", get + "Host: creel\nX: y\r\n\r\n"},
      {"bare line feeds everywhere", "GET /healthz HTTP/1.1\nHost: creel\n\n"},
      {"a bare line feed at the end of the head", get + "Host: creel\r\n\n"},
      {"a bare carriage return in a value", get + "Host: creel\r\nX: a\rContent-Length: 5\r\n\r\n"},
      {"no host", get + "\r\n"},
      {"two hosts", get + "Host: creel\r\nHost: creel\r\n\r\n"},
      {"a list of hosts", get + "Host: creel, other\r\n\r\n"},
      {"a host with a path", get + "Host: creel/x\r\n\r\n"},
      {"a host with a user", get + "Host: a@creel\r\n\r\n"},
      {"an address of another host", "GET http://other/healthz HTTP/1.1\r\nHost: creel\r\n\r\n"},
      {"an address with a user", "GET http://a@creel/healthz HTTP/1.1\r\nHost: creel\r\n\r\n"},
      {"two blanks in the first line", "GET  /healthz HTTP/1.1\r\nHost: creel\r\n\r\n"},
      {"a blank in the address", "GET /health z HTTP/1.1\r\nHost: creel\r\n\r\n"},
      {"an unknown version", "GET /healthz HTTP/1.2x\r\nHost: creel\r\n\r\n"},
      {"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
      {"a chunk with a sign", chunked + "+2\r\n{}\r\n0\r\n\r\n"},
      {"a negative chunk", chunked + "-2\r\n{}\r\n0\r\n\r\n"},
      {"a chunk in 0x", chunked + "0x2\r\n{}\r\n0\r\n\r\n"},
      {"a chunk without a size", chunked + "\r\n{}\r\n0\r\n\r\n"},
      {"a chunk with a blank before its size", chunked + " 2\r\n{}\r\n0\r\n\r\n"},
      {"a chunk that overflows", chunked + "10000000000000002\r\n{}\r\n0\r\n\r\n"},
      {"a chunk that is longer than it says", chunked + "1\r\n{}\r\n0\r\n\r\n"},
      {"a chunk with a bare line feed", chunked + "2\n{}\r\n0\r\n\r\n"},
      {"a bare line feed in an extension", chunked + "2;a\nb\r\n{}\r\n0\r\n\r\n"},
      {"a bare line feed after a chunk", chunked + "2\r\n{}\n0\r\n\r\n"},
      {"a length behind the body", chunked + "2\r\n{}\r\n0\r\nContent-Length: 60\r\n\r\n"},
      {"a coding behind the body", chunked + "2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"},
  };
  int refused = 0;
  for (const auto& [what, bytes] : cases) {
    bool closed = false;
    const std::string text = told(bytes + kSmuggled, closed);
    EXPECT_THAT(text, StartsWith("HTTP/1.1 400 ")) << what;
    EXPECT_EQ(answers_in(text), 1) << what << ": " << text;
    EXPECT_TRUE(closed) << what;
    EXPECT_THAT(text, Not(HasSubstr("smuggled"))) << what;
    refused += text.starts_with("HTTP/1.1 400 ") ? 1 : 0;
  }
  std::cout << refused << " of " << std::size(cases)
            << " refused with 400, connection closed, nothing behind it read\n";
}

TEST_F(Front, ReadsWhatIsUnusualButClearInTheOneWay) {
  start();
  struct Case {
    const char* what;
    std::string bytes;
    const char* first;
  };
  const std::string chunked = kPost + "Transfer-Encoding: chunked\r\n\r\n";
  const Case cases[] = {
      {"capitals", kPost + "TRANSFER-ENCODING: CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "400 "},
      {"blanks around", kPost + "Transfer-Encoding: \t chunked \t\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "400 "},
      // RFC 9112, 5.2: refused, or the fold is a blank.
      {"a fold", kPost + "Transfer-Encoding:\r\n chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "400 "},
      {"an extension of a chunk", chunked + "2;name=\"va;lue\";x\r\n{}\r\n0;y\r\n\r\n", "400 "},
      {"a size with zeros", chunked + "0002\r\n{}\r\n000\r\n\r\n", "400 "},
      {"a length with zeros", kPost + "Content-Length: 0002\r\n\r\n{}", "400 "},
      {"the same host in the address", "GET http://CREEL/healthz HTTP/1.1\r\nHost: creel\r\n\r\n", "200 "},
      {"a body of a GET", "GET /healthz HTTP/1.1\r\nHost: creel\r\nContent-Length: 2\r\n\r\n{}", "200 "},
      {"headers behind the body",
       "POST /api/keys HTTP/1.1\r\nHost: creel\r\nContent-Type: application/json\r\n"
       "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: Bearer " +
           key + "\r\nX-Request-Id: trailer\r\n\r\n",
       "401 "},
  };
  for (const Case& one : cases) {
    RawClient client{creel->url()};
    client.say(one.bytes + kSmuggled);
    const std::string first = client.answer(), second = client.answer();
    EXPECT_THAT(first, StartsWith(std::string{"HTTP/1.1 "} + one.first)) << one.what;
    EXPECT_THAT(first, Not(HasSubstr("BAD_REQUEST"))) << one.what;
    EXPECT_THAT(first, Not(HasSubstr("trailer"))) << one.what;
    // The next request begins exactly where this one ends.
    EXPECT_THAT(second, StartsWith("HTTP/1.1 200 ")) << one.what;
    EXPECT_THAT(second, HasSubstr("smuggled")) << one.what;
  }
}

TEST_F(Front, AnswersAThousandPipelinedRequestsInTheirOrder) {
  start();
  RawClient client{creel->url(), attacker(1)};
  std::string all;
  for (int i = 0; i < 1'000; ++i)
    all += "GET /healthz HTTP/1.1\r\nHost: creel\r\nX-Request-Id: number-" + std::to_string(i) + "\r\n\r\n";
  std::jthread speaker{[&] { client.say(all); }};
  for (int i = 0; i < 1'000; ++i)
    ASSERT_THAT(client.answer(), HasSubstr("X-Request-Id: number-" + std::to_string(i) + "\r\n"));
}

TEST_F(Front, HangsUpOnThousandsWhoSendHeadsAndBodiesByteByByte) {
  start({{"CREEL_HTTP_HEADER_TIMEOUT", "2"}, {"CREEL_HTTP_BODY_TIMEOUT", "2"}});
  attack(3'000, 1'000, 0, Door::both);
  std::jthread trickle{[this](std::stop_token stop) {
    const std::string head = "GET /healthz HTTP/1.1\r\nHost: creel\r\nX-Slow: ";
    const std::string body = kPost + "Content-Length: 100000\r\n\r\n{";
    for (std::size_t byte = 0; !stop.stop_requested(); ++byte) {
      for (std::size_t i = 0; i < attackers.size() && !stop.stop_requested(); ++i) {
        // Half of them are slow with the head, half with the body.
        if (i % 2 == 0 || byte > 0)
          attackers[i].say(std::string(1, i % 2 == 0 && byte < head.size() ? head[byte] : 'x'), 0ms);
        else
          attackers[i].say(body, 0ms);
      }
      std::this_thread::sleep_for(50ms);
    }
  }};
  EXPECT_TRUE(serves()) << "while they are at it";
  EXPECT_TRUE(all_gone(120s)) << gone() << " of " << attackers.size();
}

TEST_F(Front, HangsUpOnHundredsWhoDoNotReadTheirAnswers) {
  start({{"CREEL_HTTP_WRITE_TIMEOUT", "2"}});
  attack(1'000, 500, 4096);
  std::string ask;
  for (int i = 0; i < 100; ++i) ask += "GET /openapi.json HTTP/1.1\r\nHost: creel\r\n\r\n";
  for (auto& client : attackers) client.say(ask, 0ms);
  EXPECT_TRUE(serves());
  EXPECT_EQ(creel->call("GET", "/openapi.json").status, 200) << "others have room for large answers, too";
  const auto end = Steady::now() + 120s;
  // They do not read, so that they do not notice either: the server is asked.
  while (connections() > 5 && Steady::now() < end) std::this_thread::sleep_for(100ms);
  EXPECT_LE(connections(), 5);
}

TEST_F(Front, KeepsTenThousandIdleConnectionsAndServesOthers) {
  // Long enough for a slow machine to have them all at once.
  start({{"CREEL_HTTP_HEADER_TIMEOUT", "10m"}, {"CREEL_HTTP_IDLE_TIMEOUT", "30m"}});
  ASSERT_GE(raise_open_files(), 11'000u) << "ulimit -Hn";
  attack(10'000, 1'000, 0, Door::both);
  // A quarter of them have been good clients before.
  for (std::size_t i = 0; i < attackers.size(); i += 4)
    attackers[i].say("GET /healthz HTTP/1.1\r\nHost: creel\r\n\r\n");
  for (std::size_t i = 0; i < attackers.size(); i += 4)
    ASSERT_THAT(attackers[i].answer(), StartsWith("HTTP/1.1 200 ")) << i;
  EXPECT_TRUE(serves());
  std::cout << connections() << " connections\n";
  EXPECT_GE(connections(), 10'000);
}

// What OpenSSL keeps for a connection is many times what a plain one takes.
TEST_F(Front, LetsTenThousandWhoHaveShakenHandsWaitOnlyAsLongAsThereIsMemory) {
  const Certificates certificates;
  start({{"CREEL_HTTP_HEADER_TIMEOUT", "10m"}, {"CREEL_HTTP_IDLE_TIMEOUT", "30m"}}, &certificates);
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context{SSL_CTX_new(TLS_client_method()), &SSL_CTX_free};
  int shaken = 0;
  for (int i = 0; i < 10'000; ++i) {
    attackers.emplace_back(creel->url(), attacker(1 + i / 500));
    // The state of the client's side is not needed once hands are shaken.
    const std::unique_ptr<SSL, decltype(&SSL_free)> tls{SSL_new(context.get()), &SSL_free};
    SSL_set_fd(tls.get(), attackers.back().socket());
    shaken += SSL_connect(tls.get()) == 1 ? 1 : 0;
    // Some have asked for something, and have begun to ask again.
    const std::string more = "GET /healthz HTTP/1.1\r\nHost: creel\r\n\r\nGET / HT";
    if (i % 4 == 0) SSL_write(tls.get(), more.data(), static_cast<int>(more.size()));
  }
  EXPECT_EQ(shaken, 10'000) << "whoever comes is let in";
  EXPECT_TRUE(serves());
  const auto end = Steady::now() + 60s;
  while (connections() > 1'010 && Steady::now() < end) std::this_thread::sleep_for(100ms);
  std::cout << connections() << " connections\n";
  EXPECT_LE(connections(), 1'010);
  EXPECT_GE(connections(), 1'000);
  EXPECT_TRUE(attackers.front().gone());
  EXPECT_FALSE(attackers.back().gone()) << "who came last is kept";
}

TEST_F(Front, GivesOneAddressOnlyItsShareOfTheConnections) {
  start({{"CREEL_HTTP_MAX_CONNECTIONS", "300"}, {"CREEL_HTTP_MAX_ADDRESS_CONNECTIONS", "100"}});
  attack(100, 1'000);
  for (auto& client : attackers) {
    client.say("GET /healthz HTTP/1.1\r\nHost: creel\r\n\r\n");
    ASSERT_THAT(client.answer(), StartsWith("HTTP/1.1 200 "));
  }
  RawClient more{creel->url(), attacker(1)};
  more.say("GET /healthz HTTP/1.1\r\nHost: creel\r\n\r\n");
  const std::string refused = more.hear_to_the_end();
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(refused, HasSubstr("Too many connections from this address"));
  EXPECT_THAT(refused, HasSubstr("Retry-After: "));
  EXPECT_TRUE(serves()) << "others are not affected";
  attackers.pop_back();
  const auto end = Steady::now() + 60s;
  std::string again;
  while (!again.starts_with("HTTP/1.1 200 ") && Steady::now() < end) {
    RawClient next{creel->url(), attacker(1)};
    next.say("GET /healthz HTTP/1.1\r\nHost: creel\r\nConnection: close\r\n\r\n");
    again = next.hear_to_the_end();
  }
  EXPECT_THAT(again, StartsWith("HTTP/1.1 200 ")) << "one that has left makes room";
}

TEST_F(Front, ExceptsTrustedProxiesFromTheShare) {
  start({{"CREEL_HTTP_MAX_ADDRESS_CONNECTIONS", "10"}, {"CREEL_TRUSTED_PROXIES", attacker(1)}});
  attack(30);
  for (auto& client : attackers) {
    client.say("GET /healthz HTTP/1.1\r\nHost: creel\r\n\r\n");
    EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 200 "));
  }
}

TEST_F(Front, RefusesFloodsOfHeaders) {
  start();
  std::string many = "GET /healthz HTTP/1.1\r\nHost: creel\r\n", large = many;
  for (int i = 0; i < 5'000; ++i) many += "A" + std::to_string(i) + ":\r\n";
  large += "X: " + std::string(60'000, 'x') + "\r\n";
  attack(500, 1'000, 0, Door::both);
  for (std::size_t i = 0; i < attackers.size(); ++i) attackers[i].say(i % 2 == 0 ? many : large, 0ms);
  for (auto& client : attackers) EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 431 "));
  EXPECT_TRUE(all_gone(60s));
}

TEST_F(Front, TakesItsTimeToSayNoAgainAndAgain) {
  start();
  const auto refused = [&](const std::string& from) {
    RawClient client{creel->url(), from};
    client.say("nonsense\r\n\r\n");
    return client.answer();
  };
  const auto begun = Steady::now();
  for (int i = 0; i < 100; ++i) ASSERT_THAT(refused(attacker(1)), StartsWith("HTTP/1.1 400 ")) << i;
  EXPECT_GE(Steady::now() - begun, 1'900ms) << "20 ms each";
}

TEST_F(Front, DoesNotReadAtOnceFromWhoIsFlooding) {
  start();
  std::atomic<int> refusals{0};
  const std::jthread flooding{[&](const std::stop_token& stop) {
    std::deque<RawClient> clients;
    for (int i = 0; i < 80; ++i) clients.emplace_back(creel->url(), attacker(1)).say("nonsense\r\n\r\n");
    while (!stop.stop_requested()) {
      for (auto& client : clients) {
        if (!client.gone()) continue;
        ++refusals;
        std::destroy_at(&client);
        std::construct_at(&client, creel->url(), attacker(1))->say("nonsense\r\n\r\n");
      }
      std::this_thread::sleep_for(2ms);
    }
  }};
  for (const auto end = Steady::now() + 60s; refusals < 20 && Steady::now() < end;) std::this_thread::sleep_for(5ms);
  ASSERT_GE(refusals, 20);
  const auto begun = Steady::now();
  RawClient client{creel->url(), attacker(1)};
  client.say("GET /healthz HTTP/1.1\r\nHost: creel\r\n\r\n");
  EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 200 "));
  EXPECT_GE(Steady::now() - begun, 200ms);
}

TEST_F(Front, DoesNotReadALargeBodyOfSomebodyWhoHasSentTooMuchAlready) {
  start({{"CREEL_RATE_LIMIT_API", "5"}});
  const std::string head = kPost + "Content-Length: 1000000\r\n\r\n";
  for (int i = 0; i < 5; ++i) {
    RawClient client{creel->url(), attacker(1)};
    client.say(head + std::string(1'000'000, ' '));
    EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 400 ")) << i;
  }
  RawClient client{creel->url(), attacker(1)};
  client.say(head);  // and nothing of the body
  const std::string refused = client.hear_to_the_end();
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 429 "));
  EXPECT_THAT(refused, HasSubstr("Connection: close"));
  EXPECT_THAT(refused, HasSubstr("RateLimit-Remaining: 0"));
}

TEST_F(Front, ReadsTheLargeBodiesOfOneAddressAtOneRate) {
  start();
  const std::string request = kPost + "Content-Length: 1000000\r\n\r\n" + std::string(1'000'000, ' ');
  const auto begun = Steady::now();
  std::vector<std::jthread> speakers;
  for (int i = 0; i < 6; ++i)
    speakers.emplace_back([&] {
      RawClient client{creel->url(), attacker(1)};
      client.say(request);
      EXPECT_THAT(client.answer(), StartsWith("HTTP/1.1 400 "));
    });
  speakers.clear();
  EXPECT_GE(Steady::now() - begun, 1'350ms) << "4 MiB a second, and all of them are read";
}

TEST_F(Front, BoundsTheMemoryOfAllBodiesTogether) {
  start();
  attack(400, 1'000);
  // A megabyte each, but for its last bytes: 400 MB that wait to be complete.
  const std::string body = kPost + "Content-Length: 1048576\r\n\r\n" + std::string(1'048'000, ' ');
  std::vector<std::jthread> speakers;
  for (std::size_t part = 0; part < 8; ++part)
    speakers.emplace_back([&, part] {
      for (std::size_t i = part; i < attackers.size(); i += 8) attackers[i].say(body, 5s);
    });
  speakers.clear();
  EXPECT_TRUE(serves());
  const std::string large(500'000, 'x');
  EXPECT_EQ(creel->call("POST", "/api/auth/login", "", {{"email", "a@b"}, {"password", large}}).status, 401)
      << "others have room for large bodies, too";
  int busy = 0;
  for (const auto end = Steady::now() + 60s; busy <= 200 && Steady::now() < end;)
    for (auto& client : attackers) busy += client.answer(20ms).starts_with("HTTP/1.1 503 ") ? 1 : 0;
  std::cout << busy << " of " << attackers.size() << " large bodies turned away\n";
  EXPECT_GT(busy, 200);
  // And too large ones are refused by what they say of themselves, or when they have become so.
  RawClient declared{creel->url(), attacker(9)};
  declared.say(kPost + "Content-Length: 1048577\r\n\r\n");
  EXPECT_THAT(declared.answer(), StartsWith("HTTP/1.1 413 "));
}

TEST_F(Front, RaisesItsLimitOfOpenFiles) {
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few{4'096, before.rlim_max};
  CreelProcess limited;
  setrlimit(RLIMIT_NOFILE, &few);
  limited.start();
  setrlimit(RLIMIT_NOFILE, &before);
  std::ifstream limits{"/proc/" + std::to_string(limited.pid()) + "/limits"};
  std::string line;
  while (std::getline(limits, line) && !line.starts_with("Max open files")) {
  }
  EXPECT_THAT(line, HasSubstr(std::to_string(before.rlim_max)));
}

}  // namespace
}  // namespace creel::test
