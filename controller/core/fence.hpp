// The fence around agents, as far as several sides know of it: the exceptions that an operator makes, and what was seen
// of it last. Pure. What it does: reconciler/runtime/docker/fence_rules.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "controller/core/result.hpp"

namespace creel {

// Of the fence and of the egress gateways; made by templates/egress/build-image.sh.
inline constexpr const char* kEgressImage = "creel/egress:1";

// Where agents may go although it would keep them from there.
struct FenceAllow {
  bool host = false;       // the engine's own machine, by any of its addresses
  std::string network;     // else an address or a network: "10.0.0.5", "192.168.1.0/24", "fd00::/8"
  bool six = false;        // an IPv6 one
  std::uint16_t port = 0;  // of TCP and UDP; 0 = all
  bool operator==(const FenceAllow&) const = default;
};

// "host", "host:11434", "10.0.0.5", "10.0.0.5:8000", "192.168.1.0/24:80", "fd00::5", "[fd00::5]:80". invalid: what to
// write instead.
Result<FenceAllow> parse_fence_allow(std::string_view text);

// What was seen of the fence.
struct FenceView {
  bool in_force = false;
  std::string reason;   // as Condition::reason: "InForce", "SwitchedOff", "ImageAbsent", "Failed", "EngineUnreachable"
  std::string message;  // why it is not, and what helps
  bool operator==(const FenceView&) const = default;
};

}  // namespace creel
