// The rules of the fence, as text for nft: one table of nftables of a controller's own, beside whatever else the host
// has (Docker's iptables among them): a packet must pass every table, and what one refuses is refused. Pure.
//
// - From an agent to the host: refused, but for answers, the resolvers of /etc/resolv.conf, and exceptions.
// - To an agent from elsewhere, another agent included: refused, but for answers. Only the host itself, on which the
//   controller runs, begins; and where agents' ports are published for a controller elsewhere, whoever comes to these,
//   other than agents.
// - From an agent to metadata services of clouds, to private and to link-local networks: refused, but for the resolvers
//   and exceptions. To the internet: open.
// - From a restricted agent (egress.hpp): refused, but for its gateway's DNS, HTTP and HTTPS; no exceptions.
//
// Bridges are known by their names, so that networks made later are fenced from their first packet on.
#pragma once

#include <string>
#include <vector>

#include "controller/core/fence.hpp"

namespace creel::docker {

// Of every gateway, in its agents' network: told apart by it from the agents there, who cannot take it, because they
// have no capability to set theirs or to send frames of their own making.
inline constexpr const char* kGatewayMac = "02:63:72:65:65:6c";

struct FenceOptions {
  std::string table;                // "creel_0123abcd"
  std::string bridges;              // bridges of agents are named so and a number: "cr0123abcd-"
  std::vector<std::string> others;  // further bridges of agents, by their whole names
  std::vector<FenceAllow> allow;
  std::string published =
      {};  // address of the host that agents' ports are published at; "" or loopback: none for others
};

// A letter after FenceOptions::bridges marks those of restricted agents.
inline constexpr const char* kRestrictedMark = "e";

std::string fence_rules(const FenceOptions& options);

}  // namespace creel::docker
