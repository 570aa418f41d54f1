// Orphans: what carries this controller's labels on the engine though no agent is there for it. Values, and the port by
// which the search for them (reconciler/orphans.hpp) meets the store.
//
// Times are UTC wall clock.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/ports.hpp"
#include "controller/core/result.hpp"

namespace creel {

// What is done with them once their grace period is over.
enum class OrphanMode {
  report,   // nothing is removed
  deleted,  // what belongs to agents that this database knows to have been deleted
  all,      // that, and what belongs to agents it has never heard of
};
const char* to_string(OrphanMode mode);
std::optional<OrphanMode> parse_orphan_mode(std::string_view text);

// What the store knows of an agent's id.
enum class Fate { unknown, live, deleted };

struct Orphan {
  std::string kind;      // "container", "helper container", "volume", "backup volume"
  std::string name;      // on the engine
  std::string id;        // of a container, the engine's; else the name
  std::string agent;     // its label, as it stands
  std::string cause;     // "AgentDeleted", "AgentUnknown", "NameNotGiven"
  std::string message;   // one sentence: why it is one, and what will become of it
  std::string problem;   // why it could not be removed, "" if it was not tried
  TimePoint first_seen;  // since when every look has shown it, without an agent
  TimePoint last_seen;
  std::optional<TimePoint> remove_at;  // nullopt: it is kept
  bool operator==(const Orphan&) const = default;
};

// The outcome of the last look.
struct OrphanReport {
  std::optional<TimePoint> looked_at;  // the last that was complete
  std::string problem;                 // why the one after it was not, "" if it was
  OrphanMode mode = OrphanMode::report;
  milliseconds grace{0};
  milliseconds volume_grace{0};  // of volumes of agents that the database has never heard of
  std::vector<Orphan> orphans;
  bool operator==(const OrphanReport&) const = default;
};

class OrphanStore {
 public:
  virtual ~OrphanStore() = default;
  // Of each of them; whichever controller runs the agent. An id that is missing in the answer could not be read.
  virtual Result<std::map<AgentId, Fate>> fates(const std::vector<AgentId>& ids) = 0;
  // `report`: in place of the last one, nullopt leaves that. conflict: `term` is outdated, and nothing is written.
  virtual Result<void> note(const std::optional<OrphanReport>& report, const std::vector<Event>& events,
                            std::uint64_t term) = 0;
};

}  // namespace creel
