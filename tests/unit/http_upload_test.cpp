// Sending a body as it is made, against a small scripted server on the loopback interface.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "controller/http/client.hpp"
#include "tests/unit/http_scripted_server.hpp"

namespace creel::http {
namespace {

using test::Peer;
using test::Server;
using namespace std::chrono_literals;

Request put(const std::string& url) {
  Request request;
  request.method = "PUT";
  request.url = url;
  request.deadline = 0ms;
  request.inactivity = 60s;
  return request;
}

// Head and chunked body, as they came.
std::string read_chunked(Peer& peer) {
  std::string text;
  char piece[65'536];
  while (!text.ends_with("\r\n0\r\n\r\n")) {
    const ssize_t got = recv(peer.fd(), piece, sizeof piece, 0);
    if (got <= 0) break;
    text.append(piece, static_cast<std::size_t>(got));
  }
  return text;
}

TEST(HttpUpload, SendsThePiecesInOrderAndReadsTheAnswer) {
  std::promise<std::string> seen;
  Server server{[&](Peer& peer) {
    seen.set_value(read_chunked(peer));
    peer.answer("stored", "201 Created");
  }};
  Client client;
  const auto answer = client.upload(put(server.url("/x")), [](const Client::Write& write) -> Result<void> {
    EXPECT_TRUE(write("one "));
    EXPECT_TRUE(write("two"));
    return {};
  });
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->body, "stored");
  const std::string request = seen.get_future().get();
  EXPECT_TRUE(request.starts_with("PUT /x HTTP/1.1\r\n")) << request;
  EXPECT_LT(request.find("one "), request.find("two")) << request;
}

TEST(HttpUpload, ASlowReceiverMakesTheProducerWait) {
  constexpr std::size_t kTotal = 64u << 20;
  std::promise<void> read_on;
  std::atomic<std::size_t> made{0};
  Server server{[&](Peer& peer) {
    read_on.get_future().wait();
    read_chunked(peer);
    peer.answer("");
  }};
  Client client;
  std::thread receiver{[&] {
    // Once the buffers on the way are full, what was made stays the same for a while.
    for (std::size_t before = 1; before != made || made == 0; std::this_thread::sleep_for(200ms)) before = made;
    EXPECT_LT(made, kTotal / 2) << "the whole body was buffered";
    read_on.set_value();
  }};
  const auto answer = client.upload(put(server.url()), [&](const Client::Write& write) -> Result<void> {
    const std::string block(64u << 10, 'x');
    for (; made < kTotal; made += block.size())
      if (!write(block)) return Error{ErrorKind::failed, "not wanted any more"};
    return {};
  });
  receiver.join();
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(made, kTotal);
}

TEST(HttpUpload, AFailingProducerBreaksTheRequestOff) {
  std::promise<std::string> seen;
  Server server{[&](Peer& peer) { seen.set_value(read_chunked(peer)); }};
  Client client;
  const auto answer = client.upload(put(server.url()), [](const Client::Write& write) -> Result<void> {
    write("half");
    return Error{ErrorKind::failed, "the source is gone"};
  });
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().message, "the source is gone");
  EXPECT_EQ(seen.get_future().get().find("0\r\n\r\n"), std::string::npos) << "half a body was ended as if whole";
}

TEST(HttpUpload, AnAnswerBeforeTheEndStopsTheProducer) {
  Server server{[](Peer& peer) {
    peer.answer("too much", "413 Content Too Large");
    peer.wait_closed();
  }};
  Client client;
  std::atomic<bool> stopped{false};
  const auto answer = client.upload(put(server.url()), [&](const Client::Write& write) -> Result<void> {
    const std::string block(64u << 10, 'x');
    while (write(block)) {
    }
    stopped = true;
    return {};
  });
  EXPECT_TRUE(stopped);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 413);
}

TEST(HttpUpload, GivesUpWhenTheReceiverTakesNothingForTooLong) {
  std::promise<void> end;
  Server server{[&](Peer&) { end.get_future().wait(); }};
  Client client;
  Request request = put(server.url());
  request.inactivity = 300ms;
  const auto answer = client.upload(request, [](const Client::Write& write) -> Result<void> {
    const std::string block(64u << 10, 'x');
    while (write(block)) {
    }
    return {};
  });
  end.set_value();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::timeout) << answer.error().message;
}

}  // namespace
}  // namespace creel::http
