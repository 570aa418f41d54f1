// The HTTP client against a small scripted server on the loopback interface.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>
#include <mutex>
#include <thread>

#include "controller/http/client.hpp"
#include "tests/unit/http_scripted_server.hpp"

namespace creel::http {
namespace {

using namespace std::chrono_literals;
using test::Peer;
using test::Server;

Request get(std::string url) {
  Request request;
  request.url = std::move(url);
  return request;
}

void serve_all(Peer& peer) {
  while (!peer.read_request().empty()) peer.answer("hello");
}

TEST(HttpClient, ReadsStatusHeadersAndBody) {
  Server server{serve_all};
  Client client;
  const auto answer = client.send(get(server.url()));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "hello");
  EXPECT_EQ(answer->header("x-test"), "Yes");
  EXPECT_EQ(answer->header("absent"), "");
}

TEST(HttpClient, SendsMethodHeadersAndBodyAsGiven) {
  std::promise<std::string> seen;
  Server server{[&](Peer& peer) {
    seen.set_value(peer.read_request());
    peer.answer("", "204 No Content");
  }};
  Client client;
  Request request = get(server.url("/a%20b?c=d"));
  request.method = "PUT";
  request.headers = {{"X-One", "1"}, {"X-Empty", ""}};
  request.body = std::string{"a\0b", 3};
  const auto answer = client.send(request);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 204);
  const std::string text = seen.get_future().get();
  EXPECT_TRUE(text.starts_with("PUT /a%20b?c=d HTTP/1.1\r\n")) << text;
  EXPECT_NE(text.find("\r\nX-One: 1\r\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\r\nX-Empty:\r\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("Content-Type"), std::string::npos) << text;
  EXPECT_EQ(text.find("Expect"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with(std::string{"\r\n\r\na\0b", 7}));
}

TEST(HttpClient, SendsAnEmptyPostAndADeleteWithoutBody) {
  std::promise<std::string> post;
  std::promise<std::string> del;
  Server server{[&](Peer& peer) {
    post.set_value(peer.read_request());
    peer.answer("");
    del.set_value(peer.read_request());
    peer.answer("");
  }};
  Client client;
  Request request = get(server.url());
  request.method = "POST";
  ASSERT_TRUE(client.send(request));
  request.method = "DELETE";
  ASSERT_TRUE(client.send(request));
  EXPECT_NE(post.get_future().get().find("Content-Length: 0"), std::string::npos);
  EXPECT_TRUE(del.get_future().get().starts_with("DELETE / "));
}

TEST(HttpClient, ReusesAConnection) {
  Server server{serve_all};
  Client client;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(client.send(get(server.url())));
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, GoesOnWhenAKeptConnectionWasClosed) {
  Server server{[](Peer& peer) {
    peer.read_request();
    peer.answer("once");
  }};
  Client client;
  for (int i = 0; i < 3; ++i) {
    const auto answer = client.send(get(server.url()));
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->body, "once");
  }
  EXPECT_EQ(server.connections(), 3);
}

TEST(HttpClient, TalksOverAUnixSocketAndNamesItWhenItIsMissing) {
  char folder[] = "/tmp/creel-http-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string path = std::string{folder} + "/s";
  Client client;
  Request request = get("http://engine/version");
  request.unix_socket = path;
  const auto missing = client.send(request);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, ErrorKind::unavailable);
  EXPECT_NE(missing.error().message.find("unix://" + path), std::string::npos) << missing.error().message;
  {
    Server server{serve_all, path};
    const auto answer = client.send(request);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->body, "hello");
  }
  unlink(path.c_str());
  rmdir(folder);
}

TEST(HttpClient, SendsNothingThatIsNotAllowedAnyMoreOnceTheConnectionStands) {
  std::atomic<int> requests{0};
  Server server{[&](Peer& peer) {
    while (!peer.read_request().empty()) {
      ++requests;
      peer.answer("done");
    }
  }};
  Client client;
  Request request = get(server.url());
  bool allowed = true;
  request.still_allowed = [&] { return allowed; };
  ASSERT_TRUE(client.send(request));
  allowed = false;
  for (const bool fresh : {false, true}) {
    request.once = fresh;
    const auto answer = client.send(request);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, ErrorKind::cancelled) << answer.error().message;
  }
  EXPECT_EQ(requests, 1);
}

TEST(HttpClient, SaysWhereAConnectionWasRefusedAndNoMore) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);  // a bound port nobody listens on
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(0, bind(fd, reinterpret_cast<sockaddr*>(&address), size));
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  const std::string host = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  Client client;
  Request request = get("http://" + host + "/p?token=sesame");
  request.headers = {{"Authorization", "Bearer sesame"}};
  const auto answer = client.send(request);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
  EXPECT_EQ(answer.error().message, "cannot connect to http://" + host + ": Connection refused");
  close(fd);
}

TEST(HttpClient, GivesUpAtTheDeadline) {
  Server server{[](Peer& peer) {
    peer.read_request();
    peer.wait_closed();
  }};
  Client client;
  Request request = get(server.url());
  request.deadline = 50ms;
  const auto begin = std::chrono::steady_clock::now();
  const auto answer = client.send(request);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::timeout);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 45ms);
}

TEST(HttpClient, GivesUpWhenNothingCameForTooLong) {
  Server server{[](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    peer.wait_closed();
  }};
  Client client;
  Request request = get(server.url());
  request.inactivity = 60ms;
  const auto answer = client.send(request);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::timeout);
  EXPECT_NE(answer.error().message.find("sent nothing for 60 ms"), std::string::npos) << answer.error().message;
}

TEST(HttpClient, CancelsWhileItWaits) {
  std::stop_source stop;
  Server server{[&](Peer& peer) {
    peer.read_request();
    stop.request_stop();  // surely under way: the request is here
    peer.wait_closed();
  }};
  Client client;
  const auto answer = client.send(get(server.url()), stop.get_token());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::cancelled);
}

TEST(HttpClient, SendsNothingWhenStopWasAskedForBefore) {
  Server server{serve_all};
  std::stop_source stop;
  stop.request_stop();
  Client client;
  const auto answer = client.send(get(server.url()), stop.get_token());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::cancelled);
  EXPECT_EQ(server.connections(), 0);
}

TEST(HttpClient, CancelsEverythingWhenDestroyed) {
  std::latch asked{3};
  Server server{[&](Peer& peer) {
    peer.read_request();
    asked.count_down();
    peer.wait_closed();
  }};
  std::mutex mutex;
  std::vector<ErrorKind> kinds;
  {
    Client client;
    for (int i = 0; i < 3; ++i) {
      client.send_async(get(server.url()), [&](Result<Response> result) {
        std::lock_guard lock{mutex};
        kinds.push_back(result ? ErrorKind::internal : result.error().kind);
      });
    }
    asked.wait();
  }
  EXPECT_EQ(kinds, std::vector<ErrorKind>(3, ErrorKind::cancelled));
}

TEST(HttpClient, RefusesALargerAnswerThanAskedFor) {
  Server server{[](Peer& peer) {
    peer.read_request();
    peer.answer(std::string(1000, 'x'));
  }};
  Client client;
  Request request = get(server.url());
  request.max_body = 999;
  const auto answer = client.send(request);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::failed);
  request.max_body = 1000;
  EXPECT_TRUE(client.send(request));
}

TEST(HttpClient, ReportsABrokenAnswerAsUnavailable) {
  Server server{[](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
  }};
  Client client;
  const auto answer = client.send(get(server.url()));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
}

TEST(HttpClient, RefusesHeadersThatWouldSmuggleALine) {
  Client client;
  Request request = get("http://127.0.0.1:1/");
  request.headers = {{"X-A", "sesame\r\nX-B: 2"}};
  const auto answer = client.send(request);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::invalid);
  EXPECT_EQ(answer.error().message.find("sesame"), std::string::npos);
  request = get("file:///etc/passwd");
  EXPECT_EQ(client.send(request).error().kind, ErrorKind::invalid);
}

TEST(HttpClient, RefusesToBlockItsOwnThread) {
  Server server{serve_all};
  Client client;
  std::promise<Result<Response>> inner;
  client.send_async(get(server.url()), [&](Result<Response>) { inner.set_value(client.send(get(server.url()))); });
  const auto answer = inner.get_future().get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::internal);
}

TEST(HttpStream, AnnouncesTheOpenStreamBeforeAnyBody) {
  std::promise<void> opened;
  Server server{[&](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    opened.get_future().wait();  // no byte of body until the client has told its caller
    peer.write("5\r\nhello\r\n0\r\n\r\n");
    peer.wait_closed();
  }};
  Client client;
  std::string body;
  const auto answer = client.stream(
      get(server.url()),
      [&](std::string_view piece) {
        body += piece;
        return true;
      },
      {}, [&] { opened.set_value(); });
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(body, "hello");
}

