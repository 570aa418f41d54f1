// Events of a live `creel serve`: streamed at once, gone on with after a death, kept for as long as is set; and a
// reader that does not read is dropped, loses nothing by it, and holds up nobody.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "controller/store/pg.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/raw_client.hpp"
#include "tests/support/scrape.hpp"

namespace creel::test {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

// Follows a stream on a thread of its own until it is destroyed.
class Following {
 public:
  Following(const std::string& url, const std::string& key, http::Headers headers = {}) {
    http::Request request;
    request.url = url;
    request.headers = std::move(headers);
    request.headers.emplace_back("Authorization", "Bearer " + key);
    request.headers.emplace_back("Accept", "text/event-stream");
    request.deadline = 0ms;
    thread_ = std::jthread([this, request](std::stop_token stop) {
      (void)client_.stream(
          request,
          [this](std::string_view piece) {
            const std::lock_guard lock{mutex_};
            text_ += piece;
            return true;
          },
          stop);
    });
  }
  std::vector<json> events() const {
    const std::lock_guard lock{mutex_};
    std::vector<json> all;
    const auto whole = text_.rfind("\n\n");
    for (std::size_t at = 0; (at = text_.find("\ndata: ", at)) != std::string::npos && at < whole;) {
      at += 7;
      all.push_back(json::parse(text_.substr(at, text_.find('\n', at) - at)));
    }
    return all;
  }
  bool has(const std::string& reason) const {
    for (const auto& event : events())
      if (event["reason"] == reason) return true;
    return false;
  }
  bool opened() const {
    const std::lock_guard lock{mutex_};
    return !text_.empty();
  }

 private:
  http::Client client_;
  mutable std::mutex mutex_;
  std::string text_;
  std::jthread thread_;
};

bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(20ms);  // polls another process
  }
  return true;
}

using Ids = std::vector<std::int64_t>;

// Of the whole events in a stream as HTTP/1.0 brings it; what was cut off in the middle does not count.
Ids ids_in(const std::string& stream) {
  Ids ids;
  for (std::size_t at = 0, end = 0; (end = stream.find("\n\n", at)) != std::string::npos; at = end + 2) {
    const auto data = stream.find("\ndata: ", at);
    if (data == std::string::npos || data > end) continue;
    ids.push_back(std::stoll(stream.substr(stream.rfind("id: ", data) + 4)));
  }
  return ids;
}

std::string stream_request(const std::string& key, std::int64_t last) {
  return "GET /api/events HTTP/1.0\r\nHost: creel\r\nAccept: text/event-stream\r\nAuthorization: Bearer " + key +
         "\r\nLast-Event-ID: " + std::to_string(last) + "\r\n\r\n";
}

TEST(LiveEvents, ComeAtOnceAndGoOnFromTheLastIdAfterTheControllerWasKilled) {
  CreelProcess creel;
  creel.start();
  const std::string key = creel.user("owner@example.com", "pro");
  json last;
  std::string id;
  {
    Following stream{creel.url() + "/api/events", key};
    ASSERT_TRUE(eventually([&] { return stream.opened(); })) << creel.log();
    id = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}}).json["agent"]["id"];
    ASSERT_TRUE(eventually([&] { return stream.has("Provisioned"); }));
    last = stream.events().front()["id"];
  }
  creel.call("POST", "/api/instance/" + id + "/stop", key);
  creel.kill_hard();
  creel.start();
  Following back{creel.url() + "/api/agents/" + id + "/events", key, {{"Last-Event-ID", last.dump()}}};
  ASSERT_TRUE(eventually([&] { return back.has("StopRequested"); })) << "what was missed is replayed";
  creel.call("DELETE", "/api/agents/" + id + "?purge=true", key);
  ASSERT_TRUE(eventually([&] { return back.has("Deleted"); })) << "and the stream goes on";
  std::int64_t before = last;
  for (const auto& event : back.events()) {
    EXPECT_GT(event["id"].get<std::int64_t>(), before);
    before = event["id"];
  }
  // The agent is gone; its owner still sees what happened.
  const Answer all = creel.call("GET", "/api/events?limit=1000", key);
  EXPECT_EQ(all.json["events"][0]["reason"], "Provisioned") << all.text;
}

