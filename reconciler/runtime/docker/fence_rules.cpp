#include "reconciler/runtime/docker/fence_rules.hpp"

namespace creel::docker {
namespace {

// Public by their numbers, but they tell a machine in a cloud its secrets: Azure's, Oracle's.
constexpr const char* kNoInternet4 =
    "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 168.63.129.16, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, "
    "192.168.0.0/16, 224.0.0.0/3";
constexpr const char* kNoInternet6 = "::/127, fc00::/7, fe80::/9, ff00::/8";

std::string quoted(const std::string& name) { return "\"" + name + "\""; }

// "  ip daddr 10.0.0.5 tcp dport 80 accept" and its like.
void allow_rules(std::string& out, const std::vector<FenceAllow>& allowed, bool at_host) {
  for (const FenceAllow& allow : allowed) {
    if (allow.host && !at_host) continue;
    std::string to = "    ";
    if (!allow.host) to += (allow.six ? "ip6 daddr " : "ip daddr ") + allow.network + " ";
    if (allow.port != 0) to += "meta l4proto { tcp, udp } th dport " + std::to_string(allow.port) + " ";
    out += to + "accept\n";
  }
}

}  // namespace

std::string fence_rules(const FenceOptions& options) {
  std::vector<std::string> bridges{options.bridges + "*"};
  bridges.insert(bridges.end(), options.others.begin(), options.others.end());
  const std::string restricted = quoted(options.bridges + kRestrictedMark + "*");
  constexpr const char* kAnswers = "    ct state established,related accept\n";
  constexpr const char* kResolvers =
      "    ip daddr @resolvers4 meta l4proto { tcp, udp } th dport 53 accept\n"
      "    ip6 daddr @resolvers6 meta l4proto { tcp, udp } th dport 53 accept\n";

  std::string out = "table inet " + options.table + " {\n";
  out += "  set resolvers4 { type ipv4_addr; }\n  set resolvers6 { type ipv6_addr; }\n";
  out +=
      "  chain refuse {\n"
      "    meta l4proto tcp counter reject with tcp reset\n"
      "    counter reject with icmpx admin-prohibited\n  }\n";
  out += std::string{"  chain to_host {\n"} + kAnswers + "    iifname " + restricted + " goto refuse\n" + kResolvers;
  allow_rules(out, options.allow, true);
  out += "    goto refuse\n  }\n";
  out += std::string{"  chain to_gateway {\n"} + kAnswers + "    oifname " + restricted + " ether daddr " +
         kGatewayMac + " meta l4proto { tcp, udp } th dport { 53, 80, 443 } accept\n    goto refuse\n  }\n";
  out += std::string{"  chain to_outside {\n"} + kAnswers + kResolvers;
  allow_rules(out, options.allow, false);
  out += std::string{"    ip daddr { "} + kNoInternet4 + " } goto refuse\n    ip6 daddr { " + kNoInternet6 +
         " } goto refuse\n    accept\n  }\n";
  out += std::string{"  chain to_agent {\n"} + kAnswers;
  if (!options.published.empty() && !options.published.starts_with("127.") && options.published != "::1") {
    for (const auto& bridge : bridges) out += "    iifname " + quoted(bridge) + " goto refuse\n";
    const bool six = options.published.find(':') != std::string::npos;
    out += std::string{"    ct status dnat ct original "} + (six ? "ip6" : "ip") + " daddr " + options.published +
           " accept\n";
  }
  out += "    goto refuse\n  }\n";
  out += "  chain input {\n    type filter hook input priority filter - 10; policy accept;\n";
  for (const auto& bridge : bridges) out += "    iifname " + quoted(bridge) + " goto to_host\n";
  out += "  }\n  chain forward {\n    type filter hook forward priority filter - 10; policy accept;\n";
  out += "    iifname " + restricted + " goto to_gateway\n";
  for (const auto& bridge : bridges) out += "    oifname " + quoted(bridge) + " goto to_agent\n";
  for (const auto& bridge : bridges) out += "    iifname " + quoted(bridge) + " goto to_outside\n";
  return out + "  }\n}\n";
}

}  // namespace creel::docker
