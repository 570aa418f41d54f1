// What we send: the body that makes a container, and the fingerprint of its isolation.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "controller/core/ids.hpp"
#include "reconciler/runtime/docker/codec.hpp"
#include "reconciler/runtime/docker/isolation.hpp"

namespace creel::docker {

using nlohmann::json;

std::string object_name(const AgentId& agent) { return "creel-" + agent.str(); }

std::string backup_name(const AgentId& agent) { return object_name(agent) + "-backup"; }

std::string helper_name(const std::string& volume) { return volume + "-volume"; }

OwnObject own_object(const std::string& id, const std::string& name, const std::string& agent_label, bool container) {
  OwnObject object{container ? ObjectKind::container : ObjectKind::volume, id, name, agent_label, false};
  const auto agent = AgentId::parse(agent_label);
  if (!agent) return object;
  const std::string own = object_name(*agent);
  const std::string backup = backup_name(*agent);
  if (container && (name == helper_name(own) || name == helper_name(backup))) object.kind = ObjectKind::helper;
  if (!container && name == backup) object.kind = ObjectKind::backup;
  object.given_name = name == own || object.kind == ObjectKind::helper || object.kind == ObjectKind::backup;
  return object;
}

Labels agent_labels(const AgentId& agent, const std::string& controller_id, std::uint64_t generation,
                    const std::string& spec_hash) {
  return {{kLabelAgent, agent.str()},
          {kLabelController, controller_id},
          {kLabelGeneration, std::to_string(generation)},
          {kLabelSpecHash, spec_hash}};
}

std::string label_filter(const std::string& key, const std::string& value) {
  return json{{"label", json::array({key + "=" + value})}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

json create_container_body(const op::CreateWorkload& operation, const CreateContext& context) {
  const WorkloadSpec& spec = operation.spec;
  const std::string name = object_name(operation.agent);
  const std::string port = std::to_string(spec.port) + "/tcp";
  const Labels volume_labels =
      agent_labels(operation.agent, context.controller_id, operation.generation, operation.spec_hash);
  // A plan says "up to": on a smaller machine an agent gets all of it.
  constexpr std::int64_t kOneCore = 1'000'000'000;
  const std::int64_t nano_cpus =
      context.cpus > 0 ? std::min(spec.resources.nano_cpus, context.cpus * kOneCore) : spec.resources.nano_cpus;

  json host{
      // Docker itself restarts a process that exits, so that agents live through an outage of the controller.
      {"RestartPolicy", {{"Name", "unless-stopped"}, {"MaximumRetryCount", 0}}},
      {"Privileged", false},
      {"CapDrop", json::array({"ALL"})},
      {"SecurityOpt", json::array({"no-new-privileges"})},
      {"ReadonlyRootfs", spec.read_only_root},
      {"Memory", spec.resources.memory_bytes},
      {"MemorySwap", spec.resources.memory_bytes},  // equal: no swap
      {"NanoCpus", nano_cpus},
      {"PidsLimit", spec.resources.pids},
      {"Init", spec.init},
      {"LogConfig", {{"Type", "local"}, {"Config", {{"max-size", "10m"}, {"max-file", "5"}}}}},
      {"Ulimits", json::array({{{"Name", "nofile"}, {"Soft", spec.nofile}, {"Hard", spec.nofile}}})},
      {"Mounts",
       json::array({{{"Type", "volume"},
                     {"Source", name},
                     {"Target", spec.state_dir},
                     {"VolumeOptions", {{"Labels", volume_labels}, {"DriverConfig", {{"Name", "local"}}}}}}})},
      {"NetworkMode", context.network},
  };
  if (!context.resolver.empty()) host["Dns"] = json::array({context.resolver});
  if (!spec.tmpfs.empty()) host["Tmpfs"] = spec.tmpfs;
  if (!context.publish_at.empty() && spec.port != 0) {
    host["PortBindings"] = {{port, json::array({{{"HostIp", context.publish_at}, {"HostPort", ""}}})}};
  }

  Labels labels = volume_labels;
  labels.insert(spec.labels.begin(), spec.labels.end());  // Creel's own stay what they are
  labels[kLabelPort] = std::to_string(spec.port);
  labels[kLabelIsolation] = isolation_fingerprint(host, spec.user, context.limits_swap, context.limits_pids);

  json body{
      {"Image", spec.image},
      {"User", spec.user},
      {"Labels", labels},
      {"StopTimeout", spec.stop_grace_seconds},
      // An image's own health check runs a process in the container each time; readiness is asked over HTTP instead.
      {"Healthcheck", {{"Test", json::array({"NONE"})}}},
      {"HostConfig", host},
      {"NetworkingConfig", {{"EndpointsConfig", {{context.network, json::object()}}}}},
  };
  if (!spec.entrypoint.empty()) body["Entrypoint"] = spec.entrypoint;
  if (!spec.command.empty()) body["Cmd"] = spec.command;
  if (!spec.working_dir.empty()) body["WorkingDir"] = spec.working_dir;
  if (spec.port != 0) body["ExposedPorts"] = {{port, json::object()}};
  if (!spec.env.empty()) {
    json env = json::array();
    for (const auto& [key, value] : spec.env) env.push_back(key + "=" + value);
    body["Env"] = env;
  }
  return body;
}

}  // namespace creel::docker
