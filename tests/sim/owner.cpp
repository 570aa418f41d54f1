#include "tests/sim/owner.hpp"

#include <algorithm>

#include "controller/core/spec_hash.hpp"

namespace creel::sim {
namespace {

constexpr milliseconds kReads{200};      // after its start, or after a file changed
constexpr milliseconds kExits{300};      // a process that does not work
constexpr milliseconds kWrites{25'000};  // between two deeds of an agent
constexpr std::size_t kMostTokens = 24;

bool bad(const std::string& config) { return config.starts_with("bad"); }

void hash(DesiredAgent& desired) {
  desired.files_hash = files_hash(desired.files, "key", false);
  desired.restart_files_hash = files_hash(desired.files, "key", true);
}

}  // namespace

std::optional<AgentId> Owners::agent_of(int slot) const {
  const auto it = newest_.find(slot);
  return it == newest_.end() ? std::nullopt : std::optional{it->second};
}

AgentId Owners::provision(int slot) {
  const std::string number = std::to_string(++serial_);
  const AgentId id = AgentId::parse(std::string(16 - number.size(), '0') + number).value();
  AgentRecord record;
  DesiredAgent& desired = record.desired;
  desired.id = id;
  desired.name = "agent";
  desired.generation = 1;
  desired.spec.image = kFirstImage;
  desired.spec.env = {{"HOME", "/state"}};
  desired.spec.state_dir = "/state";
  desired.spec.user = "1000:1000";
  desired.spec.resources.memory_bytes = 1 << 30;
  desired.spec_hash = spec_hash(desired.spec);
  desired.memory_paths = {kNotes};
  desired.readiness.startup_budget = milliseconds{6'000};
  desired.readiness.period = milliseconds{30'000};
  desired.readiness.config = {{"config in force"}, {"config refused"}};
  configure(desired, true);
  store_.rows[id] = record;
  owners_[id].slot = slot;
  newest_[slot] = id;
  return id;
}

void Owners::configure(DesiredAgent& desired, bool good) {
  const std::string number = std::to_string(++serial_);
  desired.files = {{kConfig, (good ? "good " : "bad ") + number + " " + kSecret, 0600, 1000, 1000, false},
                   {kKey, "key " + std::string{kSecret}, 0600, 1000, 1000, true}};
  // Now and then also a file that is read at start only.
  if (serial_ % 3 == 0) desired.files[1].content += " " + number;
  hash(desired);
}

std::optional<AgentId> Owners::wish(What what, int slot, TimePoint now) {
  const auto known = agent_of(slot);
  const auto it = known ? store_.rows.find(*known) : store_.rows.end();
  const bool there = it != store_.rows.end() && it->second.desired.state != DesiredState::deleted;
  if (what == What::provision) return there ? std::nullopt : std::optional{provision(slot)};
  // An agent that is kept after its deletion may still be asked to be purged.
  if (it == store_.rows.end() || (!there && what != What::purge)) return std::nullopt;
  DesiredAgent& desired = it->second.desired;
  Owner& owner = owners_.at(*known);
  const auto update_to = [&](const std::string& image) {
    desired.update_image = image;
    desired.update_wish += 1;
  };
  switch (what) {
    case What::start:
      desired.state = DesiredState::running;
      break;
    case What::stop:
      desired.state = DesiredState::stopped;
      break;
    case What::restart:
      desired.state = DesiredState::running;
      desired.restart_wish += 1;
      owner.restart_wished = now;
      break;
    case What::repair:
      desired.state = DesiredState::running;
      desired.repair_wish += 1;
      owner.repair_wished = now;
      break;
    case What::reset_memory:
      desired.reset_wish += 1;
      owner.reset_wished = now;
      break;
    case What::configure:
    case What::configure_badly:
      // Now and then the former one is wished again.
      if (what == What::configure && !owner.former.empty() && ++serial_ % 3 == 0) {
        const std::vector<VolumeFile> present = std::exchange(desired.files, owner.former);
        if (!bad(present[0].content)) owner.former = present;
        hash(desired);
        break;
      }
      if (!bad(desired.files[0].content)) owner.former = desired.files;
      configure(desired, what == What::configure);
      break;
    case What::change_plan:
      desired.spec.resources.memory_bytes += 1 << 20;
      desired.spec_hash = spec_hash(desired.spec);
      break;
    case What::list_egress:
      if (std::exchange(desired.spec.egress, std::nullopt) == std::nullopt)
        desired.spec.egress = std::vector<std::string>{"allowed.test"};
      desired.spec_hash = spec_hash(desired.spec);
      break;
    case What::update:
      update_to(desired.update_wish % 3 == 2 ? kFirstImage : "agent:" + std::to_string(2 + desired.update_wish % 2));
      break;
    case What::update_to_exiting:
      update_to(kExiting);
      break;
    case What::update_to_unready:
      update_to(kUnready);
      break;
    case What::update_to_missing:
      update_to(kMissing);
      break;
    case What::remove:
    case What::purge:
      if (desired.purge || (!there && what == What::remove)) return std::nullopt;
      desired.state = DesiredState::deleted;
      desired.purge = what == What::purge;
      if (!desired.deleted_at) desired.deleted_at = now;
      break;
    default:
      return std::nullopt;
  }
  desired.generation += 1;
  return known;
}

// --- processes ---

void Owners::print(const AgentId& id, const std::string& text, TimePoint now) {
  engine_.logs[id].push_back({now, false, text});
}

void Owners::begin_run(Owner& owner, const AgentId& id, const SimRuntime::Container& container) {
  owner.container = container.id;
  owner.starts = container.starts;
  owner.read_config = engine_.files[id][kConfig];
  owner.read_key = engine_.files[id][kKey];
  owner.exits_at.reset();
  owner.rereads_at.reset();
  owner.writes_at = container.started_at + kReads;
  const bool works = SimRuntime::plain(container.image_id) != kExiting;
  if (!works || bad(owner.read_config) || owner.read_config.empty()) {
    owner.exits_at = container.started_at + kExits;
    print(id, works ? "config refused: near " + std::string{kSecret} : "no such file, with " + std::string{kSecret},
          container.started_at);
  }
}

void Owners::write(const AgentId& id, Owner& owner, TimePoint now) {
  const Update& update = store_.rows.at(id).history.update;
  const bool calm = update.step == UpdateStep::none || update.step == UpdateStep::pulling;
  const bool firm = calm || (update.step == UpdateStep::backing_up && owner.copied_for != update.wish);
  for (const char* folder : {kNotes, kWork}) {
    Token token{folder + std::to_string(++serial_), now, firm};
    engine_.files[id][token.path] = "by " + id.str();
    owner.written.push_back(std::move(token));
  }
}

void Owners::run_processes(TimePoint now) {
  for (auto& [id, owner] : owners_) {
    const auto it = engine_.containers.find(id);
    if (it == engine_.containers.end() || it->second.owner != "creel" || it->second.state != ContainerState::running) {
      owner.exits_at.reset();
      owner.rereads_at.reset();
      continue;
    }
    const SimRuntime::Container& container = it->second;
    if (container.id != owner.container || container.starts != owner.starts) begin_run(owner, id, container);
    if (owner.exits_at) {
      if (now >= *owner.exits_at) engine_.exit(id, 3, false);
      continue;
    }
    const std::string& config = engine_.files[id][kConfig];
    if (config != owner.read_config && !owner.rereads_at) owner.rereads_at = now + kReads;
    if (owner.rereads_at && now >= *owner.rereads_at) {
      owner.rereads_at.reset();
      owner.read_config = config;
      print(id, bad(config) ? "config refused: near " + std::string{kSecret} : "config in force", now);
    }
    if (now < owner.writes_at) continue;
    owner.writes_at = now + kWrites;
    if (store_.rows.contains(id) && owner.written.size() < kMostTokens && !engine_.disk_full) write(id, owner, now);
  }
}

std::optional<TimePoint> Owners::next_deed() const {
  std::optional<TimePoint> next;
  const auto by = [&](TimePoint at) { next = std::min(next.value_or(at), at); };
  for (const auto& [id, owner] : owners_) {
    const auto it = engine_.containers.find(id);
    if (it == engine_.containers.end() || it->second.state != ContainerState::running) continue;
    if (owner.exits_at) by(*owner.exits_at);
    if (owner.rereads_at) by(*owner.rereads_at);
    by(owner.writes_at);
  }
  return next;
}

void Owners::update_recorded(const AgentId& id, UpdateStep before, UpdateStep now) {
  const auto calm = [](UpdateStep step) { return step == UpdateStep::none || step == UpdateStep::pulling; };
  if (calm(before) || !calm(now)) return;
  // What was written on trial stays if it is still there.
  auto& written = owners_.at(id).written;
  const auto& files = engine_.files[id];
  std::erase_if(written, [&](const Token& token) { return !token.firm && !files.contains(token.path); });
  for (Token& token : written) token.firm = true;
}

}  // namespace creel::sim
