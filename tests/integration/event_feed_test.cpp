// Event streams: replay, live delivery, slow readers, many readers, one thread.
#include "api/event_feed.hpp"

#include "controller/store/events.hpp"
#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

using namespace std::chrono_literals;

// A client, as far as the feed sees it. One that does not take what it is sent has room for one thing.
class Reader : public api::StreamSink {
 public:
  explicit Reader(bool takes) : takes_(takes) {}
  bool send(std::string text) override { return offer(text) == Offer::taken; }
  Offer offer(const std::string& text) override {
    const std::lock_guard lock{mutex_};
    ++offers_;
    if (closed_) return Offer::closed;
    if (!takes_ && !queued_.empty()) return Offer::full;
    (takes_ ? text_ : queued_) += text;
    return Offer::taken;
  }
  bool drained() const override {
    const std::lock_guard lock{mutex_};
    return queued_.empty();
  }
  void close() override {
    const std::lock_guard lock{mutex_};
    closed_ = true;
  }
  bool closed() const override {
    const std::lock_guard lock{mutex_};
    return closed_;
  }
  void on_close(std::function<void()>) override {}

  void begin_to_take() {
    const std::lock_guard lock{mutex_};
    takes_ = true;
    text_ += std::exchange(queued_, "");
  }
  int offers() const {
    const std::lock_guard lock{mutex_};
    return offers_;
  }
  // The events received, whole.
  std::vector<json> events() const {
    const std::lock_guard lock{mutex_};
    std::vector<json> all;
    for (std::size_t at = 0; (at = text_.find("\ndata: ", at)) != std::string::npos;) {
      at += 7;
      all.push_back(json::parse(text_.substr(at, text_.find('\n', at) - at)));
    }
    return all;
  }
  std::string text() const {
    const std::lock_guard lock{mutex_};
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  bool takes_;
  int offers_ = 0;
  std::string queued_, text_;
  bool closed_ = false;
};

class EventFeedTest : public ApiTest {
 protected:
  void say(const std::string& message, const AgentId& agent = {}, int times = 1) {
    auto tx = begin();
    for (int i = 0; i < times; ++i)
      ASSERT_TRUE(store::append_event(tx, {agent, "state", "Tested", message + std::to_string(i), "creel"}));
    ASSERT_TRUE(tx.commit());
  }
  // Opens a stream over the route.
  std::shared_ptr<Reader> follow(const std::string& target, const std::string& key, api::Headers headers = {},
                                 bool takes = true) {
    headers.emplace_back("Authorization", "Bearer " + key);
    auto reply = dispatcher_->handle({"GET", target, std::move(headers), "", "10.1.2.3"});
    auto* stream = std::get_if<api::Stream>(&reply);
    EXPECT_NE(stream, nullptr) << target;
    auto reader = std::make_shared<Reader>(takes);
    if (stream) stream->start(reader);
    return reader;
  }
  static bool gets(const std::shared_ptr<Reader>& reader, std::size_t count) {
    return eventually([&] { return reader->events().size() >= count; });
  }
};

TEST_F(EventFeedTest, SendsWhatComesAndGoesOnFromTheLastIdOfAClientThatComesBack) {
  const std::string id = provision(ann_key_);
  const auto reader = follow("/api/events?follow=true", ann_key_);
  ASSERT_TRUE(eventually([&] { return reader->text().find("id: ") != std::string::npos; }));
  EXPECT_EQ(reader->events().size(), 0u) << "from now on";
  say("first", *AgentId::parse(id));
  ASSERT_TRUE(gets(reader, 1));
  const json first = reader->events()[0];
  EXPECT_EQ(first["agentId"], id);
  EXPECT_EQ(first["message"], "first0");
  reader->close();
  say("missed", *AgentId::parse(id), 3);
  const auto back = follow("/api/agents/" + id + "/events", ann_key_,
                           {{"Accept", "text/event-stream"}, {"Last-Event-ID", first["id"].dump()}});
  ASSERT_TRUE(gets(back, 3));
  say("live", *AgentId::parse(id));
  ASSERT_TRUE(gets(back, 4));
  const auto events = back->events();
  EXPECT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0]["message"], "missed0");
  EXPECT_EQ(events[3]["message"], "live0");
}

