#include "controller/core/template.hpp"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>

namespace creel {
namespace {

using Json = nlohmann::json;
using Path = std::vector<std::string>;

// Deeper than any configuration is, shallow enough for recursion.
constexpr int kMaxDepth = 64;

Path split(std::string_view dotted) {
  Path path;
  for (;;) {
    const auto dot = dotted.find('.');
    path.emplace_back(dotted.substr(0, dot));
    if (dot == std::string_view::npos) return path;
    dotted.remove_prefix(dot + 1);
  }
}

std::string join(const Path& path) {
  std::string text;
  for (const auto& part : path) text += (text.empty() ? "" : ".") + part;
  return text;
}

// The last part of a protected key may end in "*": "gateway.controlUi.dangerously*".
bool part_matches(const std::string& pattern, const std::string& part) {
  if (!pattern.empty() && pattern.back() == '*')
    return part.starts_with(std::string_view{pattern}.substr(0, pattern.size() - 1));
  return part == pattern;
}

// Whether the first `count` parts agree.
bool agree(const Path& pattern, const Path& path, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (!part_matches(pattern[i], path[i])) return false;
  }
  return true;
}

// The protected key that putting `value` at `path` would touch, nullptr when none. An object above a protected key is
// merged and so touches nothing by itself; anything else there replaces the whole branch, protected key included.
const std::string* touched(const std::vector<std::string>& protected_keys, const Path& path, const Json& value) {
  for (const auto& key : protected_keys) {
    const Path pattern = split(key);
    if (path.size() >= pattern.size() ? agree(pattern, path, pattern.size())
                                      : !value.is_object() && agree(pattern, path, path.size())) {
      return &key;
    }
  }
  return nullptr;
}

Result<void> check_keys(const std::vector<std::string>& protected_keys, Path& path, const Json& value) {
  if (!path.empty()) {
    if (const std::string* key = touched(protected_keys, path, value)) {
      const std::string at = join(path);
      return invalid(
          at, "The configuration key " + at + " is set by Creel and cannot be changed (" + *key + " is protected)");
    }
  }
  if (!value.is_object()) return {};
  for (const auto& [name, member] : value.items()) {
    path.push_back(name);
    CREEL_CHECK(check_keys(protected_keys, path, member));
    path.pop_back();
  }
  return {};
}

Result<Json> parse_fragment(const std::string& fragment) {
  // Named, because json converts to and from almost anything, which makes a plain return ambiguous.
  using Parsed = Result<Json>;
  if (fragment.empty()) return Parsed{boost::system::in_place_value, Json::object()};
  bool too_deep = false;
  const auto limit_depth = [&too_deep](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth) too_deep = true;
    return !too_deep;
  };
  Json parsed = Json::parse(fragment, limit_depth, /*allow_exceptions=*/false);
  if (too_deep) return invalid("config", "The configuration is nested deeper than 64 levels");
  if (parsed.is_discarded()) return invalid("config", "The configuration is not valid JSON");
  if (!parsed.is_object()) return invalid("config", "The configuration must be a JSON object");
  return Parsed{boost::system::in_place_value, std::move(parsed)};
}

void merge(Json& base, const Json& over) {
  if (!base.is_object() || !over.is_object()) {
    base = over;
    return;
  }
  for (const auto& [name, value] : over.items()) {
    if (const auto there = base.find(name); there != base.end()) {
      merge(*there, value);
    } else {
      base[name] = value;
    }
  }
}

// What a placeholder stands for; nullopt = a secret that is not set.
using Lookup = std::function<Result<std::optional<std::string>>(std::string_view name)>;

struct Expanded {
  std::string text;
  int set = 0;    // placeholders with a value
  int unset = 0;  // secrets without one
};

// "$${" stands for a literal "${", because agents' own configurations know that notation too.
Result<Expanded> expand(std::string_view text, const Lookup& lookup) {
  Expanded result;
  while (!text.empty()) {
    const auto dollar = text.find('$');
    result.text += text.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    text.remove_prefix(dollar);
    if (text.starts_with("$${")) {
      result.text += "${";
      text.remove_prefix(3);
    } else if (text.starts_with("${")) {
      const auto end = text.find('}');
      if (end == std::string_view::npos) return invalid("template", "A placeholder is not closed with }");
      const std::string_view name = text.substr(2, end - 2);
      CREEL_TRY(auto value, lookup(name));
      value ? ++result.set : ++result.unset;
      if (value) result.text += *value;
      text.remove_prefix(end + 1);
    } else {
      result.text += '$';
      text.remove_prefix(1);
    }
  }
  return result;
}

