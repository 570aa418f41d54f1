// Chats: the messages that this process is bringing to agents, so that none is forgotten when the process dies. The
// store holds each as pending for a while; pass(), made again and again, moves that time on for those still held here,
// and fails what another process has left behind.
//
// Threads: every method from any thread; pass() blocks on PostgreSQL.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "controller/store/pg.hpp"

namespace creel::api {

class Chats {
 public:
  using Hold = std::shared_ptr<void>;

  // `hold`: how long a message stays pending when nobody moves its time on; pass() is to be made three times as often.
  explicit Chats(store::Database& db, std::chrono::milliseconds hold = std::chrono::milliseconds{30'000});
  Chats(const Chats&) = delete;
  Chats& operator=(const Chats&) = delete;

  std::chrono::milliseconds hold() const { return hold_; }
  // The message counts as being brought as long as anybody has the Hold; it may outlive this object.
  Hold keep(std::int64_t message);
  void pass();

 private:
  struct UnderWay;
  store::Database& db_;
  const std::chrono::milliseconds hold_;
  const std::shared_ptr<UnderWay> under_way_;
};

}  // namespace creel::api
