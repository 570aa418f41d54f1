// Containers of Creel's own beside the agents': the fence and the egress gateways. What they have in common. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "reconciler/runtime/docker/types.hpp"

namespace creel::docker {

inline constexpr const char* kRoleFence = "fence";
inline constexpr const char* kRoleEgress = "egress";

// What is to be done about one: `hash` stands for all that it is to be made of, `networks`: how many it is to be on.
enum class ServiceStep { none, make, replace, start, wait };
ServiceStep service_step(const std::optional<ContainerInfo>& there, const std::string& hash,
                         const std::string& image_id, std::size_t networks);

// Fills in what makes it safe, and the labels: nothing is added to `host`, the HostConfig, but what all of them have.
struct Service {
  std::string role;
  std::string image;
  std::string hash;
  nlohmann::json command;
  std::string user;
  bool stays = true;  // the engine starts it again
};
nlohmann::json service_body(const Service& service, nlohmann::json host, const std::string& controller,
                            const EngineInfo& about);
bool is_service(const Labels& labels, const char* role, const std::string& controller);

}  // namespace creel::docker
