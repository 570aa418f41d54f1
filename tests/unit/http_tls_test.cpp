// HTTPS with certificates on both sides, as a remote engine wants it, against `openssl s_server`.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <tuple>

#include "controller/http/client.hpp"
#include "tests/support/certificates.hpp"
#include "tests/unit/http_scripted_server.hpp"

namespace creel::http {
namespace {

class HttpTls : public testing::Test {
 protected:
  // `openssl s_server` answers every GET with a page about the connection, and wants a client certificate of the CA.
  void SetUp() override {
    int port = 0;
    {
      const test::Server unused{[](test::Peer&) {}};  // finds a free port
      port = std::stoi(unused.url().substr(unused.url().rfind(':') + 1));
    }
    base = "https://127.0.0.1:" + std::to_string(port) + "/";
    const std::string accept = "127.0.0.1:" + std::to_string(port);
    process = fork();
    if (process == 0) {
      EXPECT_EQ(0, chdir(files.dir.c_str()));
      std::ignore = freopen("log", "w", stderr);
      std::ignore = freopen("/dev/null", "w", stdout);
      execlp("openssl", "openssl", "s_server", "-accept", accept.c_str(), "-www", "-cert", "server.pem", "-key",
             "server.key", "-CAfile", "ca.pem", "-Verify", "2", "-verify_return_error", nullptr);
      _exit(127);
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    for (bool up = false; !up; std::this_thread::sleep_for(std::chrono::milliseconds{10})) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "openssl s_server does not start";
      up = client.send(request("ca.pem", "client")).has_value();
    }
  }
  void TearDown() override {
    kill(process, SIGKILL);
    waitpid(process, nullptr, 0);
  }

  Request request(const std::string& ca, const std::string& who) const {
    Request request;
    request.url = base;
    request.headers = {{"Connection", "close"}};  // each test its own handshake
    request.tls = Tls{files.dir + "/" + ca, who.empty() ? "" : files.dir + "/" + who + ".pem",
                      who.empty() ? "" : files.dir + "/" + who + ".key", true};
    return request;
  }

  const test::Certificates files;
  Client client;
  std::string base;
  pid_t process = -1;
};

TEST_F(HttpTls, TalksWithCertificatesOnBothSides) {
  const auto answer = client.send(request("ca.pem", "client"));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 200);
  EXPECT_NE(answer->body.find("CN=client"), std::string::npos) << "the server saw the client's certificate";
}

TEST_F(HttpTls, TrustsNoServerOfAnotherAuthority) {
  const auto answer = client.send(request("other.pem", "client"));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
  EXPECT_NE(answer.error().message.find("certificate"), std::string::npos) << answer.error().message;
  auto careless = request("other.pem", "client");
  careless.tls->verify = false;
  EXPECT_TRUE(client.send(careless));
}

TEST_F(HttpTls, IsRefusedWithoutAClientCertificate) {
  const auto answer = client.send(request("ca.pem", ""));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable) << answer.error().message;
}

}  // namespace
}  // namespace creel::http