Lookup lookup_in(const RenderInput& input, const std::string& model, bool with_secrets) {
  return [&input, &model, with_secrets](std::string_view name) -> Result<std::optional<std::string>> {
    if (name == "agent_id") return input.id.str();
    if (name == "agent_name") return input.name;
    if (name == "model") return model;
    const bool token = name == "gateway_token";
    if (token || name.starts_with("secret.")) {
      if (!with_secrets) {
        return Error{
            ErrorKind::internal, "A secret placeholder stands where its value would be readable", "template", {}};
      }
      const auto found = input.secrets.find(std::string{token ? name : name.substr(7)});
      if (found != input.secrets.end() && !found->second.empty()) return found->second;
      // A gateway that accepts the empty token would be open to everyone.
      if (token) return Error{ErrorKind::internal, "The agent has no gateway token yet", "gateway_token", {}};
      return std::nullopt;
    }
    return invalid("template", "The placeholder ${" + std::string{name} + "} does not exist");
  };
}

// Fills in strings inside parsed JSON, so that no value can break out of its quotes. Returns false when the value is to
// be left out: a string that is just ${model} with no model to name ("custom"), or an object emptied by that. An agent
// would take an empty model name for a wrong one.
Result<bool> fill_json(Json& value, const Lookup& lookup) {
  if (value.is_string()) {
    const std::string& template_text = value.get_ref<const std::string&>();
    CREEL_TRY(auto filled, expand(template_text, lookup));
    if (template_text == "${model}" && filled.text.empty()) return false;
    value = std::move(filled.text);
  } else if (value.is_array()) {
    for (auto& element : value) CREEL_CHECK(fill_json(element, lookup));
  } else if (value.is_object() && !value.empty()) {
    Json filled = Json::object();
    for (auto& [name, member] : value.items()) {
      CREEL_TRY(const bool keep, fill_json(member, lookup));
      CREEL_TRY(auto key, expand(name, lookup));
      if (keep) filled[key.text] = std::move(member);
    }
    value = std::move(filled);
    if (value.empty()) return false;
  }
  return true;
}

// A text of the template's own, which the loader has checked to be a JSON object, with placeholders filled in.
Result<Json> fill_object(const Template& tmpl, const std::string& text, const Lookup& lookup) {
  using Filled = Result<Json>;
  Json object = Json::parse(text.empty() ? "{}" : text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return Error{
        ErrorKind::internal, "The configuration of template " + tmpl.name + " is not a JSON object", "config", {}};
  }
  CREEL_TRY(const bool kept, fill_json(object, lookup));
  return Filled{boost::system::in_place_value, kept ? std::move(object) : Json::object()};
}

bool all_set(const std::vector<std::string>& names, const std::map<std::string, std::string>& secrets) {
  return std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    const auto found = secrets.find(name);
    return found != secrets.end() && !found->second.empty();
  });
}

// Line by line: a line whose placeholders are all unset secrets is left out, so that ".env" names only keys there are.
// A control character in a value could start a line of its own and is refused.
Result<std::string> fill_file(const TemplateFile& file, const Lookup& lookup) {
  const Lookup checked = [&](std::string_view name) -> Result<std::optional<std::string>> {
    CREEL_TRY(auto value, lookup(name));
    const auto control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
    if (value && std::any_of(value->begin(), value->end(), control)) {
      return invalid(std::string{name}, "The value of " + std::string{name} +
                                            " holds a line break or control character, which the file " + file.path +
                                            " cannot");
    }
    return value;
  };
  std::string text;
  for (std::string_view rest = file.content; !rest.empty();) {
    const auto end = rest.find('\n');
    const std::string_view line = rest.substr(0, end == std::string_view::npos ? end : end + 1);
    rest.remove_prefix(line.size());
    CREEL_TRY(auto filled, expand(line, checked));
    if (filled.unset == 0 || filled.set > 0) text += filled.text;
  }
  return text;
}

bool model_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
         c == ':' || c == '/' || c == '-';
}

// "custom" names no model: the owner's fragment does.
std::string agent_model(const Template& tmpl, const std::string& model) {
  const std::string& asked = !model.empty()                ? model
                             : !tmpl.default_model.empty() ? tmpl.default_model
                                                           : std::string{"claude-opus-4-6"};
  if (const auto known = tmpl.models.find(asked); known != tmpl.models.end()) return known->second;
  return asked == "custom" ? std::string{} : asked;
}

}  // namespace