TEST(HttpStream, ASlowSinkMakesTheSenderWait) {
  constexpr std::size_t kTotal = 64u << 20;
  std::atomic<std::size_t> sent{0};
  std::atomic<bool> done{false};
  Server server{[&](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kTotal) + "\r\n\r\n");
    const std::string block(64u << 10, 'x');
    for (std::size_t at = 0; at < kTotal; at += block.size()) {
      if (!peer.write(block)) return;
      sent += block.size();
    }
    done = true;
    peer.wait_closed();
  }};
  Client client;
  std::size_t got = 0;
  bool waited = false;
  const auto answer = client.stream(get(server.url()), [&](std::string_view piece) {
    if (got == 0) {
      // Holds the stream until the sender has stood still for a while; it may have filled the socket buffers, no more.
      for (std::size_t before = ~std::size_t{0}; before != sent;) {
        before = sent;
        std::this_thread::sleep_for(100ms);
      }
      waited = !done && sent < kTotal / 2;
    }
    got += piece.size();
    return true;
  });
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_TRUE(waited) << "the sender had sent " << sent << " bytes to a sink that took none";
  EXPECT_EQ(got, kTotal);
}

TEST(HttpClient, SendsARequestThatIsForOnceOnlyOnce) {
  std::atomic<int> posts{0};
  Server server{[&](Peer& peer) {
    for (std::string request; !(request = peer.read_request()).empty();) {
      if (request.starts_with("POST") && ++posts > 0) return;  // taken, and never answered
      peer.answer("fine");
    }
  }};
  Client client;
  ASSERT_TRUE(client.send(get(server.url())));  // leaves a connection that could be used again
  Request request = get(server.url());
  request.method = "POST";
  request.once = true;
  const auto answer = client.send(request);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
  EXPECT_EQ(posts, 1);
}

TEST(HttpStream, ASinkThatHasEnoughEndsTheStreamWithSuccess) {
  Server server{[](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    peer.wait_closed();  // returns only when the client closes
  }};
  Client client;
  const auto answer = client.stream(get(server.url()), [](std::string_view) { return false; });
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 200);
}

TEST(HttpStream, KeepsTheBodyOfARefusalFromTheSink) {
  Server server{[](Peer& peer) {
    peer.read_request();
    peer.answer("{\"message\":\"no\"}", "404 Not Found");
  }};
  Client client;
  bool called = false;
  const auto answer = client.stream(
      get(server.url()), [&](std::string_view) { return called = true; }, {}, [&] { called = true; });
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 404);
  EXPECT_EQ(answer->body, "{\"message\":\"no\"}");
  EXPECT_FALSE(called);
}

TEST(HttpStream, IsCancelledWhileItIsQuietAndWhileItsSinkIsSlow) {
  Server server{[](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    const std::string block(1u << 20, 'x');
    while (peer.write(block)) {
    }
  }};
  Client client;
  std::stop_source stop;
  int pieces = 0;
  const auto slow = client.stream(
      get(server.url()),
      [&](std::string_view) {
        if (++pieces == 2) stop.request_stop();
        return true;
      },
      stop.get_token());
  ASSERT_FALSE(slow);
  EXPECT_EQ(slow.error().kind, ErrorKind::cancelled);
  EXPECT_EQ(pieces, 2);

  Server silent{[](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    peer.wait_closed();
  }};
  std::stop_source other;
  const auto quiet = client.stream(
      get(silent.url()), [](std::string_view) { return true; }, other.get_token(), [&] { other.request_stop(); });
  ASSERT_FALSE(quiet);
  EXPECT_EQ(quiet.error().kind, ErrorKind::cancelled);
}

TEST(HttpStream, ManyAtOnceDoNotHoldEachOtherUp) {
  Server server{[](Peer& peer) {
    peer.read_request();
    peer.answer(std::string(1u << 20, 'y'));
  }};
  Client client;
  std::atomic<int> whole{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      std::size_t got = 0;
      const auto answer = client.stream(get(server.url()), [&](std::string_view piece) {
        got += piece.size();
        return true;
      });
      if (answer && got == (1u << 20)) ++whole;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(whole, 16);
}

TEST(UrlEncode, LeavesOnlyUnreservedCharacters) {
  EXPECT_EQ(url_encode("aZ0-._~"), "aZ0-._~");
  EXPECT_EQ(url_encode("{\"a b\"}/\xC3\xA9"), "%7B%22a%20b%22%7D%2F%C3%A9");
}

}  // namespace
}  // namespace creel::http
