#include "controller/core/agent_json.hpp"

namespace creel {
namespace {

using nlohmann::json;

json time_json(const std::optional<TimePoint>& time) { return time ? json(to_rfc3339(*time)) : json(nullptr); }

std::optional<TimePoint> time_of(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::nullopt;
  return parse_rfc3339(it->get<std::string>());
}

template <class T>
void read(const json& object, const char* key, T& into) {
  if (const auto it = object.find(key); it != object.end()) it->get_to(into);
}

}  // namespace

void to_json(json& j, const Resources& v) {
  j = json{{"memoryBytes", v.memory_bytes}, {"nanoCpus", v.nano_cpus}, {"pids", v.pids}};
}
void from_json(const json& j, Resources& v) {
  read(j, "memoryBytes", v.memory_bytes);
  read(j, "nanoCpus", v.nano_cpus);
  read(j, "pids", v.pids);
}

void to_json(json& j, const WorkloadSpec& v) {
  j = json{{"image", v.image},
           {"entrypoint", v.entrypoint},
           {"command", v.command},
           {"env", v.env},
           {"user", v.user},
           {"workingDir", v.working_dir},
           {"stateDir", v.state_dir},
           {"tmpfs", v.tmpfs},
           {"readOnlyRoot", v.read_only_root},
           {"init", v.init},
           {"port", v.port},
           {"stopGraceSeconds", v.stop_grace_seconds},
           {"nofile", v.nofile},
           {"resources", v.resources}};
  // Only then: the hash of every other spec stays what it was.
  if (v.egress) j["egress"] = *v.egress;
  if (!v.labels.empty()) j["labels"] = v.labels;
}
void from_json(const json& j, WorkloadSpec& v) {
  read(j, "image", v.image);
  read(j, "entrypoint", v.entrypoint);
  read(j, "command", v.command);
  read(j, "env", v.env);
  read(j, "labels", v.labels);
  read(j, "user", v.user);
  read(j, "workingDir", v.working_dir);
  read(j, "stateDir", v.state_dir);
  read(j, "tmpfs", v.tmpfs);
  read(j, "readOnlyRoot", v.read_only_root);
  read(j, "init", v.init);
  read(j, "port", v.port);
  read(j, "stopGraceSeconds", v.stop_grace_seconds);
  read(j, "nofile", v.nofile);
  read(j, "resources", v.resources);
  if (const auto egress = j.find("egress"); egress != j.end() && !egress->is_null())
    v.egress = egress->get<std::vector<std::string>>();
}

void to_json(json& j, const VolumeFile& v) {
  j = json{{"path", v.path}, {"content", v.content}, {"mode", v.mode},
           {"uid", v.uid},   {"gid", v.gid},         {"restart", v.restart}};
  if (v.merge) j["merge"] = true;  // only then: the hash of every other file stays what it was
}
void from_json(const json& j, VolumeFile& v) {
  read(j, "path", v.path);
  read(j, "content", v.content);
  read(j, "mode", v.mode);
  read(j, "uid", v.uid);
  read(j, "gid", v.gid);
  read(j, "restart", v.restart);
  read(j, "merge", v.merge);
}

void to_json(json& j, const FileSet& v) {
  j = json{{"files", v.files}, {"filesHash", v.files_hash}, {"restartFilesHash", v.restart_files_hash}};
}
void from_json(const json& j, FileSet& v) {
  read(j, "files", v.files);
  read(j, "filesHash", v.files_hash);
  read(j, "restartFilesHash", v.restart_files_hash);
}

void to_json(json& j, const Readiness& v) {
  j = json{{"path", v.path},
           {"startupMs", v.startup_budget.count()},
           {"periodMs", v.period.count()},
           {"configTaken", v.config.taken},
           {"configRefused", v.config.refused}};
}
void from_json(const json& j, Readiness& v) {
  std::int64_t startup = v.startup_budget.count(), period = v.period.count();
  read(j, "path", v.path);
  read(j, "startupMs", startup);
  read(j, "periodMs", period);
  v.startup_budget = milliseconds{startup};
  v.period = milliseconds{period};
  read(j, "configTaken", v.config.taken);
  read(j, "configRefused", v.config.refused);
}

void to_json(json& j, const Condition& v) {
  j = json{{"type", v.type},
           {"status", v.status},
           {"reason", v.reason},
           {"message", v.message},
           {"lastTransitionTime", to_rfc3339(v.last_transition)}};
}
void from_json(const json& j, Condition& v) {
  read(j, "type", v.type);
  read(j, "status", v.status);
  read(j, "reason", v.reason);
  read(j, "message", v.message);
  v.last_transition = time_of(j, "lastTransitionTime").value_or(TimePoint{});
}

static void to_json(json& j, const Release& v) { j = json{{"reference", v.reference}, {"pin", v.pin}}; }
static void from_json(const json& j, Release& v) {
  read(j, "reference", v.reference);
  read(j, "pin", v.pin);
}

static void to_json(json& j, const Update& v) {
  j = json{{"wish", v.wish},
           {"step", to_string(v.step)},
           {"to", v.to},
           {"pullAsked", v.pull_asked},
           {"failures", v.failures},
           {"lastFailure", time_json(v.last_failure)},
           {"readySince", time_json(v.ready_since)},
           {"lapses", v.lapses},
           {"reason", v.reason},
           {"copied", v.copied},
           {"backup", v.backup},
           {"done", v.done},
           {"outcome", to_string(v.outcome)},
           {"endedAt", time_json(v.ended_at)}};
}
static void from_json(const json& j, Update& v) {
  read(j, "wish", v.wish);
  v.step = parse_update_step(j.value("step", "")).value_or(UpdateStep::none);
  read(j, "to", v.to);
  read(j, "pullAsked", v.pull_asked);
  read(j, "failures", v.failures);
  v.last_failure = time_of(j, "lastFailure");
  v.ready_since = time_of(j, "readySince");
  read(j, "lapses", v.lapses);
  read(j, "reason", v.reason);
  read(j, "copied", v.copied);
  read(j, "backup", v.backup);
  read(j, "done", v.done);
  v.outcome = parse_update_outcome(j.value("outcome", "")).value_or(UpdateOutcome::none);
  v.ended_at = time_of(j, "endedAt");
}

static void to_json(json& j, const Exits& v) {
  j = json{{"count", v.count}, {"last", time_json(v.last)}, {"cause", v.cause}, {"code", v.code}, {"seen", v.seen},
           {"held", v.held}};
}
static void from_json(const json& j, Exits& v) {
  read(j, "count", v.count);
  v.last = time_of(j, "last");
  read(j, "cause", v.cause);
  read(j, "code", v.code);
  read(j, "seen", v.seen);
  read(j, "held", v.held);
}

void to_json(json& j, const History& v) {
  j = json{{"restartDone", v.restart_done},
           {"repairDone", v.repair_done},
           {"resetDone", v.reset_done},
           {"restartIntent", v.restart_intent},
           {"restartFrom", time_json(v.restart_from)},
           {"repairIntent", v.repair_intent},
           {"repairFrom", v.repair_from},
           {"filesDeliveredTo", v.files_delivered_to},
           {"filesHash", v.files_hash},
           {"restartFilesHash", v.restart_files_hash},
           {"deliveredAt", time_json(v.delivered_at)},
           {"deliveries", v.deliveries},
           {"deliveredKnown", v.delivered_known},
           {"deliveredRun", time_json(v.delivered_run)},
           {"deliveredBy", time_json(v.delivered_by)},
           {"startedSince", v.started_since},
           {"takenFilesHash", v.taken_files_hash},
           {"refusedFilesHash", v.refused_files_hash},
           {"refusedMessage", v.refused_message},
           {"failures", v.failures},
           {"lastFailure", time_json(v.last_failure)},
           {"lastFailureReason", v.last_failure_reason},
           {"lastFailureMessage", v.last_failure_message},
           {"healthySince", time_json(v.healthy_since)},
           {"firstUnready", time_json(v.first_unready)},
           {"lastRestartCount", v.last_restart_count},
           {"lastRuntimeId", v.last_runtime_id},
           {"exits", v.exits},
           {"release", v.release},
           {"update", v.update}};
}
void from_json(const json& j, History& v) {
  read(j, "restartDone", v.restart_done);
  read(j, "repairDone", v.repair_done);
  read(j, "resetDone", v.reset_done);
  read(j, "restartIntent", v.restart_intent);
  v.restart_from = time_of(j, "restartFrom");
  read(j, "repairIntent", v.repair_intent);
  read(j, "repairFrom", v.repair_from);
  read(j, "filesDeliveredTo", v.files_delivered_to);
  read(j, "filesHash", v.files_hash);
  read(j, "restartFilesHash", v.restart_files_hash);
  v.delivered_at = time_of(j, "deliveredAt");
  read(j, "deliveries", v.deliveries);
  read(j, "deliveredKnown", v.delivered_known);
  v.delivered_run = time_of(j, "deliveredRun");
  v.delivered_by = j.contains("deliveredBy") ? time_of(j, "deliveredBy") : v.delivered_at;  // older rows have one time
  read(j, "startedSince", v.started_since);
  read(j, "takenFilesHash", v.taken_files_hash);
  read(j, "refusedFilesHash", v.refused_files_hash);
  read(j, "refusedMessage", v.refused_message);
  read(j, "failures", v.failures);
  v.last_failure = time_of(j, "lastFailure");
  read(j, "lastFailureReason", v.last_failure_reason);
  read(j, "lastFailureMessage", v.last_failure_message);
  v.healthy_since = time_of(j, "healthySince");
  v.first_unready = time_of(j, "firstUnready");
  read(j, "lastRestartCount", v.last_restart_count);
  read(j, "lastRuntimeId", v.last_runtime_id);
  read(j, "exits", v.exits);
  read(j, "release", v.release);
  read(j, "update", v.update);
}

static void to_json(json& j, const Seen& v) {
  j = json{{"container", v.container},
           {"volume", v.volume},
           {"image", v.image},
           {"ready", v.ready ? json(*v.ready) : json(nullptr)},
           {"exits", v.exits}};
}
static void from_json(const json& j, Seen& v) {
  read(j, "container", v.container);
  read(j, "volume", v.volume);
  read(j, "image", v.image);
  if (const auto ready = j.find("ready"); ready != j.end() && !ready->is_null()) v.ready = ready->get<bool>();
  read(j, "exits", v.exits);
}

void to_json(json& j, const AgentStatus& v) {
  j = json{{"observedGeneration", v.observed_generation},
           {"phase", to_string(v.phase)},
           {"conditions", v.conditions},
           {"startedAt", time_json(v.started_at)},
           {"runtimeId", v.runtime_id},
           {"address", v.address},
           {"pid", v.pid},
           {"imageId", v.image_id},
           {"message", v.message},
           {"cause", v.cause},
           {"lastLines", v.last_lines},
           {"seen", v.seen},
           {"plan", v.plan},
           {"nextAttempt", time_json(v.next_attempt)},
           {"resetDone", v.reset_done},
           {"image", v.image},
           {"updateDone", v.update_done},
           {"updateOutcome", v.update_outcome},
           {"updateReason", v.update_reason},
           {"updateStep", v.update_step},
           {"observedAt", to_rfc3339(v.observed_at)}};
}
void from_json(const json& j, AgentStatus& v) {
  read(j, "observedGeneration", v.observed_generation);
  v.phase = parse_phase(j.value("phase", "Pending")).value_or(Phase::unknown);
  read(j, "conditions", v.conditions);
  v.started_at = time_of(j, "startedAt");
  read(j, "runtimeId", v.runtime_id);
  read(j, "address", v.address);
  read(j, "pid", v.pid);
  read(j, "imageId", v.image_id);
  read(j, "message", v.message);
  read(j, "cause", v.cause);
  read(j, "lastLines", v.last_lines);
  read(j, "seen", v.seen);
  read(j, "plan", v.plan);
  v.next_attempt = time_of(j, "nextAttempt");
  read(j, "resetDone", v.reset_done);
  read(j, "image", v.image);
  read(j, "updateDone", v.update_done);
  read(j, "updateOutcome", v.update_outcome);
  read(j, "updateReason", v.update_reason);
  read(j, "updateStep", v.update_step);
  v.observed_at = time_of(j, "observedAt").value_or(TimePoint{});
}

static void to_json(json& j, const Orphan& v) {
  j = json{{"kind", v.kind},
           {"name", v.name},
           {"id", v.id},
           {"agent", v.agent},
           {"cause", v.cause},
           {"message", v.message},
           {"problem", v.problem},
           {"firstSeen", to_rfc3339(v.first_seen)},
           {"lastSeen", to_rfc3339(v.last_seen)},
           {"removeAt", time_json(v.remove_at)}};
}
static void from_json(const json& j, Orphan& v) {
  read(j, "kind", v.kind);
  read(j, "name", v.name);
  read(j, "id", v.id);
  read(j, "agent", v.agent);
  read(j, "cause", v.cause);
  read(j, "message", v.message);
  read(j, "problem", v.problem);
  v.first_seen = time_of(j, "firstSeen").value_or(TimePoint{});
  v.last_seen = time_of(j, "lastSeen").value_or(TimePoint{});
  v.remove_at = time_of(j, "removeAt");
}

void to_json(json& j, const OrphanReport& v) {
  j = json{{"lookedAt", time_json(v.looked_at)},
           {"problem", v.problem},
           {"mode", to_string(v.mode)},
           {"graceMs", v.grace.count()},
           {"volumeGraceMs", v.volume_grace.count()},
           {"orphans", v.orphans}};
}
void from_json(const json& j, OrphanReport& v) {
  v.looked_at = time_of(j, "lookedAt");
  read(j, "problem", v.problem);
  v.mode = parse_orphan_mode(j.at("mode").get<std::string>()).value_or(OrphanMode::report);
  v.grace = milliseconds{j.at("graceMs").get<std::int64_t>()};
  v.volume_grace = milliseconds{j.at("volumeGraceMs").get<std::int64_t>()};
  read(j, "orphans", v.orphans);
}

}  // namespace creel
