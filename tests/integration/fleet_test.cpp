// All agents at a glance, from a real PostgreSQL.
#include "controller/store/fleet.hpp"

#include <gtest/gtest.h>

#include "controller/store/agent_repository.hpp"
#include "controller/store/lease.hpp"
#include "controller/store/messages.hpp"
#include "tests/integration/pg_fixture.hpp"

namespace creel::store {
namespace {

class Fleet : public test::PgTest {};

TEST_F(Fleet, SaysOfEachAgentOfThisControllerHowItIsAndWhetherItIsAsWished) {
  const User ann = make_user();
  std::vector<AgentRow> rows;
  for (int i = 0; i < 4; ++i) rows.push_back(make_agent(ann.id, "agent " + std::to_string(i)));
  const auto sealer = secrets::Sealer::from_base64(kKeys[0]).value();
  PgAgentRepository repository{*database_, sealer, "creel"};
  auto tx = begin();
  const auto term = acquire_lease(tx, "creel", "test", std::chrono::minutes{1});
  ASSERT_TRUE(term && *term);
  ASSERT_TRUE(tx.commit());
  const auto record = [&](int i, Phase phase, const char* cause, const char* plan, std::uint64_t generation) {
    AgentStatus status;
    status.phase = phase;
    status.cause = cause;
    status.plan = plan;
    status.observed_generation = generation;
    const auto done = repository.record(rows[static_cast<std::size_t>(i)].id, status, {}, {}, **term);
    ASSERT_TRUE(done) << done.error().message;
  };
  record(0, Phase::ready, "", "converged", 1);
  record(1, Phase::crash_looping, "OOMKilled", "wait: the next try", 1);
  record(2, Phase::ready, "", "converged", 0);  // a newer wish was not looked at yet
  run("UPDATE agents SET controller_id = 'another' WHERE id = $1", {rows[3].id});
  auto talk = begin();
  const auto session = ensure_session(talk, rows[1].id, "topic:x", "api", system_now());
  ASSERT_TRUE(session) << session.error().message;
  for (int i = 0; i < 3; ++i) {
    Message message;
    message.agent = rows[1].id;
    message.session_id = session->id;
    message.platform = "api";
    message.content = "hello";
    message.at = system_now();
    if (i == 0) message.error = "no answer";
    ASSERT_TRUE(add_message(talk, message));
  }
  ASSERT_TRUE(talk.commit());

  auto read = begin();
  const auto fleet = list_fleet(read, "creel");
  ASSERT_TRUE(fleet) << fleet.error().message;
  ASSERT_EQ(fleet->size(), 3u);
  for (const auto& agent : *fleet) {
    const int i = agent.id == rows[0].id ? 0 : agent.id == rows[1].id ? 1 : 2;
    EXPECT_EQ(agent.id, rows[static_cast<std::size_t>(i)].id);
    EXPECT_EQ(agent.phase, i == 1 ? Phase::crash_looping : Phase::ready);
    EXPECT_EQ(agent.cause, i == 1 ? "OOMKilled" : "");
    EXPECT_EQ(agent.settled, i == 0);
    EXPECT_EQ(agent.messages, i == 1 ? 3 : 0);
    EXPECT_EQ(agent.messages_failed, i == 1 ? 1 : 0);
  }
}

TEST_F(Fleet, TellsOfAnAgentThatNobodyHasLookedAtYet) {
  const AgentRow row = make_agent(make_user().id);
  auto tx = begin();
  const auto fleet = list_fleet(tx, "creel");
  ASSERT_TRUE(fleet) << fleet.error().message;
  ASSERT_EQ(fleet->size(), 1u);
  EXPECT_EQ((*fleet)[0].phase, Phase::pending);
  EXPECT_FALSE((*fleet)[0].settled);
}

}  // namespace
}  // namespace creel::store
