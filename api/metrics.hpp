// Metrics: what GET /metrics shows, in the text format of Prometheus. Sole includer of prometheus-cpp (metrics.cpp).
//
// The API counts its own requests; every other part offers numbers by watch(), read when somebody scrapes. Names follow
// Prometheus: seconds, bytes, `_total` on counters. No label holds an agent, a user or an address: cardinality is
// bounded.
//
// Threads: every method from any thread. A watched function is called on a handler thread and must not block.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace creel::api {

class Metrics {
 public:
  enum class Kind { gauge, counter };
  using Labels = std::map<std::string, std::string>;

  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // `route` is the pattern ("/api/agents/:id"), never the path.
  void request_done(const std::string& method, const std::string& route, int status, std::chrono::microseconds took);
  // One number, read at each scrape.
  void watch(Kind kind, const std::string& name, const std::string& help, Labels labels, std::function<double()> read);
  std::string text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::api
