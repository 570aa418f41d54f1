// Owners and what runs for them: the wishes as the API would write them into the rows, the processes inside the
// containers, and the data these have written, so that none of it can be lost unnoticed.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "reconciler/runtime/sim/sim_runtime.hpp"
#include "tests/sim/script.hpp"
#include "tests/support/memory_repository.hpp"

namespace creel::sim {

// In every file that an agent is given, and in no place where it may be seen.
inline constexpr const char* kSecret = "SECRET-0123456789abcdef";
inline constexpr const char* kConfig = "config.json";  // read again when it changes
inline constexpr const char* kKey = "key.json";        // read at start
inline constexpr const char* kNotes = "notes/";        // the memory
inline constexpr const char* kWork = "work/";          // data that no wish but a deletion takes away

inline constexpr const char* kFirstImage = "agent:1";
inline constexpr const char* kExiting = "agent:exiting";
inline constexpr const char* kUnready = "agent:unready";
inline constexpr const char* kMissing = "agent:missing";

// Something an agent has written into its volume.
struct Token {
  std::string path;
  TimePoint at;
  bool firm = true;  // false: by an image on trial, so that a roll-back takes it away
};

struct Owner {
  int slot = 0;
  std::optional<TimePoint> restart_wished;
  std::optional<TimePoint> repair_wished;
  std::optional<TimePoint> reset_wished;
  std::vector<VolumeFile> former;  // a good configuration before the present one
  std::vector<Token> written;
  std::uint64_t copied_for = 0;      // the update whose copy of the volume was made
  bool storage_removed = false;      // rightly
  bool gone = false;                 // a status or the store has said that it is deleted
  bool late_call = false;            // of a leader that had been paused within it
  std::uint64_t restarted_for = 0;   // the last wish for which the engine has restarted it
  std::uint64_t restarting_for = 0;  // the one for which it is being told to; 0 = for its health
  TimePoint run_to_end;
  // The process:
  std::string container;
  int starts = 0;
  std::string read_config;
  std::string read_key;
  std::optional<TimePoint> exits_at;
  std::optional<TimePoint> rereads_at;
  TimePoint writes_at;
};

class Owners {
 public:
  Owners(SimRuntime& engine, test::MemoryRepository& store) : engine_(engine), store_(store) {}

  // The agent that was changed; nullopt: there was nothing to wish (no such agent, or one already).
  std::optional<AgentId> wish(What what, int slot, TimePoint now);
  // What the processes do by now, and when they will do something next.
  void run_processes(TimePoint now);
  std::optional<TimePoint> next_deed() const;
  // The row says how an update went on.
  void update_recorded(const AgentId& id, UpdateStep before, UpdateStep now);

  Owner& of(const AgentId& id) { return owners_.at(id); }
  std::map<AgentId, Owner>& all() { return owners_; }
  std::optional<AgentId> agent_of(int slot) const;

 private:
  AgentId provision(int slot);
  void configure(DesiredAgent& desired, bool good);
  void begin_run(Owner& owner, const AgentId& id, const SimRuntime::Container& container);
  void print(const AgentId& id, const std::string& text, TimePoint now);
  void write(const AgentId& id, Owner& owner, TimePoint now);

  SimRuntime& engine_;
  test::MemoryRepository& store_;
  std::map<AgentId, Owner> owners_;
  std::map<int, AgentId> newest_;
  int serial_ = 0;
};

}  // namespace creel::sim
