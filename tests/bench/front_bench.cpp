// front_bench: how much others notice of an attack on the HTTP front.
//
// In one run, against one `creel serve` with its default limits: requests of ordinary users (GET /api/agents with a
// key, some on new connections), first in peace and then during each attack; each attack is preceded by its own peace.
// Prints p50, p99 and their ratios, and the server's memory. The attackers come from other addresses, and work at the
// lowest priority, because in life they would use other machines' processors. How much floods disturb by their own work
// on this machine's network is shown by the line below them: the same is done to a server that does nothing but hang up
// on whoever says something, while the same users ask Creel.
//
//   DOCKER_HOST=… CREEL_TEST_DATABASE_URL=… CREEL_TEST_WORK=… front_bench [REQUESTS [ATTACK]]
//   (./test.sh --all sets these; ATTACK: a word of the name of those to run)
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/creel_process.hpp"
#include "tests/support/raw_client.hpp"
#include "tests/support/support.hpp"

namespace {

using namespace creel::test;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

// What an attacker gives the kernel at a time. A kernel that does not preempt itself (PREEMPT_NONE) would not take the
// processor from him before a whole megabyte is copied, whatever his priority.
constexpr std::size_t kPiece = 16 * 1024;

struct Times {
  double p50 = 0, p99 = 0;  // ms
  int failed = 0;
};

// Several users at once, each of whom waits a little after an answer, as people and programs do.
Times ask(CreelProcess& creel, const std::string& key, int requests) {
  constexpr int kUsers = 4;
  static std::atomic<int> address{0};
  std::vector<std::vector<double>> taken(kUsers);
  std::atomic<int> failed{0};
  std::vector<std::jthread> users;
  for (int user = 0; user < kUsers; ++user)
    users.emplace_back([&, user] {
      const std::string request =
          "GET /api/agents HTTP/1.1\r\nHost: creel\r\nAuthorization: Bearer " + key + "\r\n\r\n";
      for (int left = requests / kUsers; left > 0;) {
        // An address of its own for each connection: the limit is on requests a minute and address.
        const int number = address++;
        RawClient client{creel.url(),
                         "127.1." + std::to_string(number / 250 % 250) + "." + std::to_string(1 + number % 250)};
        for (int i = 0; i < 20 && left > 0; ++i, --left) {
          const auto begun = Steady::now();
          client.say(request);
          if (!client.answer(30s).starts_with("HTTP/1.1 200 ")) ++failed;
          taken[static_cast<std::size_t>(user)].push_back(
              std::chrono::duration<double, std::milli>(Steady::now() - begun).count());
          std::this_thread::sleep_for(2ms);
        }
      }
    });
  users.clear();
  std::vector<double> all;
  for (const auto& some : taken) all.insert(all.end(), some.begin(), some.end());
  std::sort(all.begin(), all.end());
  return {all[all.size() / 2], all[all.size() * 99 / 100], failed};
}

std::string attacker(int number) { return "127.0.66." + std::to_string(1 + number % 250); }

void lowest_priority() { setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 19); }

using Attack = std::function<void(const std::string& url, std::atomic<bool>& begun, const std::stop_token&)>;

// Many connections that go on doing `each` until told to stop; one that was hung up on comes again.
Attack many(int count, int from_each, int buffer, std::function<void(RawClient&, int turn)> each,
            std::chrono::milliseconds pause) {
  return [=](const std::string& url, std::atomic<bool>& begun, const std::stop_token& stop) {
    lowest_priority();
    std::deque<RawClient> clients;
    for (int i = 0; i < count; ++i) clients.emplace_back(url, attacker(i / from_each), buffer);
    for (int turn = 0; !stop.stop_requested(); ++turn) {
      for (int i = 0; i < count && !stop.stop_requested(); ++i) {
        RawClient& client = clients[static_cast<std::size_t>(i)];
        if (buffer == 0 && client.gone()) {  // asking would read what is to stay unread
          std::destroy_at(&client);
          std::construct_at(&client, url, attacker(i / from_each), buffer);
        }
        each(client, turn);
      }
      begun = true;
      std::this_thread::sleep_for(pause);
    }
  };
}

