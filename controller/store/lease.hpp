// Lease: at most one controller of an id reconciles at a time. A row (controller id, holder, term, expiry by the
// database's clock) in PostgreSQL; the term grows with every taking and never goes back.
//
// Renewed every `renew` by a thread and a connection of its own, so that a busy pool cannot cost the lease. Whoever
// does not hold it looks every `poll`: after a crash the next one leads within ttl + poll. held() judges by the time
// since boot (the wall clock may jump, and a monotonic one stands still while the machine sleeps), counted from before
// the last successful renewal was sent: it turns false by itself when PostgreSQL is away for `ttl`, at the latest when
// another controller may take it. Writes are fenced besides by the term: of the row in AgentRepository::record, of the
// engine in EngineOptions::term.
//
// Threads: all methods from any thread; the callbacks run on the lease's thread, one at a time, gain and loss in turn,
// and must not call stop(). Times: milliseconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct LeaseOptions {
  std::chrono::milliseconds ttl{10'000};
  std::chrono::milliseconds renew{3'000};
  std::chrono::milliseconds poll{1'000};
};

class Lease {
 public:
  using Gained = std::function<void(std::uint64_t term)>;
  using Lost = std::function<void()>;

  // Starts trying at once. An unreachable PostgreSQL is not an error: it is tried again.
  Lease(std::string conninfo, std::string controller_id, Gained gained, Lost lost, LeaseOptions options = {});
  ~Lease();  // stop()
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  bool held() const;
  // Of the present or last holding; 0 = never held.
  std::uint64_t term() const;
  // Gives the lease back, so that the next controller takes it within its `poll`; calls `lost` if it was held.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The steps by themselves; `holder` is unique to a process.
// Term when taken (free, expired, or this holder's own), nullopt while another holds it.
Result<std::optional<std::uint64_t>> acquire_lease(Tx& tx, const std::string& controller_id, const std::string& holder,
                                                   std::chrono::milliseconds ttl);
// False: lost.
Result<bool> renew_lease(Tx& tx, const std::string& controller_id, const std::string& holder, std::uint64_t term,
                         std::chrono::milliseconds ttl);
Result<void> release_lease(Tx& tx, const std::string& controller_id, const std::string& holder, std::uint64_t term);
// conflict unless `term` is the present one; until commit nobody can take the lease, but it can be renewed.
Result<void> check_term(Tx& tx, const std::string& controller_id, std::uint64_t term);

}  // namespace creel::store
