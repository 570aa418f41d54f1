#include "controller/gateway/chat_queue.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace creel::gateway {
namespace {

using testing::ElementsAre;

// Chats by name; whose turn it is holds its Turn until end() is called.
class ChatQueueTest : public testing::Test {
 protected:
  // False: refused.
  bool chat(const std::string& session, const std::string& name, ChatQueue& queue) {
    auto place = queue.take_place(agent_, session);
    if (place) begin(std::move(*place), name);
    return place.has_value();
  }
  bool chat(const std::string& session, const std::string& name) { return chat(session, name, queue_); }
  void begin(ChatQueue::Place place, const std::string& name) {
    std::move(place).begin([this, name](ChatQueue::Turn turn) {
      began_.push_back(name);
      turns_[name] = std::move(turn);
    });
  }
  // Lets go of the turn outside the map: the next chat is put into it meanwhile.
  void end(const std::string& name) { const auto turn = turns_.extract(name); }

  const AgentId agent_ = new_agent_id();
  std::vector<std::string> began_;
  std::map<std::string, ChatQueue::Turn> turns_;
  ChatQueue queue_{{.at_once = 2, .waiting = 6, .waiting_session = 3}};
};

TEST_F(ChatQueueTest, LetsOneAtATimeTalkInASessionInTheOrderOfTheirPlaces) {
  auto first = queue_.take_place(agent_, "a");
  auto second = queue_.take_place(agent_, "a");
  auto third = queue_.take_place(agent_, "a");
  begin(std::move(*first), "1");
  begin(std::move(*third), "3");
  begin(std::move(*second), "2");
  EXPECT_THAT(began_, ElementsAre("1"));
  end("1");
  EXPECT_THAT(began_, ElementsAre("1", "2"));
  end("2");
  EXPECT_THAT(began_, ElementsAre("1", "2", "3"));
}

TEST_F(ChatQueueTest, LetsSoManySessionsTalkAtOnceAndNoMore) {
  for (const char* session : {"a", "b", "c", "d"}) chat(session, session);
  EXPECT_THAT(began_, ElementsAre("a", "b"));
  EXPECT_EQ(queue_.load().talking, 2u);
  EXPECT_EQ(queue_.load().waiting, 2u);
  end("b");
  EXPECT_THAT(began_, ElementsAre("a", "b", "c"));
}

TEST_F(ChatQueueTest, DoesNotLetOneAgentWaitForAnother) {
  for (const char* session : {"a", "b", "c"}) chat(session, session);
  auto elsewhere = queue_.take_place(new_agent_id(), "a");
  begin(std::move(*elsewhere), "elsewhere");
  EXPECT_THAT(began_, ElementsAre("a", "b", "elsewhere"));
}

TEST_F(ChatQueueTest, TakesTurnsAmongTheSessionsHoweverMuchOneHasToSay) {
  ChatQueue queue{{.at_once = 1, .waiting = 100, .waiting_session = 50}};
  for (int i = 0; i < 20; ++i) chat("loud", "loud" + std::to_string(i), queue);
  for (const char* quiet : {"b", "c", "d"}) chat(quiet, quiet, queue);
  for (int i = 0; i < 5; ++i) end(std::string{began_.back()});
  EXPECT_THAT(began_, ElementsAre("loud0", "b", "c", "d", "loud1", "loud2"));
}

TEST_F(ChatQueueTest, RefusesWhatWouldWaitTooLong) {
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(chat("a", "a" + std::to_string(i))) << i;
  const auto own = queue_.take_place(agent_, "a");
  ASSERT_FALSE(own);
  EXPECT_EQ(own.error().kind, ErrorKind::limit);
  EXPECT_EQ(own.error().code, "CHAT_QUEUE_FULL");
  EXPECT_NE(own.error().message.find("conversation has 3 messages"), std::string::npos);
  EXPECT_TRUE(chat("b", "b"));
  for (const char* session : {"c", "d", "e"}) EXPECT_TRUE(chat(session, session));
  const auto all = queue_.take_place(agent_, "f");
  ASSERT_FALSE(all);
  EXPECT_NE(all.error().message.find("agent has 6 messages"), std::string::npos);
  EXPECT_TRUE(queue_.take_place(new_agent_id(), "f")) << "another agent";
  end("b");
  EXPECT_TRUE(queue_.take_place(agent_, "f"));
}

TEST_F(ChatQueueTest, FreesAPlaceThatWasGivenUp) {
  {
    std::vector<ChatQueue::Place> places;
    for (const char* session : {"a", "a", "a", "b", "b", "b"})
      places.push_back(std::move(queue_.take_place(agent_, session)).value());
    EXPECT_FALSE(queue_.take_place(agent_, "c"));
    EXPECT_EQ(queue_.load().waiting, 6u);
  }
  EXPECT_EQ(queue_.load().waiting, 0u);
  EXPECT_TRUE(chat("c", "c"));
  EXPECT_THAT(began_, ElementsAre("c"));
}

TEST_F(ChatQueueTest, GoesOnWhenATurnEndsWithinItsOwnCall) {
  ChatQueue queue{{.at_once = 1, .waiting = 100'000, .waiting_session = 100'000}};
  auto gate = queue.take_place(agent_, "a");
  begin(std::move(*gate), "gate");
  int ended = 0;
  // Nested, so many would overflow the stack.
  for (int i = 0; i < 20'000; ++i)
    std::move(queue.take_place(agent_, i % 2 ? "a" : "b").value()).begin([&](ChatQueue::Turn) { ++ended; });
  EXPECT_EQ(ended, 0);
  end("gate");
  EXPECT_EQ(ended, 20'000);
  EXPECT_EQ(queue.load().talking + queue.load().waiting, 0u);
}

TEST_F(ChatQueueTest, ForgetsWhoWaitsAndOutlivesNothing) {
  auto queue = std::make_unique<ChatQueue>(ChatQueue::Limits{.at_once = 1});
  chat("a", "a", *queue);
  chat("a", "never", *queue);
  auto place = queue->take_place(agent_, "b");
  auto unused = queue->take_place(agent_, "b");
  queue.reset();
  begin(std::move(*place), "neither");
  end("a");
  EXPECT_THAT(began_, ElementsAre("a"));
}

TEST_F(ChatQueueTest, LosesNobodyWhenManyThreadsTalk) {
  ChatQueue queue{{.at_once = 3, .waiting = 10'000, .waiting_session = 10'000}};
  constexpr int kThreads = 8, kEach = 200;
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, int> talking;
  std::vector<ChatQueue::Turn> held;
  int most = 0, done = 0;
  bool broken = false;
  std::atomic<bool> over{false};
  // Ends turns from a thread of its own, as replies do.
  std::thread replies{[&] {
    while (!over) {
      std::vector<ChatQueue::Turn> ending;
      {
        std::unique_lock lock{mutex};
        changed.wait_for(lock, std::chrono::milliseconds{5}, [&] { return !held.empty(); });
        ending.swap(held);
        talking.clear();
      }
    }
  }};
  std::vector<std::thread> users;
  for (int user = 0; user < kThreads; ++user) {
    users.emplace_back([&, user] {
      const std::string session = "session" + std::to_string(user % 4);
      for (int i = 0; i < kEach; ++i) {
        auto place = queue.take_place(agent_, session);
        ASSERT_TRUE(place);
        std::move(*place).begin([&, session](ChatQueue::Turn turn) {
          const std::lock_guard lock{mutex};
          if (++talking[session] > 1) broken = true;
          most = std::max(most, static_cast<int>(talking.size()));
          ++done;
          held.push_back(std::move(turn));
          changed.notify_one();
        });
      }
    });
  }
  for (auto& user : users) user.join();
  for (int i = 0; i < 2'000; ++i) {
    {
      const std::lock_guard lock{mutex};
      if (done == kThreads * kEach) break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  over = true;
  replies.join();
  EXPECT_EQ(done, kThreads * kEach);
  EXPECT_FALSE(broken) << "two at once in one session";
  EXPECT_LE(most, 3);
  held.clear();
  EXPECT_EQ(queue.load().talking + queue.load().waiting, 0u);
}

}  // namespace
}  // namespace creel::gateway
