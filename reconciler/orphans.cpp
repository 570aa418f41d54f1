#include "reconciler/orphans.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

namespace creel {
namespace {

constexpr std::int64_t kStopGraceSeconds = 10;
constexpr int kLooksMissed = 3;

const char* kind_name(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::container:
      return "container";
    case ObjectKind::helper:
      return "helper container";
    case ObjectKind::volume:
      return "volume";
    case ObjectKind::backup:
      return "backup volume";
  }
  return "object";
}

std::string key_of(const OwnObject& object) { return std::string{kind_name(object.kind)} + " " + object.id; }

// Why it is an orphan, and when it goes; without a time: why it stays.
struct Judgement {
  std::string cause;
  std::string sentence;
  std::optional<milliseconds> grace;
};

Judgement judge(const OwnObject& object, Fate fate, const OrphanPolicy& policy) {
  if (!object.given_name)
    return {"NameNotGiven",
            "it carries this controller's labels, but no name that Creel gives; look at it and remove it by hand",
            {}};
  if (fate == Fate::deleted) {
    const std::string why = "its agent was deleted";
    if (policy.mode == OrphanMode::report) return {"AgentDeleted", why + "; CREEL_ORPHANS=report keeps it", {}};
    return {"AgentDeleted", why, policy.grace};
  }
  const std::string why = "this database has never heard of its agent";
  if (policy.mode != OrphanMode::all)
    return {"AgentUnknown",
            why + "; it is kept: restore the database that knows it, or remove it by hand or with CREEL_ORPHANS=all",
            {}};
  return {"AgentUnknown", why, object.is_container() ? policy.grace : std::max(policy.grace, policy.volume_retention)};
}

Operation removal_of(const OwnObject& object, const AgentId& agent) {
  if (object.is_container()) return op::RemoveWorkload{agent, object.id, kStopGraceSeconds};
  if (object.kind == ObjectKind::backup) return op::RemoveBackup{agent};
  return op::RemoveStorage{agent};
}

// Containers first, and the volume last: its removal takes the copy with it.
int turn(ObjectKind kind) { return kind == ObjectKind::volume ? 2 : kind == ObjectKind::backup ? 1 : 0; }

std::string said(const Orphan& orphan) { return orphan.kind + " " + orphan.name + ": " + orphan.message; }

}  // namespace

OrphanLook look_for_orphans(const std::vector<OwnObject>& objects, const std::map<AgentId, Fate>& fates,
                            const Sightings& before, const OrphanPolicy& policy, TimePoint now) {
  OrphanLook look;
  std::vector<std::pair<OwnObject, OrphanRemoval>> due;
  std::set<AgentId> not_all_due;  // agents of which something that Creel made has to stay for now
  for (const OwnObject& object : objects) {
    const auto agent = AgentId::parse(object.agent);
    Fate fate = Fate::unknown;
    if (agent) {
      const auto known = fates.find(*agent);
      if (known == fates.end()) continue;
      fate = known->second;
    }
    if (object.given_name && fate == Fate::live) continue;
    const std::string key = key_of(object);
    Sighting sighting;
    if (const auto seen = before.find(key); seen != before.end()) sighting = seen->second;
    Orphan& orphan = sighting.orphan;
    // A clock that was set, or a time in which nobody looked, proves nothing.
    const bool throughout =
        !orphan.name.empty() && now >= orphan.last_seen && now - orphan.last_seen <= policy.period * kLooksMissed;
    const bool again = throughout && orphan.first_seen < now;
    if (!throughout) orphan.first_seen = now;
    const Judgement judgement = judge(object, fate, policy);
    orphan.kind = kind_name(object.kind);
    orphan.name = object.name;
    orphan.id = object.id;
    orphan.agent = object.agent;
    orphan.cause = judgement.cause;
    orphan.last_seen = now;
    orphan.remove_at.reset();
    if (judgement.grace) orphan.remove_at = orphan.first_seen + *judgement.grace;
    orphan.message = judgement.sentence;
    if (orphan.remove_at) orphan.message += "; it will be removed after " + to_rfc3339(*orphan.remove_at);
    if (again && !sighting.told) {
      look.events.push_back({agent.value_or(AgentId{}), "state", "OrphanFound", said(orphan), "creel"});
      sighting.told = true;
    }
    if (agent && again && orphan.remove_at && now >= *orphan.remove_at)
      due.emplace_back(object, OrphanRemoval{key, *agent, fate, removal_of(object, *agent)});
    else if (agent && object.given_name)
      not_all_due.insert(*agent);
    look.sightings.emplace(key, std::move(sighting));
  }
  std::stable_sort(due.begin(), due.end(),
                   [](const auto& a, const auto& b) { return turn(a.first.kind) < turn(b.first.kind); });
  for (auto& [object, removal] : due)
    if (object.kind != ObjectKind::volume || !not_all_due.contains(removal.agent))
      look.removals.push_back(std::move(removal));
  return look;
}

