// Lists by pages: everything once, in order, though rows come and go in between.
#include <set>

#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

class PagingTest : public ApiTest {
 protected:
  // The ids of all pages in turn; `between` happens after each page.
  std::vector<std::string> walk(
      const std::string& list, const std::string& member, const std::string& key, int limit,
      const std::function<void()>& between = [] {}) {
    std::vector<std::string> ids;
    std::string cursor;
    do {
      const Answer page = ask("GET", list + "?limit=" + std::to_string(limit) + cursor, key);
      EXPECT_EQ(page.status, 200) << page.text;
      EXPECT_EQ(page.body["count"], page.body[member].size());
      for (const auto& item : page.body[member])
        ids.push_back(item["id"].is_string() ? item["id"].get<std::string>() : item["id"].dump());
      cursor = page.body.contains("nextCursor") ? "&cursor=" + page.body["nextCursor"].get<std::string>() : "";
      between();
    } while (!cursor.empty() && ids.size() < 5'000);
    return ids;
  }
};

TEST_F(PagingTest, WalksTwoHundredAndFiftyAgentsWhileOthersComeAndGo) {
  std::vector<std::string> standing, passing;
  const TimePoint start = system_now() - std::chrono::hours{1};
  for (int i = 0; i < 250; ++i) {
    auto row = agent_of_user(ann_.id, "agent" + std::to_string(i));
    row.created_at = start + milliseconds{i / 3};  // some of the same moment
    auto tx = begin();
    ASSERT_TRUE(store::insert_agent(tx, row, -1));
    ASSERT_TRUE(tx.commit());
    (i % 5 == 0 ? passing : standing).push_back(row.id.str());
  }
  for (const char* list : {"/api/agents", "/api/agents/provision"}) {
    std::size_t gone = 0;
    const auto come_and_go = [&] {
      make_agent(ann_.id, "new");
      for (int i = 0; i < 2 && gone < passing.size(); ++i)
        run("UPDATE agents SET desired = 'deleted' WHERE id = $1", {passing[gone++]});
    };
    const auto ids = walk(list, "agents", ann_key_, 17, come_and_go);
    const std::set<std::string> seen{ids.begin(), ids.end()};
    EXPECT_EQ(seen.size(), ids.size()) << "none twice";
    for (const auto& id : standing) EXPECT_TRUE(seen.contains(id)) << list;
    passing.clear();
  }
}

TEST_F(PagingTest, GoesOnThoughTheRowItStoppedAtIsGone) {
  for (int i = 0; i < 4; ++i) make_agent(ann_.id, "a" + std::to_string(i));
  const auto all = walk("/api/agents", "agents", ann_key_, 10);
  const Answer first = ask("GET", "/api/agents?limit=2", ann_key_);
  run("UPDATE agents SET desired = 'deleted' WHERE id = $1", {all[1]});
  const Answer rest = ask("GET", "/api/agents?cursor=" + first.body["nextCursor"].get<std::string>(), ann_key_);
  ASSERT_EQ(rest.body["count"], 2) << rest.text;
  EXPECT_EQ(rest.body["agents"][0]["id"], all[2]);
}

TEST_F(PagingTest, PagesKeysUsersAndEventsToo) {
  const std::string root = make_user_with("root@example.com", "free", "inactive", true);
  for (int i = 0; i < 4; ++i) {
    make_key(ann_.id);
    make_user_with("user" + std::to_string(i) + "@example.com", "pro", "active");
    provision(ann_key_, "agent" + std::to_string(i));
    run("UPDATE users SET plan = 'enterprise'");
  }
  EXPECT_EQ(walk("/api/keys", "keys", ann_key_, 2).size(), 5u);
  EXPECT_EQ(walk("/api/admin/users", "users", root, 2).size(), 6u);
  EXPECT_EQ(walk("/api/events", "events", ann_key_, 2).size(), 4u);
  EXPECT_EQ(walk("/api/events", "events", root, 3).size(), 4u);
  EXPECT_EQ(ask("GET", "/api/admin/users", ann_key_).status, 403);
}

TEST_F(PagingTest, RefusesACursorThatIsNotOneOfTheListsOwn) {
  const std::string root = make_user_with("root@example.com", "free", "inactive", true);
  for (const char* list : {"/api/agents", "/api/agents/provision", "/api/keys", "/api/admin/users", "/api/events"})
    for (const char* cursor :
         {"x", "1.x%27%3B--", "-1.0123456789abcdef", "9999999999999999999999.key_0", "1.", "%00", "1e3", "%F0%9F"}) {
      const Answer answer = ask("GET", std::string{list} + "?cursor=" + cursor, root);
      EXPECT_EQ(answer.status, 400) << list << " " << cursor << " " << answer.text;
      if (answer.body["code"] == "BAD_REQUEST" && answer.body["field"] == "target") continue;  // no address at all
      EXPECT_EQ(answer.body["code"], "INVALID_QUERY") << list << " " << cursor << " " << answer.text;
      EXPECT_EQ(answer.body["field"], "cursor") << list << " " << cursor;
    }
}

}  // namespace
}  // namespace creel::test
