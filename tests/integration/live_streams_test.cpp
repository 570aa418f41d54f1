// Live streams: a real PostgreSQL, and a Mux of the test that does what a Mux in trouble does.
#include "controller/streams/live_streams.hpp"

#include <gmock/gmock.h>

#include "controller/store/agent_secrets.hpp"
#include "controller/store/events.hpp"
#include "tests/integration/pg_fixture.hpp"
#include "tests/support/fake_mux.hpp"

namespace creel::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Fault = FakeMux::Fault;

class LiveStreamsTest : public PgTest {
 protected:
  void SetUp() override {
    PgTest::SetUp();
    if (HasFatalFailure()) return;
    ann_ = make_user();
    build();
  }

  void build(const std::string& secret = "secret", std::chrono::milliseconds deadline = std::chrono::seconds{20}) {
    streams::Mux::Options mux;
    mux.base_url = fake_.url();
    mux.token_id = "id";
    mux.token_secret = secret;
    mux.deadline = deadline;
    streams::LiveStreamOptions options;
    options.first_retry = std::chrono::milliseconds{1};
    options.longest_retry = std::chrono::milliseconds{1};
    live_streams_ = std::make_unique<streams::LiveStreams>(*database_, sealer_, streams::Mux{client_, mux}, options);
  }

  AgentId wanted() {
    const auto row = make_agent(ann_.id);
    auto tx = begin();
    EXPECT_TRUE(store::want_live_stream(tx, row.id, "creel"));
    EXPECT_TRUE(tx.commit());
    return row.id;
  }
  void deleted(const AgentId& id) { run("UPDATE agents SET desired = 'deleted' WHERE id = $1", {id}); }
  void pass() { live_streams_->pass({}); }
  std::optional<store::LiveStream> stream(const AgentId& id) {
    auto tx = begin();
    return store::get_live_stream(tx, id).value();
  }
  // Passes until the row is as it should be.
  bool passes_until(const std::function<bool()>& done) {
    return eventually([&] {
      pass();
      return done();
    });
  }
  bool there(const AgentId& id) {
    return passes_until([&] { return !stream(id)->stream_id.empty(); });
  }
  std::string key(const AgentId& id) {
    auto tx = begin();
    const auto sealed = store::get_secret(tx, id, "stream_key").value();
    return sealed ? sealer_.open(*sealed, secrets::secret_context(id.str(), "stream_key")).value() : "";
  }
  int events(const AgentId& id, const std::string& reason) {
    return static_cast<int>(
        run("SELECT count(*) AS n FROM events WHERE agent_id = $1 AND reason = $2", {id, reason})[0].integer("n"));
  }

  const secrets::Sealer sealer_ = secrets::Sealer::from_base64("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").value();
  FakeMux fake_;
  http::Client client_;
  std::unique_ptr<streams::LiveStreams> live_streams_;
  store::User ann_;
};

TEST_F(LiveStreamsTest, MakesOneForEachAgentThatIsToHaveOne) {
  const AgentId first = wanted(), second = wanted();
  make_agent(ann_.id, "without");
  pass();
  ASSERT_EQ(fake_.streams().size(), 2u);
  EXPECT_EQ(fake_.streams()[0].passthrough, "creel/creel/" + first.str());
  EXPECT_EQ(stream(first)->stream_id, "stream_1");
  EXPECT_EQ(stream(second)->stream_id, "stream_2");
  EXPECT_EQ(key(first), "live_key_1");
  EXPECT_EQ(events(first, "LiveStreamCreated"), 1);
  pass();
  EXPECT_EQ(fake_.asked("POST"), 2) << "what is there is not made again";
  EXPECT_EQ(fake_.asked("GET"), 0) << "nothing was lost, so nothing is looked for";
}

TEST_F(LiveStreamsTest, SealsTheKeyAndShowsItNowhereElse) {
  const AgentId id = wanted();
  pass();
  const auto rows =
      run("SELECT row_to_json(t)::text AS text FROM live_streams t UNION ALL "
          "SELECT row_to_json(e)::text FROM events e UNION ALL SELECT row_to_json(s)::text FROM agent_secrets s");
  for (int i = 0; i < rows.size(); ++i) EXPECT_THAT(rows[i].text("text"), Not(HasSubstr("live_key")));
  EXPECT_EQ(key(id), "live_key_1");
}