OrphanSearch::OrphanSearch(Deps deps) : deps_(std::move(deps)) {}

bool OrphanSearch::note(const std::optional<OrphanReport>& report, const std::vector<Event>& events) {
  if (auto noted = deps_.store.note(report, events, term_); !noted) {
    spdlog::warn("orphans: not recorded: {}", noted.error().message);
    return false;
  }
  return true;
}

bool OrphanSearch::remove(const OrphanRemoval& removal, std::stop_token stop) {
  if (stop.stop_requested() || deps_.term() != term_) return false;
  // A row may have come back since.
  const auto fates = deps_.store.fates({removal.agent});
  if (!fates) return false;
  const auto fate = fates->find(removal.agent);
  if (fate == fates->end() || fate->second != removal.fate) return true;
  Orphan& orphan = sightings_.at(removal.key).orphan;
  const std::string what = orphan.kind + " " + orphan.name;
  std::optional<milliseconds> took;
  const auto event = [&](std::string reason, std::string message) {
    return std::vector<Event>{{removal.agent, "action", std::move(reason), std::move(message), "creel", "", took}};
  };
  // Before the engine is asked, so that no removal goes without a word; a leader whose time is over is refused here.
  if (!note({}, orphan.problem.empty() ? event("OrphanRemoval", what + ": " + orphan.message) : std::vector<Event>{}))
    return false;
  const auto began = std::chrono::steady_clock::now();
  const auto removed = deps_.runtime.apply(removal.operation, stop);
  took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
  if (removed) {
    spdlog::info("orphans: removed the {}", what);
    sightings_.erase(removal.key);
    return note({}, event("OrphanRemoved", what + " is removed"));
  }
  if (removed.error().kind == ErrorKind::cancelled) return false;
  spdlog::warn("orphans: the {} is not removed: {}", what, removed.error().message);
  const bool news = orphan.problem != removed.error().message;
  orphan.problem = removed.error().message;
  return !news || note({}, event("OrphanRemoval-failed", what + ": " + orphan.problem));
}

void OrphanSearch::pass(std::stop_token stop) {
  const auto term = deps_.term();
  if (!term) return;
  if (*term != term_) {
    term_ = *term;
    sightings_.clear();
    looked_at_.reset();
  }
  OrphanReport report;
  report.mode = deps_.policy.mode;
  report.grace = deps_.policy.grace;
  report.volume_grace = std::max(deps_.policy.grace, deps_.policy.volume_retention);
  const auto finish = [&](std::string problem) {
    report.problem = std::move(problem);
    report.looked_at = looked_at_;
    for (const auto& [key, sighting] : sightings_) report.orphans.push_back(sighting.orphan);
    note(report, {});
  };
  const auto objects = deps_.runtime.objects(stop);
  if (!objects) {
    if (objects.error().kind == ErrorKind::cancelled) return;
    return finish("the engine's objects could not be listed: " + objects.error().message);
  }
  std::set<AgentId> agents;
  for (const OwnObject& object : *objects)
    if (const auto agent = AgentId::parse(object.agent)) agents.insert(*agent);
  const auto fates = deps_.store.fates({agents.begin(), agents.end()});
  if (!fates) {
    spdlog::warn("orphans: the agents could not be read: {}", fates.error().message);
    return;
  }
  const TimePoint now = deps_.clock();
  OrphanLook look = look_for_orphans(*objects, *fates, sightings_, deps_.policy, now);
  // What could not be told is told, and removed, after the next look.
  if (!look.events.empty() && !note({}, look.events)) return;
  sightings_ = std::move(look.sightings);
  looked_at_ = now;
  for (const OrphanRemoval& removal : look.removals)
    if (!remove(removal, stop)) break;
  finish("");
}

}  // namespace creel
