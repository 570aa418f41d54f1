// Events: nobody who reads on from an id misses one, and owners go on seeing what happened to agents they deleted.
#include "controller/store/events.hpp"

#include <limits>

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

TEST_F(EventsTest, FromTheNewestBackEndWhereTheOthersDo) {
  auto reader = begin();
  const auto newest = [&](std::size_t limit) {
    std::vector<std::string> messages;
    for (const auto& stored :
         store::newest_events(reader, std::nullopt, std::nullopt, 0, std::numeric_limits<std::int64_t>::max(), limit)
             .value())
      messages.push_back(stored.event.message);
    return messages;
  };
  using Messages = std::vector<std::string>;
  auto first = begin();
  ASSERT_TRUE(store::append_event(first, event("first")));
  ASSERT_TRUE(first.commit());
  auto slow = begin();
  ASSERT_TRUE(store::append_event(slow, event("slow")));
  auto quick = begin();
  ASSERT_TRUE(store::append_event(quick, event("quick")));
  ASSERT_TRUE(quick.commit());
  EXPECT_EQ(newest(1), Messages{"first"}) << "what comes after it is not known yet";
  ASSERT_TRUE(slow.commit());
  EXPECT_EQ(newest(1), Messages{"quick"});
  EXPECT_EQ(newest(2), (Messages{"slow", "quick"}));
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
  while (const std::size_t more = read_on(after).size()) seen += more;
  EXPECT_EQ(seen, static_cast<std::size_t>(kWriters * kEach));
}

TEST_F(EventsTest, FromNowOnAreAllThatComeFromNowOn) {
  const auto say = [this](const std::string& message) {
    auto tx = begin();
    EXPECT_TRUE(store::append_event(tx, event(message)));
    EXPECT_TRUE(tx.commit());
  };
  const auto now = [this] {
    auto tx = begin();
    return store::newest_event(tx).value();
  };
  EXPECT_EQ(now(), 0) << "there is none";
  say("early");
  run("UPDATE events SET at = at - interval '1 second'");  // not in the very millisecond in which the next begins
  auto slow = begin();
  ASSERT_TRUE(store::append_event(slow, event("under way")));
  say("quick");
  std::int64_t after = now();
  ASSERT_TRUE(slow.commit());
  EXPECT_EQ(read_on(after), (std::vector<std::string>{"under way", "quick"}));
  EXPECT_EQ(now(), after);
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

TEST_F(EventsTest, SayWhoWantedWhatAndFromWhere) {
  const std::string id = provision(ann_key_);
  ask("PUT", "/api/agents/" + id + "/config", ann_key_, {{"a", 1}}, {{"X-Forwarded-For", "198.51.100.7"}});
  ask("GET", "/api/instance/" + id + "/token", ann_key_);
  auto tx = begin();
  ASSERT_TRUE(store::append_event(tx, event("of the controller", *AgentId::parse(id))));
  ASSERT_TRUE(tx.commit());
  const auto events = ask("GET", "/api/agents/" + id + "/events", ann_key_).body["events"];
  ASSERT_EQ(events.size(), 4u) << events;
  const char* reasons[] = {"Provisioned", "ConfigChanged", "TokenRead"};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(events[i]["reason"], reasons[i]);
    EXPECT_EQ(events[i]["actor"], ann_.id.str());
    EXPECT_EQ(events[i]["source"], "10.1.2.3") << "who is no trusted proxy speaks for nobody else";
    EXPECT_EQ(events[i]["durationMs"], nullptr);
  }
  EXPECT_EQ(events[3]["source"], nullptr);
}

TEST_F(EventsTest, AreWrittenInTheTransactionOfTheirWish) {
  const std::string id = provision(ann_key_);
  const std::string agent = "/api/agents/" + id, instance = "/api/instance/" + id;
  struct Wish {
    const char *method, *reason;
    std::string target;
    json body;
  };
  const std::vector<Wish> wishes{
      {"", "Provisioned", "", nullptr},
      {"PUT", "ConfigChanged", agent + "/config", {{"a", 1}}},
      {"PUT", "EgressChanged", agent + "/egress", {{"egress", "open"}}},
      {"POST",
       "CredentialSet",
       "/api/agent",
       {{"action", "set-credential"}, {"agentId", id}, {"key", "openai"}, {"value", "sk-0123456789abcdef0123456789"}}},
      {"POST",
       "CredentialRemoved",
       "/api/agent",
       {{"action", "set-credential"}, {"agentId", id}, {"key", "openai"}, {"value", ""}}},
      {"POST", "TokenRotated", instance + "/token/rotate?wait=0", nullptr},
      {"POST", "RestartRequested", instance + "/restart?wait=0", nullptr},
      {"POST", "RepairRequested", instance + "/repair?wait=0", nullptr},
      {"POST", "UpdateRequested", instance + "/update?wait=0", json::object()},
      {"POST", "MemoryResetRequested", instance + "/reset-memory?wait=0", nullptr},
      {"POST", "StopRequested", instance + "/stop?wait=0", nullptr},
      {"POST", "StartRequested", instance + "/start?wait=0", nullptr},
      {"DELETE", "Deleted", agent + "?wait=0", nullptr},
  };
  std::uint64_t before = 0;
  for (const auto& wish : wishes) {
    if (!wish.target.empty()) {
      const Answer answer = ask(wish.method, wish.target, ann_key_, wish.body);
      ASSERT_LT(answer.status, 300) << wish.target << answer.text;
    }
    ASSERT_GT(generation(id), before) << wish.target << " is no wish";
    before = generation(id);
    // Both were last written by one transaction.
    const auto rows =
        run("SELECT e.reason, e.source FROM events e JOIN agents a ON a.id = e.agent_id AND a.xmin = e.xmin "
            "WHERE a.id = $1",
            {id});
    ASSERT_EQ(rows.size(), 1) << wish.target;
    EXPECT_EQ(rows[0].text("reason"), wish.reason);
    EXPECT_EQ(rows[0].text("source"), "10.1.2.3");
  }
}

