#include "controller/core/egress.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace creel {

using nlohmann::json;

namespace {

constexpr std::size_t kMostEntries = 200;
constexpr std::string_view kPreset = "preset:";

Error wrong(const std::string& what) { return invalid("egress", what); }

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::string known(const EgressPresets& presets) {
  std::string names;
  for (const auto& [name, domains] : presets) names += (names.empty() ? "" : ", ") + name;
  return names;
}

}  // namespace

bool egress_name(std::string_view text) {
  if (text.starts_with("*.")) text.remove_prefix(2);
  if (text.empty() || text.size() > 253) return false;
  int labels = 0;
  for (;;) {
    const auto point = text.find('.');
    const std::string_view label = text.substr(0, point);
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-' ||
        !std::all_of(label.begin(), label.end(), letter))
      return false;
    ++labels;
    // An address ends in a number.
    if (point == std::string_view::npos) return labels > 1 && (label.front() < '0' || label.front() > '9');
    text.remove_prefix(point + 1);
  }
}

Result<EgressWish> make_egress_wish(const std::vector<std::string>& entries, const EgressPresets& presets) {
  EgressWish wish;
  wish.open = false;
  if (entries.size() == 1 && (entries[0] == "open" || entries[0] == "none")) {
    wish.open = entries[0] == "open";
    return wish;
  }
  if (entries.size() > kMostEntries) return wrong("egress may have 200 entries at most");
  for (const std::string& given : entries) {
    const std::string entry = lower(given);
    if (entry.starts_with(kPreset)) {
      if (!presets.contains(entry.substr(kPreset.size())))
        return wrong("egress: there is no \"" + given + "\"; the presets are " + known(presets));
    } else if (entry != "auto" && !egress_name(entry)) {
      return wrong("egress: \"" + given +
                   "\" is not a domain name; write for example api.example.com, *.example.com, preset:openai or auto "
                   "(addresses, ports and URLs cannot be allowed)");
    }
    if (std::find(wish.allow.begin(), wish.allow.end(), entry) == wish.allow.end()) wish.allow.push_back(entry);
  }
  return wish;
}

Result<EgressWish> read_egress_wish(const json& value, const EgressPresets& presets) {
  constexpr const char* kForm = "The field egress must be \"open\", \"none\", or a list of domain names";
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text != "open" && text != "none") return wrong(kForm);
    return make_egress_wish({text}, presets);
  }
  if (!value.is_array()) return wrong(kForm);
  std::vector<std::string> entries;
  for (const auto& entry : value) {
    if (!entry.is_string()) return wrong(kForm);
    entries.push_back(entry.get<std::string>());
    if (entries.back() == "open" || entries.back() == "none") return wrong(kForm);
  }
  return make_egress_wish(entries, presets);
}

std::optional<std::vector<std::string>> egress_names(const EgressWish& wish, const EgressPresets& presets,
                                                     const std::map<std::string, std::string>& secrets) {
  if (wish.open) return std::nullopt;
  std::set<std::string> names;
  const auto add = [&](const std::string& preset) {
    if (const auto found = presets.find(preset); found != presets.end())
      names.insert(found->second.begin(), found->second.end());
  };
  for (const std::string& entry : wish.allow) {
    if (entry.starts_with(kPreset))
      add(entry.substr(kPreset.size()));
    else if (entry != "auto")
      names.insert(entry);
    else
      for (const auto& [name, value] : secrets)
        if (!value.empty()) add(name);
  }
  return std::vector<std::string>{names.begin(), names.end()};
}

void to_json(json& j, const EgressWish& v) {
  if (v.open)
    j = "open";
  else if (v.allow.empty())
    j = "none";
  else
    j = v.allow;
}
void from_json(const json& j, EgressWish& v) {
  v = {};
  v.open = j.is_string() && j.get_ref<const std::string&>() == "open";
  if (j.is_array()) j.get_to(v.allow);
}

}  // namespace creel
