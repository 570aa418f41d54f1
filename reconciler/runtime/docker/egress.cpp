#include "reconciler/runtime/docker/egress.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "controller/core/clock.hpp"
#include "controller/core/fence.hpp"
#include "controller/core/ids.hpp"
#include "reconciler/runtime/docker/codec.hpp"
#include "reconciler/runtime/docker/fence_rules.hpp"
#include "reconciler/runtime/docker/log_decoder.hpp"
#include "reconciler/runtime/docker/service.hpp"

namespace creel::docker {

using nlohmann::json;

namespace {

constexpr int kMostNetworks = 999;
constexpr const char* kBridgeOption = "com.docker.network.bridge.name";

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ",") + name;
  return text;
}

std::vector<std::string> parted(const std::string& text) {
  std::vector<std::string> names;
  for (std::string_view rest = text; !rest.empty();) {
    const auto comma = rest.find(',');
    names.emplace_back(rest.substr(0, comma));
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
  }
  return names;
}

std::string bridge_of(const NetworkInfo& network) {
  const auto named = network.options.find(kBridgeOption);
  return named == network.options.end() ? "" : named->second;
}

// Is no agent's; nothing in such a network listens there, as the agent itself is in its own.
constexpr const char* kNoResolver = "127.0.0.1";

}  // namespace

EgressGateways::EgressGateways(Engine& engine, NetworkPool& networks, std::string controller_id,
                               EgressSettings settings)
    : engine_(engine),
      networks_(networks),
      controller_(std::move(controller_id)),
      settings_(std::move(settings)),
      begun_(std::chrono::nanoseconds{system_now().time_since_epoch()}.count()) {}

bool EgressGateways::is_place(const std::string& network) const {
  return network.starts_with(egress_name(controller_, ""));
}

Result<NetworkInfo> EgressGateways::check(NetworkInfo network) const {
  if (!is_service(network.labels, kRoleEgress, controller_))
    return Error{
        ErrorKind::conflict, "a network named " + network.name + " exists, and is not this controller's", {}, {}};
  return network;
}

Result<EgressPlace> EgressGateways::place(const std::vector<std::string>& names, std::stop_token stop) {
  const std::lock_guard lock{mutex_};
  const std::string name = egress_name(controller_, policy_id(names));
  used_[name] = std::chrono::steady_clock::now();
  CREEL_TRY(const NetworkInfo network, make_network(name, names, stop));
  return keep(network, stop);
}

Result<EgressPlace> EgressGateways::stand(const std::string& name, std::stop_token stop) {
  const std::lock_guard lock{mutex_};
  if (!is_place(name)) return Error{ErrorKind::not_found, name + " is no network of egress lists", {}, {}};
  used_[name] = std::chrono::steady_clock::now();
  CREEL_TRY(NetworkInfo found, engine_.network_inspect(name, stop));
  CREEL_TRY(const NetworkInfo network, check(std::move(found)));
  return keep(network, stop);
}

// The engine chooses the addresses, because it knows which are free; and gives out any of a network whose addresses it
// has chosen, but fixed ones only in a network that was made with them. So it is made twice.
Result<NetworkInfo> EgressGateways::make_network(const std::string& name, const std::vector<std::string>& names,
                                                 std::stop_token stop) {
  auto found = engine_.network_inspect(name, stop);
  if (!found && found.error().kind != ErrorKind::not_found) return found.error();
  if (found) {
    CREEL_TRY(NetworkInfo network, check(std::move(*found)));
    if (!network.ip_range.empty()) return network;
    CREEL_CHECK(engine_.network_remove(network.id, stop));  // the first half of a making that was cut off
  }
  CREEL_TRY(const EngineInfo about, engine_.cached_info(stop));
  CREEL_TRY(const auto others, engine_.network_list(label_filter(kLabelController, controller_), stop));
  std::set<std::string> taken;
  for (const auto& other : others) taken.insert(bridge_of(other));
  NetworkSpec spec;
  spec.name = name;
  spec.internal = true;
  // Between agents the fence lets nothing through; the engine's own switch would cut them off from the gateway, too.
  spec.between_containers = true;
  spec.labels = {{kLabelController, controller_}, {kLabelRole, kRoleEgress}, {kLabelEgress, joined(names)}};
  const std::string prefix = bridge_prefix(controller_, about.id) + kRestrictedMark;
  int number = 1;
  while (number <= kMostNetworks && taken.contains(prefix + std::to_string(number))) ++number;
  if (number > kMostNetworks) return Error{ErrorKind::limit, "there are too many different egress lists", {}, {}};
  spec.bridge = prefix + std::to_string(number);

  CREEL_TRY(const std::string first, engine_.network_create(spec, stop));
  CREEL_TRY(const NetworkInfo chosen, engine_.network_inspect(first, stop));
  CREEL_TRY(const AddressPlan addresses, plan_addresses(chosen.subnet));
  CREEL_CHECK(engine_.network_remove(first, stop));
  spec.subnet = chosen.subnet;
  spec.gateway = addresses.bridge;
  spec.ip_range = addresses.agents;
  CREEL_TRY(const std::string id, engine_.network_create(spec, stop));
  return engine_.network_inspect(id, stop);
}

