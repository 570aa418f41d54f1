#include "reconciler/runtime/docker/isolation.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "controller/core/ids.hpp"

namespace creel::docker {

using nlohmann::json;

namespace {

// The value at `key`, with the engine's several ways of saying "nothing" made one.
json at(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  if (found == object.end()) return nullptr;
  const bool empty = (found->is_array() || found->is_object() || found->is_string()) && found->empty();
  const bool zero = (found->is_number() && *found == 0) || (found->is_boolean() && *found == false);
  if (empty || zero) return nullptr;
  return *found;
}

json sorted(json list) {
  if (list.is_array()) std::sort(list.begin(), list.end());
  return list;
}

// Host namespaces are what matters; "", "private" and "default" are the engine's business.
bool shares(const json& host_config, const char* key) {
  const json mode = at(host_config, key);
  if (!mode.is_string()) return false;
  const auto& text = mode.get_ref<const std::string&>();
  return text == "host" || text.starts_with("container:");
}

json mounts(const json& host_config) {
  json result = json::array();
  const json list = at(host_config, "Mounts");
  if (!list.is_array()) return result;
  for (const auto& mount : list) {
    result.push_back({at(mount, "Type"), at(mount, "Source"), at(mount, "Target"), at(mount, "ReadOnly")});
  }
  return sorted(std::move(result));
}

json ulimits(const json& host_config) {
  json result = json::array();
  const json list = at(host_config, "Ulimits");
  if (!list.is_array()) return result;
  for (const auto& limit : list) result.push_back({at(limit, "Name"), at(limit, "Soft"), at(limit, "Hard")});
  return sorted(std::move(result));
}

// The addresses ports are published on: the numbers are the engine's choice.
json bound_addresses(const json& host_config) {
  json result = json::array();
  const json ports = at(host_config, "PortBindings");
  if (!ports.is_object()) return result;
  for (const auto& [port, bindings] : ports.items()) {
    if (!bindings.is_array()) continue;
    for (const auto& binding : bindings) result.push_back({port, at(binding, "HostIp")});
  }
  return sorted(std::move(result));
}

}  // namespace

std::string isolation_fingerprint(const json& host_config, const std::string& user, bool limits_swap,
                                  bool limits_pids) {
  const json restart = at(host_config, "RestartPolicy");
  const json log = at(host_config, "LogConfig");
  json view{
      {"user", user},
      {"privileged", at(host_config, "Privileged")},
      {"cap_add", sorted(at(host_config, "CapAdd"))},
      {"cap_drop", sorted(at(host_config, "CapDrop"))},
      {"security", sorted(at(host_config, "SecurityOpt"))},
      {"read_only", at(host_config, "ReadonlyRootfs")},
      {"memory", at(host_config, "Memory")},
      {"cpus", at(host_config, "NanoCpus")},
      {"init", at(host_config, "Init")},
      {"tmpfs", at(host_config, "Tmpfs")},
      {"restart", at(restart, "Name")},
      {"log", {at(log, "Type"), at(log, "Config")}},
      {"network", at(host_config, "NetworkMode")},
      {"binds", at(host_config, "Binds")},
      {"devices", at(host_config, "Devices")},
      {"mounts", mounts(host_config)},
      {"ulimits", ulimits(host_config)},
      {"published", bound_addresses(host_config)},
      {"host_namespaces",
       {shares(host_config, "PidMode"), shares(host_config, "IpcMode"), shares(host_config, "UTSMode")}},
  };
  // What Creel leaves at nothing, or sets for some only: told when there is something, so that the fingerprint of a
  // container made by an older release stays what it was.
  for (const char* key : {"VolumesFrom", "DeviceRequests", "DeviceCgroupRules", "GroupAdd", "UsernsMode", "Sysctls",
                          "Dns", "DnsSearch", "DnsOptions", "ExtraHosts", "Links", "CgroupParent"})
    if (const json value = at(host_config, key); !value.is_null() && value != "") view[key] = value;
  if (limits_swap) view["swap"] = at(host_config, "MemorySwap");
  if (limits_pids) view["pids"] = at(host_config, "PidsLimit");
  return sha256_hex(view.dump(-1, ' ', false, json::error_handler_t::replace)).substr(0, 16);
}

}  // namespace creel::docker
