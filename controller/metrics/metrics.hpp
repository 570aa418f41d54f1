// Metrics: what GET /metrics shows, in the text format of Prometheus. Sole includer of prometheus-cpp (metrics.cpp).
//
// Parts count what happens (count, observe), or offer what they hold by collect(), read when somebody scrapes.
//
// Threads: every method from any thread. A collector is called on the scraper's thread and must not block on anything
// that may be away: the last that was known is told, or nothing. Wrong labels are a bug and throw std::logic_error.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controller/metrics/definitions.hpp"

namespace creel {

class Metrics {
 public:
  using Values = std::vector<std::string>;  // of the metric's labels, in their order

  // What collectors write on: gauges, and counters that are kept elsewhere.
  class Page {
   public:
    void add(MetricName metric, double value) { add(metric, {}, value); }
    void add(MetricName metric, Values labels, double value);

   private:
    friend class Metrics;
    struct Series {
      const Metric* metric;
      Values labels;
      double value;
    };
    std::vector<Series> series_;
  };
  using Collector = std::function<void(Page&)>;

  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Of a counter. By 0 it makes the series, so that its first increment is seen as one.
  void count(MetricName metric, const Values& labels, double by = 1);
  // Of a histogram of seconds.
  void observe(MetricName metric, const Values& labels, std::chrono::duration<double> took);
  // Makes the series of a histogram, without an observation.
  void expect(MetricName metric, const Values& labels);
  void collect(Collector collector);
  // No collector is called any more; waits for a scrape under way.
  void stop_collecting();

  std::string text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel
