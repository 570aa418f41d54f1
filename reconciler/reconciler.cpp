#include "reconciler/reconciler.hpp"

#include <spdlog/spdlog.h>

#include <chrono>

#include "controller/core/log_context.hpp"
#include "reconciler/cause.hpp"
#include "reconciler/config_feedback.hpp"
#include "reconciler/exits.hpp"
#include "reconciler/status.hpp"
#include "reconciler/telling_line.hpp"
#include "reconciler/update.hpp"

namespace creel {
namespace {

constexpr std::size_t kLastLines = 20;
constexpr std::size_t kToldLines = 10;
constexpr std::size_t kHeardLines = 200;
constexpr milliseconds kStoreRetry{2'000};

std::chrono::microseconds since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - began);
}

Event action_event(const AgentId& agent, const Action& action, const std::string& error,
                   std::chrono::microseconds took) {
  Event event{agent, "action", operation_name(action.operation), action.cause, "creel"};
  event.duration = std::chrono::duration_cast<milliseconds>(took);
  if (error.empty()) return event;
  event.reason += "-failed";
  event.message += ": " + error;
  return event;
}

// Deleting what runs, or ending a run, takes up to the grace period: say so before it begins. And files that were put
// into a volume by somebody who did not live to say so would leave the row with what it held before.
bool worth_announcing(const Operation& operation) {
  return std::holds_alternative<op::CreateWorkload>(operation) || std::holds_alternative<op::DeliverFiles>(operation) ||
         std::holds_alternative<op::StopWorkload>(operation) || std::holds_alternative<op::RemoveWorkload>(operation) ||
         std::holds_alternative<op::RestartWorkload>(operation) || std::holds_alternative<op::BackUpStorage>(operation);
}

// Must not be done twice: what an agent learns after its memory was cleared is its own again.
// And what follows a copy or a restoration builds on it.
bool worth_keeping(const Operation& operation) {
  return std::holds_alternative<op::ClearStorage>(operation) || std::holds_alternative<op::BackUpStorage>(operation) ||
         std::holds_alternative<op::RestoreStorage>(operation) || std::holds_alternative<op::RemoveStorage>(operation);
}

// What people may want to know of an update: each step, and how it ended.
void tell_update(const DesiredAgent& desired, const Update& before, const Update& now, std::vector<Event>& events) {
  const auto tell = [&](std::string reason, std::string message) {
    events.push_back({desired.id, "state", "Update" + std::move(reason), std::move(message), "creel"});
  };
  const std::string& image = now.to.reference;
  if (now.done != before.done) tell(to_string(now.outcome), now.reason.empty() ? image : image + ": " + now.reason);
  if (now.step != before.step && now.step != UpdateStep::none)
    tell(to_string(now.step), now.reason.empty() ? image : image + ": " + now.reason);
}

}  // namespace

const char* to_string(PassEnd end) {
  switch (end) {
    case PassEnd::converged:
      return "converged";
    case PassEnd::acted:
      return "acted";
    case PassEnd::waiting:
      return "waiting";
    case PassEnd::failed:
      return "failed";
    case PassEnd::forgotten:
      return "forgotten";
    case PassEnd::abandoned:
      return "abandoned";
  }
  return "unknown";
}

Reconciler::Reconciler(ReconcilerDeps deps) : deps_(std::move(deps)) {}

Observed Reconciler::observe(const DesiredAgent& desired, const History& history, std::stop_token stop) {
  auto seen = deps_.runtime.observe(desired.id, released(desired, wanted_release(history)).spec.image, stop);
  if (!seen) {
    Observed unknown;
    unknown.error = seen.error().message;
    unknown.engine_away = seen.error().kind == ErrorKind::unavailable;
    unknown.at = deps_.clock();
    return unknown;
  }
  Observed observed = std::move(*seen);
  observed.at = deps_.clock();
  const bool running = observed.workload_presence == Presence::present && observed.workload.ours &&
                       observed.workload.state == ContainerState::running;
  if (running && desired.state == DesiredState::running && !observed.workload.address.empty()) {
    ProbeAnswer answer = deps_.prober.probe(observed.workload.address, desired.readiness, stop);
    observed.ready = answer.ready;
    observed.ready_message = std::move(answer.message);
  }
  // A wish that is not taken up yet is asked about from its first look on.
  const bool next = history.update.step == UpdateStep::none && desired.update_wish > history.update.done;
  if (next || history.update.step == UpdateStep::pulling) {
    auto image = deps_.runtime.observe_image(desired.update_image, stop);
    if (image) observed.candidate = std::move(*image);
  }
  return observed;
}

