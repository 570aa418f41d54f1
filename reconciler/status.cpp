#include "reconciler/status.hpp"

#include <algorithm>

#include "reconciler/cause.hpp"
#include "reconciler/config_feedback.hpp"
#include "reconciler/exits.hpp"
#include "reconciler/plan.hpp"
#include "reconciler/update.hpp"

namespace creel {
namespace {

struct Verdict {
  Phase phase;
  std::string message;
};

std::string with_log(std::string message, const Observed& observed) {
  return observed.last_lines.empty() ? message : message + ": " + observed.last_lines.back();
}

std::string failure_words(const History& history) { return history.last_failure_message; }

Verdict judge_absent(const DesiredAgent& desired, const Observed& observed, const History& history, const Plan& next) {
  if (desired.state == DesiredState::deleted) return {Phase::deleted, next.waiting_for};
  if (desired.state == DesiredState::stopped) return {Phase::stopped, ""};
  if (observed.image == ImageState::pulling)
    return {Phase::pulling, "pulling " + desired.spec.image + ": " + observed.image_message};
  if (observed.image == ImageState::failed)
    return {Phase::failed, "image " + desired.spec.image + " cannot be had: " + observed.image_message};
  if (history.failures > 0) return {Phase::failed, failure_words(history)};
  return {Phase::pending, next.waiting_for};
}

Verdict judge_running(const DesiredAgent& desired, const Observed& observed, const History& history, TimePoint now) {
  if (desired.state == DesiredState::stopped) return {Phase::stopping, failure_words(history)};
  if (observed.ready == true) return {Phase::ready, ""};
  if (crash_looping(observed, history, now))
    return {Phase::crash_looping, with_log(exit_words(observed, history), observed)};
  if (past_startup_budget(desired, observed, history, now) || history.last_failure_reason == "NotReady")
    return {Phase::unready, observed.last_lines.empty() && !observed.ready_message.empty()
                                ? "the gateway does not get ready: " + observed.ready_message
                                : with_log("the gateway does not get ready", observed)};
  return {Phase::starting, observed.ready_message};
}

Verdict judge(const DesiredAgent& desired, const Observed& observed, const History& history, const Plan& next,
              TimePoint now) {
  if (observed.workload_presence == Presence::absent) return judge_absent(desired, observed, history, next);
  const ObservedWorkload& workload = observed.workload;
  if (!workload.ours) return {Phase::failed, next.waiting_for};
  if (desired.state == DesiredState::deleted) return {Phase::deleting, failure_words(history)};
  switch (workload.state) {
    case ContainerState::running:
      return judge_running(desired, observed, history, now);
    case ContainerState::restarting:
      if (desired.state == DesiredState::stopped) return {Phase::stopping, ""};
      return {Phase::crash_looping, with_log(exit_words(observed, history), observed)};
    case ContainerState::paused:
      return {Phase::unready, "the container is paused"};
    case ContainerState::removing:
      return {Phase::pending, "the engine is removing the old container"};
    case ContainerState::created:
    case ContainerState::exited:
    case ContainerState::dead:
      break;
  }
  if (desired.state == DesiredState::stopped && workload.strays > 0) return {Phase::stopping, failure_words(history)};
  if (desired.state == DesiredState::stopped) return {Phase::stopped, ""};
  if (history.exits.held) return {Phase::crash_looping, with_log(exit_words(observed, history), observed)};
  if (!workload.error.empty()) return {Phase::failed, "the engine could not start it: " + workload.error};
  if (history.failures > 0) return {Phase::failed, failure_words(history)};
  if (workload.state == ContainerState::created) return {Phase::creating, ""};
  return {Phase::failed, with_log(exit_words(observed, history), observed)};
}

bool has_run(const Observed& observed) {
  return observed.workload_presence == Presence::present &&
         (observed.workload.state == ContainerState::running || observed.workload.state == ContainerState::restarting);
}

void set_condition(std::vector<Condition>& conditions, const AgentStatus& previous, std::string type,
                   std::string status, std::string reason, std::string message, TimePoint now) {
  const auto old = std::find_if(previous.conditions.begin(), previous.conditions.end(),
                                [&](const Condition& c) { return c.type == type; });
  const TimePoint since = old != previous.conditions.end() && old->status == status ? old->last_transition : now;
  conditions.push_back({std::move(type), std::move(status), std::move(reason), std::move(message), since});
}

void ready_condition(std::vector<Condition>& out, const AgentStatus& previous, const Observed& observed,
                     const Verdict& verdict, const std::string& cause, TimePoint now) {
  if (verdict.phase == Phase::ready) return set_condition(out, previous, "Ready", "True", "GatewayReady", "", now);
  if (observed.workload_presence == Presence::present && observed.workload.state == ContainerState::running &&
      !observed.ready && verdict.phase == Phase::starting)
    return set_condition(out, previous, "Ready", "Unknown", "Starting", verdict.message, now);
  set_condition(out, previous, "Ready", "False", cause.empty() ? to_string(verdict.phase) : cause, verdict.message,
                now);
}

void image_condition(std::vector<Condition>& out, const AgentStatus& previous, const Observed& observed,
                     TimePoint now) {
  switch (observed.image) {
    case ImageState::present:
      return set_condition(out, previous, "ImageAvailable", "True", "Present", "", now);
    case ImageState::pulling:
      return set_condition(out, previous, "ImageAvailable", "False", "Pulling", observed.image_message, now);
    case ImageState::absent:
      return set_condition(out, previous, "ImageAvailable", "False", "Absent", observed.image_message, now);
    case ImageState::failed:
      return set_condition(out, previous, "ImageAvailable", "False", "PullFailed", observed.image_message, now);
    case ImageState::unknown:
      return set_condition(out, previous, "ImageAvailable", "Unknown", "NotAsked", "", now);
  }
}

Seen seen_of(const Observed& observed, const History& history) {
  Seen seen;
  seen.container = observed.workload_presence == Presence::present ? to_string(observed.workload.state) : "absent";
  if (observed.storage_presence != Presence::unknown)
    seen.volume = observed.storage_presence == Presence::present ? "present" : "absent";
  seen.image = to_string(observed.image);
  seen.ready = observed.ready;
  seen.exits = history.exits.count;
  return seen;
}

}  // namespace

AgentStatus summarize(const DesiredAgent& desired, const Observed& observed, const History& history, const Plan& next,
                      const AgentStatus& previous, TimePoint now) {
  AgentStatus status = previous;
  status.conditions.clear();
  status.observed_at = now;
  status.plan = to_string(next);
  status.next_attempt = next.next_try;
  status.cause = cause_of(desired, observed, history, now);
  status.seen = {};

  if (observed.workload_presence == Presence::unknown) {
    // Nothing was observed: phase, address and generation stay as they were.
    set_condition(status.conditions, previous, "EngineReachable", "False", "NoAnswer", observed.error, now);
    set_condition(status.conditions, previous, "Ready", "Unknown", "EngineUnreachable", "", now);
    status.last_lines.clear();
    status.message = "the engine does not answer" + (observed.error.empty() ? "" : ": " + observed.error);
    return status;
  }

  status.seen = seen_of(observed, history);
  // A log that goes on while nothing else does is no news.
  const bool same = status.cause == previous.cause && status.seen == previous.seen && !previous.last_lines.empty();
  if (!same) status.last_lines = observed.last_lines;
  Verdict verdict = judge(released(desired, wanted_release(history)), observed, history, next, now);
  const UpdateStep step = history.update.step;
  const std::string updating = update_words(desired, observed, history);
  if (desired.state == DesiredState::running && step != UpdateStep::none && step != UpdateStep::pulling) {
    // What an update stops and removes has not failed; whether the new image has is for the update to say.
    if (verdict.phase != Phase::ready) verdict.phase = has_run(observed) ? Phase::starting : Phase::creating;
    verdict.message = updating;
    status.cause.clear();
  }
  if (!cause_in_agent(status.cause)) status.last_lines.clear();
  // Whoever waits for a generation must not be told of it while nothing of it is begun.
  if (!next.defers_wish) status.observed_generation = desired.generation;
  status.phase = verdict.phase;
  status.message = verdict.message;
  status.reset_done = history.reset_done;
  status.image = history.release.reference;
  status.update_done = history.update.done;
  status.update_outcome = to_string(history.update.outcome);
  status.update_reason = history.update.done == history.update.wish ? history.update.reason : "";
  status.update_step = update_waits_for_start(desired, history) ? "WaitingForStart" : to_string(step);
  status.runtime_id.clear();
  status.address.clear();
  status.pid = 0;
  status.image_id = observed.image_id;
  status.started_at.reset();
  if (observed.workload_presence == Presence::present) {
    const ObservedWorkload& workload = observed.workload;
    status.runtime_id = workload.runtime_id;
    if (workload.state == ContainerState::running) {
      status.started_at = workload.started_at;
      status.address = workload.address;
      status.pid = workload.pid;
    }
    if (!workload.image_id.empty()) status.image_id = workload.image_id;
  }
  set_condition(status.conditions, previous, "EngineReachable", "True", "Answered", "", now);
  ready_condition(status.conditions, previous, observed, verdict, status.cause, now);
  image_condition(status.conditions, previous, observed, now);
  const Condition config = config_condition(desired, history);
  if (status.message.empty() && status.cause == "ConfigRefused") status.message = config.message;
  if (status.message.empty() && next.next_try && !status.cause.empty()) status.message = failure_words(history);
  if (status.message.empty() && status.cause == "ImageUnavailable")
    status.message =
        "image " + released(desired, wanted_release(history)).spec.image + " cannot be had: " + observed.image_message;
  set_condition(status.conditions, previous, "ConfigAccepted", config.status, config.reason, config.message, now);
  const bool looping = crash_looping(observed, history, now);
  set_condition(status.conditions, previous, "CrashLooping", looping ? "True" : "False",
                looping ? loop_cause(observed, history) : "Stable",
                looping ? with_log(exit_words(observed, history), observed) : "", now);
  if (observed.fence)
    set_condition(status.conditions, previous, "Fenced", observed.fence->in_force ? "True" : "False",
                  observed.fence->reason, observed.fence->message, now);
  const bool waits = !next.waiting_for.empty() && desired.state == DesiredState::running;
  const bool progressing = step != UpdateStep::none || !next.actions.empty() || waits ||
                           verdict.phase == Phase::starting || verdict.phase == Phase::pulling ||
                           verdict.phase == Phase::pending || verdict.phase == Phase::creating;
  set_condition(status.conditions, previous, "Progressing", progressing ? "True" : "False",
                !progressing                              ? "Settled"
                : step != UpdateStep::none                ? "Updating"
                : desired.reset_wish > history.reset_done ? "ResettingMemory"
                                                          : "Reconciling",
                updating.empty() ? next.waiting_for : updating, now);
  return status;
}

}  // namespace creel
