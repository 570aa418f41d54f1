// Egress: where an agent may go. Pure.
//
// An owner or a template wishes for "open", "none", or a list of names: "api.openai.com", "*.openai.com" (it and all
// below it), "preset:openai" (the names that templates/egress/presets.yaml gives), "auto" (the presets of the keys and
// channels the agent has). The wish is kept as it was written; rendering makes names of it.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/result.hpp"

namespace creel {

struct EgressWish {
  bool open = true;
  std::vector<std::string> allow;  // when not open; empty: nowhere
  bool operator==(const EgressWish&) const = default;
};

// "openai" -> its names.
using EgressPresets = std::map<std::string, std::vector<std::string>>;

// A DNS name of at least two labels in lower case, no address, perhaps with "*." in front.
bool egress_name(std::string_view text);

// Of "open", "none", or the entries of a list. invalid (field "egress"): what is wrong with which, and what to write.
Result<EgressWish> make_egress_wish(const std::vector<std::string>& entries, const EgressPresets& presets);
// The same of JSON: "open", "none", or an array.
Result<EgressWish> read_egress_wish(const nlohmann::json& value, const EgressPresets& presets);

// The names, sorted, each once; nullopt: open. `secrets`: those that the agent has. A preset that is not there any more
// gives nothing.
std::optional<std::vector<std::string>> egress_names(const EgressWish& wish, const EgressPresets& presets,
                                                     const std::map<std::string, std::string>& secrets);

// As kept and shown: "open", "none", or the list as it was written.
void to_json(nlohmann::json& json, const EgressWish& value);
void from_json(const nlohmann::json& json, EgressWish& value);

}  // namespace creel
