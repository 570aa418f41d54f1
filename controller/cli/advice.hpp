// What to do next: the command that helps, for what went wrong. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace creel::cli {

// The sentence with which the API refused, with the command that helps. `code` is the API's; `agent` is an id, "" where
// it is not known.
std::string advised(std::string sentence, int status, const std::string& code, const std::string& agent, bool has_key);

// How many letters must be put in, taken out, changed, or changed places with their neighbour.
std::size_t edit_distance(std::string_view a, std::string_view b);
// What of `known` was most likely meant: a word that differs little, or the only one that begins so. "" if none.
std::string nearest(const std::string& word, const std::vector<std::string>& known);

}  // namespace creel::cli