TEST_F(LiveStreamsTest, TriesAgainWhenMuxFails) {
  const AgentId id = wanted();
  fake_.next({Fault::error, Fault::error});
  pass();
  EXPECT_THAT(stream(id)->last_error, HasSubstr("500"));
  EXPECT_EQ(stream(id)->attempts, 1);
  ASSERT_TRUE(there(id));
  EXPECT_EQ(fake_.streams().size(), 1u);
  EXPECT_EQ(stream(id)->last_error, "");
  EXPECT_EQ(events(id, "LiveStreamFailed"), 1) << "told once, not at every attempt";
}

TEST_F(LiveStreamsTest, FindsAStreamAgainWhoseAnswerWasLost) {
  for (const Fault fault : {Fault::lost, Fault::made_error}) {
    const AgentId id = wanted();
    fake_.next({fault});
    pass();
    EXPECT_TRUE(stream(id)->stream_id.empty());
    EXPECT_TRUE(stream(id)->maybe_made);
    const auto made = fake_.streams().size();
    ASSERT_TRUE(there(id));
    EXPECT_EQ(fake_.streams().size(), made) << "no second one";
    EXPECT_EQ(stream(id)->stream_id, fake_.streams().back().id);
    EXPECT_EQ(key(id), fake_.streams().back().key);
  }
}

TEST_F(LiveStreamsTest, FindsAStreamAgainThatTookTooLong) {
  build("secret", std::chrono::milliseconds{300});
  const AgentId id = wanted();
  fake_.next({Fault::late});
  pass();
  EXPECT_THAT(stream(id)->last_error, HasSubstr("did not answer in time"));
  build();
  ASSERT_TRUE(there(id));
  EXPECT_EQ(fake_.streams().size(), 1u);
}

TEST_F(LiveStreamsTest, FindsAStreamAgainOfAControllerThatDiedWhileMuxMadeIt) {
  const AgentId id = wanted();
  {
    auto tx = begin();
    ASSERT_TRUE(store::claim_live_stream(tx, "creel", std::chrono::milliseconds{1}).value());
    ASSERT_TRUE(store::expect_live_stream(tx, id));
    ASSERT_TRUE(tx.commit());
  }
  fake_.add("creel/creel/" + id.str());
  ASSERT_TRUE(there(id));
  EXPECT_EQ(fake_.asked("POST"), 0);
  EXPECT_EQ(fake_.streams().size(), 1u);
}

TEST_F(LiveStreamsTest, KeepsTheOldestWhenThereAreSeveralAndDeletesTheOthers) {
  const AgentId id = wanted();
  fake_.next({Fault::lost});
  pass();
  fake_.add("creel/creel/" + id.str());
  fake_.add("somebody else's");
  ASSERT_TRUE(there(id));
  EXPECT_EQ(stream(id)->stream_id, "stream_1");
  EXPECT_EQ(fake_.streams().size(), 2u);
}

TEST_F(LiveStreamsTest, SaysWhenMuxRefusesTheCredentialsAndGoesOnWhenTheyAreMended) {
  build("wrong-secret");
  const AgentId id = wanted(), other = wanted();
  pass();
  EXPECT_THAT(stream(id)->last_error, HasSubstr("MUX_TOKEN_SECRET"));
  EXPECT_THAT(stream(id)->last_error, Not(HasSubstr("wrong-secret")));
  EXPECT_FALSE(stream(id)->maybe_made) << "a refusal makes nothing";
  EXPECT_EQ(stream(other)->attempts, 1) << "a refusal is no reason not to try the next one";
  build();
  ASSERT_TRUE(there(id));
  EXPECT_EQ(fake_.asked("GET"), 0);
}

TEST_F(LiveStreamsTest, DoesNotAskForOneAfterTheOtherWhenMuxIsAway) {
  wanted();
  const AgentId later = wanted();
  fake_.set_away(true);
  pass();
  EXPECT_EQ(fake_.asked("POST"), 1);
  EXPECT_EQ(stream(later)->attempts, 0);
  fake_.set_away(false);
  ASSERT_TRUE(there(later));
}

