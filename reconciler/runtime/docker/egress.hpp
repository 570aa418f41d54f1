// EgressGateways: the networks of agents that may reach some names alone, and the one way out of each.
//
// Agents with the same names share a network, "creel-<controller>-egress-<policy>": an internal one, from which the
// engine routes nothing, on a bridge whose agents the fence keeps from everything but the gateway. The gateway, a
// container of the same name, is on that network and on one of the agents' usual ones (network_pool.hpp), behind the
// fence like any agent. It answers the allowed names with its own address, says of every other that it does not exist,
// and passes on HTTPS by the name of the handshake and HTTP by the Host of the request
// (templates/egress/image/gateway). A direct address, another port, names asked elsewhere, and IPv6 end at the bridge.
// Nothing is asked of the agents' software: no proxy is set.
//
// The names are in the network's label, so that what is there can be kept and removed without knowing any agent.
//
// Threads: any; makers wait for each other. Errors: the engine's; failed: the image is not there, or the engine is one
// whose bridges are out of reach; conflict: a name is taken by somebody else's.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "controller/core/fence.hpp"
#include "reconciler/runtime/docker/egress_parts.hpp"
#include "reconciler/runtime/docker/engine.hpp"
#include "reconciler/runtime/docker/network_pool.hpp"

namespace creel::docker {

struct EgressSettings {
  std::vector<std::string> resolvers;  // that the gateways ask; empty: the engine's
  // A network without an agent is kept so long; longer than a container takes from its place being made to being
  // listed.
  std::chrono::milliseconds unused_grace = std::chrono::minutes{5};
  std::string image = kEgressImage;
};

// What an agent's container is made with.
struct EgressPlace {
  std::string network;
  std::string resolver;  // its only one
};

class EgressGateways {
 public:
  // Both must outlive it.
  EgressGateways(Engine& engine, NetworkPool& networks, std::string controller_id, EgressSettings settings);

  // The network of these names (sorted; none: no way out), with its gateway; made if need be.
  Result<EgressPlace> place(const std::vector<std::string>& names, std::stop_token stop);
  // The same by the network's name, for a container that is there. not_found: no network of this kind, or it is gone.
  Result<EgressPlace> stand(const std::string& network, std::stop_token stop);
  bool is_place(const std::string& network) const;

  struct AgentDenial {
    AgentId agent;
    Denial denial;
  };
  // Mends the gateways of networks that agents are on, removes what has had none for minutes, and tells what was
  // refused since the last pass (or since this object was made).
  Result<std::vector<AgentDenial>> pass(std::stop_token stop);

 private:
  Result<NetworkInfo> make_network(const std::string& name, const std::vector<std::string>& names,
                                   std::stop_token stop);
  Result<EgressPlace> keep(const NetworkInfo& network, std::stop_token stop);
  Result<std::string> make_gateway(const NetworkInfo& network, const AddressPlan& addresses,
                                   const std::vector<std::string>& names, const std::string& hash,
                                   std::stop_token stop);
  Result<void> remove(const NetworkInfo& network, std::stop_token stop);
  Result<void> read_denials(const std::string& gateway, const std::map<std::string, std::string>& agents,
                            std::vector<AgentDenial>& into, std::stop_token stop);
  Result<NetworkInfo> check(NetworkInfo network) const;

  Engine& engine_;
  NetworkPool& networks_;
  const std::string controller_;
  const EgressSettings settings_;
  std::mutex mutex_;
  std::map<std::string, std::chrono::steady_clock::time_point>
      used_;  // network -> when it was last asked for or in use
  struct Reading {
    std::int64_t since = 0;  // Unix nanoseconds
    DenialReader reader;
  };
  std::map<std::string, Reading> readings_;  // by gateway
  const std::int64_t begun_;
};

}  // namespace creel::docker