void Reconciler::hear_config(const DesiredAgent& desired, const History& history, Observed& observed,
                             std::stop_token stop) {
  if (!worth_hearing(desired, observed, history)) return;
  if (auto lines = deps_.runtime.last_lines(observed.workload.runtime_id, kHeardLines, history.delivered_at, stop))
    if (auto secrets = deps_.repository.secrets(desired.id)) hear(*lines, desired, *secrets, observed);
}

void Reconciler::fetch_last_lines(const DesiredAgent& desired, const History& history, Observed& observed,
                                  std::stop_token stop) {
  if (observed.workload_presence != Presence::present || !observed.workload.ours) return;
  const ObservedWorkload& workload = observed.workload;
  if (workload.state != ContainerState::restarting &&
      !cause_in_agent(cause_of(desired, observed, history, observed.at)))
    return;
  if (auto lines = deps_.runtime.last_lines(workload.runtime_id, kLastLines, {}, stop))
    if (auto secrets = deps_.repository.secrets(desired.id))
      observed.last_lines = telling_lines(*lines, desired.files, std::move(*secrets), kToldLines);
}

void Reconciler::learn_and_tell(const DesiredAgent& desired, const Observed& observed, History& history,
                                std::vector<Event>& events, PassReport& report) {
  const Update before = history.update;
  const Exits exits_before = history.exits;
  history = learn(desired, observed, std::move(history), deps_.policy, deps_.clock());
  tell_update(desired, before, history.update, events);
  if (history.exits.last && history.exits.last != exits_before.last) {
    // The count begins anew when earlier ends were forgiven, and stays at its most.
    const int more = history.exits.count - exits_before.count;
    report.exits += more > 0 ? more : more < 0 ? history.exits.count : 1;
    report.exit_cause = history.exits.cause;
  }
}

PassOutcome Reconciler::finish(const AgentRecord& record, const History& history, const Observed& observed, bool acted,
                               std::vector<Event> events, std::uint64_t term, PassReport& report) {
  const TimePoint now = deps_.clock();
  const Plan next =
      plan(in_force(record.desired, history), observed, history, deps_.runtime.capabilities(), deps_.policy, now);
  const AgentStatus status = summarize(record.desired, observed, history, next, record.status, now);
  if (status.phase != record.status.phase)
    events.push_back({record.desired.id, "state", to_string(status.phase), status.message, "creel"});
  if (auto written = deps_.repository.record(record.desired.id, status, history, events, term); !written) {
    report.end = written.error().kind == ErrorKind::conflict ? PassEnd::abandoned : PassEnd::failed;
    report.exits = 0;  // the next pass learns them again
    if (written.error().kind != ErrorKind::conflict) spdlog::warn("status not recorded: {}", written.error().message);
    return {kStoreRetry};
  }
  if (acted && (!next.actions.empty() || next.forget)) return {next.requeue_after.value_or(milliseconds{0})};
  if (status.next_attempt && !next.requeue_after) return {*status.next_attempt - now};
  return {next.requeue_after};
}

PassOutcome Reconciler::reconcile(const AgentId& id, std::stop_token stop) {
  const auto term = deps_.term();
  if (!term) return {};
  const LogContext of_agent{"agent", id.str()}, of_pass{"pass", std::to_string(++passes_)};
  const auto began = std::chrono::steady_clock::now();
  PassReport report;
  const PassOutcome outcome = pass(id, *term, report, std::move(stop));
  if (report.end == PassEnd::abandoned) report.exits = 0;  // whoever passes next learns them
  if (deps_.observer != nullptr) deps_.observer->passed(report, since(began));
  return outcome;
}

