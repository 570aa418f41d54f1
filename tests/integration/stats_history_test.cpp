// Stats history: growth over restarts and gaps, rolling up, expiry, and the route that shows it.
#include "controller/store/stats_history.hpp"

#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::seconds;
using store::RunSample;

class StatsHistoryTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    agent_ = *AgentId::parse(provision(ann_key_));
    // A moment that all slot lengths share.
    base_ = TimePoint{(system_now() - 2h).time_since_epoch() / milliseconds{10min} * milliseconds{10min}};
  }

  static RunSample sample(const AgentId& agent, TimePoint at, TimePoint started, double cpu, std::int64_t rx,
                          std::int64_t memory = 100) {
    RunSample made{agent, started, {}};
    made.sample.at = at;
    made.sample.cpu_seconds_total = cpu;
    made.sample.cpu_known = true;
    made.sample.cpu_percent = 50;
    made.sample.memory_bytes = memory;
    made.sample.memory_limit_bytes = 1'000;
    made.sample.network_known = true;
    made.sample.network_rx_bytes = rx;
    made.sample.network_tx_bytes = 2 * rx;
    made.sample.pids = 3;
    return made;
  }

  void write(const std::vector<RunSample>& samples) {
    auto tx = begin();
    const auto written = store::write_samples(tx, samples, 10s);
    ASSERT_TRUE(written) << written.error().message;
    ASSERT_TRUE(tx.commit());
  }
  void tend(TimePoint now) {
    const auto done = store::tend_stats(*database_, now);
    ASSERT_TRUE(done) << done.error().message;
  }
  std::vector<store::UsagePoint> points(TimePoint from, TimePoint to, seconds length) {
    auto tx = begin();
    return store::stats_history(tx, agent_, from, to, length).value();
  }
  std::int64_t rows(int resolution) {
    return run("SELECT count(*) AS n FROM agent_stats WHERE resolution = $1", {resolution})[0].integer("n");
  }

  AgentId agent_;
  TimePoint base_;
};

