#include "reconciler/runtime/sim/sim_runtime.hpp"

#include <algorithm>

#include "reconciler/runtime/sim/sim_errors.hpp"

namespace creel {
namespace {

constexpr std::string_view kDigest = "@sha256:simulated";
// As Docker's: restarts after 100 ms, twice that, … while runs last less than 10 s.
constexpr milliseconds kFirstRestartDelay{100};
constexpr milliseconds kLastRestartDelay{60'000};
constexpr milliseconds kLongRun{10'000};

}  // namespace

SimRuntime::SimRuntime(Clock clock, std::string controller)
    : clock_(std::move(clock)), controller_(std::move(controller)) {}

std::string SimRuntime::plain(const std::string& image) {
  if (image.starts_with("id:")) return image.substr(3);
  return image.ends_with(kDigest) ? image.substr(0, image.size() - kDigest.size()) : image;
}

bool SimRuntime::has_process(const Container& container) {
  return container.state == ContainerState::running || container.state == ContainerState::restarting ||
         container.state == ContainerState::paused;
}

void SimRuntime::tell(const AgentId& agent) const {
  if (changed) changed(agent);
}

Result<void> SimRuntime::meet(const std::string& call) {
  if (!fault) return {};
  const SimFault now = fault(call);
  if (now != SimFault::none) return sim_error(now);
  return {};
}

// --- what happens by itself, or by others ---

void SimRuntime::begin(Container& container) {
  container.state = ContainerState::running;
  container.started_at = clock_();
  container.restart_count = exiting.contains(plain(container.image_id)) ? 5 : 0;
  container.exit_code = container.restart_count > 0 ? 3 : 0;
  container.oom_killed = false;
  container.restart_delay = milliseconds{0};
  container.answers = true;
  container.starts += 1;
}

void SimRuntime::begin(const AgentId& agent) {
  Container& container = containers.at(agent);
  if (has_process(container)) return;
  begin(container);
  tell(agent);
}

void SimRuntime::halt(const AgentId& agent) {
  Container& container = containers.at(agent);
  if (!has_process(container)) return;
  container.state = ContainerState::exited;
  tell(agent);
}

void SimRuntime::crash(const AgentId& agent, int exit_code) {
  Container& container = containers.at(agent);
  container.exit_code = exit_code;
  container.restart_count += 1;
  container.started_at = clock_();
  container.starts += 1;
}

void SimRuntime::exit(const AgentId& agent, int exit_code, bool oom) {
  Container& container = containers.at(agent);
  if (container.state != ContainerState::running) return;
  if (clock_() - container.started_at >= kLongRun) container.restart_delay = milliseconds{0};
  container.restart_delay = std::clamp(container.restart_delay * 2, kFirstRestartDelay, kLastRestartDelay);
  container.restarts_at = clock_() + container.restart_delay;
  container.state = ContainerState::restarting;
  container.exit_code = exit_code;
  container.oom_killed = oom;
  tell(agent);
}

void SimRuntime::end_pull(const std::string& image) {
  pulling.erase(image);
  const bool there = pullable.contains(plain(image)) && !image.starts_with("id:");
  pulls[image] = there && !disk_full ? PullState::succeeded : PullState::failed;
  if (!there)
    pull_errors[image] = "not found (simulated)";
  else if (disk_full)
    pull_errors[image] = "no space left on device (simulated)";
  else
    images.insert(plain(image));
}

void SimRuntime::tick() {
  const TimePoint now = clock_();
  for (auto& [agent, container] : containers) {
    if (container.state != ContainerState::restarting || container.restarts_at > now) continue;
    container.state = ContainerState::running;
    container.started_at = now;
    container.restart_count += 1;
    container.answers = true;
    container.starts += 1;
    tell(agent);
  }
  while (true) {
    const auto due = std::find_if(pulling.begin(), pulling.end(), [&](const auto& pull) { return pull.second <= now; });
    if (due == pulling.end()) return;
    end_pull(std::string{due->first});
  }
}

std::optional<TimePoint> SimRuntime::next_tick() const {
  std::optional<TimePoint> next;
  const auto by = [&](TimePoint at) { next = std::min(next.value_or(at), at); };
  for (const auto& [agent, container] : containers)
    if (container.state == ContainerState::restarting) by(container.restarts_at);
  for (const auto& [image, until] : pulling) by(until);
  return next;
}

// --- looking ---

Result<ObservedImage> SimRuntime::observe_image(const std::string& reference, std::stop_token) {
  CREEL_CHECK(meet("observe-image"));
  ObservedImage image;
  image.presence = has_image(reference) ? Presence::present : Presence::absent;
  image.id = image_id(plain(reference));
  if (digests && pullable.contains(plain(reference))) image.digest = plain(reference) + std::string{kDigest};
  if (const auto pull = pulls.find(reference); pull != pulls.end()) image.pull = pull->second;
  if (pulling.contains(reference)) image.pull = PullState::under_way;
  if (const auto why = pull_errors.find(reference); why != pull_errors.end()) image.message = why->second;
  return image;
}

ObservedWorkload SimRuntime::look_at(const AgentId& agent, const Container& container) const {
  ObservedWorkload workload;
  workload.runtime_id = container.id;
  workload.ours = container.owner == controller_;
  workload.owner_label = container.owner;
  workload.spec_hash = container.spec_hash;
  workload.generation = container.generation;
  workload.state = container.state;
  workload.exit_code = container.exit_code;
  workload.oom_killed = container.oom_killed;
  workload.restart_count = container.restart_count;
  workload.hardening_ok = container.hardening_ok;
  workload.image_id = container.image_id;
  if (container.starts > 0) workload.started_at = container.started_at;  // of the last run, as Docker says it
  if (container.state == ContainerState::running) workload.address = agent.str();
  return workload;
}

void SimRuntime::look_at_image(const std::string& image, Observed& observed) const {
  observed.image_id = image_id(plain(image));
  if (pulling.contains(image)) {
    observed.image = ImageState::pulling;
  } else if (has_image(image)) {
    observed.image = ImageState::present;
  } else {
    const auto failed = pull_errors.find(image);
    observed.image = failed != pull_errors.end() ? ImageState::failed : ImageState::absent;
    if (failed != pull_errors.end()) observed.image_message = failed->second;
  }
}

Result<Observed> SimRuntime::observe(const AgentId& agent, const std::string& image, std::stop_token) {
  const SimFault first = fault ? fault("observe") : SimFault::none;
  if (first != SimFault::none && first != SimFault::timeout) return sim_error(first);
  Observed observed;
  observed.at = clock_();
  observed.fence = fenced ? FenceView{true, "InForce", ""} : FenceView{false, "Failed", "down (simulated)"};
  if (first == SimFault::timeout) {
    observed.error = sim_error(first).message;
  } else if (const auto it = containers.find(agent); it != containers.end()) {
    observed.workload_presence = Presence::present;
    observed.workload = look_at(agent, it->second);
  } else {
    observed.workload_presence = Presence::absent;
  }
  if (const auto looked = meet("observe.volume"); !looked) {
    if (first == SimFault::timeout) return looked.error();
    observed.error = looked.error().message;
  } else {
    const bool foreign = foreign_volumes.contains(agent);
    observed.storage_presence = foreign || volumes.contains(agent) ? Presence::present : Presence::absent;
    observed.storage_ours = !foreign;
  }
  if (observed.workload_presence == Presence::present && observed.workload.state == ContainerState::running &&
      observed.workload.image_id == image_id(plain(image))) {
    observed.image = ImageState::present;
    observed.image_id = observed.workload.image_id;
  } else if (const auto looked = meet("observe.image"); !looked) {
    observed.error = looked.error().message;
  } else {
    look_at_image(image, observed);
  }
  return observed;
}

Result<void> SimRuntime::watch(std::function<void()> on_open, std::function<void(const AgentId&)>, std::stop_token) {
  on_open();
  return {};
}

Result<std::vector<OwnObject>> SimRuntime::objects(std::stop_token) {
  CREEL_CHECK(meet("objects"));
  std::vector<OwnObject> objects;
  for (const auto& [id, container] : containers)
    if (container.owner == controller_)
      objects.push_back({ObjectKind::container, container.id, id.str(), id.str(), true});
  for (const AgentId& id : volumes) objects.push_back({ObjectKind::volume, id.str(), id.str(), id.str(), true});
  for (const auto& [id, files] : backups)
    objects.push_back({ObjectKind::backup, id.str() + "-backup", id.str() + "-backup", id.str(), true});
  return objects;
}

Result<std::vector<LogLine>> SimRuntime::last_lines(const std::string& runtime_id, std::size_t count,
                                                    std::optional<TimePoint> since, std::stop_token) {
  CREEL_CHECK(meet("logs"));
  for (const auto& [agent, container] : containers) {
    if (container.id != runtime_id) continue;
    const auto printed = logs.find(agent);
    if (printed == logs.end()) break;
    std::vector<LogLine> lines;
    for (const auto& line : printed->second)
      if (!since || line.at >= *since) lines.push_back(line);
    if (lines.size() > count) lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(count));
    return lines;
  }
  return std::vector<LogLine>{{clock_(), false, log_line}};
}

ProbeAnswer SimRuntime::probe(const std::string& address, const Readiness&, std::stop_token) {
  if (!meet("probe")) return {std::nullopt, "no answer in time (simulated)"};
  const auto agent = AgentId::parse(address);
  const auto it = agent ? containers.find(*agent) : containers.end();
  if (it == containers.end() || it->second.state != ContainerState::running)
    return {std::nullopt, "no answer (simulated)"};
  const Container& container = it->second;
  if (unready.contains(plain(container.image_id))) return {false, "never ready (simulated)"};
  if (ready && container.answers && clock_() - container.started_at >= ready_after) return {true, ""};
  return {false, "not ready yet (simulated)"};
}

}  // namespace creel