PassOutcome Reconciler::pass(const AgentId& id, std::uint64_t term, PassReport& report, std::stop_token stop) {
  auto loaded = deps_.repository.load(id);
  if (!loaded) {
    report.end = PassEnd::failed;
    spdlog::warn("row not read: {}", loaded.error().message);
    return {kStoreRetry};
  }
  if (!*loaded) return {};
  AgentRecord& record = **loaded;
  History history = record.history;
  // A new wish of the owner is tried at once, whatever failed before it.
  if (record.status.observed_generation < record.desired.generation) forgive(history);

  Observed observed = observe(record.desired, history, stop);
  if (stop.stop_requested()) return {};
  hear_config(record.desired, history, observed, stop);
  // Why a new image does not work is part of the reason to go back.
  if (history.update.step == UpdateStep::trying) fetch_last_lines(record.desired, history, observed, stop);
  std::vector<Event> events;
  learn_and_tell(record.desired, observed, history, events, report);
  const DesiredAgent desired = in_force(record.desired, history);
  // A pull that failed in the background is a failure like any other, told by the observation.
  if (observed.image == ImageState::failed && history.last_failure_reason != "ImageUnavailable")
    history = failed(std::move(history),
                     {op::PullImage{released(desired, wanted_release(history)).spec.image}, Why::image_missing, ""},
                     Error{ErrorKind::failed, observed.image_message, {}, {}}, deps_.clock());
  const Plan todo = plan(desired, observed, history, deps_.runtime.capabilities(), deps_.policy, deps_.clock());

  if (todo.forget) {
    report.end = PassEnd::forgotten;
    if (auto gone = deps_.repository.forget(id, term); !gone) {
      report.end = PassEnd::failed;
      spdlog::warn("row not dropped: {}", gone.error().message);
      return {kStoreRetry};
    }
    return {};
  }
  if (todo.actions.empty()) {
    report.end = todo.waiting_for.empty() ? PassEnd::converged : PassEnd::waiting;
    fetch_last_lines(desired, history, observed, stop);
    return finish(record, history, observed, false, std::move(events), term, report);
  }

  bool failed_now = false;
  std::string created;
  const auto keep = [&](const History& now) {
    AgentStatus announced = record.status;
    announced.plan = to_string(todo);
    return static_cast<bool>(deps_.repository.record(id, announced, now, std::exchange(events, {}), term));
  };
  // The step of an update must be in the row before the engine is asked for what belongs to it.
  bool step_kept = history.update.step == record.history.update.step;
  for (Action action : todo.actions) {
    if (stop.stop_requested() || deps_.term() != term) return {};
    if (auto* start = std::get_if<op::StartWorkload>(&action.operation); start && start->runtime_id.empty())
      start->runtime_id = created;
    const History with_intent = intend(desired, observed, history, action, deps_.clock());
    if (!std::exchange(step_kept, true) || worth_announcing(action.operation)) {
      // The intent must be in the row before the engine is asked, or a crash in between would repeat the action.
      if (!keep(with_intent)) {
        report = {PassEnd::failed, 0, ""};
        return {kStoreRetry};
      }
      // The store may have taken its time, and another may lead by now.
      if (stop.stop_requested() || deps_.term() != term) return {};
    }
    history = with_intent;
    const auto began = std::chrono::steady_clock::now();
    auto applied = deps_.runtime.apply(action.operation, stop);
    const auto took = since(began);
    const bool cancelled = !applied && applied.error().kind == ErrorKind::cancelled;
    if (deps_.observer != nullptr && !cancelled) deps_.observer->acted(action, static_cast<bool>(applied), took);
    if (!applied) {
      if (cancelled) return {};
      spdlog::warn("{} failed: {}", operation_name(action.operation), applied.error().message);
      events.push_back(action_event(id, action, applied.error().message, took));
      const Update before = history.update;
      history = failed(std::move(history), action, applied.error(), deps_.clock());
      tell_update(desired, before, history.update, events);
      failed_now = true;
      break;
    }
    if (std::holds_alternative<op::CreateWorkload>(action.operation)) created = *applied;
    spdlog::info("{} ({})", operation_name(action.operation), action.cause);
    events.push_back(action_event(id, action, "", took));
    const Update before = history.update;
    history = succeeded(desired, std::move(history), action, *applied, deps_.clock());
    tell_update(desired, before, history.update, events);
    if (worth_keeping(action.operation) && !keep(history)) {
      report = {PassEnd::failed, 0, ""};
      return {kStoreRetry};
    }
  }
  report.end = failed_now ? PassEnd::failed : PassEnd::acted;

  Observed after = observe(desired, history, stop);
  if (stop.stop_requested() && after.workload_presence == Presence::unknown) return {};
  learn_and_tell(record.desired, after, history, events, report);
  fetch_last_lines(desired, history, after, stop);
  return finish(record, history, after, !failed_now, std::move(events), term, report);
}

}  // namespace creel
