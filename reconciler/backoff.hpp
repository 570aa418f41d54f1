// Backoff: how long to wait after the n-th failure in a row, by what failed. Pure.
#pragma once

#include <string>

#include "controller/core/agent.hpp"

namespace creel {

// Doubles from `first` up to `most`. `free`: so many ends of a process in a row are left to the engine's own short
// waits.
struct BackoffRule {
  milliseconds first;
  milliseconds most;
  int free;
  constexpr BackoffRule(std::int64_t first_ms, std::int64_t most_ms, int free_ends = 0)
      : first(first_ms), most(most_ms), free(free_ends) {}
};

struct Policy {
  milliseconds volume_retention{7 * 24 * 3600 * 1000LL};
  milliseconds starting_poll{250};    // between readiness probes of a starting agent
  milliseconds busy_poll{1'000};      // while a pull or a removal is under way
  milliseconds unknown_poll{2'000};   // after the engine did not answer
  milliseconds away_poll{300'000};    // while it cannot be reached: its events tell when it is back, or the resync
  milliseconds foreign_poll{60'000};  // while an object of another owner stands in the way
  BackoffRule actions{1'000, 300'000};
  BackoffRule engine{1'000, 60'000};       // it did not answer: nobody's fault here, and it comes back
  BackoffRule image{2'000, 300'000};       // registries count the askings
  BackoffRule not_ready{10'000, 600'000};  // restarts of what does not get ready, beside its start-up budget
  BackoffRule exited{10'000, 300'000, 5};
  BackoffRule oom_killed{30'000, 600'000, 2};  // each try takes memory away from the host's others
  BackoffRule refused{60'000, 900'000, 3};     // only another configuration helps, and that is tried at once
  milliseconds healthy_reset{600'000};         // ready for so long: the counts start anew
  milliseconds config_patience{5'000};         // for an agent to say what it makes of a delivered configuration
  int config_deliveries = 3;                   // then it is left at that
  milliseconds update_settle{5'000};           // a new image must stay ready for so long
  milliseconds backup_retention{86'400'000};   // the copy of the volume before an update that worked
  milliseconds deleted_poll{3'600'000};        // longest sleep while a volume is kept
};

// Of History::last_failure_reason, or Exits::cause.
const BackoffRule& backoff_rule(const std::string& reason, const Policy& policy);
// Zero without failures.
milliseconds backoff_delay(int failures, const BackoffRule& rule);
// What is left at `now` of a wait of `delay` since `from`; zero = it is over.
milliseconds left_of(milliseconds delay, TimePoint from, TimePoint now);
// What is left of it after History::failures; zero = try now.
milliseconds backoff_left(const History& history, const Policy& policy, TimePoint now);

}  // namespace creel
