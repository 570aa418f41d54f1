#include "reconciler/runtime/sim/sim_runtime.hpp"

namespace creel {
namespace {

Error error_of(SimFault fault) {
  switch (fault) {
    case SimFault::refused:
      return {ErrorKind::failed, "the engine refused (simulated)", {}, {}};
    case SimFault::unavailable:
      return {ErrorKind::unavailable, "the engine is away (simulated)", {}, {}};
    case SimFault::none:
    case SimFault::lost_answer:
    case SimFault::timeout:
      break;
  }
  return {ErrorKind::timeout, "no answer in time (simulated)", {}, {}};
}

bool has_process(ContainerState state) {
  return state == ContainerState::running || state == ContainerState::restarting || state == ContainerState::paused;
}

}  // namespace

SimRuntime::SimRuntime(Clock clock, std::string controller)
    : clock_(std::move(clock)), controller_(std::move(controller)) {}

void SimRuntime::crash(const AgentId& agent, int exit_code) {
  Container& container = containers.at(agent);
  container.exit_code = exit_code;
  container.restart_count += 1;
  container.started_at = clock_();
  container.starts += 1;
}

bool SimRuntime::has_image(const std::string& name) const {
  return images.contains(name.starts_with("id:") ? name.substr(3) : name);
}

Result<ObservedImage> SimRuntime::observe_image(const std::string& reference, std::stop_token) {
  if (fault)
    if (const SimFault now = fault("observe-image"); now != SimFault::none) return error_of(now);
  ObservedImage image;
  image.presence = has_image(reference) ? Presence::present : Presence::absent;
  image.id = image_id(reference);
  if (const auto pull = pulls.find(reference); pull != pulls.end()) image.pull = pull->second;
  if (const auto why = pull_errors.find(reference); why != pull_errors.end()) image.message = why->second;
  return image;
}

Result<Observed> SimRuntime::observe(const AgentId& agent, const std::string& image, std::stop_token) {
  if (fault)
    if (const SimFault now = fault("observe"); now != SimFault::none) return error_of(now);
  Observed observed;
  observed.at = clock_();
  observed.storage_presence = volumes.contains(agent) ? Presence::present : Presence::absent;
  observed.storage_ours = true;
  observed.image = has_image(image) ? ImageState::present : ImageState::absent;
  observed.image_id = image.starts_with("id:") ? image : image_id(image);
  if (const auto failed = pull_errors.find(image); failed != pull_errors.end()) {
    observed.image = ImageState::failed;
    observed.image_message = failed->second;
  }
  observed.workload_presence = Presence::absent;
  if (const auto it = containers.find(agent); it != containers.end()) {
    const Container& container = it->second;
    observed.workload_presence = Presence::present;
    ObservedWorkload& workload = observed.workload;
    workload.runtime_id = container.id;
    workload.ours = container.owner == controller_;
    workload.owner_label = container.owner;
    workload.spec_hash = container.spec_hash;
    workload.generation = container.generation;
    workload.state = container.state;
    workload.exit_code = container.exit_code;
    workload.restart_count = container.restart_count;
    workload.hardening_ok = container.hardening_ok;
    workload.image_id = container.image_id;
    if (container.state == ContainerState::running) {
      workload.started_at = container.started_at;
      workload.address = agent.str();
    }
  }
  return observed;
}

struct SimRuntime::Do {
  SimRuntime& sim;

  // The container that is meant: by engine id, as Docker finds it, whatever its name.
  Result<Container*> find(const AgentId& agent, const std::string& runtime_id) {
    const auto it = sim.containers.find(agent);
    if (it == sim.containers.end() || (!runtime_id.empty() && it->second.id != runtime_id))
      return Error{ErrorKind::not_found, "no such container (simulated)", {}, {}};
    if (it->second.owner != sim.controller_) return Error{ErrorKind::conflict, "not ours (simulated)", {}, {}};
    return &it->second;
  }
  void begin(Container& container) {
    container.state = ContainerState::running;
    container.started_at = sim.clock_();
    container.restart_count = sim.exiting.contains(container.image_id.substr(3)) ? 5 : 0;
    if (container.restart_count > 0) container.exit_code = 3;
    container.starts += 1;
  }