Result<void> check_config_fragment(const Template& tmpl, const std::string& fragment) {
  CREEL_TRY(const Json parsed, parse_fragment(fragment));
  Path path;
  return check_keys(tmpl.protected_keys, path, parsed);
}

Result<Rendered> render(const Template& tmpl, const RenderInput& input, const EgressPresets& presets) {
  if (input.resources.memory_bytes < tmpl.min_memory_bytes) {
    return invalid("tier", "The template " + tmpl.name + " needs " + std::to_string(tmpl.min_memory_bytes >> 20) +
                               " MiB of memory; the plan gives " + std::to_string(input.resources.memory_bytes >> 20) +
                               " MiB");
  }
  const std::string model = agent_model(tmpl, input.model);
  const Lookup open = lookup_in(input, model, false);
  const Lookup secret = lookup_in(input, model, true);

  Rendered result;
  WorkloadSpec& spec = result.spec;
  spec.image = input.image.empty() ? tmpl.image : input.image;
  for (const auto& [from, to] :
       {std::pair{&tmpl.entrypoint, &spec.entrypoint}, std::pair{&tmpl.command, &spec.command}}) {
    for (const auto& part : *from) {
      CREEL_TRY(auto filled, expand(part, open));
      to->push_back(std::move(filled.text));
    }
  }
  for (const auto& [name, value] : tmpl.env) {
    CREEL_TRY(auto filled, expand(value, open));
    spec.env.emplace(name, std::move(filled.text));
  }
  for (const auto& [name, value] : tmpl.labels) {
    CREEL_TRY(auto filled, expand(value, open));
    spec.labels.emplace(name, std::move(filled.text));
  }
  spec.user = tmpl.user;
  spec.working_dir = tmpl.working_dir;
  spec.state_dir = tmpl.state_dir;
  spec.tmpfs = tmpl.tmpfs;
  spec.read_only_root = tmpl.read_only_root;
  spec.init = tmpl.init;
  spec.port = tmpl.port;
  spec.stop_grace_seconds = tmpl.stop_grace_seconds;
  spec.nofile = tmpl.nofile;
  spec.resources = input.resources;
  spec.egress = egress_names(input.egress.value_or(tmpl.egress), presets, input.secrets);
  // The template says what the software can use, the plan what the owner may have.
  spec.resources.pids = std::min(tmpl.pids, input.resources.pids);

  const auto add_file = [&](std::string path, std::string content, int mode, bool restart) {
    result.files.push_back(VolumeFile{std::move(path), std::move(content), mode, tmpl.uid, tmpl.gid, restart});
  };
  if (!tmpl.config_path.empty()) {
    CREEL_CHECK(check_config_fragment(tmpl, input.config));
    CREEL_TRY(const Json fragment, parse_fragment(input.config));
    CREEL_TRY(Json config, fill_object(tmpl, tmpl.config_base, secret));
    for (const ConfigPart& part : tmpl.config_when) {
      if (!all_set(part.secrets, input.secrets)) continue;
      CREEL_TRY(const Json more, fill_object(tmpl, part.content, secret));
      merge(config, more);
    }
    // Merged after filling in, so that a placeholder in the owner's fragment stays the text it is.
    merge(config, fragment);
    add_file(tmpl.config_path, config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", 0600, false);
  }
  for (const auto& file : tmpl.files) {
    CREEL_TRY(auto content, fill_file(file, secret));
    if (file.merge && content.empty()) continue;
    if (file.merge && !Json::parse(content, nullptr, /*allow_exceptions=*/false).is_object())
      return invalid("files", "The file " + file.path + " is to be merged and is not a JSON object");
    add_file(file.path, std::move(content), file.mode, file.restart);
    result.files.back().merge = file.merge;
  }
  return result;
}

bool valid_model(std::string_view model) {
  if (model == "claude-opus-4-6" || model == "gpt-4" || model == "custom") return true;
  if (model.empty() || model.size() > 128 || !std::all_of(model.begin(), model.end(), model_character)) return false;
  const auto slash = model.find('/');
  return slash != std::string_view::npos && slash > 0 && slash + 1 < model.size();
}

const Template* TemplateSet::find(std::string_view name) const {
  const auto found =
      std::find_if(templates_.begin(), templates_.end(), [&](const Template& t) { return t.name == name; });
  return found == templates_.end() ? nullptr : &*found;
}

}  // namespace creel
