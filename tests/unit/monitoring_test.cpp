// Boards, rules and alerts ask for what Creel exports, and for nothing else. The table of metrics, which they are held
// to, is held to a live run by tests/e2e/metrics_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "controller/metrics/definitions.hpp"
#include "tests/support/support.hpp"

namespace creel {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kFolder = fs::path{test::source_dir()} / "monitoring";
// What a scrape adds, and the name of a histogram's bounds.
const std::set<std::string> kEverywhere{"job", "instance", "namespace", "le"};

std::string read(const fs::path& file) {
  std::stringstream text;
  text << std::ifstream{file}.rdbuf();
  return text.str();
}

std::vector<std::string> all_matches(const std::string& text, const std::string& pattern, int group = 0) {
  const std::regex expression{pattern};
  std::vector<std::string> found;
  for (std::sregex_iterator at{text.begin(), text.end(), expression}, end; at != end; ++at)
    found.push_back((*at)[static_cast<std::size_t>(group)].str());
  return found;
}

const Metric* find(const std::string& series) {
  for (const Metric& metric : kMetrics) {
    if (series == metric.name && metric.type != MetricType::histogram) return &metric;
    if (metric.type == MetricType::histogram)
      for (const char* part : {"_bucket", "_sum", "_count"})
        if (series == std::string{metric.name} + part) return &metric;
  }
  return nullptr;
}

// Values of `expr:` in a file of rules: on the line, or in the indented block after "|".
std::vector<std::string> expressions_of_rules(const fs::path& file) {
  std::vector<std::string> found;
  std::istringstream lines{read(file)};
  bool block = false;
  for (std::string line; std::getline(lines, line);) {
    const auto text = line.find_first_not_of(' ');
    if (block && text != std::string::npos && text >= 10) {
      found.back() += line.substr(text) + " ";
      continue;
    }
    block = false;
    const auto at = line.find("expr: ");
    if (at == std::string::npos) continue;
    found.push_back(line.substr(at + 6));
    if (found.back() == "|") {
      block = true;
      found.back().clear();
    }
  }
  return found;
}

std::set<std::string> recorded() {
  std::set<std::string> names;
  for (const auto& name : all_matches(read(kFolder / "rules/creel.yaml"), "record: ([a-z0-9_:]+)", 1))
    names.insert(name);
  return names;
}

// What is wrong with an expression; "" = nothing.
std::string objection(const std::string& expression, const std::set<std::string>& rules) {
  std::set<std::string> known = kEverywhere;
  std::size_t named = 0;
  const std::string selector = R"(([a-z_]*:?creel_[a-z_0-9:]*[a-z0-9]|creel_[a-z_]+)(\{[^}]*\})?)";
  const std::regex pattern{selector};
  for (std::sregex_iterator at{expression.begin(), expression.end(), pattern}, end; at != end; ++at, ++named) {
    const std::string name = (*at)[1];
    std::set<std::string> labels = kEverywhere;
    if (name.find(':') != std::string::npos) {
      if (!rules.contains(name)) return name + " is not recorded";
      // Recorded by the labels that its name begins with.
      for (const char* label : {"method", "route", "verb", "code"}) labels.insert(label);
    } else {
      const Metric* metric = find(name);
      if (metric == nullptr) return name + " is not exported";
      for (const auto& label : label_names(*metric)) labels.insert(label);
    }
    for (const auto& label : all_matches((*at)[2], R"(([a-z_]+)\s*(=~|!~|!=|=))", 1))
      if (!labels.contains(label)) return name + " has no label " + label;
    known.insert(labels.begin(), labels.end());
  }
  if (named == 0) return "it asks for nothing of Creel's";
  for (const auto& list : all_matches(expression, R"((by|on|without)\s*\(([^)]*)\))", 2))
    for (const auto& label : all_matches(list, "[a-z_]+"))
      if (!known.contains(label)) return "nothing there has a label " + label;
  return "";
}

void each_target(const json& board, const std::function<void(const json& panel, const json& target)>& call) {
  for (const auto& panel : board.at("panels"))
    if (panel.contains("targets"))
      for (const auto& target : panel["targets"]) call(panel, target);
}

TEST(Monitoring, ObjectsToWhatIsNotExported) {
  EXPECT_EQ(objection("sum by (phase) (creel_agents{job=~\"$job\"})", {}), "");
  EXPECT_EQ(objection("sum by (outcome, le) (rate(creel_reconcile_duration_seconds_bucket[5m]))", {}), "");
  EXPECT_EQ(objection("rate(creel_agent_total[5m])", {}), "creel_agent_total is not exported");
  EXPECT_NE(objection("creel_reconcile_duration_seconds", {}), "") << "a histogram has no series of its own name";
  EXPECT_NE(objection("creel_agents{state=\"ready\"}", {}), "");
  EXPECT_NE(objection("sum by (kind) (creel_agents)", {}), "");
  EXPECT_NE(objection("job:creel_nothing:rate5m > 1", {"job:creel_something:rate5m"}), "");
  EXPECT_EQ(objection("job:creel_something:rate5m > 1", {"job:creel_something:rate5m"}), "");
  EXPECT_NE(objection("up == 0", {}), "");
}

TEST(Monitoring, BoardsAskForWhatIsExported) {
  std::set<std::string> shown;
  std::size_t boards = 0;
  for (const auto& entry : fs::directory_iterator{kFolder / "dashboards"}) {
    ++boards;
    const std::string file = entry.path().filename();
    const json board = json::parse(read(entry.path()));
    EXPECT_EQ(board.at("uid").get<std::string>() + ".json", file) << "links and provisioning rely on a fixed uid";
    std::set<std::string> variables;
    for (const auto& variable : board.at("templating").at("list")) {
      variables.insert(variable.at("name").get<std::string>());
      if (variable.at("type") != "query") continue;
      EXPECT_EQ(objection(variable.at("definition"), {}), "") << file << " " << variable.at("name");
    }
    EXPECT_TRUE(variables.contains("datasource")) << file;
    std::set<int> ids;
    for (const auto& panel : board.at("panels"))
      EXPECT_TRUE(ids.insert(panel.at("id").get<int>()).second) << file << " " << panel.at("title");
    each_target(board, [&](const json& panel, const json& target) {
      const std::string expression = target.at("expr");
      const std::string where = file + ", " + panel.at("title").get<std::string>() + ": " + expression;
      EXPECT_EQ(objection(expression, {}), "") << where;
      EXPECT_EQ(target.at("datasource").at("uid"), "${datasource}") << where;
      for (const auto& range : all_matches(expression, R"(\[([^\]]*)\])", 1))
        EXPECT_EQ(range, "$__rate_interval") << where;
      for (const auto& name : all_matches(expression, R"(\$([a-z]+))", 1))
        EXPECT_TRUE(variables.contains(name)) << where << ": no variable " << name;
      for (const auto& label : all_matches(target.at("legendFormat"), R"(\{\{([a-z]+)\}\})", 1))
        EXPECT_NE(expression.find(label == "instance" ? "creel_" : label), std::string::npos) << where;
      for (const auto& name : all_matches(expression, "creel_[a-z_]+")) shown.insert(find(name)->name);
    });
  }
  EXPECT_EQ(boards, 4u);
  for (const Metric& metric : kMetrics) EXPECT_TRUE(shown.contains(metric.name)) << metric.name << " is on no board";
}

TEST(Monitoring, RulesAndAlertsAskForWhatIsExported) {
  const auto rules = recorded();
  EXPECT_EQ(rules.size(), 8u);
  for (const char* file : {"rules/creel.yaml", "alerts/creel.yaml"}) {
    const auto expressions = expressions_of_rules(kFolder / file);
    EXPECT_GE(expressions.size(), 8u) << file;
    for (const auto& expression : expressions)
      EXPECT_EQ(objection(expression, rules), "") << file << ": " << expression;
  }
}

TEST(Monitoring, EachAlertHasItsRunbookAndIsTriedBothWays) {
  const std::string alerts = read(kFolder / "alerts/creel.yaml");
  const std::string tests = read(kFolder / "alerts/tests.yaml");
  const auto names = all_matches(alerts, "alert: ([A-Za-z]+)", 1);
  EXPECT_GE(names.size(), 20u);
  std::set<std::string> pages;
  for (const auto& entry : fs::directory_iterator{kFolder / "runbooks"}) pages.insert(entry.path().stem());
  for (const auto& name : names) {
    EXPECT_EQ(pages.erase(name), 1u) << name << " has no page in runbooks/";
    EXPECT_NE(alerts.find("runbook_url: monitoring/runbooks/" + name + ".md\n"), std::string::npos) << name;
    const std::string page = read(kFolder / "runbooks" / (name + ".md"));
    for (const char* part : {"## What it means", "## Where to look", "## What to do"})
      EXPECT_NE(page.find(part), std::string::npos) << name << " " << part;
    for (const auto& link : all_matches(page, R"(\]\(([A-Za-z]+)\.md\))", 1))
      EXPECT_TRUE(fs::exists(kFolder / "runbooks" / (link + ".md"))) << name << " leads to " << link;
    for (const auto& metric : all_matches(page, "creel_[a-z_]+[a-z]")) {
      const bool histogram = find(metric + "_count") != nullptr;
      EXPECT_TRUE(find(metric) != nullptr || histogram || page.find(":" + metric) != std::string::npos)
          << name << " " << metric;
    }
    EXPECT_NE(tests.find("- name: " + name + " fires\n"), std::string::npos) << name;
    EXPECT_NE(tests.find("- name: " + name + " is quiet\n"), std::string::npos) << name;
  }
  EXPECT_THAT(pages, testing::IsEmpty()) << "runbooks of no alert";
}

}  // namespace
}  // namespace creel