TEST_F(EventFeedTest, ReplaysALongHistoryInOrderWhileNewEventsCome) {
  const AgentId id = *AgentId::parse(provision(ann_key_));
  say("old", id, 1'000);
  const auto reader = follow("/api/events?follow=true&after=0", ann_key_);
  for (int i = 0; i < 50; ++i) say("new", id);
  ASSERT_TRUE(gets(reader, 1'051));
  std::this_thread::sleep_for(100ms);  // what would come twice comes at once
  const auto events = reader->events();
  ASSERT_EQ(events.size(), 1'051u);
  for (std::size_t i = 1; i < events.size(); ++i) ASSERT_LT(events[i - 1]["id"].get<int>(), events[i]["id"].get<int>());
}

TEST_F(EventFeedTest, SendsOnlyWhatTheReaderMaySee) {
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  const std::string root = make_user_with("root@example.com", "free", "inactive", true);
  const auto anns = *AgentId::parse(provision(ann_key_, "anns"));
  const auto bobs = *AgentId::parse(provision(bob, "bobs"));
  const auto for_ann = follow("/api/events?follow=true", ann_key_), for_bob = follow("/api/events?follow=true", bob),
             for_root = follow("/api/events?follow=true", root);
  for (const auto& reader : {for_ann, for_bob, for_root})
    ASSERT_TRUE(eventually([&] { return !reader->text().empty(); }));
  say("a", anns);
  say("b", bobs);
  say("of the controller");
  ASSERT_TRUE(gets(for_root, 3));
  ASSERT_TRUE(gets(for_ann, 1));
  ASSERT_TRUE(gets(for_bob, 1));
  EXPECT_EQ(for_ann->events().size(), 1u);
  EXPECT_EQ(for_ann->events()[0]["message"], "a0");
  EXPECT_EQ(for_bob->events()[0]["message"], "b0");
}

TEST_F(EventFeedTest, ServesAHundredReadersOfWhichOneTakesNothing) {
  const auto id = *AgentId::parse(provision(ann_key_));
  std::vector<std::shared_ptr<Reader>> readers;
  for (int i = 0; i < 100; ++i) readers.push_back(follow("/api/events?follow=true&after=0", ann_key_));
  const auto stuck = follow("/api/events?follow=true&after=0", ann_key_, {}, false);
  EXPECT_EQ(events_->readers(), 101u);
  for (int i = 0; i < 20; ++i) say("x", id, 20);
  for (const auto& reader : readers) ASSERT_TRUE(gets(reader, 401));
  EXPECT_EQ(stuck->events().size(), 0u);
  EXPECT_LE(stuck->offers(), 2) << "nothing is read for it in vain";
  stuck->begin_to_take();
  ASSERT_TRUE(gets(stuck, 401)) << "it goes on where it stood";
  EXPECT_EQ(stuck->events().size(), 401u);
}

TEST_F(EventFeedTest, GoesOnWithTheOldestThereIsForAReaderWhoseLastEventIsGone) {
  const auto id = *AgentId::parse(provision(ann_key_));
  say("old", id, 3);
  run("UPDATE events SET at = now() - interval '2 days'");
  say("new", id, 2);
  const auto before = ask("GET", "/api/events", ann_key_).body["events"];
  ASSERT_EQ(before.size(), 6u);
  ASSERT_TRUE(store::drop_events(*database_, system_now() - 24h, {}));
  const auto back = follow("/api/events?follow=true", ann_key_, {{"Last-Event-ID", before[1]["id"].dump()}});
  ASSERT_TRUE(gets(back, 2));
  say("live", id);
  ASSERT_TRUE(gets(back, 3));
  EXPECT_EQ(back->events()[0], before[4]);
  EXPECT_EQ(back->events()[1], before[5]);
  EXPECT_EQ(back->events()[2]["message"], "live0");
  const Answer page = ask("GET", "/api/events?after=" + before[1]["id"].dump(), ann_key_);
  EXPECT_EQ(page.body["events"][0], before[4]);
  EXPECT_EQ(page.body["count"], 3);
}

TEST_F(EventFeedTest, GoesOnWhenAllThatIsThereHasBeenDropped) {
  const auto id = *AgentId::parse(provision(ann_key_));
  const auto reader = follow("/api/events?follow=true&after=0", ann_key_);
  ASSERT_TRUE(gets(reader, 1));
  ASSERT_TRUE(store::drop_events(*database_, system_now() + 24h, {}));
  const auto late = follow("/api/events?follow=true", ann_key_);
  ASSERT_TRUE(eventually([&] { return !late->text().empty(); }));
  say("next", id);
  ASSERT_TRUE(gets(reader, 2));
  ASSERT_TRUE(gets(late, 1));
  EXPECT_EQ(reader->events().size(), 2u);
  EXPECT_EQ(late->events()[0], reader->events()[1]);
}

TEST_F(EventFeedTest, HoldsBackWhatASlowTransactionMayStillOvertake) {
  const auto id = *AgentId::parse(provision(ann_key_));
  const auto reader = follow("/api/events?follow=true&after=0", ann_key_);
  ASSERT_TRUE(gets(reader, 1));
  auto slow = begin();
  ASSERT_TRUE(store::append_event(slow, {id, "state", "Tested", "slow", "creel"}));
  say("quick", id);
  std::this_thread::sleep_for(100ms);  // several poll periods
  EXPECT_EQ(reader->events().size(), 1u);
  ASSERT_TRUE(slow.commit());
  ASSERT_TRUE(gets(reader, 3));
  EXPECT_EQ(reader->events()[1]["message"], "slow");
  EXPECT_EQ(reader->events()[2]["message"], "quick0");
}

TEST_F(EventFeedTest, GoesOnWhenTheDatabaseWasAway) {
  const auto id = *AgentId::parse(provision(ann_key_));
  const auto reader = follow("/api/events?follow=true", ann_key_);
  ASSERT_TRUE(eventually([&] { return !reader->text().empty(); }));
  cut_connections();
  say("after", id);
  EXPECT_TRUE(gets(reader, 1));
}

TEST_F(EventFeedTest, RefusesABadPlaceAndTooManyReadersAndEndsWithTheServer) {
  EXPECT_EQ(ask("GET", "/api/events?follow=true&after=x", ann_key_).body["field"], "after");
  EXPECT_EQ(ask("GET", "/api/events?follow=perhaps", ann_key_).body["field"], "follow");
  EXPECT_EQ(ask("GET", "/api/events?follow=true", ann_key_, nullptr, {{"Last-Event-ID", "-5"}}).body["field"],
            "Last-Event-ID");
  const auto reader = follow("/api/events?follow=true", ann_key_);
  events_->stop();
  EXPECT_TRUE(reader->closed());
  const Answer full = ask("GET", "/api/events?follow=true", ann_key_);
  EXPECT_EQ(full.status, 503);
  EXPECT_EQ(full.body["code"], "TOO_MANY_STREAMS");
}

}  // namespace
}  // namespace creel::test
