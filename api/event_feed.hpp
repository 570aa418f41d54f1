// EventFeed: the events table as a live stream, for any number of readers on one thread.
//
// Each reader has a place, the id of the last event it was sent. Those at the end of the table share one read of what
// is new; the others (they gave an older id, or were slow) read on by themselves, a page at a time and in turn, until
// they have caught up. A reader whose buffer is full is passed over until it is empty, so it holds up nobody; the
// server cuts one that takes nothing for too long, and it goes on from its last id when it comes back. Nothing is kept
// in memory.
//
// notify() (a notification of PostgreSQL) is a hint: without it events come one poll period later.
//
// Threads: every method from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "api/http.hpp"
#include "controller/core/ids.hpp"
#include "controller/store/pg.hpp"

namespace creel::api {

class EventFeed {
 public:
  // Which events a reader gets; without either, all.
  struct Scope {
    std::optional<AgentId> agent;
    std::optional<UserId> owner;
  };

  EventFeed(store::Database& database, std::size_t max_readers,
            std::chrono::milliseconds poll = std::chrono::milliseconds{2'000});
  ~EventFeed();  // stop()
  EventFeed(const EventFeed&) = delete;
  EventFeed& operator=(const EventFeed&) = delete;

  // Events with ids above `after`; nullopt: those that come from now on. False: there are max_readers already.
  bool follow(std::shared_ptr<StreamSink> sink, Scope scope, std::optional<std::int64_t> after);
  bool full() const;
  std::size_t readers() const;
  void notify();
  // Closes every stream.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::api
