// Events: nobody who reads on from an id misses one, and owners go on seeing what happened to agents they deleted.
#include "controller/store/events.hpp"

#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

class EventsTest : public ApiTest {
 protected:
  static Event event(const std::string& message, const AgentId& agent = {}) {
    return {agent, "state", "Tested", message, "creel"};
  }
  std::vector<std::string> read_on(std::int64_t& after) {
    auto tx = begin();
    std::vector<std::string> messages;
    for (const auto& stored : store::list_events(tx, std::nullopt, after, 100).value()) {
      messages.push_back(stored.event.message);
      after = stored.id;
    }
    return messages;
  }
  std::string reasons(const std::string& target, const std::string& key) {
    const Answer answer = ask("GET", target, key);  // outlives the loop over what is in it
    std::string all;
    for (const auto& one : answer.body["events"]) all += one["reason"].get<std::string>() + " ";
    return all;
  }
};

TEST_F(EventsTest, OfASlowTransactionAreNotSkippedByWhoReadsOn) {
  using Messages = std::vector<std::string>;
  std::int64_t after = 0;
  auto slow = begin();
  ASSERT_TRUE(store::append_event(slow, event("first id, last commit")));
  auto quick = begin();
  ASSERT_TRUE(store::append_event(quick, event("second id, first commit")));
  ASSERT_TRUE(quick.commit());
  EXPECT_EQ(read_on(after), Messages{}) << "an event below may still come";
  EXPECT_EQ(after, 0);
  ASSERT_TRUE(slow.commit());
  EXPECT_EQ(read_on(after), (Messages{"first id, last commit", "second id, first commit"}));
  EXPECT_EQ(read_on(after), Messages{});
}

TEST_F(EventsTest, AreHeldBackAtEveryLookOfOneTransaction) {
  auto reader = begin();
  EXPECT_EQ(store::list_events(reader, std::nullopt, 0, 100)->size(), 0u);
  auto slow = begin();
  ASSERT_TRUE(store::append_event(slow, event("slow")));
  auto quick = begin();
  ASSERT_TRUE(store::append_event(quick, event("quick")));
  ASSERT_TRUE(quick.commit());
  EXPECT_EQ(store::list_events(reader, std::nullopt, 0, 100)->size(), 0u);
  ASSERT_TRUE(slow.commit());
  EXPECT_EQ(store::list_events(reader, std::nullopt, 0, 100)->size(), 2u);
}

TEST_F(EventsTest, AreNotHeldBackByATransactionThatOnlyReadsOrWasRolledBack) {
  std::int64_t after = 0;
  auto reader = begin();
  ASSERT_TRUE(reader.exec("SELECT count(*) FROM events"));
  {
    auto lost = begin();
    ASSERT_TRUE(store::append_event(lost, event("never")));
  }
  auto tx = begin();
  ASSERT_TRUE(store::append_event(tx, event("said")));
  ASSERT_TRUE(tx.commit());
  EXPECT_EQ(read_on(after), std::vector<std::string>{"said"});
}

TEST_F(EventsTest, OfManyWritersAreAllReadOnceAndInOrder) {
  constexpr int kWriters = 3, kEach = 60;
  std::atomic<int> writing{kWriters};
  std::vector<std::jthread> writers;
  for (int w = 0; w < kWriters; ++w)
    writers.emplace_back([&, w] {
      for (int i = 0; i < kEach; ++i) {
        auto tx = begin();
        EXPECT_TRUE(store::append_event(tx, event(std::to_string(w))));
        if (i % 3 == w % 3) {
          EXPECT_TRUE(tx.exec("SELECT pg_sleep(0.004)"));
        }
        EXPECT_TRUE(tx.commit());
      }
      --writing;
    });
  std::int64_t after = 0;
  std::size_t seen = 0;
  while (writing > 0) seen += read_on(after).size();
  seen += read_on(after).size();
  EXPECT_EQ(seen, static_cast<std::size_t>(kWriters * kEach));
}

TEST_F(EventsTest, OfADeletedAgentStayWithItsOwnerAlone) {
  const std::string id = provision(ann_key_, "one");
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  const std::string root = make_user_with("root@example.com", "free", "inactive", true);
  const std::string path = "/api/agents/" + id + "/events";
  ask("DELETE", "/api/agents/" + id + "?wait=0", ann_key_);
  EXPECT_EQ(reasons("/api/events", ann_key_), "Provisioned Deleted ");
  EXPECT_EQ(reasons(path, ann_key_), "Provisioned Deleted ");
  run("INSERT INTO deleted_agents (id, owner_id) SELECT id, owner_id FROM agents WHERE id = $1", {id});
  run("DELETE FROM agents WHERE id = $1", {id});
  EXPECT_EQ(reasons("/api/events", ann_key_), "Provisioned Deleted ");
  EXPECT_EQ(reasons(path, ann_key_), "Provisioned Deleted ");
  EXPECT_EQ(reasons(path, root), "Provisioned Deleted ");
  EXPECT_EQ(reasons("/api/events", bob), "");
  EXPECT_EQ(ask("GET", path, bob).status, 404);
}

}  // namespace
}  // namespace creel::test
