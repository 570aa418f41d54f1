#include "reconciler/runtime/sim/sim_errors.hpp"

namespace creel {

Error sim_error(ErrorKind kind, const char* what) { return {kind, std::string{what} + " (simulated)", {}, {}}; }

Error sim_error(SimFault fault) {
  switch (fault) {
    case SimFault::refused:
    case SimFault::failed_after:
      return sim_error(ErrorKind::failed, "the engine refused");
    case SimFault::unavailable:
      return sim_error(ErrorKind::unavailable, "the engine is away");
    case SimFault::none:
    case SimFault::lost_answer:
    case SimFault::timeout:
      break;
  }
  return sim_error(ErrorKind::timeout, "no answer in time");
}

// The operations, in the order of engine calls in which DockerRuntime carries them out. Whatever may have changed while
// one of them was under way is looked up again.
struct SimRuntime::Do {
  SimRuntime& sim;

  // The container that is meant: by engine id, as Docker finds it, whatever its name.
  Result<Container*> find(const AgentId& agent, const std::string& runtime_id) {
    const auto it = sim.containers.find(agent);
    if (it == sim.containers.end() || (!runtime_id.empty() && it->second.id != runtime_id))
      return sim_error(ErrorKind::not_found, "no such container");
    if (it->second.owner != sim.controller_) return sim_error(ErrorKind::conflict, "not ours");
    return &it->second;
  }
  Result<void> room() const {
    if (sim.disk_full) return sim_error(ErrorKind::failed, "no space left on device");
    return {};
  }
  // What is done to a volume would be lost on a process that uses it, or harm it.
  Result<void> at_rest(const AgentId& agent) const {
    const auto it = sim.containers.find(agent);
    if (it != sim.containers.end() && it->second.owner != sim.controller_)
      return sim_error(ErrorKind::conflict, "not ours");
    if (it != sim.containers.end() && has_process(it->second))
      return sim_error(ErrorKind::conflict, "the volume is in use");
    return {};
  }
  Result<void> own_volume(const AgentId& agent) const {
    if (sim.foreign_volumes.contains(agent)) return sim_error(ErrorKind::conflict, "the volume is another's");
    return {};
  }
  Result<void> deliver(const AgentId& agent, const std::string& user, const std::vector<VolumeFile>& delivered,
                       const char* between) {
    CREEL_CHECK(room());
    if (!user.empty()) sim.owned_volumes.insert(agent);
    bool first = true;
    for (const auto& file : delivered) {
      if (!first) CREEL_CHECK(sim.meet(between));
      first = false;
      sim.files[agent][file.path] = file.content;
    }
    return {};
  }

