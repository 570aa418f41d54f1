#include "api/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

namespace creel::api {
namespace {

// Fast reads to long waits, in seconds.
const prometheus::Histogram::BucketBoundaries kBuckets{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                       0.25,  0.5,    1,     2.5,  5,     10,   30};

}  // namespace

struct Metrics::Impl {
  struct Watched {
    Kind kind;
    std::string help;
    std::vector<std::pair<Labels, std::function<double()>>> series;
  };

  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests = prometheus::BuildCounter()
                                                          .Name("creel_http_requests_total")
                                                          .Help("Requests answered, by route and status.")
                                                          .Register(registry);
  prometheus::Family<prometheus::Histogram>& durations = prometheus::BuildHistogram()
                                                             .Name("creel_http_request_duration_seconds")
                                                             .Help("From the whole request to the answer's first byte.")
                                                             .Register(registry);
  mutable std::mutex mutex;
  std::map<std::string, Watched> watched;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::request_done(const std::string& method, const std::string& route, int status,
                           std::chrono::microseconds took) {
  // Add() of a family returns the series that exists; its own lock makes that safe from any thread.
  impl_->requests.Add({{"method", method}, {"route", route}, {"status", std::to_string(status)}}).Increment();
  impl_->durations.Add({{"method", method}, {"route", route}}, kBuckets)
      .Observe(std::chrono::duration<double>(took).count());
}

void Metrics::watch(Kind kind, const std::string& name, const std::string& help, Labels labels,
                    std::function<double()> read) {
  const std::lock_guard lock{impl_->mutex};
  Impl::Watched& entry = impl_->watched[name];
  entry.kind = kind;
  entry.help = help;
  entry.series.emplace_back(std::move(labels), std::move(read));
}

std::string Metrics::text() const {
  std::map<std::string, Impl::Watched> watched;
  {
    const std::lock_guard lock{impl_->mutex};
    watched = impl_->watched;  // read outside the lock: a reader may be slow
  }
  std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
  for (const auto& [name, entry] : watched) {
    prometheus::MetricFamily family;
    family.name = name;
    family.help = entry.help;
    family.type = entry.kind == Kind::counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
    for (const auto& [labels, read] : entry.series) {
      prometheus::ClientMetric metric;
      for (const auto& [key, value] : labels) metric.label.push_back({key, value});
      (entry.kind == Kind::counter ? metric.counter.value : metric.gauge.value) = read();
      family.metric.push_back(std::move(metric));
    }
    families.push_back(std::move(family));
  }
  std::ostringstream out;
  prometheus::TextSerializer{}.Serialize(out, families);
  return out.str();
}

}  // namespace creel::api