  Result<std::string> operator()(const op::PullImage& op) {
    sim.pull_errors.erase(op.image);
    sim.pulls[op.image] = sim.pullable.contains(op.image) ? PullState::succeeded : PullState::failed;
    if (sim.pullable.contains(op.image))
      sim.images.insert(op.image);
    else
      sim.pull_errors[op.image] = "not found (simulated)";
    return std::string{};
  }
  Result<std::string> operator()(const op::CreateWorkload& op) {
    if (!sim.has_image(op.spec.image)) return Error{ErrorKind::not_found, "no such image (simulated)", {}, {}};
    if (const auto it = sim.containers.find(op.agent); it != sim.containers.end()) {
      if (it->second.owner == sim.controller_ && it->second.spec_hash == op.spec_hash) return it->second.id;
      return Error{ErrorKind::conflict, "the name is taken (simulated)", {}, {}};
    }
    sim.volumes.insert(op.agent);
    Container container;
    container.id = "c" + std::to_string(++sim.next_id_);
    container.owner = sim.controller_;
    container.spec_hash = op.spec_hash;
    container.generation = op.generation;
    container.image = op.spec.image;
    container.image_id = op.spec.image.starts_with("id:") ? op.spec.image : image_id(op.spec.image);
    const std::string id = container.id;
    sim.containers.emplace(op.agent, std::move(container));
    for (const auto& file : op.files) sim.files[op.agent][file.path] = file.content;
    return id;
  }
  Result<std::string> operator()(const op::DeliverFiles& op) {
    CREEL_CHECK(find(op.agent, op.runtime_id));
    for (const auto& file : op.files) sim.files[op.agent][file.path] = file.content;
    return std::string{};
  }
  Result<std::string> operator()(const op::StartWorkload& op) {
    CREEL_TRY(Container * container, find(op.agent, op.runtime_id));
    if (!has_process(container->state)) begin(*container);
    return std::string{};
  }
  Result<std::string> operator()(const op::StopWorkload& op) {
    CREEL_TRY(Container * container, find(op.agent, op.runtime_id));
    if (has_process(container->state)) container->state = ContainerState::exited;
    return std::string{};
  }
  Result<std::string> operator()(const op::RestartWorkload& op) {
    CREEL_TRY(Container * container, find(op.agent, op.runtime_id));
    begin(*container);
    return std::string{};
  }
  Result<std::string> operator()(const op::RemoveWorkload& op) {
    auto found = find(op.agent, op.runtime_id);
    if (!found && found.error().kind == ErrorKind::not_found) return std::string{};
    if (!found) return found.error();
    sim.containers.erase(op.agent);
    return std::string{};
  }
  Result<std::string> operator()(const op::ClearStorage& op) {
    if (const auto it = sim.containers.find(op.agent); it != sim.containers.end() && has_process(it->second.state))
      return Error{ErrorKind::conflict, "the volume is in use (simulated)", {}, {}};
    for (const auto& path : op.paths)
      std::erase_if(sim.files[op.agent], [&](const auto& file) { return file.first.starts_with(path); });
    return std::string{};
  }
  Result<std::string> operator()(const op::RemoveStorage& op) {
    if (sim.containers.contains(op.agent))
      return Error{ErrorKind::conflict, "the volume is in use (simulated)", {}, {}};
    sim.volumes.erase(op.agent);
    sim.files.erase(op.agent);
    sim.backups.erase(op.agent);
    return std::string{};
  }
  bool in_use(const AgentId& agent) const {
    const auto it = sim.containers.find(agent);
    return it != sim.containers.end() && has_process(it->second.state);
  }
  Result<std::string> operator()(const op::BackUpStorage& op) {
    if (in_use(op.agent)) return Error{ErrorKind::conflict, "the volume is in use (simulated)", {}, {}};
    sim.backups[op.agent] = sim.files[op.agent];
    return std::string{};
  }
  Result<std::string> operator()(const op::RestoreStorage& op) {
    if (in_use(op.agent)) return Error{ErrorKind::conflict, "the volume is in use (simulated)", {}, {}};
    if (!sim.backups.contains(op.agent)) return Error{ErrorKind::not_found, "no copy (simulated)", {}, {}};
    sim.volumes.insert(op.agent);
    sim.files[op.agent] = sim.backups[op.agent];
    return std::string{};
  }
  Result<std::string> operator()(const op::RemoveBackup& op) {
    sim.backups.erase(op.agent);
    return std::string{};
  }
};

Result<std::string> SimRuntime::apply(const Operation& operation, std::stop_token) {
  const std::string name = operation_name(operation);
  calls.push_back(name);
  const SimFault now = fault ? fault(name) : SimFault::none;
  if (now != SimFault::none && now != SimFault::lost_answer) return error_of(now);
  auto outcome = std::visit(Do{*this}, operation);
  if (now == SimFault::lost_answer) return error_of(now);
  return outcome;
}

Result<void> SimRuntime::watch(std::function<void()> on_open, std::function<void(const AgentId&)>, std::stop_token) {
  on_open();
  return {};
}

Result<std::vector<OwnObject>> SimRuntime::objects(std::stop_token) {
  if (fault)
    if (const SimFault now = fault("objects"); now != SimFault::none) return error_of(now);
  std::vector<OwnObject> objects;
  for (const auto& [id, container] : containers)
    if (container.owner == controller_)
      objects.push_back({ObjectKind::container, container.id, id.str(), id.str(), true});
  for (const AgentId& id : volumes) objects.push_back({ObjectKind::volume, id.str(), id.str(), id.str(), true});
  for (const auto& [id, files] : backups)
    objects.push_back({ObjectKind::backup, id.str() + "-backup", id.str() + "-backup", id.str(), true});
  return objects;
}

Result<std::vector<LogLine>> SimRuntime::last_lines(const std::string&, std::size_t, std::optional<TimePoint>,
                                                    std::stop_token) {
  return std::vector<LogLine>{{clock_(), false, log_line}};
}

ProbeAnswer SimRuntime::probe(const std::string& address, const Readiness&, std::stop_token) {
  const auto agent = AgentId::parse(address);
  const auto it = agent ? containers.find(*agent) : containers.end();
  if (it == containers.end()) return {std::nullopt, "no answer (simulated)"};
  if (unready.contains(it->second.image_id.substr(3))) return {false, "never ready (simulated)"};
  if (ready && clock_() - it->second.started_at >= ready_after) return {true, ""};
  return {false, "not ready yet (simulated)"};
}

}  // namespace creel