Result<EgressPlace> EgressGateways::keep(const NetworkInfo& network, std::stop_token stop) {
  const std::vector<std::string> names = parted(label(network.labels, kLabelEgress));
  if (names.empty()) return EgressPlace{network.name, kNoResolver};
  CREEL_TRY(const AddressPlan addresses, plan_addresses(network.subnet));
  const EgressPlace place{network.name, addresses.gateway};

  const auto image = engine_.image_inspect(settings_.image, stop);
  if (!image && image.error().kind == ErrorKind::not_found)
    return Error{ErrorKind::failed,
                 "an egress list needs the image " + settings_.image +
                     ", which is not on the engine; make it with templates/egress/build-image.sh",
                 {},
                 {}};
  if (!image) return image.error();
  const std::string hash =
      sha256_hex(joined(names) + "\n" + joined(settings_.resolvers) + "\n" + network.id).substr(0, 16);
  std::optional<ContainerInfo> there;
  const auto found = engine_.container_inspect(network.name, stop);
  if (!found && found.error().kind != ErrorKind::not_found) return found.error();
  if (found) {
    if (!is_service(found->labels, kRoleEgress, controller_)) return foreign("container", network.name, found->labels);
    there = *found;
  }
  switch (service_step(there, hash, image->id, 2)) {
    case ServiceStep::none:
      break;
    case ServiceStep::wait:
      return Error{ErrorKind::failed, "the engine is removing the container " + network.name, {}, {}};
    case ServiceStep::start:
      if (engine_.container_start(there->id, stop)) break;
      [[fallthrough]];  // one of its networks is gone
    case ServiceStep::replace:
      CREEL_CHECK(engine_.container_remove(there->id, true, stop));
      [[fallthrough]];
    case ServiceStep::make: {
      CREEL_TRY(const std::string id, make_gateway(network, addresses, names, hash, stop));
      CREEL_CHECK(engine_.container_start(id, stop));
      spdlog::info("egress: the gateway {} stands", network.name);
      break;
    }
  }
  return place;
}

Result<std::string> EgressGateways::make_gateway(const NetworkInfo& network, const AddressPlan& addresses,
                                                 const std::vector<std::string>& names, const std::string& hash,
                                                 std::stop_token stop) {
  CREEL_TRY(const EngineInfo about, engine_.cached_info(stop));
  CREEL_TRY(const std::string outside, networks_.acquire(stop));
  json host{{"NetworkMode", network.name},
            {"Init", true},
            {"Tmpfs", {{"/tmp", "rw,nosuid,nodev,noexec,size=16m,mode=1777"}}},
            // Ports 53, 80 and 443 without being root; and it is no router between its two networks.
            {"Sysctls", {{"net.ipv4.ip_unprivileged_port_start", "0"}, {"net.ipv4.ip_forward", "0"}}}};
  if (!settings_.resolvers.empty()) host["Dns"] = settings_.resolvers;
  json command = json::array({"/usr/bin/gateway", addresses.gateway});
  for (const auto& name : names) command.push_back(name);
  json body = service_body({kRoleEgress, settings_.image, hash, std::move(command), "65534:65534", true},
                           std::move(host), controller_, about);
  body["MacAddress"] = kGatewayMac;
  body["NetworkingConfig"] = {
      {"EndpointsConfig", {{network.name, {{"IPAMConfig", {{"IPv4Address", addresses.gateway}}}}}}}};
  CREEL_TRY(std::string id, engine_.container_create(network.name, body, stop));
  if (const auto connected = engine_.network_connect(outside, id, stop); !connected) {
    (void)engine_.container_remove(id, true, {});
    return connected.error();
  }
  return id;
}

