#include "reconciler/update.hpp"

#include "controller/core/spec_hash.hpp"
#include "reconciler/plan.hpp"

namespace creel {
namespace {

// Of pulls, or of attempts to start the new container.
constexpr int kAttempts = 3;
// A new image whose process ended so often does not work.
constexpr std::int64_t kExits = 2;
// And one that stopped being ready so often, though it had been.
constexpr int kLapses = 3;

bool transient(const Error& error) { return error.kind == ErrorKind::unavailable || error.kind == ErrorKind::timeout; }

void end(Update& update, UpdateOutcome outcome, std::string reason, TimePoint now) {
  update.step = UpdateStep::none;
  update.done = update.wish;
  update.outcome = outcome;
  update.reason = std::move(reason);
  update.ended_at = now;
  update.failures = 0;
  update.last_failure.reset();
  update.ready_since.reset();
}

void step_to(Update& update, UpdateStep step, std::string reason = {}) {
  update.step = step;
  update.reason = std::move(reason);
  update.failures = 0;
  update.last_failure.reset();
  update.ready_since.reset();
  update.lapses = 0;
}

bool counts(Update& update, TimePoint now) {
  update.last_failure = now;
  return ++update.failures >= kAttempts;
}

const std::string& reference_in_force(const DesiredAgent& desired, const History& history) {
  return history.release.reference.empty() ? desired.spec.image : history.release.reference;
}

bool by_digest(const std::string& reference) { return reference.find("@sha256:") != std::string::npos; }

void take_up(const DesiredAgent& desired, const Observed& observed, History& history) {
  Update next;
  next.wish = desired.update_wish;
  next.step = UpdateStep::pulling;
  next.to.reference = desired.update_image;
  next.done = history.update.done;
  next.outcome = history.update.outcome;
  next.ended_at = history.update.ended_at;
  next.backup = history.update.backup;
  history.update = std::move(next);
  // The way back leads to the image that runs now, whatever its tag will point to by then.
  if (!history.release.pin.empty()) return;
  const ObservedWorkload& workload = observed.workload;
  if (observed.workload_presence == Presence::present && workload.ours && workload.spec_hash == desired.spec_hash)
    history.release.pin = workload.image_id;
  else if (observed.workload_presence == Presence::absent && observed.image == ImageState::present)
    history.release.pin = observed.image_id;
}

void learn_pull(const DesiredAgent& desired, const Observed& observed, History& history, TimePoint now) {
  Update& update = history.update;
  if (update.to.pin.empty() && observed.candidate) {
    const ObservedImage& image = *observed.candidate;
    const bool there = image.presence == Presence::present;
    const bool answered = update.pull_asked && (image.pull == PullState::succeeded || image.pull == PullState::failed);
    if (there && (answered || by_digest(update.to.reference))) {
      // A registry that cannot be asked is no reason against an image that is on the engine.
      update.to.pin = image.digest.empty() ? image.id : image.digest;
      const bool same = observed.workload_presence == Presence::present && observed.workload.ours &&
                        observed.workload.image_id == image.id &&
                        update.to.reference == reference_in_force(desired, history);
      if (same) return end(update, UpdateOutcome::committed, "the agent runs this very image already", now);
    } else if (answered && (image.pull == PullState::failed || image.presence == Presence::absent)) {
      // Or it was pulled, and removed before anybody looked.
      const std::string why =
          image.pull == PullState::failed ? image.message : "it was removed as soon as it was there";
      update.pull_asked = false;
      if (counts(update, now))
        return end(update, UpdateOutcome::given_up, "image " + update.to.reference + " cannot be had: " + why, now);
    }
  }
  if (!update.to.pin.empty() && desired.state == DesiredState::running && desired.reset_wish <= history.reset_done)
    step_to(update, UpdateStep::backing_up);
}

std::string with_line(std::string text, const std::string& line) { return line.empty() ? text : text + ": " + line; }

void learn_trial(const DesiredAgent& desired, const Observed& observed, History& history, const Policy& policy,
                 TimePoint now) {
  Update& update = history.update;
  const auto back = [&](std::string reason) { step_to(update, UpdateStep::rolling_back, std::move(reason)); };
  if (desired.state == DesiredState::stopped)
    return back("a stop was asked for before the new image had shown that it works");
  const ObservedWorkload& workload = observed.workload;
  const DesiredAgent candidate = released(desired, update.to);
  if (observed.workload_presence != Presence::present || !workload.ours || workload.spec_hash != candidate.spec_hash) {
    update.ready_since.reset();
    return;
  }
  // With what code is known between two runs only. The engine's waits get longer, so that such a moment is seen soon;
  // but an image that has exited so often does not pass for getting ready once more meanwhile.
  const bool between = workload.state != ContainerState::running;
  const bool seen_enough = between || observed.ready == true || workload.restart_count >= 2 * kExits;
  if ((workload.restart_count >= kExits && seen_enough) || workload.state == ContainerState::dead)
    return back(with_line((between ? "the agent exits with code " + std::to_string(workload.exit_code)
                                   : std::string{"the agent exits again and again"}) +
                              (workload.oom_killed ? " (out of memory)" : ""),
                          observed.last_lines.empty() ? "" : observed.last_lines.back()));
  if (workload.state == ContainerState::running && observed.ready == true) {
    if (!update.ready_since) update.ready_since = now;
    if (now - *update.ready_since < policy.update_settle) return;
    history.release = update.to;
    return end(update, UpdateOutcome::committed, "", now);
  }
  if (update.ready_since) {
    update.ready_since.reset();
    if (++update.lapses >= kLapses) return back("the agent does not stay ready");
  }
  if (past_startup_budget(desired, observed, history, now))
    return back(with_line(
        "the agent was not ready within " + std::to_string(desired.readiness.startup_budget.count() / 1000) + " s",
        observed.ready_message));
}

}  // namespace

DesiredAgent released(const DesiredAgent& desired, const Release& release) {
  DesiredAgent result = desired;
  if (!release.reference.empty()) result.spec.image = release.reference;
  if (!release.pin.empty()) result.spec.image = release.pin;
  if (!release.reference.empty()) result.spec_hash = spec_hash(result.spec);
  return result;
}

const Release& wanted_release(const History& history) {
  return history.update.step == UpdateStep::trying ? history.update.to : history.release;
}

History learn_update(const DesiredAgent& desired, const Observed& observed, History history, const Policy& policy,
                     TimePoint now) {
  Update& update = history.update;
  if (desired.state == DesiredState::deleted || observed.workload_presence == Presence::unknown) return history;
  const bool replaceable = update.step == UpdateStep::none || update.step == UpdateStep::pulling;
  if (replaceable && desired.update_wish > update.wish) take_up(desired, observed, history);
  switch (update.step) {
    case UpdateStep::none:
      break;
    case UpdateStep::pulling:
      learn_pull(desired, observed, history, now);
      break;
    case UpdateStep::backing_up:
      if (desired.state == DesiredState::stopped) {
        step_to(update, UpdateStep::pulling);  // tried at the next start
      } else if (observed.storage_presence == Presence::absent && observed.workload_presence == Presence::absent) {
        update.copied = false;  // there is nothing to copy
        step_to(update, UpdateStep::trying);
      }
      break;
    case UpdateStep::trying:
      learn_trial(desired, observed, history, policy, now);
      break;
    case UpdateStep::rolling_back:
      break;
  }
  return history;
}

History update_intended(History history, const Action& action) {
  if (std::holds_alternative<op::BackUpStorage>(action.operation)) history.update.backup = true;
  return history;
}

History update_succeeded(History history, const Action& action, TimePoint now) {
  Update& update = history.update;
  if (std::holds_alternative<op::RemoveStorage>(action.operation)) update.backup = false;  // the copy went with it
  if (const auto* pull = std::get_if<op::PullImage>(&action.operation)) {
    if (update.step == UpdateStep::pulling && pull->image == update.to.reference) update.pull_asked = true;
  } else if (std::holds_alternative<op::BackUpStorage>(action.operation)) {
    update.copied = true;
    step_to(update, UpdateStep::trying);
  } else if (update.step == UpdateStep::rolling_back && (std::holds_alternative<op::RestoreStorage>(action.operation) ||
                                                         std::holds_alternative<op::RemoveStorage>(action.operation))) {
    end(update, UpdateOutcome::rolled_back, std::move(update.reason), now);
  } else if (std::holds_alternative<op::RemoveBackup>(action.operation)) {
    update.backup = false;
  }
  return history;
}

History update_failed(History history, const Action& action, const Error& error, TimePoint now) {
  Update& update = history.update;
  if (error.kind == ErrorKind::cancelled) return history;
  // An image that is known by its id alone cannot be had again once it is gone; what its reference leads to can.
  if (const auto* pull = std::get_if<op::PullImage>(&action.operation);
      pull != nullptr && pull->image == history.release.pin && !by_digest(pull->image))
    history.release.pin.clear();
  const bool mine = std::holds_alternative<op::CreateWorkload>(action.operation) ||
                    std::holds_alternative<op::StartWorkload>(action.operation) ||
                    std::holds_alternative<op::DeliverFiles>(action.operation) ||
                    std::holds_alternative<op::PullImage>(action.operation);
  if (update.step == UpdateStep::backing_up && std::holds_alternative<op::BackUpStorage>(action.operation)) {
    if (counts(update, now) || !transient(error))
      end(update, UpdateOutcome::given_up, "the agent's volume could not be copied: " + error.message, now);
  } else if (update.step == UpdateStep::trying && mine && !transient(error)) {
    if (counts(update, now))
      step_to(update, UpdateStep::rolling_back, "the new container could not be started: " + error.message);
  } else if (update.step == UpdateStep::rolling_back) {
    if (std::holds_alternative<op::RestoreStorage>(action.operation) && error.kind == ErrorKind::not_found)
      end(update, UpdateOutcome::rolled_back,
          update.reason + "; the copy of the volume is gone, so the data is as the new image left it", now);
    else
      counts(update, now);
  }
  return history;
}

bool update_pending(const DesiredAgent& desired, const History& history) {
  return history.update.step != UpdateStep::none || desired.update_wish > history.update.done;
}

bool update_waits_for_start(const DesiredAgent& desired, const History& history) {
  return history.update.step == UpdateStep::pulling && !history.update.to.pin.empty() &&
         desired.state == DesiredState::stopped && desired.update_wish == history.update.wish;
}

std::string update_words(const DesiredAgent& desired, const Observed& observed, const History& history) {
  const Update& update = history.update;
  const std::string to = "updating to " + update.to.reference + ": ";
  switch (update.step) {
    case UpdateStep::none:
      return "";
    case UpdateStep::pulling:
      if (update_waits_for_start(desired, history)) return to + "the image is there, and is tried at the next start";
      if (observed.candidate && !observed.candidate->message.empty())
        return to + "pulling, " + observed.candidate->message;
      return to + "pulling";
    case UpdateStep::backing_up:
      return to + "the volume is copied";
    case UpdateStep::trying:
      return to + (update.ready_since ? "ready, and watched for a while" : "waiting for it to get ready");
    case UpdateStep::rolling_back:
      return to + "going back to the image before, because " + update.reason;
  }
  return "";
}

}  // namespace creel