  Result<std::string> operator()(const op::PullImage& op) {
    if (sim.pulling.contains(op.image)) return std::string{};
    sim.pull_errors.erase(op.image);
    sim.pulling[op.image] = sim.clock_() + sim.pull_time;
    if (sim.pull_time <= milliseconds{0}) sim.end_pull(op.image);
    return std::string{};
  }
  Result<std::string> operator()(const op::CreateWorkload& op) {
    CREEL_CHECK(own_volume(op.agent));
    sim.volumes.insert(op.agent);
    CREEL_CHECK(sim.meet("create.container"));
    if (!sim.has_image(op.spec.image)) return sim_error(ErrorKind::not_found, "no such image");
    CREEL_TRY(const std::string id, create_or_find(op));
    CREEL_CHECK(sim.meet("create.files"));
    CREEL_CHECK(find(op.agent, id));
    CREEL_CHECK(deliver(op.agent, op.spec.user, op.files, "create.rest"));
    return id;
  }
  Result<std::string> create_or_find(const op::CreateWorkload& op) {
    if (const auto it = sim.containers.find(op.agent); it != sim.containers.end()) {
      if (it->second.owner == sim.controller_ && it->second.spec_hash == op.spec_hash) return it->second.id;
      return sim_error(ErrorKind::conflict, "the name is taken");
    }
    CREEL_CHECK(room());
    Container container;
    container.id = "c" + std::to_string(++sim.next_id_);
    container.owner = sim.controller_;
    container.spec_hash = op.spec_hash;
    container.generation = op.generation;
    container.created_at = sim.clock_();
    container.image = op.spec.image;
    container.image_id = image_id(plain(op.spec.image));
    container.spec = op.spec;
    const std::string id = container.id;
    sim.containers.emplace(op.agent, std::move(container));
    sim.logs.erase(op.agent);
    sim.tell(op.agent);
    return id;
  }
  Result<std::string> operator()(const op::DeliverFiles& op) {
    CREEL_CHECK(find(op.agent, op.runtime_id));
    CREEL_CHECK(deliver(op.agent, op.user, op.files, "deliver-files.rest"));
    return std::string{};
  }
  Result<std::string> operator()(const op::StartWorkload& op) {
    CREEL_TRY(Container * container, find(op.agent, op.runtime_id));
    const bool ran = has_process(*container);
    if (!ran && container->spec.egress && !sim.fenced) return sim_error(ErrorKind::failed, "the fence is down");
    if (container->state == ContainerState::paused) container->state = ContainerState::running;
    sim.begin(op.agent);
    return std::string{ran ? kAlreadyRan : ""};
  }
  Result<std::string> operator()(const op::StopWorkload& op) {
    const auto found = find(op.agent, op.runtime_id);
    if (!found && found.error().kind == ErrorKind::not_found) return std::string{};
    if (!found) return found.error();
    sim.halt(op.agent);
    return std::string{};
  }
  Result<std::string> operator()(const op::RestartWorkload& op) {
    CREEL_TRY(Container * container, find(op.agent, op.runtime_id));
    sim.begin(*container);
    sim.tell(op.agent);
    return std::string{};
  }
  Result<std::string> operator()(const op::RemoveWorkload& op) {
    auto found = find(op.agent, op.runtime_id);
    if (!found && found.error().kind == ErrorKind::not_found) return std::string{};
    if (!found) return found.error();
    sim.halt(op.agent);
    CREEL_CHECK(sim.meet("remove.container"));
    found = find(op.agent, op.runtime_id);
    if (!found && found.error().kind == ErrorKind::not_found) return std::string{};
    sim.containers.erase(op.agent);
    sim.tell(op.agent);
    return std::string{};
  }
  Result<std::string> operator()(const op::RemoveStorage& op) {
    sim.backups.erase(op.agent);
    CREEL_CHECK(sim.meet("remove-volume.own"));
    CREEL_CHECK(own_volume(op.agent));
    if (sim.containers.contains(op.agent)) return sim_error(ErrorKind::conflict, "the volume is in use");
    sim.volumes.erase(op.agent);
    sim.owned_volumes.erase(op.agent);
    sim.files.erase(op.agent);
    return std::string{};
  }
  Result<std::string> operator()(const op::ClearStorage& op) {
    CREEL_CHECK(at_rest(op.agent));
    CREEL_CHECK(own_volume(op.agent));
    for (const auto& path : op.paths)
      std::erase_if(sim.files[op.agent], [&](const auto& file) { return file.first.starts_with(path); });
    return std::string{};
  }
  Result<std::string> operator()(const op::BackUpStorage& op) {
    CREEL_CHECK(at_rest(op.agent));
    CREEL_CHECK(own_volume(op.agent));
    if (!sim.volumes.contains(op.agent)) return sim_error(ErrorKind::not_found, "no volume");
    sim.backups.erase(op.agent);
    CREEL_CHECK(room());
    sim.backups[op.agent].image = op.image;
    if (const auto met = sim.meet("back-up.copy"); !met || !room()) {
      // Best effort, as DockerRuntime does it: half a copy stays behind when the engine does not answer.
      if (!met && met.error().kind == ErrorKind::failed) sim.backups.erase(op.agent);
      return met ? sim_error(ErrorKind::failed, "no space left on device") : met.error();
    }
    sim.backups[op.agent] = {sim.files[op.agent], op.image, true};
    return std::string{};
  }
  Result<std::string> operator()(const op::RestoreStorage& op) {
    CREEL_CHECK(at_rest(op.agent));
    if (!sim.backups.contains(op.agent)) return sim_error(ErrorKind::not_found, "no copy");
    CREEL_CHECK(own_volume(op.agent));
    if (sim.containers.contains(op.agent)) return sim_error(ErrorKind::conflict, "the volume is in use");
    sim.volumes.erase(op.agent);
    sim.owned_volumes.erase(op.agent);
    sim.files.erase(op.agent);
    CREEL_CHECK(sim.meet("restore.volume"));
    sim.volumes.insert(op.agent);
    CREEL_CHECK(sim.meet("restore.copy"));
    CREEL_CHECK(room());
    sim.files[op.agent] = sim.backups[op.agent].files;
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
  const bool done = now == SimFault::none || now == SimFault::lost_answer || now == SimFault::failed_after;
  if (!done) return sim_error(now);
  auto outcome = std::visit(Do{*this}, operation);
  if (now != SimFault::none) return sim_error(now);
  return outcome;
}

}  // namespace creel
