// A real Prometheus scrapes a live Creel, loads the rules and alerts, and answers every query of the boards; an alert
// fires for what has really happened.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <thread>
#include <tuple>

#include "controller/core/clock.hpp"
#include "controller/metrics/definitions.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using Steady = std::chrono::steady_clock;

const std::string kMonitoring = test::source_dir() + "/monitoring";

// Debian's prometheus on a port of its own, in a folder that goes with this object.
class Prometheus {
 public:
  Prometheus(std::string folder, const std::string& target) : folder_(std::move(folder)) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    std::ofstream{folder_ + "/prometheus.yml"}
        << "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        << "rule_files: [" << kMonitoring << "/rules/creel.yaml, " << kMonitoring << "/alerts/creel.yaml]\n"
        << "scrape_configs:\n  - job_name: creel\n    static_configs: [{targets: [\"" << target << "\"]}]\n";
    process_ = fork();
    if (process_ == 0) {
      std::ignore = freopen((folder_ + "/log").c_str(), "w", stderr);
      const std::string config = "--config.file=" + folder_ + "/prometheus.yml";
      const std::string data = "--storage.tsdb.path=" + folder_ + "/data";
      const std::string listen = "--web.listen-address=" + kAddress;
      execlp("prometheus", "prometheus", config.c_str(), data.c_str(), listen.c_str(), nullptr);
      _exit(127);
    }
  }
  ~Prometheus() {
    kill(process_, SIGTERM);
    waitpid(process_, nullptr, 0);
    fs::remove_all(folder_);
  }
  Prometheus(const Prometheus&) = delete;
  Prometheus& operator=(const Prometheus&) = delete;

  json get(const std::string& path) {
    http::Request request;
    request.url = "http://" + kAddress + path;
    const auto answer = client_.send(std::move(request));
    return answer ? json::parse(answer->body, nullptr, false) : json(json::value_t::discarded);
  }
  std::string url() const { return "http://" + kAddress; }
  json query(const std::string& expression) { return get("/api/v1/query?query=" + http::url_encode(expression)); }
  std::string log() const {
    std::stringstream text;
    text << std::ifstream{folder_ + "/log"}.rdbuf();
    return text.str();
  }

 private:
  const std::string kAddress = "127.0.0.1:" + std::to_string(20'000 + getpid() % 10'000);
  const std::string folder_;
  http::Client client_;
  pid_t process_ = -1;
};

class MonitoringLive : public testing::Test {
 protected:
  void SetUp() override {
    creel.set("CREEL_STATS_SECONDS", "1");
    creel.start();
    key = creel.user("owner@example.com", "enterprise");
    const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}});
    ASSERT_EQ(made.status, 201) << made.text << creel.log();
    ASSERT_EQ(creel.call("POST", "/api/chat", key, {{"message", "hello"}}).status, 200);
    prometheus.emplace(required_env("CREEL_TEST_WORK") + "/prometheus", creel.url().substr(7));
  }

  // Until the query has an answer that is not empty.
  json answered(const std::string& expression) {
    const auto until = Steady::now() + 90s;
    for (;;) {
      const json answer = prometheus->query(expression);
      const bool some = answer.is_object() && answer["status"] == "success" && !answer["data"]["result"].empty();
      if (some || Steady::now() > until) {
        EXPECT_TRUE(some) << expression << answer << prometheus->log();
        return answer;
      }
      std::this_thread::sleep_for(100ms);  // polls another process
    }
  }

  CreelProcess creel;
  std::string key;
  std::optional<Prometheus> prometheus;
};

std::string filled_in(std::string expression) {
  const std::pair<const char*, const char*> values[] = {{"$__rate_interval", "30s"}, {"$job", ".+"}, {"$agent", ".+"}};
  for (const auto& [name, value] : values)
    for (auto at = expression.find(name); at != std::string::npos; at = expression.find(name))
      expression.replace(at, std::string{name}.size(), value);
  return expression;
}

