#include "reconciler/cause.hpp"

#include "reconciler/plan.hpp"

namespace creel {
namespace {

// A run older than this has left its crashes behind.
constexpr milliseconds kSettled{30'000};

bool config_refused(const DesiredAgent& desired, const History& history) {
  return !desired.files_hash.empty() && history.refused_files_hash == desired.files_hash;
}

}  // namespace

bool crash_looping(const Observed& observed, const History& history, TimePoint now) {
  const ObservedWorkload& workload = observed.workload;
  if (observed.workload_presence != Presence::present) return false;
  if (workload.state == ContainerState::restarting || history.exits.held) return true;
  const bool young =
      workload.state == ContainerState::running && workload.started_at && now - *workload.started_at < kSettled;
  const bool again = history.exits.count >= 2 || (workload.runtime_id == history.last_runtime_id &&
                                                  workload.restart_count >= history.last_restart_count + 2);
  return young && again;
}

std::string loop_cause(const Observed& observed, const History& history) {
  if (!history.exits.cause.empty()) return history.exits.cause;
  return observed.workload.oom_killed ? "OOMKilled" : "Exited";
}

std::string cause_of(const DesiredAgent& desired, const Observed& observed, const History& history, TimePoint now) {
  if (observed.workload_presence == Presence::unknown) return "EngineUnreachable";
  const bool present = observed.workload_presence == Presence::present;
  const ObservedWorkload& workload = observed.workload;
  if (present && !workload.ours) return "NameTaken";
  const std::string failure = history.failures > 0 ? history.last_failure_reason : "";
  if (desired.state != DesiredState::running) {
    const bool ended = workload.state == ContainerState::exited || workload.state == ContainerState::created;
    const bool done = desired.state == DesiredState::stopped && (!present || (ended && workload.strays == 0));
    return done ? "" : failure;
  }
  const bool running = present && workload.state == ContainerState::running;
  if (running && observed.ready == true) {
    if (observed.image == ImageState::failed) return "ImageUnavailable";  // of the container that is to replace it
    if (config_refused(desired, history)) return "ConfigRefused";
    // It runs, but not with all that was wished, and what was tried for that failed.
    const bool owed = history.files_delivered_to != workload.runtime_id || history.files_hash != desired.files_hash ||
                      desired.restart_wish > history.restart_done || desired.repair_wish > history.repair_done;
    return owed ? failure : "";
  }
  if (crash_looping(observed, history, now)) return loop_cause(observed, history);
  if (!running && observed.image == ImageState::failed) return "ImageUnavailable";
  if (present && !workload.error.empty() && !running) return "StartFailed";
  if (running && config_refused(desired, history)) return "ConfigRefused";
  if (running && past_startup_budget(desired, observed, history, now)) return "NotReady";
  if (!failure.empty()) return failure;
  if (present && workload.state == ContainerState::exited) return loop_cause(observed, history);
  return config_refused(desired, history) ? "ConfigRefused" : "";
}

bool cause_in_agent(const std::string& cause) {
  return cause == "Exited" || cause == "OOMKilled" || cause == "NotReady" || cause == "ConfigRefused";
}

}  // namespace creel