TEST_F(LiveStreamsTest, WaitsLongerFromTimeToTime) {
  streams::Mux::Options mux;
  mux.base_url = fake_.url();
  streams::LiveStreamOptions options;
  options.first_retry = std::chrono::hours{1};
  options.longest_retry = std::chrono::hours{3};
  live_streams_ = std::make_unique<streams::LiveStreams>(*database_, sealer_, streams::Mux{client_, mux}, options);
  const AgentId id = wanted();
  std::vector<int> minutes;
  for (int i = 0; i < 4; ++i) {
    pass();
    pass();  // not due
    minutes.push_back(static_cast<int>(
        run("SELECT round(extract(epoch FROM next_attempt_at - clock_timestamp()) / 60)::bigint AS n FROM live_streams")
            [0]
                .integer("n")));
    run("UPDATE live_streams SET next_attempt_at = now()");
  }
  EXPECT_EQ(minutes, (std::vector<int>{60, 120, 180, 180}));
  EXPECT_EQ(stream(id)->attempts, 4);
}

TEST_F(LiveStreamsTest, DeletesTheStreamWithItsAgent) {
  const AgentId id = wanted(), other = wanted();
  pass();
  deleted(id);
  pass();
  ASSERT_EQ(fake_.streams().size(), 1u);
  EXPECT_EQ(fake_.streams()[0].passthrough, "creel/creel/" + other.str());
  EXPECT_FALSE(stream(id));
  EXPECT_EQ(events(id, "LiveStreamDeleted"), 1);
  pass();
  EXPECT_TRUE(stream(other));
}

TEST_F(LiveStreamsTest, DeletesTheStreamWhenTheAgentsRowIsGoneAlready) {
  const AgentId id = wanted();
  pass();
  fake_.set_away(true);
  deleted(id);
  pass();
  run("DELETE FROM agents WHERE id = $1", {id});
  EXPECT_EQ(fake_.streams().size(), 1u);
  fake_.set_away(false);
  ASSERT_TRUE(passes_until([&] { return !stream(id); }));
  EXPECT_TRUE(fake_.streams().empty());
}

TEST_F(LiveStreamsTest, TakesAStreamSomebodyDeletedForDeleted) {
  const AgentId id = wanted();
  pass();
  fake_.clear();
  deleted(id);
  pass();
  EXPECT_FALSE(stream(id));
}

TEST_F(LiveStreamsTest, LeavesNothingBehindOfAnAgentDeletedWhileItsStreamWasBeingMade) {
  const AgentId id = wanted();
  fake_.next({Fault::lost});
  pass();
  deleted(id);
  ASSERT_TRUE(passes_until([&] { return !stream(id); }));
  EXPECT_TRUE(fake_.streams().empty());
}

TEST_F(LiveStreamsTest, LeavesTheStreamsOfOtherControllersAlone) {
  const AgentId id = wanted();
  run("UPDATE live_streams SET controller_id = 'other'");
  pass();
  EXPECT_TRUE(fake_.streams().empty());
  EXPECT_TRUE(stream(id));
}

TEST_F(LiveStreamsTest, ForgetsAWishThatMuxNeverHeardOf) {
  const AgentId made = wanted();
  pass();
  const AgentId unmade = wanted();
  auto tx = begin();
  for (const AgentId& id : {made, unmade}) ASSERT_TRUE(store::drop_unmade_live_stream(tx, id));
  ASSERT_TRUE(tx.commit());
  EXPECT_TRUE(stream(made));
  EXPECT_FALSE(stream(unmade));
}

TEST_F(LiveStreamsTest, MakesNothingForAWishThatIsGone) {
  const AgentId id = wanted();
  auto tx = begin();
  ASSERT_TRUE(store::claim_live_stream(tx, "creel", std::chrono::seconds{60}).value());
  EXPECT_FALSE(store::claim_live_stream(tx, "creel", std::chrono::seconds{60}).value()) << "claimed by somebody";
  ASSERT_TRUE(store::drop_unmade_live_stream(tx, id));
  EXPECT_EQ(store::expect_live_stream(tx, id).error().kind, ErrorKind::not_found);
}

}  // namespace
}  // namespace creel::test