TEST_F(MonitoringLive, AnswersWhatTheBoardsAskAndLoadsTheRules) {
  answered("sum(creel_agents{phase=\"Ready\"}) == 1");
  answered("rate(creel_http_requests_total[30s])");
  answered("creel_agent_network_receive_bytes_total");
  answered("creel_stats_round_duration_seconds");
  answered("job:creel_http_requests:rate5m");
  // Rules and alerts were taken, and are evaluated.
  const json rules = prometheus->get("/api/v1/rules");
  std::size_t recorded = 0, alerts = 0;
  for (const auto& group : rules.at("data").at("groups"))
    for (const auto& rule : group.at("rules")) {
      ++(rule.at("type") == "alerting" ? alerts : recorded);
      EXPECT_NE(rule.at("health"), "err") << rule;
    }
  EXPECT_EQ(recorded, 8u);
  EXPECT_GE(alerts, 20u);

  // Each metric that a board names is there, with each label that it is asked for by.
  std::map<std::string, std::set<std::string>> labels;
  const json exported = prometheus->get("/api/v1/series?match[]=" + http::url_encode("{job=\"creel\"}"));
  for (const auto& series : exported.at("data"))
    for (const auto& [name, value] : series.items()) labels[series.at("__name__")].insert(name);
  std::size_t queries = 0, empty = 0;
  for (const auto& entry : fs::directory_iterator{kMonitoring + "/dashboards"}) {
    std::ifstream file{entry.path()};
    const json board = json::parse(file);
    for (const auto& panel : board.at("panels")) {
      for (const auto& target : panel.value("targets", json::array())) {
        const std::string expression = target.at("expr");
        const json answer = prometheus->query(filled_in(expression));
        EXPECT_EQ(answer.value("status", ""), "success") << entry.path() << " " << expression << answer;
        ++queries;
        empty += answer["data"]["result"].empty() ? 1 : 0;
        const std::regex selector{R"((creel_[a-z_]+)(\{[^}]*\})?)"};
        for (std::sregex_iterator at{expression.begin(), expression.end(), selector}, end; at != end; ++at) {
          const std::string name = (*at)[1], inside = (*at)[2];
          ASSERT_TRUE(labels.contains(name)) << name << " is not exported: " << expression;
          const std::regex label{R"(([a-z_]+)\s*(=~|!~|!=|=))"};
          for (std::sregex_iterator l{inside.begin(), inside.end(), label}; l != end; ++l)
            EXPECT_TRUE(labels.at(name).contains((*l)[1])) << name << " has no label " << (*l)[1];
        }
      }
    }
  }
  EXPECT_GE(queries, 60u);
  std::printf("boards: %zu queries, %zu of them without an answer (nothing of the kind has happened)\n", queries,
              empty);
  EXPECT_LT(empty, queries / 3);
}

// render.py with these arguments: its exit status, and what it said.
std::pair<int, std::string> render(const std::string& arguments) {
  FILE* pipe = popen(("python3 " + kMonitoring + "/render.py " + arguments + " 2>&1").c_str(), "r");
  std::string said;
  char piece[512];
  while (pipe != nullptr && std::fgets(piece, sizeof piece, pipe) != nullptr) said += piece;
  const int status = pipe != nullptr ? pclose(pipe) : -1;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, said};
}

TEST_F(MonitoringLive, EachPanelIsShownWithoutAGrafanaAndHasWhatHasHappened) {
  // What may be empty: nothing of the kind has happened.
  const std::set<std::string> quiet{"Server errors by route", "What stands in the way", "Failed", "Time of a pull"};
  const std::string id = creel.call("GET", "/api/agents/provision", key).json["agents"][0]["id"];
  const std::string ready = "creel_agent_phase{agent=\"" + id + "\", phase=\"Ready\"} == 1";
  const std::map<std::string, std::string> values{{"Agents", "1"},  {"Leaders", "1"},         {"PostgreSQL", "up"},
                                                  {"Engine", "up"}, {"Fence in force", "no"}, {"Phase", "Ready"}};
  // Counters must be known before they grow, or rate() has nothing to compare with.
  answered("sum(creel_chats_total) == 1 and sum(creel_actions_total{kind=\"start\", outcome=\"ok\"}) == 1");
  ASSERT_EQ(creel.call("POST", "/api/chat", key, {{"message", "again"}}).status, 200);
  ASSERT_EQ(creel.engine().call("DELETE", "/containers/creel-" + id + "?force=true").status, 204);
  answered("sum(creel_chats_total) == 2 and sum(creel_actions_total{kind=\"start\", outcome=\"ok\"}) == 2");
  answered(ready);
  ASSERT_EQ(creel.call("POST", "/api/instance/" + id + "/restart", key).status, 200);
  answered("sum(creel_agent_restarts_total) > 0");
  answered(ready);
  // What is known of the run before says nothing: a run has numbers once it was sampled, and rates a few scrapes later.
  const auto of_this_run = [&](const Answer& a) {
    const json begun = creel.call("GET", "/api/agents/" + id, key).json["agent"]["startedAt"];
    const json sampled = a.json["stats"]["sampledAt"];
    return begun.is_string() && sampled.is_string() && sampled > begun;
  };
  ASSERT_TRUE(of_this_run(creel.until("/api/agents/" + id + "/stats", key, of_this_run))) << creel.log();
  const auto known = std::chrono::duration_cast<std::chrono::seconds>(system_now().time_since_epoch()) + 4s;
  answered("timestamp(creel_agent_cpu_seconds_total{agent=\"" + id + "\"}) > " + std::to_string(known.count()));

  const std::string out = required_env("CREEL_TEST_WORK") + "/boards-" + creel.controller();
  const auto [status, said] = render("--prometheus " + prometheus->url() + " --scrape-interval 1s --from -5m --out " +
                                     out + " " + kMonitoring + "/dashboards/*.json");
  ASSERT_EQ(status, 0) << said;
  std::size_t boards = 0;
  for (const auto& entry : fs::directory_iterator{kMonitoring + "/dashboards"}) {
    std::ifstream file{entry.path()};
    const json board = json::parse(file);
    std::stringstream text;
    text << std::ifstream{out + "/" + board.at("uid").get<std::string>() + ".html"}.rdbuf();
    const std::string page = text.str();
    ++boards;
    for (const auto& panel : board.at("panels")) {
      const std::string title = panel.at("title"), where = board.at("title").get<std::string>() + ", " + title;
      if (panel.at("type") == "row") {
        EXPECT_NE(page.find("<h2>" + title + "</h2>"), std::string::npos) << where;
        continue;
      }
      const std::string id_of_panel = "id=\"panel-" + std::to_string(panel.at("id").get<int>()) + "\"";
      const auto begin = page.find(id_of_panel);
      ASSERT_NE(begin, std::string::npos) << where;
      const std::string shown = page.substr(begin, page.find("</section>", begin) - begin);
      EXPECT_NE(shown.find("<h3>" + title + "</h3>"), std::string::npos) << where;
      const bool empty = shown.find("data-series=\"0\"") != std::string::npos;
      EXPECT_EQ(empty, shown.find("<p class=\"none\">no data</p>") != std::string::npos) << where;
      EXPECT_TRUE(!empty || quiet.contains(title)) << where << shown;
      if (panel.at("type") == "stat" && values.contains(title)) {
        EXPECT_THAT(shown, HasSubstr("<p class=\"value\">" + values.at(title) + "</p>")) << where;
      }
    }
  }
  EXPECT_EQ(boards, 4u);
  fs::remove_all(out);
}

