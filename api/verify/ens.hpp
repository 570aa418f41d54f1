// The primary ENS name of an address: the name it claims (reverse record), if that name leads back to it.
//
// A name is believed only if its normal form is certain, because the contracts hash whatever they are given and a name
// that merely looks like another one is another one. Certain are names of a-z, 0-9 and "-" (and a leading "_"). Names
// that are resolved outside the chain (CCIP-Read, wildcards) are not followed.
// Errors: see errors.hpp; resolvers belong to their owners, so a resolver's bad answer is the claim's fault, not the
// node's. Threads: any.
#pragma once

#include <string>
#include <string_view>

#include "api/verify/ethereum.hpp"
#include "api/verify/node.hpp"
#include "controller/core/result.hpp"

namespace creel::verify {

// Pure: certain to be in normal form.
bool is_plain_name(std::string_view name);

Result<std::string> primary_name(const Node& node, const Address& registry, const Address& address, const Until& until);

}  // namespace creel::verify
