// Backoff: how long to wait after the n-th failure in a row. Pure.
#pragma once

#include "controller/core/agent.hpp"

namespace creel {

struct Policy {
  milliseconds volume_retention{7 * 24 * 3600 * 1000LL};
  milliseconds starting_poll{250};    // between readiness probes of a starting agent
  milliseconds busy_poll{1'000};      // while a pull or a removal is under way
  milliseconds unknown_poll{2'000};   // after the engine did not answer
  milliseconds foreign_poll{60'000};  // while an object of another owner stands in the way
  milliseconds backoff_min{1'000};
  milliseconds backoff_max{300'000};
  milliseconds healthy_reset{600'000};        // ready for so long: the failure count starts anew
  milliseconds config_patience{5'000};        // for an agent to say what it makes of a delivered configuration
  int config_deliveries = 3;                  // then it is left at that
  milliseconds update_settle{5'000};          // a new image must stay ready for so long
  milliseconds backup_retention{86'400'000};  // the copy of the volume before an update that worked
  milliseconds deleted_poll{3'600'000};       // longest sleep while a volume is kept
};

// 1 s, 2 s, 4 s … up to the maximum; zero without failures.
milliseconds backoff_delay(int failures, const Policy& policy);
// What is left of it at `now`; zero = try now.
milliseconds backoff_left(const History& history, const Policy& policy, TimePoint now);

}  // namespace creel