TEST_F(MonitoringLive, ABoardThatCannotBeShownIsNamedWithTheReason) {
  answered("creel_leader == 1");
  const std::string folder = required_env("CREEL_TEST_WORK") + "/no-boards-" + creel.controller();
  fs::create_directories(folder);
  const std::string board = folder + "/board.json", fleet = kMonitoring + "/dashboards/creel-fleet.json";
  const auto refused = [&](const std::string& content, const std::string& arguments) {
    std::ofstream{board} << content;
    const auto [status, said] = render("--out " + folder + " " + arguments);
    EXPECT_EQ(status, 1) << said;
    return said;
  };
  const std::string live = "--prometheus " + prometheus->url() + " ";
  EXPECT_THAT(refused("", "--prometheus http://127.0.0.1:1 " + fleet),
              HasSubstr("no Prometheus at http://127.0.0.1:1: "));
  EXPECT_THAT(refused("", "--prometheus " + creel.url() + " " + fleet), HasSubstr(creel.url() + " refuses it: "));
  EXPECT_THAT(refused("{\"uid\": \"a\"}", live + board),
              HasSubstr(board + ": not as in a board for Prometheus: it has no 'title'"));
  EXPECT_THAT(refused("uid: a", live + board), HasSubstr(board + " cannot be read as a board: "));
  EXPECT_THAT(refused("", live + "--variable agnet=x " + fleet), HasSubstr("--variable agnet: no board has it"));
  EXPECT_THAT(refused("", live + "--from -15minutes " + fleet), HasSubstr("'15minutes' is not a time"));
  const json broken = {{"uid", "a"},
                       {"title", "A"},
                       {"panels",
                        {{{"id", 1},
                          {"type", "stat"},
                          {"title", "Broken"},
                          {"gridPos", {{"x", 0}, {"y", 0}, {"w", 4}, {"h", 4}}},
                          {"targets", {{{"expr", "sum(creel_agents"}}}}}}}};
  EXPECT_THAT(
      refused(broken.dump(), live + board),
      AllOf(HasSubstr(board + ", panel 'Broken', query sum(creel_agents: "), HasSubstr("unclosed left parenthesis")));
  fs::remove_all(folder);
}

TEST_F(MonitoringLive, FiresAnAlertForWhatHasHappened) {
  answered("creel_leader == 1");
  EXPECT_TRUE(prometheus->query("ALERTS{alertstate=\"firing\"}")["data"]["result"].empty());
  creel.stop();
  // "for" is five minutes; that it is pending at once is what a live run shows, tests.yaml shows the rest.
  answered("ALERTS{alertname=\"CreelAbsent\", alertstate=\"pending\"}");
}

}  // namespace
}  // namespace creel::test