TEST(LiveEvents, OfAReaderThatDoesNotReadGoOnFromItsLastOneAndComeToOthersAtOnce) {
  constexpr auto kPatience = 6s;
  CreelProcess creel{{{"CREEL_HTTP_WRITE_TIMEOUT", std::to_string(kPatience.count()) + "s"},
                      {"DOCKER_HOST", "unix:///nonexistent/docker.sock"}}};
  creel.start();
  const std::string key = creel.user("owner@example.com", "pro");
  const std::string id =
      creel.call("POST", "/api/agents/provision?wait=0", key, {{"name", "demo"}}).json["agent"]["id"];
  const auto database = store::Database::open(creel.conninfo(), 1).value();
  {
    // More than the buffers of kernel and controller hold.
    auto tx = database->begin().value();
    ASSERT_TRUE(
        tx.exec("INSERT INTO events (agent_id, kind, reason, message, actor) SELECT $1, 'state', 'Tested', n || "
                "repeat('x', 400), 'creel' FROM generate_series(1, 30000) n",
                {id}));
    ASSERT_TRUE(tx.commit());
  }
  const auto readers = [&] {
    return Scrape{creel.call("GET", "/metrics").text}.value("creel_event_readers").value_or(-1);
  };
  std::vector<std::unique_ptr<Following>> others;
  for (int i = 0; i < 3; ++i) others.push_back(std::make_unique<Following>(creel.url() + "/api/events", key));
  ASSERT_TRUE(eventually(
      [&] { return std::all_of(others.begin(), others.end(), [](const auto& other) { return other->opened(); }); }));
  RawClient slow{creel.url(), "127.0.0.2", 4'096};
  ASSERT_TRUE(slow.say(stream_request(key, 0)));
  slow.hear([](const std::string& text) { return ids_in(text).size() >= 100; });
  ASSERT_EQ(readers(), 4);

  // From here on it takes nothing, until it has been dropped.
  const auto stuck_since = Steady::now();
  int wishes = 0;
  Steady::duration longest{0};
  while (readers() > 3 && Steady::now() - stuck_since < 10 * kPatience) {
    const auto wished = Steady::now();
    ASSERT_EQ(creel.call("PUT", "/api/agents/" + id + "/config", key, {{"agents", {{"n", ++wishes}}}}).status, 200);
    for (const auto& other : others) {
      ASSERT_TRUE(eventually([&] {
        const auto events = other->events();
        return std::count_if(events.begin(), events.end(),
                             [](const json& event) { return event["reason"] == "ConfigChanged"; }) >= wishes;
      }));
    }
    longest = std::max(longest, Steady::now() - wished);
  }
  const auto dropped_after = Steady::now() - stuck_since;
  EXPECT_EQ(readers(), 3);
  EXPECT_GE(dropped_after, kPatience / 2) << "a short pause is forgiven";
  EXPECT_GE(wishes, 3);
  EXPECT_LT(longest, kPatience / 2) << "the others wait for nobody";
  std::printf("dropped after %.1f s; meanwhile %d wishes were told to the others within %.0f ms each\n",
              std::chrono::duration<double>(dropped_after).count(), wishes,
              std::chrono::duration<double, std::milli>(longest).count());

  // It reads what is left in the kernel's buffers, finds its stream at its end, and comes again.
  Ids got = ids_in(slow.hear_to_the_end());
  EXPECT_TRUE(slow.ended());
  ASSERT_GE(got.size(), 100u);
  ASSERT_LT(got.size(), 30'000u) << "it was not slow enough";
  std::int64_t newest = 0;
  {
    auto tx = database->begin().value();
    newest = tx.exec("SELECT max(id) AS id FROM events WHERE agent_id = $1", {id}).value()[0].integer("id");
  }
  RawClient back{creel.url()};
  ASSERT_TRUE(back.say(stream_request(key, got.back())));
  const std::string last = "\nid: " + std::to_string(newest) + "\n";
  const Ids rest = ids_in(back.hear(
      [&](const std::string& text) {
        const auto at = text.find(last, text.size() - std::min<std::size_t>(text.size(), 16'384));
        return at != std::string::npos && text.find("\n\n", at + 1) != std::string::npos;
      },
      60s));
  got.insert(got.end(), rest.begin(), rest.end());
  Ids all;
  {
    auto tx = database->begin().value();
    const auto rows = tx.exec("SELECT id FROM events WHERE agent_id = $1 ORDER BY id", {id}).value();
    for (int i = 0; i < rows.size(); ++i) all.push_back(rows[i].integer("id"));
  }
  while (!got.empty() && got.back() > newest) got.pop_back();
  while (!all.empty() && all.back() > newest) all.pop_back();
  EXPECT_TRUE(got == all) << got.size() << " events came of " << all.size();
}

TEST(LiveEvents, AreKeptForAsLongAsIsSet) {
  CreelProcess creel{{{"DOCKER_HOST", "unix:///nonexistent/docker.sock"}}};
  creel.start();
  const std::string root = creel.user("root@example.com", "pro", "active", true);
  {
    const auto database = store::Database::open(creel.conninfo(), 1).value();
    auto tx = database->begin().value();
    ASSERT_TRUE(
        tx.exec("INSERT INTO events (at, kind, reason, message, actor) SELECT now() - n * interval '1 day', "
                "'state', 'Aged', n::text, 'creel' FROM unnest(ARRAY[364, 3, 0]) n"));
    ASSERT_TRUE(tx.commit());
  }
  const auto aged = [](const Answer& answer) {
    std::string messages;
    for (const auto& event : answer.json["events"])
      if (event["reason"] == "Aged") messages += event["message"].get<std::string>() + " ";
    return messages;
  };
  const auto restart = [&](const std::string& retention) {
    ASSERT_EQ(creel.stop(), 0);
    creel.set("CREEL_EVENT_RETENTION", retention);
    creel.start();
  };
  restart("2d");
  EXPECT_EQ(aged(creel.until("/api/events?limit=1000", root, [&](const Answer& a) { return aged(a) == "0 "; })), "0 ");
}

}  // namespace
}  // namespace creel::test
