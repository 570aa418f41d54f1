// The registry, its table, and what is made of agents' numbers and of what happens.
#include "controller/metrics/metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>

#include "controller/exporter/agent_numbers.hpp"
#include "controller/exporter/happenings.hpp"
#include "controller/exporter/process_numbers.hpp"
#include "tests/support/scrape.hpp"
#include "tests/support/support.hpp"

namespace creel {
namespace {

using namespace std::chrono_literals;
using test::Scrape;
using testing::HasSubstr;
using testing::Not;

TEST(MetricsTable, KeepsToTheConventions) {
  std::string before;
  for (const Metric& metric : kMetrics) {
    const std::string name = metric.name;
    const auto ends = [&](const char* end) { return name.ends_with(end); };
    EXPECT_LT(before, name) << "in alphabetical order, each once";
    before = name;
    EXPECT_TRUE(name.starts_with("creel_")) << name;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string::npos) << name;
    EXPECT_EQ(ends("_total"), metric.type == MetricType::counter) << name;
    if (metric.type == MetricType::histogram) {
      EXPECT_TRUE(ends("_seconds") || ends("_bytes")) << name;
    }
    for (const char* unit : {"milliseconds", "minutes", "kilobytes", "percent", "_ms", "_mb"})
      EXPECT_EQ(name.find(unit), std::string::npos) << name << ": not a base unit";
    EXPECT_EQ(std::string{metric.help}.back(), '.') << name;
    std::set<std::string> labels;
    for (const auto& label : label_names(metric)) {
      EXPECT_TRUE(labels.insert(label).second) << name << " " << label;
      EXPECT_NE(label, "instance") << name << ": that is the scraper's";
      EXPECT_NE(label, "job") << name << ": that is the scraper's";
      EXPECT_NE(label, "le") << name;
    }
    EXPECT_EQ(labels.contains("agent"), name.starts_with("creel_agent_") && name != "creel_agent_restarts_total")
        << name << ": only series of single agents, which are capped, name agents";
  }
}

// Rewritten with CREEL_UPDATE_GOLDEN=1.
TEST(MetricsTable, IsWhatTheDocumentationShows) {
  const std::string file = test::source_dir() + "/monitoring/metrics.md";
  std::stringstream read;
  read << std::ifstream{file}.rdbuf();
  std::string text = read.str();
  const auto begin = text.find("| name | type |");
  ASSERT_NE(begin, std::string::npos) << file;
  auto end = text.find("\n\n", begin);
  end = end == std::string::npos ? text.size() : end + 1;
  if (std::getenv("CREEL_UPDATE_GOLDEN") != nullptr) {
    text.replace(begin, end - begin, metrics_table());
    std::ofstream{file} << text;
    return;
  }
  EXPECT_EQ(text.substr(begin, end - begin), metrics_table());
}

TEST(Metrics, WritesCountersHistogramsAndWhatIsCollected) {
  Metrics metrics;
  metrics.count("creel_http_requests_total", {"GET", "/api/agents/:id", "200"});
  metrics.count("creel_http_requests_total", {"GET", "/api/agents/:id", "200"});
  for (const auto took : {1500us, 1500us, 2'000'000us, 1'000'000'000us})
    metrics.observe("creel_http_request_duration_seconds", {"GET", "/api/agents/:id"}, took);
  double depth = 3;
  metrics.collect([&](Metrics::Page& page) {
    page.add("creel_queue_depth", {"due"}, depth);
    page.add("creel_queue_depth", {"delayed"}, 0);
    page.add("creel_database_connection_waits_total", 12);
  });
  depth = 4;
  const std::string text = metrics.text();
  EXPECT_THAT(text, HasSubstr("# HELP creel_queue_depth Agents to be looked at"));
  EXPECT_THAT(text, HasSubstr("# TYPE creel_queue_depth gauge\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE creel_http_requests_total counter\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE creel_http_request_duration_seconds histogram\n"));
  const Scrape scrape{text};
  EXPECT_EQ(scrape.value("creel_queue_depth", {{"state", "due"}}), 4);
  EXPECT_EQ(scrape.value("creel_queue_depth", {{"state", "delayed"}}), 0);
  EXPECT_EQ(scrape.value("creel_database_connection_waits_total"), 12);
  EXPECT_EQ(
      scrape.value("creel_http_requests_total", {{"method", "GET"}, {"route", "/api/agents/:id"}, {"code", "200"}}), 2);
  // Each bucket holds those of the smaller ones, the last all.
  const auto bucket = [&](const char* le) {
    return scrape.value("creel_http_request_duration_seconds_bucket", {{"le", le}});
  };
  EXPECT_EQ(bucket("0.001"), 0);
  EXPECT_EQ(bucket("0.0025"), 2);
  EXPECT_EQ(bucket("1"), 2);
  EXPECT_EQ(bucket("2.5"), 3);
  EXPECT_EQ(bucket("300"), 3);
  EXPECT_EQ(bucket("+Inf"), 4);
  EXPECT_EQ(scrape.value("creel_http_request_duration_seconds_count"), 4);
  EXPECT_NEAR(*scrape.value("creel_http_request_duration_seconds_sum"), 1002.003, 1e-6);
}

TEST(Metrics, EscapesWhatStandsInLabels) {
  Metrics metrics;
  const std::string odd = "a\"b\\c\nd";
  metrics.count("creel_engine_calls_total", {odd, "200"});
  metrics.collect([&](Metrics::Page& page) { page.add("creel_build_info", {odd}, 1); });
  const std::string text = metrics.text();
  EXPECT_THAT(text, HasSubstr("verb=\"a\\\"b\\\\c\\nd\""));
  EXPECT_EQ(Scrape{text}.value("creel_build_info"), 1);
  EXPECT_THAT(text, Not(HasSubstr("c\nd")));
}

TEST(Metrics, HaveNothingOfWhatNobodyMeasured) {
  Metrics metrics;
  EXPECT_EQ(metrics.text(), "");
  metrics.collect([](Metrics::Page&) {});
  EXPECT_EQ(metrics.text(), "");
  metrics.count("creel_image_pulls_total", {"failed"}, 0);
  EXPECT_EQ(Scrape{metrics.text()}.value("creel_image_pulls_total", {{"outcome", "failed"}}), 0);
  metrics.expect("creel_image_pull_duration_seconds", {});
  EXPECT_EQ(Scrape{metrics.text()}.value("creel_image_pull_duration_seconds_count"), 0);
}

TEST(Metrics, TakeNoOtherLabelsAndNoOtherTypeThanTheTableSays) {
  Metrics metrics;
  EXPECT_THROW(metrics.count("creel_engine_calls_total", {"ping"}), std::logic_error);
  EXPECT_THROW(metrics.count("creel_queue_oldest_age_seconds", {}), std::logic_error);
  EXPECT_THROW(metrics.observe("creel_engine_calls_total", {"ping", "200"}, 1s), std::logic_error);
  Metrics::Page page;
  EXPECT_THROW(page.add("creel_chat_duration_seconds", {"api"}, 1), std::logic_error);
}

TEST(Metrics, CallNoCollectorOnceTheyWereToldToStop) {
  Metrics metrics;
  metrics.count("creel_image_pulls_total", {"ok"});
  metrics.collect([](Metrics::Page&) { FAIL() << "what it reads is gone"; });
  metrics.stop_collecting();
  EXPECT_TRUE(Scrape{metrics.text()}.has("creel_image_pulls_total"));
}

// --- agents

AgentId agent(int number) {
  std::string digits = std::to_string(number);
  return AgentId::parse(std::string(16 - digits.size(), '0') + digits).value();
}

std::string text_of(const std::function<void(Metrics::Page&)>& add) {
  Metrics metrics;
  metrics.collect(add);
  return metrics.text();
}

TEST(AgentNumbers, CountPhasesDriftAndWhatStandsInTheWay) {
  const std::vector<store::FleetAgent> fleet{{agent(1), Phase::ready, "", true},
                                             {agent(2), Phase::ready, "ConfigRefused", false},
                                             {agent(3), Phase::crash_looping, "OOMKilled", false},
                                             {agent(4), Phase::failed, "WordOfAnotherVersion", false},
                                             {agent(5), Phase::deleted, "", false}};
  const Scrape scrape{text_of([&](Metrics::Page& page) { add_fleet(page, fleet); })};
  EXPECT_EQ(scrape.value("creel_agents", {{"phase", to_string(Phase::ready)}}), 2);
  EXPECT_EQ(scrape.value("creel_agents", {{"phase", to_string(Phase::deleted)}}), 1);
  EXPECT_EQ(scrape.value("creel_agents", {{"phase", to_string(Phase::stopped)}}), 0);
  EXPECT_EQ(scrape.value("creel_agents"), 5) << "each in one phase";
  EXPECT_EQ(scrape.value("creel_agents_drifted"), 3) << "a volume that is kept for a while is as wished";
  EXPECT_EQ(scrape.value("creel_agents_hindered", {{"cause", "OOMKilled"}}), 1);
  EXPECT_EQ(scrape.value("creel_agents_hindered", {{"cause", "NotReady"}}), 0);
  EXPECT_EQ(scrape.value("creel_agents_hindered", {{"cause", "other"}}), 1) << "labels hold known words only";
  EXPECT_EQ(scrape.value("creel_agents_hindered"), 3);
}

TEST(AgentNumbers, AreGivenOfNoMoreAgentsThanWantedAndSayHowManyAreLeftOut) {
  std::vector<store::FleetAgent> fleet;
  std::vector<AgentSample> samples;
  for (int i = 1; i <= 10; ++i) {
    fleet.push_back({agent(i), i == 10 ? Phase::deleted : Phase::ready, "", true, 10 * i, i});
    StatsSample sample;
    sample.cpu_seconds_total = i;
    sample.memory_bytes = 1000 * i;
    sample.network_known = i != 2;
    sample.network_rx_bytes = 5;
    if (i < 9) samples.push_back({agent(i), sample});
  }
  const auto with = [&](std::size_t most) {
    return Scrape{text_of([&](Metrics::Page& page) { add_agents(page, fleet, samples, most); })};
  };
  const Scrape three = with(3);
  EXPECT_EQ(three.value("creel_agents_without_series"), 6) << "nine live agents";
  EXPECT_EQ(three.value("creel_agent_phase"), 3);
  EXPECT_EQ(three.value("creel_agent_messages", {{"agent", agent(2).str()}}), 20);
  EXPECT_EQ(three.value("creel_agent_messages_failed"), 1 + 2 + 3);
  EXPECT_EQ(three.value("creel_agent_cpu_seconds_total"), 1 + 2 + 3);
  EXPECT_EQ(three.value("creel_agent_memory_working_set_bytes", {{"agent", agent(3).str()}}), 3000);
  EXPECT_EQ(three.value("creel_agent_network_receive_bytes_total", {{"agent", agent(2).str()}}), std::nullopt)
      << "it could not be measured";
  EXPECT_EQ(three.value("creel_agent_network_receive_bytes_total", {{"agent", agent(1).str()}}), 5);
  const Scrape all = with(500);
  EXPECT_EQ(all.value("creel_agents_without_series"), 0);
  EXPECT_EQ(all.value("creel_agent_phase"), 9);
  EXPECT_EQ(all.value("creel_agent_phase", {{"agent", agent(10).str()}}), std::nullopt) << "it is deleted";
  const Scrape none = with(0);
  EXPECT_EQ(none.value("creel_agents_without_series"), 9);
  EXPECT_EQ(none.types.size(), 1u);
}

// --- what happens

TEST(Happenings, AreCountedByKindCauseAndOutcome) {
  Metrics metrics;
  Happenings happenings{metrics};
  EXPECT_EQ(metrics.text(), "") << "a follower has nothing to tell";
  happenings.lead();
  EXPECT_EQ(Scrape{metrics.text()}.value("creel_agent_restarts_total"), 0);
  happenings.acted({op::RestartWorkload{agent(1), "c1"}, Why::not_ready, "told to people"}, true, 2s);
  happenings.acted({op::CreateWorkload{}, Why::gone, "no container exists"}, false, 1s);
  happenings.passed({PassEnd::acted, 0, ""}, 3s);
  happenings.passed({PassEnd::waiting, 2, "OOMKilled"}, 1ms);
  happenings.called_engine("container_start", "204", 5ms);
  happenings.called_engine("container_start", "refused", 0us);
  happenings.pulled(false, 700ms);
  happenings.collected("telegram", 3);
  happenings.collected("a platform nobody knows", 2);
  const Scrape scrape{metrics.text()};
  EXPECT_EQ(scrape.value("creel_actions_total", {{"kind", "restart"}, {"cause", "not-ready"}, {"outcome", "ok"}}), 1);
  EXPECT_EQ(scrape.value("creel_actions_total", {{"kind", "restart"}, {"outcome", "failed"}}), 0);
  EXPECT_EQ(
      scrape.value("creel_actions_total", {{"kind", "create"}, {"cause", "container-gone"}, {"outcome", "failed"}}), 1);
  EXPECT_EQ(scrape.value("creel_action_duration_seconds_sum"), 3);
  EXPECT_EQ(scrape.value("creel_agent_restarts_total", {{"cause", "not-ready"}}), 1);
  EXPECT_EQ(scrape.value("creel_agent_restarts_total", {{"cause", "oom-killed"}}), 2);
  EXPECT_EQ(scrape.value("creel_reconcile_duration_seconds_count", {{"outcome", "acted"}}), 1);
  EXPECT_EQ(scrape.value("creel_reconcile_duration_seconds_count"), 2);
  EXPECT_EQ(scrape.value("creel_engine_calls_total", {{"verb", "container_start"}}), 2);
  EXPECT_EQ(scrape.value("creel_engine_call_duration_seconds_count"), 1) << "what was not sent took no time";
  EXPECT_EQ(scrape.value("creel_image_pulls_total", {{"outcome", "failed"}}), 1);
  EXPECT_EQ(scrape.value("creel_messages_total", {{"platform", "telegram"}, {"outcome", "collected"}}), 3);
  EXPECT_EQ(scrape.value("creel_messages_total", {{"platform", "other"}}), 2);
}

TEST(Happenings, TellWhatCameOfAChatAndHowLongItTook) {
  Metrics metrics;
  Happenings happenings{metrics};
  int done = 0;
  happenings.counting("api", [&](const auto& reply) { done += reply ? 1 : 0; })(gateway::ChatReply{"hello"});
  happenings.counting(
      "whatsapp", [&](const auto& reply) { done += reply ? 0 : 10; })(Error{ErrorKind::timeout, "no reply", {}, {}});
  EXPECT_EQ(done, 11);
  const Scrape scrape{metrics.text()};
  EXPECT_EQ(scrape.value("creel_chats_total", {{"channel", "api"}, {"outcome", "answered"}}), 1);
  EXPECT_EQ(scrape.value("creel_chats_total", {{"channel", "whatsapp"}, {"outcome", "timeout"}}), 1);
  EXPECT_EQ(scrape.value("creel_chat_duration_seconds_count"), 2);
}

TEST(ProcessNumbers, AreThisProcesss) {
  const Scrape scrape{text_of(add_process)};
  EXPECT_GT(scrape.value("creel_process_resident_memory_bytes"), 1e6);
  EXPECT_GE(scrape.value("creel_process_cpu_seconds_total"), 0);
  EXPECT_GE(scrape.value("creel_process_open_fds"), 3);
  const auto now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_GT(scrape.value("creel_process_start_time_seconds"), now - 86'400);
  EXPECT_LT(scrape.value("creel_process_start_time_seconds"), now + 5);
}

}  // namespace
}  // namespace creel
