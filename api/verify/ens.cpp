#include "api/verify/ens.hpp"

#include <algorithm>

#include "api/verify/abi.hpp"
#include "api/verify/errors.hpp"

namespace creel::verify {
namespace {

constexpr std::size_t kLongestName = 255;

bool is_plain_label(std::string_view label) {
  // ENSIP-15: "_" only in front; no "--" in the third and fourth place, which is where "xn--" has it.
  while (label.starts_with('_')) label.remove_prefix(1);
  const bool plain = std::all_of(label.begin(), label.end(),
                                 [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
  return !label.empty() && plain && !(label.size() >= 4 && label.substr(2, 2) == "--");
}

// Zero: the registry knows no resolver for it.
Result<Address> resolver_of(const Node& node, const Address& registry, const Word& name, const Until& until) {
  const auto answer = node.call(registry, call_data("resolver(bytes32)", {name}), until);
  if (!answer && answer.error().code != kReverted) return answer.error();
  if (answer)
    if (auto resolver = Reader{*answer}.address(0)) return resolver;
  return unreachable(
      "The contract of CREEL_ENS_REGISTRY did not answer as a registry does; is it the right one for the "
      "chain of " +
      node.setting() + "?");
}

}  // namespace

bool is_plain_name(std::string_view name) {
  if (name.empty() || name.size() > kLongestName) return false;
  for (;;) {
    const auto dot = name.find('.');
    if (!is_plain_label(name.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

Result<std::string> primary_name(const Node& node, const Address& registry, const Address& address,
                                 const Until& until) {
  const Error none = refused("no_primary_name", "The address " + hex_of(address) + " has no primary ENS name");
  const Word reverse = reverse_node(address);
  CREEL_TRY(const Address reverse_resolver, resolver_of(node, registry, reverse, until));
  if (is_zero(reverse_resolver)) return none;
  const auto named = node.call(reverse_resolver, call_data("name(bytes32)", {reverse}), until);
  if (!named && named.error().code == kReverted) return none;
  if (!named) return named.error();
  const auto name = Reader{*named}.text(0, kLongestName);
  if (!name || name->empty()) return none;
  if (!is_plain_name(*name))
    return refused(
        "name_not_supported",
        "The primary ENS name of " + hex_of(address) +
            " holds characters whose normal form Creel does not check; names of a-z, 0-9 and \"-\" are checked");

  const Error elsewhere = refused("name_mismatch", "The name " + *name + " does not lead back to " + hex_of(address));
  const Word forward = namehash(*name);
  CREEL_TRY(const Address resolver, resolver_of(node, registry, forward, until));
  if (is_zero(resolver)) return elsewhere;
  const auto resolved = node.call(resolver, call_data("addr(bytes32)", {forward}), until);
  if (!resolved && resolved.error().code == kReverted) return elsewhere;
  if (!resolved) return resolved.error();
  const auto owner = Reader{*resolved}.address(0);
  if (!owner || *owner != address) return elsewhere;
  return *name;
}

}  // namespace creel::verify
