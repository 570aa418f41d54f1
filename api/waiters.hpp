// Waiters: requests that wait until an agent's row satisfies a predicate ("is it running?"), holding no thread.
//
// Woken by notify(agent id), which controller/app.cpp connects to the store's channel creel_status; the row is then
// read again on the handler pool, once for all who wait for that agent. A notification is a hint: rows are also read
// every two seconds while somebody waits, so a lost one costs two seconds and never the answer.
//
// Threads: every method from any thread. `done` is called exactly once, on a pool thread (on the caller's when
// stopped).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/pool.hpp"
#include "api/timer.hpp"
#include "controller/core/result.hpp"
#include "controller/store/agents.hpp"

namespace creel::api {

struct WaitOutcome {
  bool satisfied = false;              // false: the deadline passed, or the server is stopping
  std::optional<store::AgentRow> row;  // as last read; nullopt: there is no such row any more
  std::optional<Error> error;          // the row could not be read at the end, or the server is stopping (cancelled)
};

class Waiters {
 public:
  using Row = std::optional<store::AgentRow>;
  using Read = std::function<Result<Row>(const AgentId&)>;

  // `read` blocks on PostgreSQL and is called on the pool.
  Waiters(Read read, Post post, Timer& timer, std::chrono::milliseconds recheck = std::chrono::milliseconds{2'000});
  ~Waiters();  // stop()
  Waiters(const Waiters&) = delete;
  Waiters& operator=(const Waiters&) = delete;

  // The row is read at once and then at every wake-up. A row that cannot be read does not end the wait.
  void wait(const AgentId& agent, std::chrono::milliseconds longest, std::function<bool(const Row&)> satisfied,
            std::function<void(WaitOutcome)> done);
  // That agent's status changed; "" = anything may have changed.
  void notify(const std::string& agent_id);
  // How many requests wait now.
  std::size_t waiting() const;
  // Ends every wait unsatisfied, now and from now on: the server drains.
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace creel::api
