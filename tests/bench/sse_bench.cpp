// sse_bench: what readers of the event stream cost.
//
// One `creel serve`, wishes over its API at a steady pace, and the processor time that it takes (/proc/PID/stat): with
// no reader, with READERS of them, and with none again, all in one run. The readers' share is the middle part less the
// mean of the others. Prints the shares of a core; fails if the readers' is 5 % or more, or if a reader missed an
// event.
//
//   DOCKER_HOST=… CREEL_TEST_DATABASE_URL=… CREEL_TEST_WORK=… sse_bench [READERS [SECONDS [WISHES A SECOND]]]
//   (./test.sh --all sets these)
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/creel_process.hpp"
#include "tests/support/raw_client.hpp"

namespace {

using namespace creel::test;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr double kMost = 5;  // percent of a core

// User and system time of a process so far, in seconds.
double processor_time(pid_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
  std::string text;
  std::getline(file, text);
  std::istringstream rest{text.substr(text.rfind(')') + 2)};  // the name before it may hold anything
  std::string field;
  for (int i = 3; i < 14; ++i) rest >> field;
  double user = 0, system = 0;
  rest >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// Streams that are read as soon as something comes, all on one thread.
class Readers {
 public:
  Readers(const CreelProcess& creel, const std::string& key, int count) : got_(static_cast<std::size_t>(count)) {
    for (int i = 0; i < count; ++i) {
      clients_.emplace_back(creel.url());
      clients_.back().say(
          "GET /api/events HTTP/1.0\r\nHost: creel\r\nAccept: text/event-stream\r\nAuthorization: Bearer " + key +
          "\r\n\r\n");
      // Its place, which comes first.
      const auto placed = [](const std::string& text) { return text.find("retry: ") != std::string::npos; };
      if (!placed(clients_.back().hear(placed))) throw std::runtime_error("a reader got no stream: " + creel.log());
    }
    thread_ = std::jthread{[this](const std::stop_token& stop) { read(stop); }};
  }
  // Or not, by then: end() tells.
  void until_all_have(int count, std::chrono::seconds longest) const {
    const auto end = Steady::now() + longest;
    while (Steady::now() < end && std::any_of(got_.begin(), got_.end(), [&](const auto& got) { return got < count; }))
      std::this_thread::sleep_for(20ms);
  }
  // What those that have got the fewest and the most events have got, once they have been told to end.
  std::pair<int, int> end() {
    thread_.request_stop();
    thread_.join();
    clients_.clear();
    const auto [fewest, most] = std::minmax_element(got_.begin(), got_.end());
    return {*fewest, *most};
  }

 private:
  void read(const std::stop_token& stop) {
    std::vector<pollfd> waiting;
    for (const auto& client : clients_) waiting.push_back({client.socket(), POLLIN, 0});
    std::vector<char> bytes(65'536);
    while (!stop.stop_requested()) {
      poll(waiting.data(), waiting.size(), 100);
      for (std::size_t i = 0; i < waiting.size(); ++i) {
        if (waiting[i].revents == 0) continue;
        const auto size = recv(waiting[i].fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (size <= 0) {
          waiting[i].fd = -1;  // it was hung up on, and will have got too few
          continue;
        }
        // One event, one "data: " at the beginning of a line; an event is written in one piece.
        const std::string_view text{bytes.data(), static_cast<std::size_t>(size)};
        for (auto at = text.find("\ndata: "); at != std::string_view::npos; at = text.find("\ndata: ", at + 1))
          ++got_[i];
      }
    }
  }

  std::vector<RawClient> clients_;
  std::vector<std::atomic<int>> got_;
  std::jthread thread_;
};

int run(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 100;
  const auto length = std::chrono::seconds{argc > 2 ? std::atoi(argv[2]) : 20};
  const int pace = argc > 3 ? std::atoi(argv[3]) : 5;
  raise_open_files();
  CreelProcess creel;
  creel.start();
  const std::string key = creel.user("owner@example.com");
  const Answer made = creel.call("POST", "/api/agents/provision?wait=0", key, {{"name", "bench"}});
  if (made.status != 201) throw std::runtime_error("no agent: " + made.text);
  // A stopped one: what a wish makes the engine do is not what is measured here.
  const std::string id = made.json["agent"]["id"];
  creel.call("POST", "/api/instance/" + id + "/stop", key);
  int wishes = 0;
  const auto events = [&] {
    int all = 0;
    for (std::string after = "0";;) {
      const Answer page = creel.call("GET", "/api/events?limit=1000&after=" + after, key);
      all += page.json["count"].get<int>();
      if (!page.json["more"].get<bool>()) return all;
      after = page.json["nextAfter"].dump();
    }
  };
  // Wishes for so long; the share of a core meanwhile.
  const auto measure = [&] {
    const double before = processor_time(creel.pid());
    const auto begun = Steady::now();
    for (int i = 0; i < pace * length.count(); ++i) {
      const Answer wished = creel.call("PUT", "/api/agents/" + id + "/config", key, {{"agents", {{"n", ++wishes}}}});
      if (wished.status != 200) throw std::runtime_error("no wish: " + wished.text);
      std::this_thread::sleep_until(begun + (i + 1) * 1000ms / pace);
    }
    return (processor_time(creel.pid()) - before) / std::chrono::duration<double>(Steady::now() - begun).count() * 100;
  };
  // What the last wish led to is in the table of events: it is written with the status that tells of it.
  const auto told_all = [&] {
    const auto settled = [](const Answer& a) {
      return a.json["agent"]["observedGeneration"] == a.json["agent"]["generation"];
    };
    if (!settled(creel.until("/api/agents/" + id, key, settled))) throw std::runtime_error("the wish is not settled");
  };
  measure();  // warm
  const double without_before = measure();
  told_all();
  const int events_before = events();
  Readers readers{creel, key, count};
  const double with = measure();
  told_all();
  const int told = events() - events_before;
  readers.until_all_have(told, 10s);
  const auto [fewest, most] = readers.end();
  const Answer alone = creel.until(
      "/metrics", "", [](const Answer& a) { return a.text.find("\ncreel_event_readers 0\n") != std::string::npos; },
      10s);
  if (alone.text.find("\ncreel_event_readers 0\n") == std::string::npos)
    throw std::runtime_error("the readers are still there");
  const double without_after = measure();
  const double share = with - (without_before + without_after) / 2;
  std::printf(
      "%d wishes, %d events in %lld s; of a core: without readers %.2f %% and %.2f %%, with %d readers %.2f %%\n",
      pace * static_cast<int>(length.count()), told, static_cast<long long>(length.count()), without_before,
      without_after, count, with);
  std::printf("readers take %.2f %% of a core; each got %d to %d of the %d events\n", share, fewest, most, told);
  if (fewest != told || most != told) throw std::runtime_error("a reader missed an event, or got one twice");
  if (share >= kMost) throw std::runtime_error("that is not less than 5 %");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sse_bench: %s\n", error.what());
    return 1;
  }
}
