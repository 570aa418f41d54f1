// Orphans: containers and volumes that carry this controller's labels though no agent is there for them. They come from
// an engine that carries a create out long after it was given up, a crash between two steps, a database that was
// restored or replaced, or from people. Each is reported (an event, GET /api/admin/orphans), and removed once it has
// been an orphan throughout its grace period, as far as OrphanPolicy::mode goes.
//
// What is not taken for proof: a listing that failed or was not whole, an agent whose row could not be read, a look
// after a long time without one. Since when each has been an orphan is kept in memory, by term of the lease: a new
// leader begins to count anew, which errs on the safe side. What has a name that Creel does not give (made by hand, of
// an image that inherited the labels) is reported, never removed. Another controller's objects are not even listed.
//
// Data: the volume of an agent that the database knows to have been deleted was kept for its retention before its row
// went (plan.hpp). One of an agent that the database has never heard of may be the last copy of what a restored or
// wrong database has lost: only OrphanMode::all removes it, after the retention of volumes at the earliest.
#pragma once

#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "controller/core/orphans.hpp"
#include "reconciler/runtime/runtime.hpp"

namespace creel {

struct OrphanPolicy {
  OrphanMode mode = OrphanMode::deleted;
  milliseconds grace{3'600'000};
  milliseconds volume_retention{7 * 24 * 3600 * 1000LL};  // see above; never less than grace
  milliseconds period{300'000};                           // between looks; three of them without one begin anew
};

// What is known of them from the looks before; by kind and id, so that another container of a name is another orphan.
struct Sighting {
  Orphan orphan;
  bool told = false;  // its event was written
};
using Sightings = std::map<std::string, Sighting>;

struct OrphanRemoval {
  std::string key;  // in Sightings
  AgentId agent;
  Fate fate = Fate::unknown;  // by which it was decided
  Operation operation;
};

struct OrphanLook {
  Sightings sightings;
  std::vector<Event> events;            // of those that a second look confirmed
  std::vector<OrphanRemoval> removals;  // in this order: containers before the volumes they use
};

// Pure. `objects`: a whole listing, taken before `fates` were read (a row is there before its container).
OrphanLook look_for_orphans(const std::vector<OwnObject>& objects, const std::map<AgentId, Fate>& fates,
                            const Sightings& before, const OrphanPolicy& policy, TimePoint now);

// The search: looks, removes what is due, and stores what it found. Threads: one.
class OrphanSearch {
 public:
  struct Deps {
    Runtime& runtime;
    OrphanStore& store;
    Clock clock;
    OrphanPolicy policy;
    // The lease's term while this process may act, nullopt otherwise; asked again before every removal.
    std::function<std::optional<std::uint64_t>()> term;
  };
  explicit OrphanSearch(Deps deps);
  // One look. Does nothing without the lease.
  void pass(std::stop_token stop);

 private:
  // False: this look is over.
  bool remove(const OrphanRemoval& removal, std::stop_token stop);
  bool note(const std::optional<OrphanReport>& report, const std::vector<Event>& events);

  Deps deps_;
  std::uint64_t term_ = 0;  // under which the sightings were made
  Sightings sightings_;
  std::optional<TimePoint> looked_at_;
};

}  // namespace creel
