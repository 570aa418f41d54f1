#include "reconciler/plan.hpp"

#include <algorithm>

#include "reconciler/config_feedback.hpp"
#include "reconciler/exits.hpp"
#include "reconciler/plan_parts.hpp"
#include "reconciler/update.hpp"

namespace creel {

bool has_process(const Observed& observed) {
  if (observed.workload_presence != Presence::present) return false;
  const ContainerState state = observed.workload.state;
  return state == ContainerState::running || state == ContainerState::restarting || state == ContainerState::paused;
}

Plan wait(std::string reason, milliseconds poll) {
  Plan out;
  out.waiting_for = std::move(reason);
  out.requeue_after = poll;
  return out;
}

Plan wait_until(std::string reason, milliseconds left, TimePoint now) {
  Plan out = wait(std::move(reason), left);
  out.next_try = now + left;
  return out;
}

Plan unless_backing_off(const History& history, const Policy& policy, TimePoint now, std::vector<Action> actions) {
  if (const milliseconds left = backoff_left(history, policy, now); left > milliseconds{0})
    return wait_until("backing off after " + std::to_string(history.failures) +
                          (history.failures == 1 ? " failure" : " failures") + " (" + history.last_failure_reason + ")",
                      left, now);
  Plan out;
  out.actions = std::move(actions);
  return out;
}

void append(std::vector<Action>& actions, Plan more, Why why) {
  for (Action& action : more.actions) actions.push_back({std::move(action.operation), why, std::move(action.cause)});
}

namespace {

// A delivery that takes longer is not known to have been carried out at its beginning.
constexpr milliseconds kSwiftDelivery{2'000};
// Failed starts after which a container is made anew.
constexpr int kStartsOfOneContainer = 3;
// And restarts of one that does not get ready.
constexpr int kRestartsOfOneContainer = 1;

bool restart_pending(const DesiredAgent& desired, const History& history) {
  return desired.restart_wish > history.restart_done;
}
bool repair_pending(const DesiredAgent& desired, const History& history) {
  return desired.repair_wish > history.repair_done;
}
bool reset_pending(const DesiredAgent& desired, const History& history) {
  return desired.reset_wish > history.reset_done;
}
op::CreateWorkload create_op(const DesiredAgent& desired) {
  return {desired.id, desired.spec, desired.spec_hash, desired.generation, desired.files};
}

Plan plan_deleted(const DesiredAgent& desired, const Observed& observed, const History& history, const Policy& policy,
                  TimePoint now) {
  Plan out;
  if (observed.workload_presence == Presence::present) {
    if (observed.workload.state == ContainerState::removing)
      return wait("the engine is removing the container", policy.busy_poll);
    out.actions.push_back(
        {op::RemoveWorkload{desired.id, observed.workload.runtime_id, desired.spec.stop_grace_seconds}, Why::deleted,
         "the agent is deleted"});
    return out;
  }
  if (observed.storage_presence == Presence::unknown)
    return wait("the engine to say whether the volume exists", policy.unknown_poll);
  // A roll-back that was under way may have left the data in the copy alone.
  const bool foreign = observed.storage_presence == Presence::present && !observed.storage_ours;
  if ((observed.storage_presence == Presence::present && !foreign) || history.update.backup) {
    const TimePoint until = desired.deleted_at.value_or(now) + policy.volume_retention;
    if (!desired.purge && now < until)
      return wait("the volume is kept until " + to_rfc3339(until),
                  std::min<milliseconds>(until - now, policy.deleted_poll));
    const std::string cause = desired.purge ? "purge was asked for" : "retention has passed";
    if (foreign)
      out.actions.push_back({op::RemoveBackup{desired.id}, Why::deleted, cause});
    else
      out.actions.push_back({op::RemoveStorage{desired.id}, Why::deleted, cause});
    return out;
  }
  out.forget = true;
  return out;
}

Plan plan_stopped(const DesiredAgent& desired, const Observed& observed, const History& history, const Policy& policy,
                  TimePoint now) {
  if (observed.workload_presence == Presence::absent) return {};
  switch (observed.workload.state) {
    case ContainerState::running:
    case ContainerState::restarting:
    case ContainerState::paused:
      return unless_backing_off(
          history, policy, now,
          {{op::StopWorkload{desired.id, observed.workload.runtime_id, desired.spec.stop_grace_seconds}, Why::stop,
            std::string{"stop is wanted and the container is "} + to_string(observed.workload.state)}});
    case ContainerState::removing:
      return wait("the engine is removing the container", policy.busy_poll);
    case ContainerState::created:
    case ContainerState::exited:
    case ContainerState::dead:
      if (observed.workload.strays > 0)
        return unless_backing_off(
            history, policy, now,
            {{op::StopWorkload{desired.id, observed.workload.runtime_id, desired.spec.stop_grace_seconds}, Why::strays,
              "processes of it run on without the engine"}});
      return {};
  }
  return {};
}

// Pull what is missing before anything is created, and before a running container is given up for its successor.
std::optional<Plan> image_missing(const DesiredAgent& desired, const Observed& observed, const History& history,
                                  const Policy& policy, TimePoint now) {
  switch (observed.image) {
    case ImageState::present:
      return std::nullopt;
    case ImageState::pulling:
      return wait("image " + desired.spec.image + ": " + observed.image_message, policy.busy_poll);
    case ImageState::unknown:
      return wait("the engine to say whether the image is there", policy.unknown_poll);
    case ImageState::absent:
    case ImageState::failed:
      return unless_backing_off(
          history, policy, now,
          {{op::PullImage{desired.spec.image}, Why::image_missing, "image " + desired.spec.image + " is not there"}});
  }
  return std::nullopt;
}

// Nothing keeps an agent with an egress list from the host's own listeners but the fence.
std::optional<Plan> fence_missing(const DesiredAgent& desired, const Observed& observed, const Policy& policy) {
  if (!desired.spec.egress || !observed.fence || observed.fence->in_force) return std::nullopt;
  const bool passing = observed.fence->reason == "EngineUnreachable";
  return wait("the fence, without which its egress list is not kept: " + observed.fence->message,
              passing ? policy.unknown_poll : policy.foreign_poll);
}

Plan plan_create(const DesiredAgent& desired, const Observed& observed, const History& history, const Policy& policy,
                 TimePoint now, Why why, const std::string& cause, int alternative = 0) {
  if (auto missing = image_missing(desired, observed, history, policy, now)) return std::move(*missing);
  if (auto missing = fence_missing(desired, observed, policy)) return std::move(*missing);
  std::vector<Action> actions;
  if (observed.workload_presence == Presence::present)
    actions.push_back(
        {op::RemoveWorkload{desired.id, observed.workload.runtime_id, desired.spec.stop_grace_seconds}, why, cause});
  op::CreateWorkload create = create_op(desired);
  create.alternative = alternative;
  actions.push_back({std::move(create), why, cause});
  actions.push_back({op::StartWorkload{desired.id, ""}, why, "running is wanted"});
  // A wish of the owner that has not failed yet is never delayed by the failures of something else.
  if (observed.image == ImageState::present &&
      (history.last_failure_reason == "ImageUnavailable" || history.last_failure_reason == "ImageAskedForAgain")) {
    Plan out;
    out.actions = std::move(actions);
    return out;
  }
  return unless_backing_off(history, policy, now, std::move(actions));
}

op::DeliverFiles delivery(const DesiredAgent& desired, const ObservedWorkload& workload) {
  return {desired.id, workload.runtime_id, desired.spec.state_dir, desired.spec.user, desired.files};
}

Plan plan_running_container(const DesiredAgent& desired, const Observed& observed, const History& history,
                            const Policy& policy, TimePoint now) {
  const ObservedWorkload& workload = observed.workload;
  const bool wish = restart_pending(desired, history);
  const bool stale_files = history.restart_files_hash != desired.restart_files_hash;
  const op::RestartWorkload restart{desired.id, workload.runtime_id, desired.spec.stop_grace_seconds};
  Plan out;
  if (const milliseconds left = word_awaited(desired, observed, history, policy, now); left > milliseconds{0}) {
    out = wait("the agent to say what it makes of the configuration before", std::min(left, policy.busy_poll));
    out.defers_wish = true;
    return out;
  }
  if (history.files_delivered_to != workload.runtime_id || history.files_hash != desired.files_hash)
    out.actions.push_back({delivery(desired, workload), Why::config_changed, "the configuration changed"});
  if (workload.state == ContainerState::paused) {
    out.actions.push_back({restart, Why::paused, "the container is paused"});
    return unless_backing_off(history, policy, now, std::move(out.actions));
  }
  if (wish || stale_files) {
    out.actions.push_back({restart, wish ? Why::restart : Why::config_changed,
                           wish ? "a restart was asked for" : "a file that is read only at start changed"});
    return unless_backing_off(history, policy, now, std::move(out.actions));
  }
  if (!out.actions.empty()) return unless_backing_off(history, policy, now, std::move(out.actions));
  if (observed.ready == true) {
    out.requeue_after = desired.readiness.period;
    if (const auto left = redelivery_in(desired, observed, history, policy, now)) {
      if (left->count() == 0) {
        out.actions.push_back({delivery(desired, workload), Why::config_changed,
                               "the agent has not said that it took its configuration in"});
        return unless_backing_off(history, policy, now, std::move(out.actions));
      }
      out.requeue_after = std::min({desired.readiness.period, policy.busy_poll, *left});
    }
    return out;
  }
  if (workload.address.empty()) return wait("the gateway has no address to be asked at", policy.busy_poll);
  if (!past_startup_budget(desired, observed, history, now))
    return wait(
        "the gateway to get ready" + (observed.ready_message.empty() ? "" : " (" + observed.ready_message + ")"),
        policy.starting_poll);
  // An engine that was killed may leave an address in use that it then gives to others: only another network helps.
  if (history.last_failure_reason == "NotReady" &&
      history.failures % (kRestartsOfOneContainer + 1) == kRestartsOfOneContainer)
    return plan_create(desired, observed, history, policy, now, Why::not_ready,
                       "the gateway did not get ready after a restart either",
                       1 + history.failures / (kRestartsOfOneContainer + 1));
  out.actions.push_back({restart, Why::not_ready,
                         "the gateway was not ready within its start-up budget of " +
                             std::to_string(desired.readiness.startup_budget.count() / 1000) + " s"});
  return unless_backing_off(history, policy, now, std::move(out.actions));
}

Plan plan_running(const DesiredAgent& desired, const Observed& observed, const History& history,
                  const Capabilities& capabilities, const Policy& policy, TimePoint now) {
  if (observed.workload_presence == Presence::absent)
    return plan_create(desired, observed, history, policy, now,
                       history.last_runtime_id.empty() ? Why::created : Why::gone, "no container exists");
  const ObservedWorkload& workload = observed.workload;
  if (workload.state == ContainerState::removing) return wait("the engine is removing the container", policy.busy_poll);
  if (workload.spec_hash != desired.spec_hash)
    return plan_create(desired, observed, history, policy, now, Why::spec_changed,
                       "the spec changed (container has " + workload.spec_hash + ", wanted " + desired.spec_hash + ")");
  if (!workload.hardening_ok)
    return plan_create(desired, observed, history, policy, now, Why::altered,
                       "limits or isolation of the container were altered");
  if (repair_pending(desired, history))
    return plan_create(desired, observed, history, policy, now, Why::repair, "a repair was asked for");
  const auto held_back = [&] {
    const auto left = exits_left(desired, history, policy, now);
    return capabilities.restarts_exited && left && left->count() > 0 && !restart_pending(desired, history);
  };
  const Action hold{op::StopWorkload{desired.id, workload.runtime_id, desired.spec.stop_grace_seconds}, Why::exiting,
                    "the agent ends again and again (" + history.exits.cause + "), so it is tried less often"};
  switch (workload.state) {
    case ContainerState::dead:
      return plan_create(desired, observed, history, policy, now, Why::dead, "the engine calls the container dead");
    case ContainerState::restarting:
      if (held_back()) return unless_backing_off(history, policy, now, {hold});
      if (capabilities.restarts_exited && history.files_delivered_to == workload.runtime_id &&
          history.files_hash == desired.files_hash && !restart_pending(desired, history))
        return wait("the engine to restart the process that exited with code " + std::to_string(workload.exit_code),
                    policy.busy_poll);
      return plan_running_container(desired, observed, history, policy, now);
    case ContainerState::running:
      // The engine was faster: a run that has just begun is not worth more than one that is about to.
      if (observed.ready != true && held_back()) return unless_backing_off(history, policy, now, {hold});
      return plan_running_container(desired, observed, history, policy, now);
    case ContainerState::paused:
      return plan_running_container(desired, observed, history, policy, now);
    case ContainerState::created:
    case ContainerState::exited: {
      if (const auto left = exits_left(desired, history, policy, now); history.exits.held && left && left->count() > 0)
        return wait_until("the next try after the agent ended " + std::to_string(history.exits.count) +
                              " times in a row (" + history.exits.cause + ")",
                          *left, now);
      // An engine that was killed may refuse to start a container for good (its old task "already exists").
      if (history.last_failure_reason == "StartFailed" && history.failures % kStartsOfOneContainer == 0)
        return plan_create(desired, observed, history, policy, now, Why::start_failed,
                           "it could not be started " + std::to_string(kStartsOfOneContainer) + " times");
      if (auto missing = fence_missing(desired, observed, policy)) return std::move(*missing);
      std::vector<Action> actions;
      if (history.files_delivered_to != workload.runtime_id || history.files_hash != desired.files_hash)
        actions.push_back(
            {delivery(desired, workload), Why::config_changed, "the configuration was not delivered yet"});
      actions.push_back(
          {op::StartWorkload{desired.id, workload.runtime_id}, Why::not_running,
           workload.state == ContainerState::created
               ? "running is wanted and the container was not started yet"
               : "running is wanted and the container exited with code " + std::to_string(workload.exit_code)});
      return unless_backing_off(history, policy, now, std::move(actions));
    }
    case ContainerState::removing:
      break;
  }
  return {};
}

// Stops, clears, and goes on with whatever is wanted then.
Plan plan_reset(const DesiredAgent& desired, const Observed& observed, const History& history,
                const Capabilities& capabilities, const Policy& policy, TimePoint now) {
  const ObservedWorkload& workload = observed.workload;
  const bool present = observed.workload_presence == Presence::present;
  if (present && workload.state == ContainerState::removing)
    return wait("the engine is removing the container", policy.busy_poll);
  if (observed.storage_presence == Presence::unknown)
    return wait("the engine to say whether the volume exists", policy.unknown_poll);
  if (auto missing = image_missing(desired, observed, history, policy, now)) return std::move(*missing);
  const std::string cause = "clearing the memory was asked for";
  std::vector<Action> actions;
  Observed then = observed;
  if (has_process(observed)) {
    actions.push_back(
        {op::StopWorkload{desired.id, workload.runtime_id, desired.spec.stop_grace_seconds}, Why::reset, cause});
    then.workload.state = ContainerState::exited;
  }
  actions.push_back({op::ClearStorage{desired.id, desired.spec.image, desired.memory_paths}, Why::reset, cause});
  History cleared = history;
  cleared.reset_done = desired.reset_wish;
  append(actions, plan_wanted(desired, then, cleared, capabilities, policy, now), Why::reset);
  return unless_backing_off(history, policy, now, std::move(actions));
}

}  // namespace

Plan plan_wanted(const DesiredAgent& desired, const Observed& observed, const History& history,
                 const Capabilities& capabilities, const Policy& policy, TimePoint now) {
  return desired.state == DesiredState::stopped ? plan_stopped(desired, observed, history, policy, now)
                                                : plan_running(desired, observed, history, capabilities, policy, now);
}

bool past_startup_budget(const DesiredAgent& desired, const Observed& observed, const History& history, TimePoint now) {
  if (observed.workload.state != ContainerState::running || !observed.workload.started_at) return false;
  // The budget runs from the start of this run, or from when a run that had been ready stopped being so.
  TimePoint since = *observed.workload.started_at;
  if (history.first_unready) since = std::max(since, *history.first_unready);
  return now - since > desired.readiness.startup_budget;
}

Plan plan(const DesiredAgent& desired, const Observed& observed, const History& history,
          const Capabilities& capabilities, const Policy& policy, TimePoint now) {
  if (observed.workload_presence == Presence::unknown)
    return wait("the engine does not answer" + (observed.error.empty() ? "" : " (" + observed.error + ")"),
                observed.engine_away ? policy.away_poll : policy.unknown_poll);
  if (observed.workload_presence == Presence::present && !observed.workload.ours)
    return wait("a container of this name belongs to " + (observed.workload.owner_label.empty()
                                                              ? "nobody Creel knows"
                                                              : "controller " + observed.workload.owner_label),
                policy.foreign_poll);
  if (desired.state == DesiredState::deleted) return plan_deleted(desired, observed, history, policy, now);
  const UpdateStep step = history.update.step;
  if (step != UpdateStep::none && step != UpdateStep::pulling)
    return plan_update(desired, observed, history, capabilities, policy, now);
  const DesiredAgent wish = released(desired, history.release);
  return with_update(reset_pending(desired, history) ? plan_reset(wish, observed, history, capabilities, policy, now)
                                                     : plan_wanted(wish, observed, history, capabilities, policy, now),
                     desired, observed, history, policy, now);
}

namespace {

History learn_run(const DesiredAgent& desired, const Observed& observed, History history, const Policy& policy,
                  TimePoint now) {
  // Without a volume there is no memory, unless a copy is about to be put back.
  const bool may_go_back = history.update.step != UpdateStep::none && history.update.step != UpdateStep::pulling;
  if (observed.storage_presence == Presence::absent && observed.workload_presence == Presence::absent && !may_go_back)
    history.reset_done = desired.reset_wish;
  if (observed.workload_presence != Presence::present || !observed.workload.ours) {
    if (observed.workload_presence == Presence::absent) {
      // A repair whose container is gone has done its first half; creating is what remains anyway.
      if (repair_pending(desired, history) && history.repair_intent == desired.repair_wish)
        history.repair_done = desired.repair_wish;
      history.restart_done = desired.restart_wish;  // the container to come is a fresh run
      history.healthy_since.reset();
      history.first_unready.reset();
    }
    return history;
  }
  const ObservedWorkload& workload = observed.workload;
  if (workload.runtime_id != history.last_runtime_id) {
    history.last_runtime_id = workload.runtime_id;
    history.last_restart_count = workload.restart_count;
    history.exits.seen = workload.restart_count;
    history.exits.held = false;
  }
  if (repair_pending(desired, history) && history.repair_intent == desired.repair_wish &&
      history.repair_from != workload.runtime_id)
    history.repair_done = desired.repair_wish;
  const bool running = workload.state == ContainerState::running;
  if (restart_pending(desired, history)) {
    const bool another_run =
        history.restart_intent == desired.restart_wish && workload.started_at != history.restart_from;
    // A container that does not run is about to be started: that is the fresh run which was asked for.
    const bool begun = running || workload.state == ContainerState::restarting;  // and it may have ended already
    if ((begun && another_run) || workload.state == ContainerState::created || workload.state == ContainerState::exited)
      history.restart_done = desired.restart_wish;
  }
  if (!running) {
    history.healthy_since.reset();
    history.first_unready.reset();
  } else if (observed.ready == true) {
    if (!history.healthy_since) history.healthy_since = now;
    history.first_unready.reset();
    if ((history.failures > 0 || history.exits.count > 0) && now - *history.healthy_since >= policy.healthy_reset)
      forgive(history);
  } else if (!history.first_unready) {
    history.first_unready = now;
    history.healthy_since.reset();
  }
  return learn_config(desired, observed, std::move(history));
}

}  // namespace

History learn(const DesiredAgent& desired, const Observed& observed, History history, const Policy& policy,
              TimePoint now) {
  history = learn_run(desired, observed, std::move(history), policy, now);
  history = learn_exits(desired, observed, std::move(history), now);
  return learn_update(desired, observed, std::move(history), policy, now);
}

History intend(const DesiredAgent& desired, const Observed& observed, History history, const Action& action,
               TimePoint now) {
  history = update_intended(std::move(history), action);
  if (std::holds_alternative<op::RestartWorkload>(action.operation)) {
    history.restart_intent = desired.restart_wish;
    history.restart_from = observed.workload.started_at;
  } else if (std::holds_alternative<op::StopWorkload>(action.operation)) {
    // An agent that is to run is stopped for a reset, for an update, or to be held.
    const UpdateStep step = history.update.step;
    history.exits.held = desired.state == DesiredState::running && !reset_pending(desired, history) &&
                         (step == UpdateStep::none || step == UpdateStep::pulling);
  } else if (std::holds_alternative<op::RemoveWorkload>(action.operation) && repair_pending(desired, history)) {
    history.repair_intent = desired.repair_wish;
    history.repair_from = observed.workload.runtime_id;
  } else if (std::holds_alternative<op::CreateWorkload>(action.operation)) {
    history.delivered_at = now;
    history.delivered_by.reset();
    history.started_since = false;
    history.delivered_run.reset();
    history.deliveries = 0;
    history.files_hash = desired.files_hash;
    history.files_delivered_to.clear();
    history.restart_files_hash.clear();
  } else if (const auto* deliver = std::get_if<op::DeliverFiles>(&action.operation)) {
    const bool elsewhere = !history.files_delivered_to.empty() && history.files_delivered_to != deliver->runtime_id;
    if (elsewhere || history.files_hash != desired.files_hash) {
      history.deliveries = 0;
      history.delivered_known =
          desired.files_hash == history.taken_files_hash || desired.files_hash == history.refused_files_hash;
    }
    history.delivered_at = now;  // before the agent can have said anything of it, and after what was heard already
    history.delivered_by.reset();
    history.started_since = false;
    // Until it is known to have succeeded, the volume may hold these files, or those before.
    history.files_hash = desired.files_hash;
    history.files_delivered_to.clear();
    // And whether the process has read them is not known before it was restarted.
    if (history.restart_files_hash != desired.restart_files_hash) history.restart_files_hash.clear();
    history.delivered_run =
        observed.workload.state == ContainerState::running ? observed.workload.started_at : std::nullopt;
  }
  return history;
}

History succeeded(const DesiredAgent& desired, History history, const Action& action, const std::string& outcome,
                  TimePoint now) {
  history = update_succeeded(std::move(history), action, now);
  // Its outcome shows later: what failed before is not that, or a pull that fails for ever would count as one failure.
  if (std::holds_alternative<op::PullImage>(action.operation) && history.last_failure_reason == "ImageUnavailable")
    history.last_failure_reason = "ImageAskedForAgain";
  if (std::holds_alternative<op::CreateWorkload>(action.operation)) {
    history.files_delivered_to = outcome;
    history.files_hash = desired.files_hash;
    history.delivered_by = now;
    history.deliveries = 1;
    history.last_runtime_id = outcome;
    history.last_restart_count = 0;
    history.exits.seen = 0;
    history.exits.held = false;
    history.repair_done = desired.repair_wish;
  } else if (const auto* deliver = std::get_if<op::DeliverFiles>(&action.operation)) {
    history.files_delivered_to = deliver->runtime_id;
    history.files_hash = desired.files_hash;
    history.delivered_by = now;
    // Of a slow call nobody knows when it was carried out: what was said meanwhile may be of the files before.
    if (history.delivered_at && now - *history.delivered_at > kSwiftDelivery) history.delivered_at = now;
    history.deliveries += 1;
    // Another configuration than the refused one is tried at once.
    if (history.deliveries == 1 && history.exits.cause == "ConfigRefused") {
      history.exits.count = 0;
      history.exits.cause.clear();
    }
  } else if (std::holds_alternative<op::ClearStorage>(action.operation)) {
    history.reset_done = desired.reset_wish;
  } else if (std::holds_alternative<op::StartWorkload>(action.operation) ||
             std::holds_alternative<op::RestartWorkload>(action.operation)) {
    const bool asked_for =
        restart_pending(desired, history) || history.restart_files_hash != desired.restart_files_hash;
    if (!asked_for &&
        (std::holds_alternative<op::RestartWorkload>(action.operation) || history.last_failure_reason == "NotReady")) {
      // A new run for health's sake: counted, so that an agent that never gets ready is tried less and less often. What
      // failed before it ran is another matter, and is over.
      history.failures = history.last_failure_reason == "NotReady" ? history.failures + 1 : 1;
      history.last_failure = now;
      history.last_failure_reason = "NotReady";
      history.last_failure_message = action.cause;
    }
    history.exits.seen = 0;      // the engine counts anew
    history.exits.last.reset();  // this run is Creel's own
    history.exits.held = false;
    // A process that somebody had begun meanwhile may have read what was there before.
    if (outcome != kAlreadyRan) history.restart_files_hash = desired.restart_files_hash;
    if (outcome != kAlreadyRan) history.started_since = true;
    history.restart_done = desired.restart_wish;
    history.first_unready.reset();
    history.healthy_since.reset();
  }
  return history;
}

History failed(History history, const Action& action, const Error& error, TimePoint now) {
  if (error.kind == ErrorKind::cancelled) return history;  // the controller is stopping: nobody's failure
  history = update_failed(std::move(history), action, error, now);
  history.failures += 1;
  history.last_failure = now;
  const auto reason = [&]() -> std::string {
    if (std::holds_alternative<op::PullImage>(action.operation)) return "ImageUnavailable";
    if (error.kind == ErrorKind::timeout) return "EngineTimeout";
    if (error.kind == ErrorKind::unavailable) return "EngineUnavailable";
    if (std::holds_alternative<op::CreateWorkload>(action.operation)) return "CreateFailed";
    if (std::holds_alternative<op::DeliverFiles>(action.operation)) return "DeliverFailed";
    if (std::holds_alternative<op::StartWorkload>(action.operation)) return "StartFailed";
    if (std::holds_alternative<op::StopWorkload>(action.operation)) return "StopFailed";
    if (std::holds_alternative<op::RestartWorkload>(action.operation)) return "RestartFailed";
    if (std::holds_alternative<op::ClearStorage>(action.operation)) return "ResetFailed";
    if (std::holds_alternative<op::BackUpStorage>(action.operation)) return "BackUpFailed";
    if (std::holds_alternative<op::RestoreStorage>(action.operation)) return "RestoreFailed";
    return "RemoveFailed";
  };
  history.last_failure_reason = reason();
  history.last_failure_message = error.message;
  return history;
}

}  // namespace creel
