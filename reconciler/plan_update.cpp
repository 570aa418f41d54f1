#include <algorithm>

#include "reconciler/plan_parts.hpp"
#include "reconciler/update.hpp"

namespace creel {
namespace {

// An update fails on its own account: what failed before does not delay it, and no long healthy time forgives it.
History on_its_own(const History& history) {
  History own = history;
  own.failures = history.update.failures;
  own.last_failure = history.update.last_failure;
  own.last_failure_reason = "Update";
  return own;
}

op::RemoveWorkload removal(const DesiredAgent& desired, const Observed& observed) {
  return {desired.id, observed.workload.runtime_id, desired.spec.stop_grace_seconds};
}

Observed without_workload(Observed observed) {
  observed.workload_presence = Presence::absent;
  observed.workload = {};
  observed.image = ImageState::present;
  return observed;
}

Plan plan_backup(const DesiredAgent& desired, const Observed& observed, const History& history,
                 const Capabilities& capabilities, const Policy& policy, TimePoint now) {
  const std::string cause = "an update to " + history.update.to.reference + " was asked for";
  const bool present = observed.workload_presence == Presence::present;
  std::vector<Action> actions;
  if (has_process(observed))
    actions.push_back({op::StopWorkload{desired.id, observed.workload.runtime_id, desired.spec.stop_grace_seconds},
                       Why::update, cause});
  actions.push_back({op::BackUpStorage{desired.id, released(desired, history.release).spec.image}, Why::update, cause});
  if (present) actions.push_back({removal(desired, observed), Why::update, cause});
  History trying = history;
  trying.update.step = UpdateStep::trying;
  append(
      actions,
      plan_wanted(released(desired, history.update.to), without_workload(observed), trying, capabilities, policy, now),
      Why::update);
  return unless_backing_off(history, policy, now, std::move(actions));
}

Plan plan_trial(const DesiredAgent& desired, const Observed& observed, const History& history,
                const Capabilities& capabilities, const Policy& policy, TimePoint now) {
  Plan plan = plan_wanted(released(desired, history.update.to), observed, history, capabilities, policy, now);
  for (Action& action : plan.actions) action.why = Why::update;
  if (plan.actions.empty() && history.update.ready_since)
    plan.requeue_after = std::clamp<milliseconds>(policy.update_settle - (now - *history.update.ready_since),
                                                  milliseconds{1}, policy.busy_poll);
  return plan;
}

Plan plan_rollback(const DesiredAgent& desired, const Observed& observed, const History& history,
                   const Capabilities& capabilities, const Policy& policy, TimePoint now) {
  const DesiredAgent before = released(desired, history.release);
  const std::string cause = "the update to " + history.update.to.reference + " did not work: " + history.update.reason;
  std::vector<Action> actions;
  if (observed.workload_presence == Presence::present)
    actions.push_back({removal(desired, observed), Why::roll_back, cause});
  if (history.update.copied)
    actions.push_back({op::RestoreStorage{desired.id, before.spec.image}, Why::roll_back, cause});
  else
    actions.push_back({op::RemoveStorage{desired.id}, Why::roll_back, "there was no volume before the update"});
  History back = history;
  back.update.step = UpdateStep::none;
  append(actions, plan_wanted(before, without_workload(observed), back, capabilities, policy, now), Why::roll_back);
  return unless_backing_off(history, policy, now, std::move(actions));
}

}  // namespace

Plan plan_update(const DesiredAgent& desired, const Observed& observed, const History& history,
                 const Capabilities& capabilities, const Policy& policy, TimePoint now) {
  if (observed.workload_presence == Presence::present && observed.workload.state == ContainerState::removing)
    return wait("the engine is removing the container", policy.busy_poll);
  if (observed.storage_presence == Presence::unknown)
    return wait("the engine to say whether the volume exists", policy.unknown_poll);
  const History own = on_its_own(history);
  switch (history.update.step) {
    case UpdateStep::backing_up:
      return plan_backup(desired, observed, own, capabilities, policy, now);
    case UpdateStep::trying:
      return plan_trial(desired, observed, own, capabilities, policy, now);
    case UpdateStep::rolling_back:
      return plan_rollback(desired, observed, own, capabilities, policy, now);
    case UpdateStep::none:
    case UpdateStep::pulling:
      break;
  }
  return {};
}

Plan with_update(Plan plan, const DesiredAgent& desired, const Observed& observed, const History& history,
                 const Policy& policy, TimePoint now) {
  const Update& update = history.update;
  const bool idle = plan.actions.empty() && plan.waiting_for.empty();
  const auto by = [&plan](milliseconds poll) {
    plan.requeue_after = std::min(plan.requeue_after.value_or(poll), poll);
  };
  if (update.step == UpdateStep::pulling && update.to.pin.empty()) {
    const PullState pull = observed.candidate ? observed.candidate->pull : PullState::none;
    const milliseconds left = backoff_left(on_its_own(history), policy, now);
    if (observed.candidate && pull != PullState::under_way && (!update.pull_asked || pull == PullState::none)) {
      if (left > milliseconds{0}) {
        by(left);
        plan.next_try = now + left;
      } else {
        plan.actions.push_back({op::PullImage{update.to.reference}, Why::update, "an update to it was asked for"});
      }
    } else {
      by(policy.busy_poll);
    }
    plan.waiting_for += (plan.waiting_for.empty() ? "" : "; ") + update_words(desired, observed, history);
  } else if (update.step == UpdateStep::pulling) {
    plan.waiting_for += (plan.waiting_for.empty() ? "" : "; ") + update_words(desired, observed, history);
  }
  if (idle && update.backup && (update.step == UpdateStep::none || update_waits_for_start(desired, history))) {
    // Kept for a while after a success; after a roll-back the volume holds the same.
    const bool keep = update.outcome == UpdateOutcome::committed && update.ended_at;
    const milliseconds left = keep ? *update.ended_at + policy.backup_retention - now : milliseconds{0};
    if (left > milliseconds{0})
      by(std::min(left, policy.deleted_poll));
    else
      plan.actions.push_back({op::RemoveBackup{desired.id}, Why::update, "it is not needed any more"});
  }
  return plan;
}

}  // namespace creel
