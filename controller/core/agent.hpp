// The values everything turns around: what an agent should be (desired), what it is (observed), and what is remembered
// about it (history, status). Plain data, no I/O.
//
// Units: bytes, milliseconds, nano-cpus (1e9 = one core). Times are UTC wall clock.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/fence.hpp"
#include "controller/core/ids.hpp"

namespace creel {

enum class DesiredState { running, stopped, deleted };
const char* to_string(DesiredState state);
std::optional<DesiredState> parse_desired_state(std::string_view text);

struct Resources {
  std::int64_t memory_bytes = 0;
  std::int64_t nano_cpus = 0;
  std::int64_t pids = 256;
  bool operator==(const Resources&) const = default;
};

// Everything the runtime must know to make a workload, rendered from template and row. It holds no secret: it is
// hashed, compared and shown. A change of any field is a change of the spec hash, and so a re-creation.
struct WorkloadSpec {
  std::string image;                          // reference, e.g. "ghcr.io/openclaw/openclaw:2026.3.13"
  std::vector<std::string> entrypoint;        // empty: the image's
  std::vector<std::string> command;           // empty: the image's
  std::map<std::string, std::string> env;     // never a secret
  std::map<std::string, std::string> labels;  // for others, reverse proxies say; beside Creel's own
  std::string user;                           // "1000:1000"
  std::string working_dir;                    // "": the image's
  std::string state_dir;                      // where the agent's volume is mounted
  std::map<std::string, std::string> tmpfs;   // path -> mount options
  bool read_only_root = true;
  bool init = true;
  std::uint16_t port = 0;  // the agent's gateway port inside the container
  std::int64_t stop_grace_seconds = 10;
  std::int64_t nofile = 1024;
  Resources resources;
  // The names it may reach, sorted (egress.hpp); empty: nothing outside its network; nullopt: the internet.
  std::optional<std::vector<std::string>> egress;
  bool operator==(const WorkloadSpec&) const = default;
};

// A file Creel puts into the agent's volume. Contents may be secret: never logged, never hashed into a label.
struct VolumeFile {
  std::string path;  // relative to state_dir, no ".."
  std::string content;
  int mode = 0600;
  int uid = 1000;
  int gid = 1000;
  bool restart = false;  // the agent reads it only at start: a change needs a restart
  // A JSON object that the agent writes too: of `content`, members that the file in the volume lacks are added to it,
  // and nothing else of it is changed.
  bool merge = false;
  bool operator==(const VolumeFile&) const = default;
};

// How an agent says in its log what became of a configuration: texts of which its lines hold one. None: it does not
// say.
struct ConfigFeedback {
  std::vector<std::string> taken;    // a configuration delivered while it ran is in force
  std::vector<std::string> refused;  // a configuration is not usable; the line says why
  bool silent() const { return taken.empty() && refused.empty(); }
  bool operator==(const ConfigFeedback&) const = default;
};

// How Creel learns what the agent makes of what it was given.
struct Readiness {
  std::string path = "/readyz";
  milliseconds startup_budget{120'000};  // not ready for longer than this after start = failing
  milliseconds period{10'000};           // between probes once ready
  ConfigFeedback config;
  bool operator==(const Readiness&) const = default;
};

// The files of one rendering.
struct FileSet {
  std::vector<VolumeFile> files;
  std::string files_hash;          // keyed hash of files: says nothing about the contents
  std::string restart_files_hash;  // the same over the files that need a restart
};

// What the owner last asked for, rendered. `generation` counts the owner's wishes.
struct DesiredAgent {
  AgentId id;
  UserId owner;
  std::string name;
  std::string template_name;
  std::uint64_t generation = 0;
  DesiredState state = DesiredState::running;
  bool purge = false;  // deleted: drop the volume at once instead of after retention
  std::optional<TimePoint> deleted_at;
  std::uint64_t restart_wish = 0;         // counts "restart now" wishes
  std::uint64_t repair_wish = 0;          // counts "re-create now" wishes
  std::uint64_t reset_wish = 0;           // counts "clear the memory" wishes
  std::vector<std::string> memory_paths;  // what that clears, as Template::memory says
  std::uint64_t update_wish = 0;          // counts "take another image" wishes
  std::string update_image;               // of the newest of them, as it was asked for
  WorkloadSpec spec;
  std::string spec_hash;          // spec_hash(spec)
  std::vector<VolumeFile> files;  // these three as in FileSet
  std::string files_hash;
  std::string restart_files_hash;
  // The files the agent last took in; there until it has taken in those above.
  std::optional<FileSet> last_good;
  Readiness readiness;
};

// Which image an agent runs by: as it was asked for, and the very one that was found to work.
struct Release {
  std::string reference;  // "": the spec's
  std::string pin;        // "repository@sha256:…" or an image id; "": the reference as it stands
  bool operator==(const Release&) const = default;
};

// See reconciler/update.hpp.
enum class UpdateStep { none, pulling, backing_up, trying, rolling_back };
const char* to_string(UpdateStep step);  // "", "Pulling", "BackingUp", "Trying", "RollingBack"
std::optional<UpdateStep> parse_update_step(std::string_view text);
enum class UpdateOutcome { none, committed, rolled_back, given_up };
const char* to_string(UpdateOutcome outcome);  // "", "Committed", "RolledBack", "GivenUp"
std::optional<UpdateOutcome> parse_update_outcome(std::string_view text);

// What is remembered of an update: the one under way, or the last one.
struct Update {
  std::uint64_t wish = 0;  // its number
  UpdateStep step = UpdateStep::none;
  Release to;
  bool pull_asked = false;  // for this wish
  int failures = 0;         // of this step, in a row
  std::optional<TimePoint> last_failure;
  std::optional<TimePoint> ready_since;  // the new container
  int lapses = 0;                        // how often it stopped being ready
  std::string reason;                    // why it goes back, or ended as it did
  bool copied = false;                   // the volume as it was before is in the copy
  bool backup = false;                   // there may be a copy on the engine
  std::uint64_t done = 0;                // the last wish that came to its end, and to which
  UpdateOutcome outcome = UpdateOutcome::none;
  std::optional<TimePoint> ended_at;
  bool operator==(const Update&) const = default;
};

// Three-valued facts: a timeout is unknown, never absent.
enum class Presence { unknown, absent, present };

enum class ContainerState { created, running, restarting, paused, exited, dead, removing };
const char* to_string(ContainerState state);

// What the agent's log says about the files that were delivered last.
enum class ConfigWord { none, taken, refused };

enum class ImageState { unknown, absent, pulling, present, failed };
const char* to_string(ImageState state);

enum class PullState { none, under_way, succeeded, failed };  // none: this process has asked for none

struct ObservedImage {
  Presence presence = Presence::unknown;
  std::string id;
  std::string digest;  // "repository@sha256:…" when it came from that repository, by which it can be had again
  PullState pull = PullState::none;
  std::string message;  // progress, or why the pull failed
};

struct ObservedWorkload {
  std::string runtime_id;        // the engine's id of this very container
  bool ours = false;             // its labels name this controller and this agent
  std::string owner_label;       // controller id it names (for the message when it is not ours)
  std::string spec_hash;         // label
  std::uint64_t generation = 0;  // label
  ContainerState state = ContainerState::created;
  std::optional<TimePoint> started_at;
  std::optional<TimePoint> finished_at;
  int exit_code = 0;
  bool oom_killed = false;
  std::string error;  // the engine's own reason for a failed start
  std::int64_t restart_count = 0;
  std::string image_id;
  std::string address;       // host:port at which the controller reaches the gateway; "" = none
  std::int64_t pid = 0;      // on the engine's host; 0 = not running
  bool hardening_ok = true;  // limits and isolation are as the spec says
  int strays = 0;            // processes of it that run although the engine does not call it running
};

struct Observed {
  Presence workload_presence = Presence::unknown;
  ObservedWorkload workload;                      // meaningful when present
  Presence storage_presence = Presence::unknown;  // the volume
  bool storage_ours = false;
  ImageState image = ImageState::unknown;
  std::string image_id;
  std::string image_message;  // pull progress, or why it failed
  std::optional<bool> ready;  // the gateway's answer; nullopt = not asked or no answer known
  std::string ready_message;
  std::optional<ObservedImage> candidate;  // the image of the update under way
  std::vector<std::string> last_lines;     // of the log of a container that exited or does not get ready
  ConfigWord config_word = ConfigWord::none;
  std::string config_message;      // why it was refused, as the agent says
  std::string error;               // why presence is unknown
  bool engine_away = false;        // because the engine cannot be reached at all
  std::optional<FenceView> fence;  // nullopt: this runtime has none, or has not looked yet
  TimePoint at;
};

struct Condition {
  std::string type;    // "Ready", "EngineReachable", "CrashLooping", "ImageAvailable", "ConfigAccepted", "Progressing",
                       // "Fenced"
  std::string status;  // "True" | "False" | "Unknown"
  std::string reason;  // CamelCase word
  std::string message;  // one sentence
  TimePoint last_transition;
  bool operator==(const Condition&) const = default;
};

enum class Phase {
  pending,
  pulling,
  creating,
  starting,
  ready,
  unready,
  stopping,
  stopped,
  crash_looping,
  failed,
  deleting,
  deleted,
  unknown
};
const char* to_string(Phase phase);
std::optional<Phase> parse_phase(std::string_view text);
// The documented words: provisioning, running, stopped, error.
const char* status_word(Phase phase);

// How often the agent's process has ended by itself, in a row: since it was last healthy for long, or since the owner's
// last wish. See reconciler/exits.hpp.
struct Exits {
  int count = 0;
  std::optional<TimePoint> last;
  std::string cause;      // "Exited", "OOMKilled", "ConfigRefused"
  int code = 0;           // of the last whose exit code was seen
  std::int64_t seen = 0;  // restarts of the container `last_runtime_id` that are counted
  bool held = false;      // Creel keeps the container stopped until it is tried again
  bool operator==(const Exits&) const = default;
};

// What the reconciler remembers between passes: kept in the status row, so that a new controller goes on where the old
// one stopped.
struct History {
  std::uint64_t restart_done = 0;  // last restart wish carried out
  std::uint64_t repair_done = 0;
  std::uint64_t reset_done = 0;
  // Intent of the restart under way: wish number and the start time of the run to be ended. A run that started at
  // another time shows that the restart happened, even when its answer was lost.
  std::uint64_t restart_intent = 0;
  std::optional<TimePoint> restart_from;
  std::uint64_t repair_intent = 0;  // the same for re-creation: the container id to be replaced
  std::string repair_from;
  std::string files_delivered_to;  // runtime_id of the container whose volume holds files_hash
  std::string files_hash;
  std::string restart_files_hash;  // what the running process has read at its start
  // The delivery of files_hash: since when the agent may have spoken of it, when it was over (nullopt: unknown), how
  // often it was made, the start of the run it was made to (nullopt: no process ran), and whether Creel itself has
  // begun a run since, which has read them at its start.
  std::optional<TimePoint> delivered_at;
  std::optional<TimePoint> delivered_by;
  bool started_since = false;
  int deliveries = 0;
  bool delivered_known = false;  // what the agent makes of these files had been known before they were delivered
  std::optional<TimePoint> delivered_run;
  std::string taken_files_hash;    // of the files the agent last took in
  std::string refused_files_hash;  // of the files it refused, and why
  std::string refused_message;
  int failures = 0;  // consecutive failed actions
  std::optional<TimePoint> last_failure;
  std::string last_failure_reason;  // stable word, e.g. "ImageUnavailable"
  std::string last_failure_message;
  std::optional<TimePoint> healthy_since;
  std::optional<TimePoint> first_unready;  // when the present run was first seen not ready after having been ready
  std::int64_t last_restart_count = 0;
  std::string last_runtime_id;
  Exits exits;
  Release release;  // by which the agent runs
  Update update;
  bool operator==(const History&) const = default;
};

// What was last seen, for people.
struct Seen {
  std::string container = "unknown";  // "absent", or to_string(ContainerState)
  std::string volume = "unknown";     // "absent", "present"
  std::string image = "unknown";      // to_string(ImageState), of the image it is to run by
  std::optional<bool> ready;
  int exits = 0;  // Exits::count
  bool operator==(const Seen&) const = default;
};

struct AgentStatus {
  std::uint64_t observed_generation = 0;
  Phase phase = Phase::pending;
  std::vector<Condition> conditions;
  std::optional<TimePoint> started_at;
  std::string runtime_id;
  std::string address;  // host:port of the gateway as last observed
  std::int64_t pid = 0;
  std::string image_id;
  std::string message;  // the sentence for a person: cause of the present phase
  std::string
      cause;  // why it is not as its owner asked: a word as in Condition::reason; "" = nothing stands in the way
  std::vector<std::string> last_lines;  // of its log, when the cause lies in the agent; oldest first, without secrets
  Seen seen;
  std::string plan;  // to_string(Plan): what would be done next, and why
  std::optional<TimePoint> next_attempt;
  std::uint64_t reset_done = 0;   // the last wish to clear the memory that was carried out
  std::string image;              // reference it runs by since an update; "" = the spec's
  std::uint64_t update_done = 0;  // the last wish for another image that came to its end
  std::string update_outcome;     // and to which: "Committed", "RolledBack", "GivenUp"
  std::string update_reason;      // why
  std::string update_step;        // of the one under way; "WaitingForStart": its agent is stopped
  TimePoint observed_at;
  bool operator==(const AgentStatus&) const = default;
};

}  // namespace creel