TEST_F(StatsHistoryTest, KeepsGrowthThoughARestartSetsTheCountersBack) {
  const TimePoint first_run = base_ - 30min, second_run = base_ + 25s;
  write({sample(agent_, base_ + 10s, first_run, 100, 5'000)});
  write({sample(agent_, base_ + 20s + 40ms, first_run, 101, 5'600)});
  write({sample(agent_, base_ + 30s, second_run, 2, 300)});
  write({sample(agent_, base_ + 40s - 30ms, second_run, 3, 350)});
  const auto found = points(base_, base_ + 1min, 10s);
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].at, base_) << "a slot is named by its beginning";
  EXPECT_EQ(found[1].network_rx_bytes, 600);
  EXPECT_NEAR(*found[1].cpu_percent, 100 / 10.04, 0.01);
  EXPECT_EQ(found[2].network_rx_bytes, 300) << "what the new run has used since its start";
  EXPECT_NEAR(*found[2].cpu_percent, 2 / 5.0 * 100, 0.01);
  EXPECT_EQ(found[3].network_rx_bytes, 50);
  EXPECT_EQ(found[3].network_tx_bytes, 100);
  EXPECT_TRUE(found[0].gap) << "half an hour of growth";
  for (std::size_t i = 1; i < found.size(); ++i) EXPECT_FALSE(found[i].gap);
}

TEST_F(StatsHistoryTest, KnowsNoGrowthForTheFirstSampleOfARunThatIsOld) {
  write({sample(agent_, base_, base_ - 48h, 9'000, 1'000'000)});
  const auto found = points(base_ - 10s, base_, 10s);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].network_rx_bytes, std::nullopt);
  EXPECT_EQ(found[0].cpu_percent, std::nullopt);
  EXPECT_EQ(found[0].memory_bytes, 100);
}

TEST_F(StatsHistoryTest, SaysThatASampleCoversTheGapBeforeIt) {
  write({sample(agent_, base_ + 10s, base_ - 1min, 10, 100)});
  write({sample(agent_, base_ + 60s, base_ - 1min, 15, 700)});
  const auto found = points(base_, base_ + 1min, 10s);
  ASSERT_EQ(found.size(), 2u) << "nothing is made up in between";
  EXPECT_TRUE(found[1].gap);
  EXPECT_EQ(found[1].network_rx_bytes, 600);
  EXPECT_NEAR(*found[1].cpu_percent, 10.0, 0.01) << "the mean over the gap";
}

TEST_F(StatsHistoryTest, WritesASlotOnceAndNothingForAgentsThatAreGone) {
  write({sample(agent_, base_, base_ - 1min, 1, 1), sample(new_agent_id(), base_, base_ - 1min, 1, 1)});
  write({sample(agent_, base_ + 100ms, base_ - 1min, 2, 2)});
  EXPECT_EQ(rows(10), 1);
}

TEST_F(StatsHistoryTest, RollsUpMeansMaximaAndGrowthAndExpiresWhatWasRolledUp) {
  for (int i = 1; i <= 120; ++i)  // twenty minutes
    write({sample(agent_, base_ + i * 10s, base_, i * 1.0, i * 10, i % 6 == 0 ? 400 : 100)});
  const TimePoint end = base_ + 20min;
  tend(end + 30s);
  EXPECT_EQ(rows(10), 120);
  EXPECT_EQ(rows(60), 20);
  EXPECT_EQ(rows(600), 2);
  tend(end + 30s);
  EXPECT_EQ(rows(60), 20) << "harmless when repeated";
  const auto minutes = points(base_, end, 1min);
  ASSERT_EQ(minutes.size(), 20u);
  EXPECT_EQ(minutes[5].samples, 6);
  EXPECT_EQ(minutes[5].memory_bytes, 150);
  EXPECT_EQ(minutes[5].memory_bytes_max, 400);
  EXPECT_EQ(minutes[5].network_rx_bytes, 60);
  EXPECT_NEAR(*minutes[5].cpu_percent, 10.0, 0.01);
  EXPECT_EQ(minutes[5].cpu_percent_max, 50);
  const auto tens = points(base_, end, 10min);
  ASSERT_EQ(tens.size(), 2u);
  EXPECT_EQ(tens[1].samples, 60);
  EXPECT_EQ(tens[1].memory_bytes, 150);
  EXPECT_EQ(tens[1].network_rx_bytes, 600);
  tend(end + 2h);
  EXPECT_EQ(rows(10), 0);
  EXPECT_EQ(rows(60), 20);
  tend(end + 26h);
  EXPECT_EQ(rows(60), 0);
  EXPECT_EQ(rows(600), 2);
  tend(end + 24h * 31);
  EXPECT_EQ(rows(600), 0);
}

TEST_F(StatsHistoryTest, LosesNothingWhenNoControllerRanForADay) {
  for (int i = 1; i <= 12; ++i) write({sample(agent_, base_ + i * 10s, base_, i, i)});
  tend(base_ + 30h);
  EXPECT_EQ(rows(10), 0);
  EXPECT_EQ(rows(600), 1) << "rolled up before it went";
}

TEST_F(StatsHistoryTest, ShowsWhatIsNotRolledUpYetAmongWhatIs) {
  for (int i = 1; i <= 66; ++i) write({sample(agent_, base_ + i * 10s, base_, i, i * 10)});  // eleven minutes
  tend(base_ + 10min + 25s);
  EXPECT_EQ(rows(60), 10);
  EXPECT_EQ(rows(600), 1);
  EXPECT_EQ(points(base_, base_ + 11min, 1min).size(), 11u);
  const auto tens = points(base_, base_ + 20min, 10min);
  ASSERT_EQ(tens.size(), 2u);
  EXPECT_EQ(tens[0].samples, 60);
  EXPECT_EQ(tens[1].samples, 6);
}

TEST_F(StatsHistoryTest, IsShownInSlotsWithNullsWhereNothingWasMeasured) {
  const TimePoint now{system_now().time_since_epoch() / milliseconds{10s} * milliseconds{10s}};
  write({sample(agent_, now - 60s, now - 30min, 1, 100)});
  write({sample(agent_, now - 30s, now - 30min, 2, 250)});
  const std::string path = "/api/agents/" + agent_.str() + "/stats/history";
  for (const auto& [range, resolution, count] : std::vector<std::tuple<std::string, int, std::size_t>>{
           {"1h", 10, 360}, {"24h", 60, 1440}, {"7d", 600, 1008}, {"30d", 600, 4320}}) {
    const Answer answer = ask("GET", path + "?range=" + range, ann_key_);
    ASSERT_EQ(answer.status, 200) << answer.text;
    EXPECT_EQ(answer.body["range"], range);
    EXPECT_EQ(answer.body["resolution"], resolution);
    EXPECT_EQ(answer.body["points"].size(), count);
    EXPECT_EQ(answer.body["points"][0]["at"], answer.body["from"]);
  }
  const json points = ask("GET", path, ann_key_).body["points"];
  std::vector<json> measured;
  for (const auto& point : points) {
    if (point["samples"] > 0) {
      measured.push_back(point);
      continue;
    }
    for (const auto& [name, value] : point.items()) {
      if (name != "at" && name != "samples") {
        EXPECT_EQ(value, nullptr) << name;
      }
    }
  }
  ASSERT_EQ(measured.size(), 2u);
  EXPECT_EQ(measured[0]["at"], to_rfc3339(now - 70s));
  EXPECT_EQ(measured[1]["networkRxBytes"], 150);
  EXPECT_EQ(measured[1]["gap"], true);
  const Answer bad = ask("GET", path + "?range=2h", ann_key_);
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(bad.body["code"], "INVALID_QUERY");
  EXPECT_EQ(bad.body["field"], "range");
}

TEST_F(StatsHistoryTest, IsWhatAReplicaWithoutSamplesOfItsOwnAnswersFrom) {
  started_at_ = system_now() - 1h;
  AgentStatus status = observed(agent_.str(), Phase::ready);
  const std::string path = "/api/agents/" + agent_.str() + "/stats";
  EXPECT_EQ(ask("GET", path, ann_key_).body["stats"]["memory"], nullptr) << "nothing was ever measured";
  const TimePoint at = system_now() - 8s;
  write({sample(agent_, at - 10s, started_at_, 1, 100), sample(agent_, at, started_at_, 2, 1'200)});
  const json live = ask("GET", path, ann_key_).body;
  EXPECT_EQ(live["status"], "ok") << live;
  EXPECT_EQ(live["stats"]["sampledAt"], to_rfc3339(at));
  EXPECT_GE(live["stats"]["ageSeconds"].get<double>(), 8.0);
  EXPECT_EQ(live["stats"]["memory"], "100B / 1000B");
  EXPECT_EQ(live["stats"]["network"], "1.2kB / 2.4kB");

  status.phase = Phase::unknown;
  status.conditions = {{"EngineReachable", "False", "NoAnswer", "", system_now()}};
  record(agent_.str(), status);
  const json away = ask("GET", path, ann_key_).body;
  EXPECT_EQ(away["status"], "mock");
  EXPECT_EQ(away["stats"]["source"], "history");
  EXPECT_EQ(away["stats"]["sampledAt"], to_rfc3339(at));
  EXPECT_EQ(away["stats"]["memory"], "100B / 1000B");
  EXPECT_NEAR(away["stats"]["uptime"].get<double>(), 3'592'000, 50) << "as it was at the sample";
  EXPECT_EQ(away["stats"]["messagesProcessed"], nullptr);
}

TEST_F(StatsHistoryTest, GoesWithItsAgent) {
  write({sample(agent_, base_, base_ - 1min, 1, 1)});
  auto tx = begin();
  ASSERT_TRUE(store::drop_stats(tx, agent_));
  ASSERT_TRUE(tx.commit());
  EXPECT_EQ(rows(10), 0);
}

}  // namespace
}  // namespace creel::test
