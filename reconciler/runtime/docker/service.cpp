#include "reconciler/runtime/docker/service.hpp"

#include "reconciler/runtime/docker/codec.hpp"
#include "reconciler/runtime/docker/isolation.hpp"

namespace creel::docker {

using nlohmann::json;

ServiceStep service_step(const std::optional<ContainerInfo>& there, const std::string& hash,
                         const std::string& image_id, std::size_t networks) {
  if (!there) return ServiceStep::make;
  if (there->state == ContainerState::removing) return ServiceStep::wait;
  const bool altered = (!there->isolation.empty() && there->isolation != label(there->labels, kLabelIsolation)) ||
                       there->networks.size() != networks;
  if (altered || label(there->labels, kLabelSpecHash) != hash || there->image_id != image_id)
    return ServiceStep::replace;
  switch (there->state) {
    case ContainerState::running:
    case ContainerState::restarting:
      return ServiceStep::none;
    case ContainerState::dead:
    case ContainerState::paused:
      return ServiceStep::replace;
    default:
      return ServiceStep::start;
  }
}

json service_body(const Service& service, json host, const std::string& controller, const EngineInfo& about) {
  constexpr std::int64_t kMemory = 128 << 20;
  host["RestartPolicy"] = {{"Name", service.stays ? "unless-stopped" : "no"}, {"MaximumRetryCount", 0}};
  host["CapDrop"] = json::array({"ALL"});
  host["SecurityOpt"] = json::array({"no-new-privileges"});
  host["ReadonlyRootfs"] = true;
  host["Memory"] = kMemory;
  host["MemorySwap"] = kMemory;
  host["PidsLimit"] = 64;
  host["LogConfig"] = {{"Type", "local"}, {"Config", {{"max-size", "2m"}, {"max-file", "3"}}}};
  const Labels labels{
      {kLabelController, controller},
      {kLabelRole, service.role},
      {kLabelSpecHash, service.hash},
      {kLabelIsolation, isolation_fingerprint(host, service.user, about.limits_swap, about.limits_pids)}};
  return {{"Image", service.image}, {"Cmd", service.command}, {"User", service.user},
          {"Labels", labels},       {"StopTimeout", 2},       {"HostConfig", std::move(host)}};
}

bool is_service(const Labels& labels, const char* role, const std::string& controller) {
  return label(labels, kLabelController) == controller && label(labels, kLabelRole) == role;
}

}  // namespace creel::docker
