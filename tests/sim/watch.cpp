#include "tests/sim/watch.hpp"

#include <algorithm>

#include "controller/core/agent_json.hpp"
#include "reconciler/backoff.hpp"

namespace creel::sim {
namespace {

bool holds_secret(const std::string& text) { return text.find(kSecret) != std::string::npos; }

template <class Op>
const Op* as(const Operation& operation) {
  return std::get_if<Op>(&operation);
}

AgentId agent_of(const Operation& operation) {
  return std::visit(
      [](const auto& op) -> AgentId {
        if constexpr (requires { op.agent; })
          return op.agent;
        else
          return {};
      },
      operation);
}

bool touches_data(const Operation& operation) {
  return as<op::ClearStorage>(operation) != nullptr || as<op::BackUpStorage>(operation) != nullptr ||
         as<op::RestoreStorage>(operation) != nullptr || as<op::RemoveStorage>(operation) != nullptr;
}

// The owner may have no use for the data any more.
bool may_go(const DesiredAgent& desired, TimePoint now) {
  return desired.state == DesiredState::deleted &&
         (desired.purge || now >= desired.deleted_at.value_or(now) + Policy{}.volume_retention);
}

bool process_seen(const Pass& pass) {
  if (!pass.seen || pass.seen->workload_presence != Presence::present || pass.removed || pass.stopped) return false;
  const ContainerState state = pass.seen->workload.state;
  return state == ContainerState::running || state == ContainerState::restarting || state == ContainerState::paused;
}

}  // namespace

void Watch::say(std::string invariant, std::string text) {
  if (!violation_) violation_ = Violation{std::move(invariant), std::move(text)};
}

void Watch::operation_begins(const Pass& pass, const Operation& operation, bool leads, TimePoint now) {
  const std::string name = operation_name(operation);
  if (!leads) say("one-writer", name + " by a controller that does not lead any more");
  if (as<op::PullImage>(operation) != nullptr) return;
  const AgentId id = agent_of(operation);
  if (id != pass.id) return say("own-agent", name + " for another agent than the pass is for");
  if (!pass.loaded) return say("deleted-stays", name + " for an agent without a row");
  if (!pass.seen || pass.seen->workload_presence == Presence::unknown)
    return say("unknown-waits", name + " although the engine did not say what there is");
  if (pass.seen->workload_presence == Presence::present && !pass.seen->workload.ours)
    return say("others-untouched", name + " on a container of controller " + pass.seen->workload.owner_label);
  const bool starts = as<op::CreateWorkload>(operation) != nullptr || as<op::StartWorkload>(operation) != nullptr ||
                      as<op::RestartWorkload>(operation) != nullptr;
  if (starts && pass.loaded->desired.state == DesiredState::deleted)
    return say("deleted-stays", name + " for a deleted agent");
  if (starts && pass.loaded->desired.state == DesiredState::stopped && as<op::CreateWorkload>(operation) == nullptr)
    return say("stopped-stays", name + " for an agent that is to be stopped");
  // An update's own steps are refused by the runtime, and gone back on.
  const UpdateStep step = pass.loaded->history.update.step;
  if (as<op::StartWorkload>(operation) != nullptr && pass.loaded->desired.spec.egress && pass.seen->fence &&
      !pass.seen->fence->in_force && (step == UpdateStep::none || step == UpdateStep::pulling))
    return say("listed-is-fenced", "an agent with an egress list is started though the fence was seen down");
  if (const auto* create = as<op::CreateWorkload>(operation)) create_begins(pass, *create);
  if (as<op::RestartWorkload>(operation) != nullptr) restart_begins(pass);
  if (touches_data(operation)) storage_begins(pass, operation, now);
  if (as<op::RemoveBackup>(operation) != nullptr) copy_goes(pass, now);
}

void Watch::create_begins(const Pass& pass, const op::CreateWorkload& create) {
  if (pass.seen->workload_presence == Presence::present && !pass.removed)
    return say("one-workload", "create beside a container that was seen");
  if (holds_secret(nlohmann::json(create.spec).dump()) || holds_secret(create.spec_hash))
    return say("secrets-hidden", "a secret in what the engine shows");
  const std::string image = SimRuntime::plain(create.spec.image);
  const auto it = store_.rows.find(create.agent);
  if (it == store_.rows.end()) return;  // forgotten by another leader meanwhile
  const AgentRecord& row = it->second;
  const std::string& release = row.history.release.reference;
  const std::string proven = release.empty() ? pass.loaded->desired.spec.image : release;
  const bool trial = row.history.update.step == UpdateStep::trying && image == row.history.update.to.reference;
  if (image != proven && !trial && owners_.of(create.agent).late_call == false)
    say("unproven-on-trial-only", "a container of " + image + ", though the agent runs by " + proven);
}

// One wish, one restart, however often the answer is lost: what the row does not know yet, the engine must have shown.
void Watch::restart_begins(const Pass& pass) {
  const AgentId& id = pass.id;
  const auto it = store_.rows.find(id);
  const auto container = engine_.containers.find(id);
  if (it == store_.rows.end() || container == engine_.containers.end()) return;
  const std::uint64_t wish = pass.loaded->desired.restart_wish;
  // What is paused has to be restarted anyway.
  const bool pending = it->second.history.restart_done < wish && container->second.state != ContainerState::paused;
  Owner& owner = owners_.of(id);
  if (pending && owner.restarted_for == wish)
    say("restarted-once", "a second restart for the wish number " + std::to_string(wish));
  owner.restarting_for = pending ? wish : 0;
  owner.run_to_end = container->second.started_at;
}

void Watch::restart_ends(const AgentId& id) {
  const auto container = engine_.containers.find(id);
  Owner& owner = owners_.of(id);
  if (owner.restarting_for != 0 && container != engine_.containers.end() &&
      container->second.started_at != owner.run_to_end)
    owner.restarted_for = owner.restarting_for;
}

void Watch::storage_begins(const Pass& pass, const Operation& operation, TimePoint now) {
  const std::string name = operation_name(operation);
  if (process_seen(pass)) return say("data-at-rest", name + " while a process was seen on the volume");
  const auto it = store_.rows.find(pass.id);
  if (it == store_.rows.end()) return;
  const AgentRecord& row = it->second;
  const DesiredAgent& desired = row.desired;
  Owner& owner = owners_.of(pass.id);
  if (as<op::RemoveStorage>(operation) != nullptr) {
    const bool over = may_go(desired, now);
    const bool never_was = row.history.update.step == UpdateStep::rolling_back && !row.history.update.copied;
    if (over) owner.storage_removed = true;
    if (!over && !never_was) say("volume-kept", "the volume is removed before its time");
  }
  if (as<op::ClearStorage>(operation) != nullptr) {
    if (row.history.reset_done >= desired.reset_wish)
      return say("volume-kept", "the memory is cleared though no wish for it is left");
    // From here on they may be gone.
    for (Token& token : owner.written)
      if (token.path.starts_with(kNotes)) token.firm = false;
  }
}

// The copy of a deleted agent may be all that is left of its data: another has taken the name of the volume.
void Watch::copy_goes(const Pass& pass, TimePoint now) {
  const auto it = store_.rows.find(pass.id);
  if (it == store_.rows.end() || pass.loaded->desired.state != DesiredState::deleted) return;
  if (may_go(it->second.desired, now))
    owners_.of(pass.id).storage_removed = true;
  else
    say("volume-kept", "the copy is removed before its time");
}

void Watch::operation_ends(const Operation& operation) {
  const AgentId id = agent_of(operation);
  if (as<op::BackUpStorage>(operation) != nullptr && store_.rows.contains(id)) {
    const auto copy = engine_.backups.find(id);
    if (copy != engine_.backups.end() && copy->second.whole)
      owners_.of(id).copied_for = store_.rows.at(id).history.update.wish;
  }
  if (as<op::RestartWorkload>(operation) != nullptr) restart_ends(id);
  if (as<op::ClearStorage>(operation) != nullptr)
    std::erase_if(owners_.of(id).written, [&](const Token& token) {
      return token.path.starts_with(kNotes) && !engine_.files[id].contains(token.path);
    });
  engine_changed();
}

// --- what is recorded ---

void Watch::check_claims(const Pass& pass, const AgentStatus& status, const History& history) {
  AgentStatus same = pass.loaded->status;
  same.plan = status.plan;
  if (status == same) return;  // nothing new is claimed
  const auto claim = [&](const std::string& what) { say("claims-observed", "the status claims " + what); };
  const AgentStatus& before = pass.loaded->status;
  const auto condition = [&](const std::string& type) {
    const auto it = std::find_if(status.conditions.begin(), status.conditions.end(),
                                 [&](const Condition& each) { return each.type == type; });
    return it == status.conditions.end() ? std::string{} : it->status;
  };
  if (!pass.seen || pass.seen->workload_presence == Presence::unknown) {
    if (status.phase != before.phase || status.address != before.address || status.runtime_id != before.runtime_id ||
        status.image_id != before.image_id || status.observed_generation != before.observed_generation)
      claim("something new, though nothing was observed");
    if (condition("Ready") == "True" || condition("EngineReachable") == "True") claim("what nobody answered");
    return;
  }
  const ObservedWorkload& workload = pass.seen->workload;
  const bool present = pass.seen->workload_presence == Presence::present;
  const bool running = present && workload.state == ContainerState::running;
  if (status.observed_generation != pass.loaded->desired.generation &&
      status.observed_generation != before.observed_generation)
    claim("a generation that was not read");
  if (status.runtime_id != (present ? workload.runtime_id : "")) claim("container " + status.runtime_id);
  if (status.address != (running ? workload.address : "")) claim("address " + status.address);
  if (status.image_id != (present ? workload.image_id : pass.seen->image_id)) claim("image " + status.image_id);
  if (status.started_at != (running ? workload.started_at : std::nullopt)) claim("another start");
  const bool ready = running && workload.ours && pass.ready == true;
  if ((status.phase == Phase::ready || condition("Ready") == "True") && !ready) claim("that the agent is ready");
  if (status.phase == Phase::stopped && process_seen({pass.id, {}, pass.seen, {}, false, false, {}}))
    claim("that it is stopped");
  if (status.phase == Phase::deleted && present) claim("that it is deleted");
  check_settled(pass.loaded->desired, status, history);
}

// Whoever waits for a generation goes on once it is told of and nothing is left to do.
void Watch::check_settled(const DesiredAgent& desired, const AgentStatus& status, const History& history) {
  const bool settled = std::any_of(status.conditions.begin(), status.conditions.end(), [](const Condition& each) {
    return each.type == "Progressing" && each.status == "False";
  });
  if (!settled || status.phase != Phase::ready || !status.cause.empty() ||
      status.observed_generation != desired.generation)
    return;
  if (history.files_hash != desired.files_hash || history.files_delivered_to != status.runtime_id ||
      history.restart_files_hash != desired.restart_files_hash || history.restart_done < desired.restart_wish ||
      history.repair_done < desired.repair_wish || history.reset_done < desired.reset_wish)
    say("claims-observed", "the status claims that all is done which was wished");
}

void Watch::check_secrets(const AgentStatus& status, const History& history, const std::vector<Event>& events) {
  bool found = holds_secret(status.message) || holds_secret(status.plan) || holds_secret(status.update_reason) ||
               holds_secret(history.last_failure_message) || holds_secret(history.refused_message) ||
               holds_secret(history.update.reason);
  for (const Condition& condition : status.conditions) found = found || holds_secret(condition.message);
  for (const Event& event : events) found = found || holds_secret(event.message);
  if (found) say("secrets-hidden", "a secret in status, history or events");
}

void Watch::record_begins(const Pass& pass, const AgentStatus& status, const History& history,
                          const std::vector<Event>& events) {
  if (!pass.loaded) return say("deleted-stays", "a status for an agent without a row");
  check_claims(pass, status, history);
  check_secrets(status, history, events);
  for (const Event& event : events)
    if (event.kind == "action" && !event.reason.ends_with("-failed") && !pass.done.contains(event.reason))
      say("claims-observed", "an event tells of a " + event.reason + " that did not succeed");
}

void Watch::record_ends(const AgentId& id, UpdateStep before, std::uint64_t by_term, std::uint64_t newest_term) {
  if (by_term != newest_term) say("one-writer", "a write of an old term had an effect");
  const auto it = store_.rows.find(id);
  if (it == store_.rows.end()) {
    owners_.of(id).gone = true;
    return;
  }
  if (it->second.status.phase == Phase::deleted) owners_.of(id).gone = true;
  owners_.update_recorded(id, before, it->second.history.update.step);
}

// --- the engine ---

void Watch::check_data(const AgentId& id, Owner& owner) {
  if (owner.storage_removed) return;
  const auto files = engine_.files.find(id);
  const auto copy = engine_.backups.find(id);
  for (const Token& token : owner.written) {
    if (!token.firm) continue;
    if (files != engine_.files.end() && files->second.contains(token.path)) continue;
    if (copy != engine_.backups.end() && copy->second.files.contains(token.path)) continue;
    return say("data-kept", token.path + " of agent " + id.str() + " is in neither volume nor copy");
  }
}

void Watch::engine_changed() {
  for (auto& [id, owner] : owners_.all()) {
    check_data(id, owner);
    const auto it = engine_.containers.find(id);
    if (!owner.gone || it == engine_.containers.end() || it->second.owner != "creel") continue;
    if (SimRuntime::has_process(it->second)) say("deleted-stays", "a process of a deleted agent");
    if (!owner.late_call) say("deleted-stays", "a container of a deleted agent");
  }
  for (const auto& [id, planted] : foreign_) {
    const auto it = engine_.containers.find(id);
    if (it == engine_.containers.end() || it->second.id != planted.id || it->second.state != planted.state)
      say("others-untouched", "another controller's container was changed");
  }
}

}  // namespace creel::sim
