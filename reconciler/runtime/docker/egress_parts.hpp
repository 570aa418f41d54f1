// The pure parts of egress gateways: names of policies, places in a network, and what the gateways' logs tell.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/result.hpp"

namespace creel::docker {

// "none", or 12 hex digits over the names, which are sorted: agents that may go to the same names share a network.
std::string policy_id(const std::vector<std::string>& names);
// "creel-<controller>-egress-<id>": the network, and the gateway's container.
std::string egress_name(const std::string& controller, const std::string& policy);

// How the addresses of a network are shared out: the gateway's is its own whenever it starts, so agents' stay out of
// it.
struct AddressPlan {
  std::string bridge;   // the host's, "10.1.0.1"
  std::string gateway;  // "10.1.0.2"
  std::string agents;   // "10.1.2.0/23"
};
// invalid: not an IPv4 network with room for that.
Result<AddressPlan> plan_addresses(const std::string& subnet);

// One try to reach what is not allowed.
struct Denial {
  std::string from;  // address in the gateway's network
  std::string name;  // as far as it is one; "" = the handshake named none
  std::string how;   // "dns", "tls", "http"
  bool operator==(const Denial&) const = default;
};

// Reads a gateway's log, line by line. A client asks for the addresses of both families at once: that is one try.
class DenialReader {
 public:
  std::optional<Denial> read(std::string_view line);

 private:
  std::map<std::string, std::string> asked_;  // dnsmasq's number of a question -> its type, until it is answered
};

}  // namespace creel::docker
