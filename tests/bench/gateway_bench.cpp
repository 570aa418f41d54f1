// gateway_bench: what the way through Creel's gateway costs against a direct connection to the same agent.
//
// One reference agent, and pairs of connections to it that stay open: one to its own address, one through the gateway
// listener with an API key. On each pair in turn, N times over all (default 2000): GET /healthz, for the latency. Then
// N/10 times a body of 1 MB from the agent (a kept message) and to it (a request that it refuses when it has read it).
// Several pairs, because a connection of either kind keeps for long what it found at its beginning: its buffers, and
// the processor of the other side. Prints medians, what the gateway adds, and the throughputs with their ratios.
//
//   CREEL_TEST_DATABASE_URL=… CREEL_TEST_WORK=… DOCKER_HOST=… gateway_bench [N]        (./test.sh --all sets these)
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/creel_process.hpp"

namespace {

using creel::test::Answer;
using creel::test::CreelProcess;
using nlohmann::json;

constexpr std::size_t kMegabyte = 1'000'000;
constexpr int kPairs = 20;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A connection that stays open, and asks the same way for an agent's paths.
class Way {
 public:
  // `address`: "127.0.0.1:10000"; `prefix`: what stands before the agent's own paths.
  Way(const std::string& address, std::string prefix, std::string credential)
      : prefix_(std::move(prefix)), credential_(std::move(credential)) {
    const auto colon = address.rfind(':');
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
    inet_pton(AF_INET, address.substr(0, colon).c_str(), &where.sin_addr);
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0)
      throw std::runtime_error("cannot connect to " + address);
    const int yes = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  }
  ~Way() { close(fd_); }
  Way(const Way&) = delete;
  Way& operator=(const Way&) = delete;

  // The size of the answer's body.
  std::size_t ask(const std::string& method, const std::string& path, int status, const std::string& body = "",
                  const std::string& more = "") {
    std::string request = method + " " + prefix_ + path + " HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " +
                          credential_ + "\r\n" + more;
    if (!body.empty()) request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    request += "\r\n" + body;
    for (std::size_t sent = 0; sent < request.size();) {
      const auto n = send(fd_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) throw std::runtime_error("the connection ended while a request was sent");
      sent += static_cast<std::size_t>(n);
    }
    std::size_t got = 0, whole = 0, head = 0;
    while (whole == 0 || got < whole) {
      const auto n = recv(fd_, buffer_.data() + got, buffer_.size() - got, 0);
      if (n <= 0) throw std::runtime_error("the connection ended before the answer did: " + buffer_.substr(0, got));
      got += static_cast<std::size_t>(n);
      if (whole != 0) continue;
      const std::string_view text{buffer_.data(), got};
      const auto end = text.find("\r\n\r\n");
      if (end == text.npos) continue;
      head = end + 4;
      const auto length = text.find("Content-Length: ");
      if (length > end) throw std::runtime_error("an answer without Content-Length: " + std::string{text});
      whole = head + std::stoul(buffer_.substr(length + 16, 12));
    }
    if (std::stoi(buffer_.substr(9, 3)) != status)
      throw std::runtime_error(buffer_.substr(0, std::min(got, head + 500)));
    return whole - head;
  }

 private:
  const std::string prefix_, credential_;
  std::string buffer_ = std::string(4 * kMegabyte, '\0');
  int fd_ = -1;
};

template <class F>
double seconds_of(F&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// In turn, so that whatever else the machine does meets both alike.
template <class Open, class F>
std::pair<double, double> medians(int rounds, Open&& direct, Open&& through, F&& work) {
  std::vector<double> first, second;
  for (int pair = 0; pair < kPairs; ++pair) {
    const std::unique_ptr<Way> one = direct(), other = through();
    for (int i = 0; i < std::max(1, rounds / kPairs); ++i) {
      first.push_back(seconds_of([&] { work(*one); }));
      second.push_back(seconds_of([&] { work(*other); }));
    }
  }
  return {median(std::move(first)), median(std::move(second))};
}

}  // namespace

int main(int argc, char** argv) try {
  const int rounds = argc > 1 ? std::stoi(argv[1]) : 2000;
  CreelProcess creel;
  creel.start();
  const std::string key = creel.user("bench@example.com", "enterprise");
  const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "bench"}});
  if (made.status != 201) throw std::runtime_error("provision: " + made.text);
  const std::string id = made.json["agent"]["id"];
  creel.until("/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; });
  const Answer token = creel.call("GET", "/api/instance/" + id + "/token", key);
  const Answer agents = creel.call("GET", "/api/agents", key);
  const std::string url = agents.json["agents"][0]["websocketUrl"];  // ws://host:port/agent/<id>
  const auto host = url.find("://") + 3;
  const json networks = creel.engine().container(id)["NetworkSettings"]["Networks"];
  const std::string address = networks.begin().value()["IPAddress"];

  const std::string agent_token = token.json["token"], gateway = url.substr(host, url.find('/', host) - host);
  const std::function<std::unique_ptr<Way>()> direct = [&] {
    return std::make_unique<Way>(address + ":18789", "", agent_token);
  };
  const std::function<std::unique_ptr<Way>()> through = [&] {
    return std::make_unique<Way>(gateway, "/agent/" + id, key);
  };

  const auto [small, small_through] =
      medians(rounds, direct, through, [](Way& way) { way.ask("GET", "/healthz", 200); });
  std::printf("latency, GET /healthz, %d each: direct p50 %.3f ms, through the gateway p50 %.3f ms, added %.3f ms\n",
              rounds, small * 1e3, small_through * 1e3, (small_through - small) * 1e3);

  const std::string session = "x-openclaw-session-key: bench\r\n", typed = "Content-Type: application/json\r\n";
  const json chat{{"model", "any"}, {"messages", {{{"role", "user"}, {"content", std::string(kMegabyte, 'x')}}}}};
  direct()->ask("POST", "/v1/chat/completions", 200, chat.dump(), session + typed);
  const auto [down, down_through] = medians(rounds / 10, direct, through, [&](Way& way) {
    if (way.ask("GET", "/v1/messages?limit=1", 200, "", session) < kMegabyte)
      throw std::runtime_error("the kept message is shorter than it was");
  });
  std::printf("1 MB from the agent, %d each: direct %.0f MB/s, through the gateway %.0f MB/s, ratio %.2f\n",
              rounds / 10, 1 / down, 1 / down_through, down / down_through);
  const std::string body(kMegabyte, 'x');
  const auto [up, up_through] =
      medians(rounds / 10, direct, through, [&](Way& way) { way.ask("POST", "/v1/nothing", 404, body, typed); });
  std::printf("1 MB to the agent, %d each: direct %.0f MB/s, through the gateway %.0f MB/s, ratio %.2f\n", rounds / 10,
              1 / up, 1 / up_through, up / up_through);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "gateway_bench: %s\n", error.what());
  return 1;
}