Result<void> EgressGateways::remove(const NetworkInfo& network, std::stop_token stop) {
  const auto gateway = engine_.container_inspect(network.name, stop);
  if (!gateway && gateway.error().kind != ErrorKind::not_found) return gateway.error();
  if (gateway) {
    if (!is_service(gateway->labels, kRoleEgress, controller_))
      return foreign("container", network.name, gateway->labels);
    CREEL_CHECK(engine_.container_remove(gateway->id, true, stop));
  }
  const auto removed = engine_.network_remove(network.id, stop);
  if (!removed && removed.error().kind != ErrorKind::not_found) return removed.error();
  spdlog::info("egress: removed the network {}, on which there is no agent any more", network.name);
  return {};
}

Result<std::vector<EgressGateways::AgentDenial>> EgressGateways::pass(std::stop_token stop) {
  std::vector<AgentDenial> denials;
  CREEL_TRY(const auto networks, engine_.network_list(label_filter(kLabelRole, kRoleEgress), stop));
  const bool any = std::any_of(networks.begin(), networks.end(), [&](const NetworkInfo& network) {
    return is_service(network.labels, kRoleEgress, controller_);
  });
  if (!any) return denials;  // without looking at all the containers there are
  CREEL_TRY(const auto containers, engine_.container_list(label_filter(kLabelController, controller_), stop));
  std::map<std::string, std::map<std::string, std::string>> agents;  // network -> address -> agent
  for (const auto& container : containers) {
    const std::string agent = label(container.labels, kLabelAgent);
    if (agent.empty() || !is_place(container.network_mode)) continue;
    auto& on = agents[container.network_mode];
    if (const auto address = container.addresses.find(container.network_mode); address != container.addresses.end())
      on[address->second] = agent;
  }
  const std::lock_guard lock{mutex_};
  const auto now = std::chrono::steady_clock::now();
  for (const NetworkInfo& network : networks) {
    if (stop.stop_requested()) break;
    if (!is_service(network.labels, kRoleEgress, controller_)) continue;
    const auto on = agents.find(network.name);
    const bool in_use = on != agents.end();
    auto used = used_.try_emplace(network.name, now).first;  // seen for the first time: its grace begins
    if (in_use) used->second = now;
    if (!in_use && now - used->second > settings_.unused_grace) {
      if (const auto removed = remove(network, stop); !removed)
        spdlog::warn("egress: {} is not removed: {}", network.name, removed.error().message);
      else
        used_.erase(used), readings_.erase(network.name);
      continue;
    }
    if (!in_use || network.ip_range.empty()) continue;
    if (const auto kept = keep(network, stop); !kept) {
      spdlog::warn("egress: the gateway {} does not stand: {}", network.name, kept.error().message);
      continue;
    }
    if (label(network.labels, kLabelEgress).empty()) continue;
    if (const auto read = read_denials(network.name, on->second, denials, stop); !read)
      spdlog::warn("egress: the log of {} is not read: {}", network.name, read.error().message);
  }
  return denials;
}

Result<void> EgressGateways::read_denials(const std::string& gateway, const std::map<std::string, std::string>& agents,
                                          std::vector<AgentDenial>& into, std::stop_token stop) {
  Reading& reading = readings_[gateway];
  reading.since = std::max(reading.since, begun_);
  LogDecoder decoder{false};
  std::optional<Error> broken;
  const auto take = [&](RawLogLine raw) {
    reading.since = std::max(reading.since, raw.unix_nanoseconds + 1);
    const auto denial = reading.reader.read(raw.line.text);
    if (!denial) return true;
    if (const auto agent = agents.find(denial->from); agent != agents.end())
      if (const auto id = AgentId::parse(agent->second)) into.push_back({*id, *denial});
    return true;
  };
  LogQuery query;
  query.since_nanoseconds = reading.since;
  CREEL_CHECK(engine_.container_logs(
      gateway, query,
      [&](std::string_view bytes) {
        auto more = decoder.push(bytes, take);
        if (!more) broken = std::move(more).error();
        return !broken;
      },
      stop));
  if (broken) return *broken;
  decoder.finish(take);
  return {};
}

}  // namespace creel::docker
