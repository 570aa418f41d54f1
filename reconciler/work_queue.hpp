// WorkQueue: which agent is looked at next. Holds keys only, never state, so that a key added ten times is worked once
// and the worker sees the newest row.
//
// A key is with at most one worker at a time: added again meanwhile, it comes back after done(). Wishes go before
// resyncs, but a resync that has waited longer than `kHeadStart` overtakes newer wishes, so nothing starves. Threads:
// all methods from any thread. Times: milliseconds on the clock passed in.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <unordered_map>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"

namespace creel {

enum class Priority { wish, resync };

class WorkQueue {
 public:
  static constexpr milliseconds kHeadStart{2'000};

  // `now` must never go backwards (a steady clock, or the simulation's).
  explicit WorkQueue(std::function<milliseconds()> now);

  void add(const AgentId& key, Priority priority);
  // The earliest wins when a key is delayed twice; add() overrides any delay.
  void add_after(const AgentId& key, milliseconds delay);
  // Blocks until a key is due or stop is asked for (nullopt). The caller owes done(key).
  std::optional<AgentId> pop(std::stop_token stop);
  // As pop, without waiting.
  std::optional<AgentId> try_pop();
  void done(const AgentId& key);
  // Drops everything that waits (leadership was lost).
  void clear();

  std::size_t depth() const;        // keys that are due or will be
  milliseconds oldest_age() const;  // how long the longest-waiting due key has been due; 0 when none
  struct Load {
    std::size_t due = 0;
    std::size_t delayed = 0;
    milliseconds oldest_age{0};
  };
  Load load() const;
  std::optional<milliseconds> next_due() const;  // clock time of the next key, for the simulation

 private:
  struct Entry {
    milliseconds due{0};    // not before
    milliseconds order{0};  // among those due, smallest first
  };
  void put(const AgentId& key, Entry entry);
  std::optional<AgentId> take_locked();

  std::function<milliseconds()> now_;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::unordered_map<AgentId, Entry> waiting_;
  std::set<std::pair<milliseconds, AgentId>> by_due_;          // not yet due
  std::set<std::pair<milliseconds, AgentId>> by_order_;        // due
  std::unordered_map<AgentId, std::optional<Entry>> working_;  // with a worker; what was added meanwhile
};

}  // namespace creel
