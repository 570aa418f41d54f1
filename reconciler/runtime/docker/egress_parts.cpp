#include "reconciler/runtime/docker/egress_parts.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "controller/core/ids.hpp"

namespace creel::docker {
namespace {

constexpr std::size_t kMostAsked = 1'000;
constexpr std::size_t kLongestName = 253;

std::string text_of(std::uint32_t address) {
  const in_addr raw{htonl(address)};
  char text[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &raw, text, sizeof text);
}

// Of what an agent wrote: a name and nothing else gets into events and messages.
std::string plain_name(std::string name) {
  name = name.substr(0, kLongestName);
  for (char& c : name)
    if (c <= ' ' || c > '~' || c == '"' || c == '\\') c = '?';
  return name;
}

}  // namespace

std::string policy_id(const std::vector<std::string>& names) {
  if (names.empty()) return "none";
  std::string text;
  for (const auto& name : names) text += name + "\n";
  return sha256_hex(text).substr(0, 12);
}

std::string egress_name(const std::string& controller, const std::string& policy) {
  return "creel-" + controller + "-egress-" + policy;
}

Result<AddressPlan> plan_addresses(const std::string& subnet) {
  const auto slash = subnet.find('/');
  in_addr base{};
  int bits = 0;
  const bool address = slash != std::string::npos && inet_pton(AF_INET, subnet.substr(0, slash).c_str(), &base) == 1;
  if (address) std::from_chars(subnet.data() + slash + 1, subnet.data() + subnet.size(), bits);
  if (!address || bits < 8 || bits > 28)
    return invalid("subnet", "the engine gave the network the addresses \"" + subnet + "\", which are too few");
  const std::uint32_t first = ntohl(base.s_addr) & ~((1u << (32 - bits)) - 1);
  AddressPlan plan;
  plan.bridge = text_of(first + 1);
  plan.gateway = text_of(first + 2);
  plan.agents = text_of(first + (1u << (31 - bits))) + "/" + std::to_string(bits + 1);
  return plan;
}

// nginx: denied tls 10.1.2.3 "name"
// dnsmasq (log-queries=extra): dnsmasq[7]: 12 10.1.2.3/4711 query[A] name from 10.1.2.3
//                              dnsmasq[7]: 12 10.1.2.3/4711 config name is NXDOMAIN
std::optional<Denial> DenialReader::read(std::string_view line) {
  std::istringstream words{std::string{line}};
  std::vector<std::string> word;
  for (std::string one; words >> one && word.size() < 8;) word.push_back(std::move(one));
  if (word.size() >= 4 && word[0] == "denied" && (word[1] == "tls" || word[1] == "http")) {
    std::string name{line.substr(line.find(word[2]) + word[2].size())};
    const auto begin = name.find('"'), end = name.rfind('"');
    if (begin == std::string::npos || end <= begin) return std::nullopt;
    return Denial{word[2], plain_name(name.substr(begin + 1, end - begin - 1)), word[1]};
  }
  const auto start = std::find_if(word.begin(), word.end(), [](const auto& w) { return w.starts_with("dnsmasq"); });
  if (start == word.end() || word.end() - start < 5) return std::nullopt;
  const std::string &number = start[1], &client = start[2], &verb = start[3], &name = start[4];
  const auto slash = client.find('/');
  if (slash == std::string::npos) return std::nullopt;
  if (verb.starts_with("query[") && verb.ends_with(']')) {
    if (asked_.size() >= kMostAsked) asked_.clear();
    asked_[number] = verb.substr(6, verb.size() - 7);
    return std::nullopt;
  }
  if (word.back() != "NXDOMAIN") return std::nullopt;
  const auto asked = asked_.extract(number);
  if (!asked.empty() && asked.mapped() == "AAAA") return std::nullopt;
  return Denial{client.substr(0, slash), plain_name(name), "dns"};
}

}  // namespace creel::docker