// Hangs up on whoever says something.
class HangsUp {
 public:
  HangsUp() {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_port = htons(port_);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener_, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0 || listen(listener_, 4'096) != 0)
      throw std::runtime_error("cannot listen on port " + std::to_string(port_));
    thread_ = std::jthread{[this](const std::stop_token& stop) { serve(stop); }};
  }
  ~HangsUp() {
    thread_.request_stop();
    thread_.join();
    close(listener_);
  }
  HangsUp(const HangsUp&) = delete;
  HangsUp& operator=(const HangsUp&) = delete;
  std::string url() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  void serve(const std::stop_token& stop) {
    std::vector<pollfd> all{{listener_, POLLIN, 0}};
    while (!stop.stop_requested()) {
      poll(all.data(), all.size(), 20);
      for (std::size_t i = all.size(); i-- > 1;) {
        if (all[i].revents == 0) continue;
        char bytes[4'096];
        [[maybe_unused]] const auto got = recv(all[i].fd, bytes, sizeof bytes, MSG_DONTWAIT);
        close(all[i].fd);
        all[i] = all.back();
        all.pop_back();
      }
      if ((all[0].revents & POLLIN) == 0) continue;
      for (int next = 0; (next = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;)
        all.push_back({next, POLLIN, 0});
    }
    for (std::size_t i = 1; i < all.size(); ++i) close(all[i].fd);
  }

  const std::uint16_t port_ = free_port();
  const int listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  std::jthread thread_;
};

}  // namespace

int main(int argc, char** argv) {
  const int requests = argc > 1 ? std::atoi(argv[1]) : 4'000;
  const std::string only = argc > 2 ? argv[2] : "";
  raise_open_files();
  CreelProcess creel{{{"CREEL_RATE_LIMIT_API", "300"}}};
  creel.start();
  const std::string key = creel.user("owner@example.com");
  const std::string post = "POST /api/auth/login HTTP/1.1\r\nHost: creel\r\nContent-Type: application/json\r\n";
  const std::string large_text(1'048'000, ' ');
  const std::string_view large = large_text;
  std::string headers = "GET /healthz HTTP/1.1\r\nHost: creel\r\n", pipeline, documents;
  for (int i = 0; i < 5'000; ++i) headers += "A" + std::to_string(i) + ":\r\n";
  for (int i = 0; i < 200; ++i) pipeline += "GET /api/agents HTTP/1.1\r\nHost: creel\r\n\r\n";
  for (int i = 0; i < 50; ++i) documents += "GET /openapi.json HTTP/1.1\r\nHost: creel\r\n\r\n";
  const std::pair<const char*, Attack> attacks[] = {
      {"10,000 idle connections", many(
                                      10'000, 1'000, 0, [](RawClient&, int) {}, 1s)},
      {"3,000 heads byte by byte", many(
                                       3'000, 1'000, 0,
                                       [](RawClient& client, int turn) {
                                         client.say(turn == 0 ? "GET / HTTP/1.1\r\nHost: creel\r\nX: " : "x", 0ms);
                                       },
                                       1s)},
      {"1,000 bodies byte by byte", many(
                                        1'000, 500, 0,
                                        [&](RawClient& client, int turn) {
                                          client.say(turn == 0 ? post + "Content-Length: 100000\r\n\r\n{" : "x", 0ms);
                                        },
                                        1s)},
      {"1,000 who do not read", many(
                                    1'000, 500, 4'096,
                                    [&](RawClient& client, int turn) {
                                      if (turn == 0) client.say(documents, 0ms);
                                    },
                                    100ms)},
      {"50 who flood with headers", many(
                                        50, 10, 0, [&](RawClient& client, int) { client.say(headers, 0ms); }, 10ms)},
      {"50 who flood with requests", many(
                                         50, 10, 0, [&](RawClient& client, int) { client.say(pipeline, 0ms); }, 10ms)},
      {"200 large bodies", many(
                               200, 50, 0,
                               [&](RawClient& client, int) {
                                 client.say(post + "Content-Length: 1048576\r\n\r\n", 0ms);
                                 for (std::size_t at = 0;
                                      at < large.size() && client.say(large.substr(at, kPiece), 0ms);)
                                   at += kPiece;
                               },
                               100ms)},
  };
  ask(creel, key, requests);  // warm
  std::printf("%-28s %9s %9s %9s %9s %7s %7s %9s\n", "attack", "calm p50", "p50", "calm p99", "p99", "ratio", "failed",
              "RSS MiB");
  double worst = 0;
  for (const auto& [name, attack] : attacks) {
    if (std::string{name}.find(only) == std::string::npos) continue;
    const Times calm = ask(creel, key, requests);
    const auto during = [&, &attack = attack](const std::string& url) {
      std::atomic<bool> begun{false};
      std::jthread attacking{[&](const std::stop_token& stop) { attack(url, begun, stop); }};
      while (!begun) std::this_thread::sleep_for(10ms);
      return ask(creel, key, requests);
    };
    const auto show = [&](const char* what, const Times& times) {
      std::printf("%-28s %6.2f ms %6.2f ms %6.2f ms %6.2f ms %7.2f %7d %9.1f\n", what, calm.p50, times.p50, calm.p99,
                  times.p99, times.p99 / calm.p99, times.failed, memory_of(creel.pid(), "VmRSS"));
      std::fflush(stdout);
    };
    const Times attacked = during(creel.url());
    worst = std::max(worst, attacked.p99 / calm.p99);
    show(name, attacked);
    std::this_thread::sleep_for(2s);  // the server still closes what the attackers have left
    if (std::string{name}.starts_with("50 who") || std::string{name} == "200 large bodies")
      show("  elsewhere, hung up on", during(HangsUp{}.url()));
  }
  std::printf("worst ratio of p99: %.2f; memory at most %.1f MiB\n", worst, memory_of(creel.pid(), "VmHWM"));
  return 0;
}