TEST_F(EventsTest, SayFromWhereAsATrustedProxyTellsIt) {
  settings_.trusted_proxies = {"10.0.0.0/8"};
  build();
  const std::string id = provision(ann_key_);
  ask("PUT", "/api/agents/" + id + "/config", ann_key_, {{"a", 1}},
      {{"X-Forwarded-For", "203.0.113.1, 198.51.100.7, 10.9.9.9"}});
  const auto events = ask("GET", "/api/events", ann_key_).body["events"];
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["source"], "10.1.2.3");
  EXPECT_EQ(events[1]["source"], "198.51.100.7");
}

TEST_F(EventsTest, SayHowLongAnActionTook) {
  const AgentId id = *AgentId::parse(provision(ann_key_));
  Event done{id, "action", "stop", "its owner wants it stopped", "creel"};
  done.duration = milliseconds{3'600'000'000};
  auto tx = begin();
  ASSERT_TRUE(store::append_event(tx, done));
  ASSERT_TRUE(tx.commit());
  const auto events = ask("GET", "/api/events", ann_key_).body["events"];
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1]["durationMs"], 3'600'000'000);
  EXPECT_EQ(events[1]["source"], nullptr);
}

TEST_F(EventsTest, AreDroppedWhenTheyAreOldAndOnlyThen) {
  using namespace std::chrono_literals;
  // More than go at once, and the first of them from before the clock was set back.
  run("INSERT INTO events (at, kind, reason, message, actor) SELECT now() - (CASE WHEN n = 2 THEN interval '1 hour' "
      "ELSE interval '3 days' END), 'state', 'Tested', n::text, 'creel' FROM generate_series(1, 2500) n");
  run("INSERT INTO events (kind, reason, message, actor) SELECT 'state', 'Tested', 'new', 'creel' "
      "FROM generate_series(1, 10)");
  // Somebody is about to add one, and waits for nobody; nor does anybody wait for him.
  auto writer = begin();
  ASSERT_TRUE(store::append_event(writer, event("under way")));
  ASSERT_TRUE(store::drop_events(*database_, system_now() - 24h, {}));
  ASSERT_TRUE(writer.commit());
  const auto left = run("SELECT message FROM events ORDER BY id");
  ASSERT_EQ(left.size(), 12);
  EXPECT_EQ(left[0].text("message"), "2");
  EXPECT_EQ(left[1].text("message"), "new");
  EXPECT_EQ(left[11].text("message"), "under way");
  std::stop_source stopping;
  stopping.request_stop();
  ASSERT_TRUE(store::drop_events(*database_, system_now() + 24h, stopping.get_token()));
  EXPECT_EQ(run("SELECT id FROM events").size(), 12) << "told to stop";
}

TEST_F(EventsTest, OfAnAgentLongGoneLeaveItsDeletionKnown) {
  const std::string id = provision(ann_key_);
  const std::string root = make_user_with("root@example.com", "free", "inactive", true);
  ask("DELETE", "/api/agents/" + id + "?wait=0", ann_key_);
  run("INSERT INTO deleted_agents (id, owner_id) SELECT id, owner_id FROM agents WHERE id = $1", {id});
  run("DELETE FROM agents WHERE id = $1", {id});
  ASSERT_TRUE(store::drop_events(*database_, system_now() + std::chrono::hours{24}, {}));
  for (const std::string& key : {ann_key_, root}) {
    EXPECT_EQ(ask("DELETE", "/api/agents/" + id, key).status, 200);
    const Answer events = ask("GET", "/api/agents/" + id + "/events", key);
    EXPECT_EQ(events.status, 200);
    EXPECT_EQ(events.body["count"], 0);
  }
}

}  // namespace
}  // namespace creel::test
