// What the engine answers, as plain structs: the part of its JSON that Creel uses.
//
// Units: bytes, nano-cpus, UTC times. Absent texts are "", absent times nullopt.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/core/agent.hpp"

namespace creel::docker {

using Labels = std::map<std::string, std::string>;

// Every object of Creel carries these; nothing is changed or removed unless they say that it is ours.
inline constexpr const char* kLabelAgent = "dev.creel.agent";
inline constexpr const char* kLabelController = "dev.creel.controller";
inline constexpr const char* kLabelGeneration = "dev.creel.generation";
inline constexpr const char* kLabelSpecHash = "dev.creel.spec-hash";
// The gateway's port inside the container, so that an inspect alone tells the address.
inline constexpr const char* kLabelPort = "dev.creel.port";
// What is no agent's: "fence", "egress".
inline constexpr const char* kLabelRole = "dev.creel.role";
// Of the network of an egress list: its names, with commas between them.
inline constexpr const char* kLabelEgress = "dev.creel.egress";
// Fingerprint of limits and isolation as they were asked for (codec.hpp): labels of a container cannot be changed
// later, limits can ("docker update"), so that comparing the two shows a drift without knowing the spec.
inline constexpr const char* kLabelIsolation = "dev.creel.isolation";

struct EngineVersion {
  std::string version;      // "20.10.24"
  std::string api_version;  // "1.41"
  std::string min_api_version;
  std::string os;
  std::string arch;
};

struct EngineInfo {
  std::string id;
  std::string name;
  std::string operating_system;
  std::string cgroup_version;
  std::string cgroup_driver;
  std::int64_t cpus = 0;
  std::int64_t memory_bytes = 0;
  // What the engine's kernel cannot limit is left out of the isolation fingerprint: the engine silently drops such
  // limits.
  bool limits_swap = true;
  bool limits_pids = true;
};

struct PublishedPort {
  std::string host_ip;
  std::string host_port;
};

struct ContainerInfo {
  std::string id;
  std::string name;  // without the leading slash
  Labels labels;
  ContainerState state = ContainerState::created;
  std::optional<TimePoint> started_at;
  std::optional<TimePoint> finished_at;
  int exit_code = 0;
  bool oom_killed = false;
  std::string error;
  std::int64_t restart_count = 0;
  std::int64_t pid = 0;
  std::string image;     // the reference it was created from
  std::string image_id;  // "sha256:..."
  bool tty = false;
  std::string network_mode;
  std::set<std::string> networks;                           // names of those it is attached to
  std::vector<std::string> resolvers;                       // that it was given
  std::map<std::string, std::string> addresses;             // network name -> IP address, while running
  std::map<std::string, std::vector<PublishedPort>> ports;  // "18789/tcp" -> where it is published
  std::string isolation;                                    // fingerprint over what the engine has in force
};

struct ContainerSummary {
  std::string id;
  std::string name;
  std::string state;
  std::string network_mode;
  std::map<std::string, std::string> addresses;  // network name -> IP address, while running
  Labels labels;
};

struct VolumeInfo {
  std::string name;
  std::string driver;
  std::string mountpoint;
  Labels labels;
};

struct NetworkInfo {
  std::string id;
  std::string name;
  std::string driver;
  Labels labels;
  std::map<std::string, std::string> options;
  std::string subnet;    // "10.1.0.0/22"
  std::string ip_range;  // of it, what containers get that ask for no address; "" = all
};

// A network to be made: a bridge.
struct NetworkSpec {
  std::string name;
  std::string bridge;  // the interface's name, at most 15 characters
  Labels labels;
  bool internal = false;                  // without a way out
  bool between_containers = false;        // traffic between its containers
  std::string subnet, ip_range, gateway;  // "": the engine's choice
};

struct ImageInfo {
  std::string id;
  std::vector<std::string> repo_digests;
};

// What an archive request says about a path in a container.
struct PathStat {
  std::string name;
  std::int64_t size = 0;
  std::uint32_t mode = 0;  // permission bits (07777 without Go's own flag bits)
  bool is_directory = false;
};

struct ContainerEvent {
  std::string action;  // "start", "die", "destroy", ...
  std::string container_id;
  std::string agent;  // label, as it stands
};

}  // namespace creel::docker
