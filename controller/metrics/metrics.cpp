#include "controller/metrics/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <mutex>
#include <shared_mutex>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace creel {
namespace {

// Fast reads to long waits for a model, in seconds.
const prometheus::Histogram::BucketBoundaries kBuckets{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                       1,     2.5,    5,     10,   30,    60,   120, 300};

// As the metric's definition names them.
std::vector<std::pair<std::string, std::string>> labelled(const Metric& metric, const Metrics::Values& values) {
  const auto names = label_names(metric);
  if (names.size() != values.size())
    throw std::logic_error(std::string{metric.name} + " has the labels \"" + metric.labels + "\"");
  std::vector<std::pair<std::string, std::string>> labels;
  for (std::size_t i = 0; i < names.size(); ++i) labels.emplace_back(names[i], values[i]);
  return labels;
}

void expect_type(const Metric& metric, bool is_so) {
  if (!is_so) throw std::logic_error(std::string{metric.name} + " is a " + to_string(metric.type));
}

prometheus::Labels as_map(std::vector<std::pair<std::string, std::string>> labels) {
  return {std::make_move_iterator(labels.begin()), std::make_move_iterator(labels.end())};
}

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  mutable std::mutex mutex;
  // Under mutex.
  std::map<const Metric*, prometheus::Family<prometheus::Counter>*> counters;
  std::map<const Metric*, prometheus::Family<prometheus::Histogram>*> histograms;
  mutable std::shared_mutex collecting;  // held while collectors are called
  std::vector<Collector> collectors;     // under collecting

  // The series of a family, made at its first use.
  prometheus::Counter& counter(const Metric& metric, const Values& values) {
    expect_type(metric, metric.type == MetricType::counter);
    auto labels = as_map(labelled(metric, values));
    const std::lock_guard lock{mutex};
    auto& family = counters[&metric];
    if (family == nullptr) family = &prometheus::BuildCounter().Name(metric.name).Help(metric.help).Register(registry);
    return family->Add(labels);
  }
  prometheus::Histogram& histogram(const Metric& metric, const Values& values) {
    expect_type(metric, metric.type == MetricType::histogram);
    auto labels = as_map(labelled(metric, values));
    const std::lock_guard lock{mutex};
    auto& family = histograms[&metric];
    if (family == nullptr)
      family = &prometheus::BuildHistogram().Name(metric.name).Help(metric.help).Register(registry);
    return family->Add(labels, kBuckets);
  }
};

void Metrics::Page::add(MetricName metric, Values labels, double value) {
  expect_type(*metric, metric->type != MetricType::histogram);
  series_.push_back({&*metric, std::move(labels), value});
}

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::count(MetricName metric, const Values& labels, double by) {
  impl_->counter(*metric, labels).Increment(by);
}

void Metrics::observe(MetricName metric, const Values& labels, std::chrono::duration<double> took) {
  impl_->histogram(*metric, labels).Observe(took.count());
}

void Metrics::expect(MetricName metric, const Values& labels) { impl_->histogram(*metric, labels); }

void Metrics::collect(Collector collector) {
  const std::lock_guard lock{impl_->collecting};
  impl_->collectors.push_back(std::move(collector));
}

void Metrics::stop_collecting() {
  const std::lock_guard lock{impl_->collecting};
  impl_->collectors.clear();
}

std::string Metrics::text() const {
  Page page;
  {
    const std::shared_lock lock{impl_->collecting};
    for (const auto& collector : impl_->collectors) collector(page);
  }
  std::map<std::string, prometheus::MetricFamily> families;
  for (auto& family : impl_->registry.Collect()) {
    const std::string name = family.name;
    families.emplace(name, std::move(family));
  }
  for (const auto& series : page.series_) {
    const bool counter = series.metric->type == MetricType::counter;
    auto& family = families[series.metric->name];
    family.name = series.metric->name;
    family.help = series.metric->help;
    family.type = counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
    prometheus::ClientMetric metric;
    for (const auto& [name, value] : as_map(labelled(*series.metric, series.labels)))
      metric.label.push_back({name, value});
    (counter ? metric.counter.value : metric.gauge.value) = series.value;
    family.metric.push_back(std::move(metric));
  }
  std::vector<prometheus::MetricFamily> sorted;
  for (auto& [name, family] : families) sorted.push_back(std::move(family));
  std::ostringstream out;
  prometheus::TextSerializer{}.Serialize(out, sorted);
  return out.str();
}

}  // namespace creel
