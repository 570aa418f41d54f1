// The end of a history: nothing goes wrong any more, and within bounded time everything is as its owner last asked.
#include <algorithm>

#include "reconciler/config_feedback.hpp"
#include "reconciler/plan.hpp"
#include "reconciler/update.hpp"
#include "tests/sim/world.hpp"

namespace creel::sim {
namespace {

constexpr milliseconds kPatience{900'000};             // the longest back-off three times, or so
constexpr milliseconds kQuiet{65'000};                 // two resyncs
constexpr milliseconds kForAll{8 * 24 * 3'600'000LL};  // volumes and copies are kept less long

bool working(const std::string& image) { return image != kExiting && image != kUnready && image != kMissing; }

}  // namespace

void World::end_all_trouble() {
  tell("-- from here on nothing goes wrong");
  calm_ = true;
  armed_.clear();
  answer_delay_ = milliseconds{0};
  leader_leaves_.reset();
  engine_back_ = store_back_ = registry_back_ = disk_back_ = fence_back_ = hints_back_ = hints_single_ = now;
  // Daemons come back, names are free again, controllers are started.
  while (!agenda_.empty()) {
    const auto what = std::move(agenda_.begin()->second);
    agenda_.erase(agenda_.begin());
    what();
  }
  if (leading_ == nullptr) lead_anew();
  // A configuration that the agent cannot start with, and none before it that it could: for its owner to mend.
  for (const auto& [id, owner] : owners.all())
    if (const auto row = store.rows.find(id); row != store.rows.end() && !store.taken.contains(id))
      if (const auto changed = owners.wish(What::configure, owner.slot, now)) hint(*changed);
}

void World::calm_down() {
  end_all_trouble();
  wait_until_all_is_as_wished();
  check_nothing_more_is_done();
  if (stopped()) return;
  // And after days nothing is left of what was kept for a while only.
  now += kForAll;
  tell("-- eight days later");
  wait_until_all_is_as_wished();
  if (stopped()) return;
  for (const auto& [id, row] : store.rows)
    if (row.desired.state == DesiredState::deleted) watch.say("converges", "a deleted agent's row is still there");
  for (const auto& [id, copy] : engine.backups)
    if (store.rows.contains(id)) watch.say("converges", "the copy of a volume is still there");
}

void World::wait_until_all_is_as_wished() {
  const TimePoint since = now;
  while (!stopped()) {
    live_until(now + milliseconds{1'000});
    const std::string why = not_as_wished();
    if (why.empty()) break;
    if (now - since > kPatience) return watch.say("converges", why);
  }
  counts.longest_calm = std::max(counts.longest_calm, now - since);
}

void World::check_nothing_more_is_done() {
  if (stopped()) return;
  const std::size_t before = engine.calls.size();
  live_until(now + kQuiet);
  if (engine.calls.size() != before) watch.say("quiet-when-converged", "a " + engine.calls.back() + " without a cause");
  if (const std::string why = not_as_wished(); !why.empty()) watch.say("converges", "not for long: " + why);
}

std::string World::not_as_wished() {
  for (auto& [id, owner] : owners.all())
    if (const std::string why = not_as_wished(id, owner); !why.empty()) return "agent " + id.str() + ": " + why;
  return "";
}

std::string World::not_as_wished(const AgentId& id, Owner& owner) {
  const auto container = engine.containers.find(id);
  const bool present = container != engine.containers.end();
  auto loaded = store.load(id);
  if (!loaded || !*loaded) {
    // What a leader did that had been paused in the middle of a call is for the collection of orphans.
    if (owner.late_call) return "";
    if (present) return "a container without a row";
    return engine.volumes.contains(id) || engine.backups.contains(id) ? "a volume without a row" : "";
  }
  const AgentRecord& record = **loaded;
  const History& history = record.history;
  const DesiredAgent& desired = record.desired;
  auto observed = engine.observe(id, released(desired, wanted_release(history)).spec.image, {});
  if (!observed) return "it cannot be observed";
  if (observed->workload.state == ContainerState::running)
    observed->ready = engine.probe(observed->workload.address, desired.readiness, {}).ready;
  const Plan next = plan(in_force(desired, history), *observed, history, engine.capabilities(), Policy{}, now);
  const bool deleted = desired.state == DesiredState::deleted;
  if (!next.actions.empty() || next.forget ||
      (!next.waiting_for.empty() && !deleted && !update_waits_for_start(desired, history)))
    return "there is still to do: " + to_string(next);
  if (redelivery_in(in_force(desired, history), *observed, history, Policy{}, now)) return "it may not have heard";
  if (record.status.observed_generation != desired.generation) return "its status is of an older wish";
  if (const std::string why = data_missing(id, owner); !why.empty()) return why;
  if (deleted) {
    if (present) return "the container of a deleted agent";
    return record.status.phase == Phase::deleted ? "" : "it does not say that it is deleted";
  }
  if (desired.reset_wish != history.reset_done) return "its memory was not cleared";
  if (update_pending(desired, history) && !update_waits_for_start(desired, history)) return "its update has not ended";
  if (desired.state == DesiredState::running) return not_running(id, owner, record);
  if (present && SimRuntime::has_process(container->second)) return "it was to be stopped";
  return record.status.phase == Phase::stopped ? "" : "it does not say that it is stopped";
}

std::string World::not_running(const AgentId& id, const Owner& owner, const AgentRecord& record) {
  const DesiredAgent& desired = record.desired;
  const auto it = engine.containers.find(id);
  if (it == engine.containers.end() || it->second.state != ContainerState::running) return "it does not run";
  const SimRuntime::Container& container = it->second;
  if (record.status.phase != Phase::ready) return std::string{"it runs, and says "} + to_string(record.status.phase);
  if (!container.answers) return "its gateway hangs";
  if (!container.hardening_ok) return "its container is altered";
  if (!engine.owned_volumes.contains(id)) return "its volume was not given to its user";
  if (container.spec.resources != desired.spec.resources) return "it has not got its plan";
  const std::string image = SimRuntime::plain(container.image_id);
  const std::string& updated = record.status.image;
  if (image != (updated.empty() ? desired.spec.image : updated) || !working(image)) return "it runs " + image;
  if (record.status.update_outcome == "Committed" && record.status.update_done == desired.update_wish &&
      image != desired.update_image)
    return "it says that an update has worked which it does not run";
  const DesiredAgent files = in_force(desired, record.history);
  for (const VolumeFile& file : files.files)
    if (engine.files[id][file.path] != file.content) return "its volume has another " + file.path;
  if (owner.read_config != files.files[0].content) return "its process has read another configuration";
  if (owner.read_key != files.files[1].content) return "its process has read another key";
  if (owner.restart_wished && container.started_at < *owner.restart_wished) return "it was not restarted";
  if (owner.repair_wished && container.created_at < *owner.repair_wished) return "it was not re-created";
  return "";
}

std::string World::data_missing(const AgentId& id, const Owner& owner) {
  if (owner.storage_removed) return engine.volumes.contains(id) ? "the volume is to be gone" : "";
  const auto& files = engine.files[id];
  // The roll-back of an agent that was deleted meanwhile is not taken to its end: then they are in the copy.
  const bool deleted = store.rows.at(id).desired.state == DesiredState::deleted;
  for (const Token& token : owner.written) {
    if (!deleted && token.firm && !files.contains(token.path)) return token.path + " is not in its volume";
    if (owner.reset_wished && token.path.starts_with(kNotes) && token.at < *owner.reset_wished &&
        files.contains(token.path) && !deleted)
      return token.path + " was to be forgotten";
  }
  for (const auto& [path, content] : files)
    if (path.starts_with(kNotes) && std::none_of(owner.written.begin(), owner.written.end(),
                                                 [&](const Token& token) { return token.path == path; }))
      return path + " was forgotten, and is back";
  return "";
}

}  // namespace creel::sim
