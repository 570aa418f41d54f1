#include "controller/metrics/definitions.hpp"

#include <sstream>

namespace creel {

const char* to_string(MetricType type) {
  switch (type) {
    case MetricType::counter:
      return "counter";
    case MetricType::gauge:
      return "gauge";
    case MetricType::histogram:
      return "histogram";
  }
  return "untyped";
}

std::vector<std::string> label_names(const Metric& metric) {
  std::istringstream words{metric.labels};
  std::vector<std::string> names;
  for (std::string name; words >> name;) names.push_back(std::move(name));
  return names;
}

std::string metrics_table() {
  std::string table = "| name | type | labels | by | meaning |\n|---|---|---|---|---|\n";
  for (const Metric& metric : kMetrics) {
    std::string labels;
    for (const auto& name : label_names(metric)) labels += (labels.empty() ? "`" : ", `") + name + "`";
    table += "| `" + std::string{metric.name} + "` | " + to_string(metric.type) + " | " + labels + " | " +
             (metric.by == ExportedBy::each ? "each" : "leader") + " | " + metric.help + " |\n";
  }
  return table;
}

}  // namespace creel
