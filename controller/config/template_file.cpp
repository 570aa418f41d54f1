#include "controller/config/template_file.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "controller/config/config.hpp"
#include "controller/config/yaml.hpp"
#include "controller/core/image_reference.hpp"

namespace creel::config {
namespace {

namespace fs = std::filesystem;

// The kinds that gateway/ has an adapter for; a test holds the two equal.
constexpr std::string_view kGateways[] = {"openclaw", "reference"};
constexpr std::size_t kMaxPath = 200;
constexpr const char* kImageExample = "; write for example ghcr.io/openclaw/openclaw:2026.3.13";

bool characters(std::string_view text, std::string_view more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != std::string_view::npos;
  });
}

bool template_name(std::string_view text) {
  return characters(text, "-") && text.size() <= 32 &&
         std::none_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// No empty, "." or ".." part, so that joining it to a folder cannot leave that folder.
bool clean_relative(std::string_view path) {
  if (path.empty() || path.size() > kMaxPath || path.find_first_of("\n\r\\") != std::string_view::npos) return false;
  for (;;) {
    const auto slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool clean_absolute(std::string_view path) {
  return path.size() > 1 && path[0] == '/' && path.find_first_of(":,$ ") == std::string_view::npos &&
         clean_relative(path.substr(1));
}

bool inside(const std::string& path, const std::string& folder) {
  return path == folder || path.starts_with(folder + "/");
}

// --- placeholders ---------------------------------------------------------------------------------------------------

enum class Secrets { allowed, refused };

// "" when all placeholders exist and may stand here.
std::string placeholder_problem(std::string_view text, Secrets secrets) {
  for (auto at = text.find("${"); at != std::string_view::npos; at = text.find("${", at + 2)) {
    if (at > 0 && text[at - 1] == '$') continue;  // "$${": a literal "${"
    const auto end = text.find('}', at);
    if (end == std::string_view::npos) return "has a ${ without a }; write $${ for a literal one";
    const std::string_view name = text.substr(at + 2, end - at - 2);
    const bool secret = name == "gateway_token" || (name.starts_with("secret.") && characters(name.substr(7), "_-"));
    const std::string shown = "${" + std::string{name} + "}";
    if (secret && secrets == Secrets::refused) {
      return "holds " + shown + ", and what stands here can be read by everyone; move it into config or files";
    }
    if (!secret && name != "agent_id" && name != "agent_name" && name != "model") {
      return "holds " + shown +
             ", which does not exist; known are ${agent_id}, ${agent_name}, ${model}, ${gateway_token} and "
             "${secret.NAME}; " +
             "write $${ for a literal ${";
    }
  }
  return {};
}

bool holds_secret(std::string_view text) {
  return !placeholder_problem(text, Secrets::refused).empty() && placeholder_problem(text, Secrets::allowed).empty();
}

enum class Keys { literal, filled };

void check_placeholders(const YamlFile& file, const YAML::Node& node, const std::string& field, Secrets secrets,
                        Keys keys = Keys::literal) {
  if (node.IsScalar()) {
    if (const auto problem = placeholder_problem(node.Scalar(), secrets); !problem.empty())
      file.refuse(node, field, problem);
  } else if (node.IsSequence()) {
    std::size_t index = 0;
    for (const auto& element : node)
      check_placeholders(file, element, field + "[" + std::to_string(index++) + "]", secrets, keys);
  } else if (node.IsMap()) {
    for (const auto& [key, value] : pairs(file, node, field)) {
      if (keys == Keys::literal && key.find("${") != std::string::npos)
        file.refuse(value, field, "has a placeholder in the key \"" + key + "\"; only values are filled in");
      if (const auto problem = placeholder_problem(key, secrets); !problem.empty())
        file.refuse(value, field, "has a key that " + problem);
      check_placeholders(file, value, field + "." + key, secrets, keys);
    }
  }
}

// --- fields ---------------------------------------------------------------------------------------------------------

std::chrono::milliseconds duration(const Fields& fields, const char* key, std::chrono::milliseconds fallback,
                                   std::chrono::seconds least, std::chrono::seconds most) {
  if (!fields.has(key)) return fallback;
  const auto parsed = parse_duration(fields.text(key));
  if (!parsed) fields.refuse(key, parsed.error().message);
  if (*parsed < least || *parsed > most) {
    fields.refuse(key,
                  "must be between " + std::to_string(least.count()) + "s and " + std::to_string(most.count()) + "s");
  }
  return *parsed;
}

std::int64_t bytes(const Fields& fields, const char* key, std::int64_t fallback, std::int64_t least) {
  if (!fields.has(key)) return fallback;
  const auto parsed = parse_bytes(fields.text(key));
  if (!parsed) fields.refuse(key, parsed.error().message);
  if (*parsed < least) fields.refuse(key, "must be at least " + std::to_string(least >> 20) + "MiB");
  return *parsed;
}

int file_mode(const Fields& fields, const char* key) {
  if (!fields.has(key)) return 0600;
  const std::string text = fields.text(key);
  int mode = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (text.size() != 4 || text[0] != '0' || problem != std::errc{} || end != text.data() + text.size()) {
    fields.refuse(key, "must be four octal digits such as \"0600\"");
  }
  return mode;
}

void check_tmpfs(const Fields& fields, const Template& tmpl, const std::string& path, const std::string& options) {
  if (!clean_absolute(path)) fields.refuse("tmpfs", "\"" + path + "\" is not an absolute path");
  if (inside(path, tmpl.state_dir) || inside(tmpl.state_dir, path)) {
    fields.refuse("tmpfs", "\"" + path + "\" and state_dir lie in one another: what is written there would be lost");
  }
  static const std::set<std::string> words = {"rw", "ro", "exec", "noexec", "suid", "nosuid", "dev", "nodev"};
  static const std::set<std::string> keys = {"size", "mode", "uid", "gid", "nr_inodes"};
  std::set<std::string> seen;
  for (std::string_view rest = options;;) {
    const auto comma = rest.find(',');
    const std::string option{rest.substr(0, comma)};
    const std::string key = option.substr(0, option.find('='));
    const bool has_value = key.size() + 1 < option.size();
    if (!(words.contains(option) ||
          (keys.contains(key) && has_value && characters(option.substr(key.size() + 1), "%")))) {
      fields.refuse("tmpfs", "\"" + option + "\" is not an option of a tmpfs");
    }
    seen.insert(key);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (!seen.contains("size"))
    fields.refuse("tmpfs", "\"" + path + "\" has no size, and so could take half of the host's memory; add size=64m");
  for (const char* needed : {"nosuid", "nodev"}) {
    if (!seen.contains(needed)) fields.refuse("tmpfs", "\"" + path + "\" lacks the option " + std::string{needed});
  }
}

void read_user(const Fields& fields, Template& tmpl) {
  tmpl.user = fields.text("user", "1000:1000");
  const auto colon = tmpl.user.find(':');
  const auto number = [&](std::string_view text, int& out) {
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
    return problem == std::errc{} && end == text.data() + text.size() && out > 0;
  };
  const std::string_view user = tmpl.user;
  if (colon == std::string::npos || !number(user.substr(0, colon), tmpl.uid) ||
      !number(user.substr(colon + 1), tmpl.gid)) {
    fields.refuse("user", "must be \"UID:GID\" with two numbers above 0: agents do not run as root");
  }
}

// What an owner chooses, the agent's name say, has no place in them: a reverse proxy takes them for rules.
void read_labels(const Fields& fields, Template& tmpl) {
  for (const auto& [name, value] : fields.text_map("labels")) {
    if (name.starts_with("dev.creel."))
      fields.refuse("labels", "\"" + name + "\": labels that begin with dev.creel. are Creel's own");
    for (auto at = value.find("${"); at != std::string::npos; at = value.find("${", at + 2)) {
      const bool literal = at > 0 && value[at - 1] == '$';
      if (!literal && !value.substr(at).starts_with("${agent_id}"))
        fields.refuse("labels", "\"" + name + "\": only ${agent_id} may stand in a label; $${ is a literal ${");
    }
    tmpl.labels.emplace(name, value);
  }
}

void read_process(const Fields& fields, Template& tmpl) {
  const YamlFile& file = fields.file();
  tmpl.entrypoint = fields.texts("entrypoint");
  tmpl.command = fields.texts("command");
  for (const auto& [name, value] : fields.text_map("env")) {
    if (!characters(name, "_") || (name[0] >= '0' && name[0] <= '9'))
      fields.refuse("env", "\"" + name + "\" is not the name of a variable");
    tmpl.env.emplace(name, value);
  }
  // All three are flat by now.
  for (const char* key : {"entrypoint", "command", "env"}) {
    if (const auto node = fields.find(key)) check_placeholders(file, *node, key, Secrets::refused);
  }
  read_labels(fields, tmpl);
  read_user(fields, tmpl);
  tmpl.working_dir = fields.text("working_dir");
  if (!tmpl.working_dir.empty() && !clean_absolute(tmpl.working_dir))
    fields.refuse("working_dir", "must be an absolute path");
  tmpl.state_dir = fields.required_text("state_dir");
  if (!clean_absolute(tmpl.state_dir)) fields.refuse("state_dir", "must be an absolute path below /");
  for (const auto& [path, options] : fields.text_map("tmpfs")) {
    check_tmpfs(fields, tmpl, path, options);
    tmpl.tmpfs.emplace(path, options);
  }
  tmpl.read_only_root = fields.boolean("read_only_root", true);
  tmpl.init = fields.boolean("init", true);
  if (!fields.has("port")) fields.refuse("port", "is missing; add the port that the agent's gateway listens on");
  tmpl.port = static_cast<std::uint16_t>(fields.integer("port", 0, 1, 65535));
  const auto grace =
      duration(fields, "stop_grace", std::chrono::seconds{10}, std::chrono::seconds{0}, std::chrono::seconds{300});
  tmpl.stop_grace_seconds = std::chrono::duration_cast<std::chrono::seconds>(grace).count();
  if (const auto node = fields.find("limits")) {
    const Fields limits{file, *node, "limits", {"nofile", "pids", "min_memory"}};
    tmpl.nofile = limits.integer("nofile", tmpl.nofile, 64, 1'048'576);
    tmpl.pids = limits.integer("pids", tmpl.pids, 4, 32'768);
    tmpl.min_memory_bytes = bytes(limits, "min_memory", 0, 6LL << 20);
  }
}

void read_readiness(const Fields& fields, Template& tmpl) {
  const auto node = fields.find("readiness");
  if (!node) return;
  const Fields readiness{fields.file(), *node, "readiness", {"path", "startup_budget", "period"}};
  tmpl.readiness.path = readiness.text("path", tmpl.readiness.path);
  if (tmpl.readiness.path[0] != '/' || !characters(tmpl.readiness.path, "/._-~?=&%"))
    readiness.refuse("path", "must be an HTTP path such as /readyz");
  tmpl.readiness.startup_budget = duration(readiness, "startup_budget", tmpl.readiness.startup_budget,
                                           std::chrono::seconds{1}, std::chrono::seconds{3600});
  tmpl.readiness.period =
      duration(readiness, "period", tmpl.readiness.period, std::chrono::seconds{1}, std::chrono::seconds{600});
}

void read_models(const Fields& fields, Template& tmpl) {
  for (const auto& [word, id] : fields.text_map("models")) {
    if (!characters(word, "._:/-") || word.size() > 128)
      fields.refuse("models", "\"" + word + "\" is not a model's name");
    if (!id.empty() && (!characters(id, "._:/-") || id.size() > 128))
      fields.refuse("models", "\"" + id + "\" is not a model's id");
    tmpl.models.emplace(word, id);
  }
  tmpl.default_model = fields.text("default_model");
  if (!tmpl.default_model.empty() && !valid_model(tmpl.default_model)) {
    fields.refuse("default_model", "must be claude-opus-4-6, gpt-4, custom, or provider/model");
  }
  for (const auto& [provider, model] : fields.text_map("provider_models")) {
    if (!characters(provider, "-") || !valid_model(model))
      fields.refuse("provider_models",
                    "\"" + provider + ": " + model +
                        "\" is not an aiProvider and a model; write for example openai: openai/gpt-4o");
    tmpl.provider_models.emplace(provider, model);
  }
}

// Parts of the configuration that are there only when their secrets are set. Keys may hold placeholders, because the
// ids of servers and groups are keys in agents' configurations; none of them can be empty, since those secrets are set.
void read_config_parts(const Fields& section, Template& tmpl) {
  const auto list = section.find("when");
  if (!list) return;
  if (!list->IsSequence()) section.refuse("when", "must be a list");
  for (const auto& node : *list) {
    const std::string prefix = "config.when[" + std::to_string(tmpl.config_when.size()) + "]";
    const Fields entry{section.file(), node, prefix, {"set", "content"}};
    ConfigPart part;
    part.secrets = entry.texts("set");
    if (part.secrets.empty()) entry.refuse("set", "is missing; name the secrets that must be set, such as [telegram]");
    for (const auto& name : part.secrets) {
      if (!characters(name, "_-")) entry.refuse("set", "\"" + name + "\" is not the name of a secret");
    }
    const auto content = entry.find("content");
    if (!content || !content->IsMap()) entry.refuse("content", "must be a map");
    part.content = to_json_text(section.file(), *content, prefix + ".content");
    check_placeholders(section.file(), *content, prefix + ".content", Secrets::allowed, Keys::filled);
    tmpl.config_when.push_back(std::move(part));
  }
}

// Returns whether ${gateway_token} is in it.
bool read_config(const Fields& fields, Template& tmpl) {
  const auto node = fields.find("config");
  if (!node) return false;
  const Fields section{fields.file(), *node, "config", {"path", "protected", "content", "when", "taken", "refused"}};
  tmpl.config_path = section.required_text("path");
  if (!clean_relative(tmpl.config_path)) section.refuse("path", "must be a path inside state_dir, without ..");
  for (const auto& key : section.texts("protected")) {
    const std::string_view word = key;
    const bool star = word.ends_with('*');
    const std::string_view plain = star ? word.substr(0, word.size() - 1) : word;
    if (!characters(plain, "._-$") || plain.starts_with('.') || plain.find("..") != std::string_view::npos ||
        (!star && plain.ends_with('.'))) {
      section.refuse("protected", "\"" + key + "\" is not a dotted key such as gateway.bind");
    }
    tmpl.protected_keys.push_back(key);
  }
  tmpl.readiness.config.taken = section.texts("taken");
  tmpl.readiness.config.refused = section.texts("refused");
  const auto content = section.find("content");
  if (!content) section.refuse("content", "is missing; add the configuration, {} at least");
  if (!content->IsMap()) section.refuse("content", "must be a map");
  // First, because it bounds how much there is to look through: aliases can make a small file endless.
  tmpl.config_base = to_json_text(fields.file(), *content, "config.content");
  check_placeholders(fields.file(), *content, "config.content", Secrets::allowed);
  read_config_parts(section, tmpl);
  return tmpl.config_base.find("${gateway_token}") != std::string::npos;
}

bool read_files(const Fields& fields, Template& tmpl) {
  const auto list = fields.find("files");
  if (!list) return false;
  if (!list->IsSequence()) fields.refuse("files", "must be a list");
  bool token = false;
  std::set<std::string> seen = {tmpl.config_path};
  for (const auto& node : *list) {
    const std::string prefix = "files[" + std::to_string(tmpl.files.size()) + "]";
    const Fields entry{fields.file(), node, prefix, {"path", "mode", "restart", "merge", "content"}};
    TemplateFile file;
    file.path = entry.required_text("path");
    if (!clean_relative(file.path)) entry.refuse("path", "must be a path inside state_dir, without ..");
    if (!seen.insert(file.path).second) entry.refuse("path", "\"" + file.path + "\" is written twice");
    file.mode = file_mode(entry, "mode");
    file.restart = entry.boolean("restart", false);
    file.merge = entry.boolean("merge", false);
    file.content = entry.text("content");
    if (const auto problem = placeholder_problem(file.content, Secrets::allowed); !problem.empty())
      entry.refuse("content", problem);
    if (holds_secret(file.content) && (file.mode & 077) != 0) {
      entry.refuse("mode", "lets others read a file that holds secrets; write \"0600\"");
    }
    token = token || file.content.find("${gateway_token}") != std::string::npos;
    tmpl.files.push_back(std::move(file));
  }
  return token;
}

// "agents/*/sessions/", "workspace/MEMORY.md": a star stands for a whole part, and not for the first.
bool memory_path(std::string_view path) {
  if (path.ends_with('/')) path.remove_suffix(1);
  if (!clean_relative(path)) return false;
  for (auto star = path.find('*'); star != std::string_view::npos; star = path.find('*', star + 1)) {
    if (star == 0 || path[star - 1] != '/' || star + 1 >= path.size() || path[star + 1] != '/') return false;
  }
  return true;
}

// A word, or a list of names and presets.
void read_egress(const Fields& fields, const EgressPresets& presets, Template& tmpl) {
  const auto node = fields.find("egress");
  if (!node) return;
  const std::vector<std::string> entries =
      node->IsSequence() ? fields.texts("egress") : std::vector<std::string>{fields.text("egress")};
  if (!node->IsSequence() && entries[0] != "open" && entries[0] != "none")
    fields.refuse("egress", "must be open, none, or a list of domain names and presets");
  auto wish = make_egress_wish(entries, presets);
  if (!wish) fields.refuse("egress", wish.error().message);
  tmpl.egress = std::move(*wish);
}

Template read_template(const fs::path& folder, const EgressPresets& presets) {
  Template tmpl;
  tmpl.name = folder.filename().string();
  const YamlFile file{(folder / "template.yaml").string()};
  if (!template_name(tmpl.name)) {
    throw Refused{invalid(
        "name", file.path() + ": the folder's name is the template's and must be 1 to 32 of [a-z0-9-]; rename it")};
  }
  const Fields fields{
      file,
      file.root(),
      "",
      {"description", "version",    "image",       "image_allowlist", "gateway", "entrypoint",     "command",
       "env",         "user",       "working_dir", "state_dir",       "tmpfs",   "read_only_root", "init",
       "port",        "stop_grace", "limits",      "readiness",       "models",  "default_model",  "provider_models",
       "config",      "files",      "memory",      "egress",          "labels"}};
  tmpl.description = fields.text("description");
  tmpl.image = fields.required_text("image");
  const auto image = parse_fixed_image(tmpl.image);
  if (!image) fields.refuse("image", image.error().message + kImageExample);
  tmpl.version = fields.text("version", image->tag);
  tmpl.image_allowlist = fields.texts("image_allowlist");
  if (tmpl.image_allowlist.empty()) tmpl.image_allowlist.push_back(image->repository);
  tmpl.gateway = fields.required_text("gateway");
  if (std::find(std::begin(kGateways), std::end(kGateways), tmpl.gateway) == std::end(kGateways)) {
    fields.refuse("gateway", "\"" + tmpl.gateway +
                                 "\" is not a kind of gateway Creel can talk to; known are openclaw and reference");
  }
  std::error_code problem;
  if (fs::is_regular_file(folder / "build-image.sh", problem)) tmpl.build_script = (folder / "build-image.sh").string();
  read_process(fields, tmpl);
  read_readiness(fields, tmpl);
  read_models(fields, tmpl);
  const bool token_in_config = read_config(fields, tmpl);
  const bool token_in_files = read_files(fields, tmpl);
  read_egress(fields, presets, tmpl);
  tmpl.memory = fields.texts("memory");
  for (const auto& path : tmpl.memory) {
    if (!memory_path(path))
      fields.refuse("memory",
                    "\"" + path + "\" is not a path inside state_dir such as agents/*/sessions/ or MEMORY.md");
  }
  if (!token_in_config && !token_in_files) {
    file.refuse(file.root(), "config",
                "${gateway_token} stands nowhere, so Creel could not talk to the agent; put it into config or files");
  }
  return tmpl;
}

// The last check is the real thing: a template that cannot be rendered must not wait for its first agent to say so.
Result<void> check_rendering(const Template& tmpl, const std::string& folder) {
  RenderInput input;
  input.id = *AgentId::parse("0123456789abcdef");
  input.name = "agent";
  input.model = tmpl.default_model;
  input.resources.memory_bytes = tmpl.min_memory_bytes;
  input.secrets["gateway_token"] = std::string(64, '0');
  // Once as it is for an agent without channels, once with every part there is.
  for (const bool complete : {false, true}) {
    for (const ConfigPart& part : tmpl.config_when)
      for (const auto& name : part.secrets)
        if (complete) input.secrets[name] = "0";
    for (const char* name : {"device_id", "device_public_key", "device_token"})
      if (complete) input.secrets[name] = "0";
    if (auto rendered = render(tmpl, input); !rendered) {
      return invalid(rendered.error().field,
                     folder + "/template.yaml: it cannot be rendered: " + rendered.error().message);
    }
  }
  return {};
}

SubscriptionPlan read_plan(const YamlFile& file, const YAML::Node& node, int rank) {
  const Fields fields{file, node, "plans[" + std::to_string(rank) + "]", {"name", "agents", "memory", "cpus", "pids"}};
  SubscriptionPlan plan;
  plan.rank = rank;
  plan.name = fields.required_text("name");
  if (!characters(plan.name, "_-") || plan.name.size() > 32)
    fields.refuse("name", "must be 1 to 32 letters, digits, - or _");
  for (const char* key : {"agents", "memory", "cpus"}) {
    if (!fields.has(key)) fields.refuse(key, "is missing; add it");
  }
  plan.agent_limit = static_cast<int>(fields.integer("agents", 1, 1, 1'000'000));
  plan.resources.memory_bytes = bytes(fields, "memory", 0, 16LL << 20);
  plan.resources.pids = fields.integer("pids", plan.resources.pids, 4, 32'768);
  const std::string cpus = fields.text("cpus");
  double number = 0;
  const auto [end, problem] = std::from_chars(cpus.data(), cpus.data() + cpus.size(), number, std::chars_format::fixed);
  if (problem != std::errc{} || end != cpus.data() + cpus.size() || !(number >= 0.01 && number <= 1024)) {
    fields.refuse("cpus", "must be a number of cores from 0.01 to 1024, not \"" + cpus + "\"");
  }
  plan.resources.nano_cpus = static_cast<std::int64_t>(number * 1e9 + 0.5);
  return plan;
}

}  // namespace

Result<Template> load_template(const std::string& folder, const EgressPresets& presets) {
  return guarded([&]() -> Result<Template> {
    std::error_code problem;
    fs::path path = fs::absolute(folder, problem).lexically_normal();
    if (path.filename().empty()) path = path.parent_path();
    Template tmpl = read_template(path, presets);
    CREEL_CHECK(check_rendering(tmpl, path.string()));
    return tmpl;
  });
}

Result<std::vector<Template>> load_templates(const std::vector<std::string>& folders, const EgressPresets& presets) {
  std::map<std::string, Template> found;
  for (const auto& folder : folders) {
    std::error_code problem;
    std::vector<std::string> names;
    for (fs::directory_iterator entry{folder, problem}, end; !problem && entry != end; entry.increment(problem)) {
      std::error_code ignored;
      if (fs::exists(entry->path() / "template.yaml", ignored)) names.push_back(entry->path().string());
    }
    if (problem) return invalid("", "the template folder " + folder + " cannot be read: " + problem.message());
    if (names.empty())
      return invalid(
          "", "the template folder " + folder + " holds no <name>/template.yaml; add one, or unset CREEL_TEMPLATES");
    std::sort(names.begin(), names.end());
    for (const auto& name : names) {
      CREEL_TRY(auto tmpl, load_template(name, presets));
      found.insert_or_assign(tmpl.name, std::move(tmpl));
    }
  }
  std::vector<Template> result;
  for (auto& [name, tmpl] : found) result.push_back(std::move(tmpl));
  return result;
}

Result<Plans> load_plans(const std::string& path) {
  return guarded([&]() -> Result<Plans> {
    const YamlFile file{path};
    const Fields fields{file, file.root(), "", {"plans"}};
    const auto list = fields.find("plans");
    if (!list || !list->IsSequence() || list->size() == 0)
      fields.refuse("plans", "must be a list of at least one plan, the lowest first");
    std::map<std::string, SubscriptionPlan> plans;
    int rank = 0;
    for (const auto& node : *list) {
      SubscriptionPlan plan = read_plan(file, node, rank++);
      const std::string name = plan.name;
      if (!plans.emplace(name, std::move(plan)).second)
        file.refuse(node, "plans", "\"" + name + "\" is given twice; keep one");
    }
    return Plans{std::move(plans)};
  });
}

Result<EgressPresets> load_egress_presets(const std::string& path) {
  return guarded([&]() -> Result<EgressPresets> {
    const YamlFile file{path};
    const Fields fields{file, file.root(), "", {"presets"}};
    const auto map = fields.find("presets");
    if (!map || !map->IsMap()) fields.refuse("presets", "must be a map of names to lists of domain names");
    EgressPresets presets;
    for (const auto& [name, node] : pairs(file, *map, "presets")) {
      const std::string at = "presets." + name;
      if (!characters(name, "-_")) file.refuse(node, at, "is not a name of letters, digits, - and _");
      if (!node.IsSequence() || node.size() == 0) file.refuse(node, at, "must be a list of domain names");
      for (const auto& element : node) {
        const std::string domain = scalar_text(file, element, at);
        if (!egress_name(domain))
          file.refuse(element, at, "\"" + domain + "\" is not a domain name such as api.example.com or *.example.com");
        presets[name].push_back(domain);
      }
    }
    return presets;
  });
}

Result<Catalog> load_catalog(const Config& config) {
  if (config.shipped_templates.empty()) {
    return invalid("CREEL_SHARE_DIR",
                   "the shipped templates are not in " + config.share_dir +
                       "/templates (plans.yaml is missing); set CREEL_SHARE_DIR to the folder that holds templates/");
  }
  std::vector<std::string> folders = {config.shipped_templates};
  std::string plans_file = config.shipped_templates + "/plans.yaml";
  if (!config.templates.empty()) {
    std::error_code problem;
    const bool own_plans = fs::exists(config.templates + "/plans.yaml", problem);
    if (own_plans) plans_file = config.templates + "/plans.yaml";
    // A folder with nothing but plans.yaml is fine.
    bool own_templates = !own_plans;
    for (fs::directory_iterator entry{config.templates, problem}, end; !problem && entry != end;
         entry.increment(problem)) {
      own_templates = own_templates || (entry->is_directory(problem) && entry->path().filename() != "egress");
    }
    if (own_templates) folders.push_back(config.templates);
  }
  EgressPresets presets;
  for (const std::string& folder : {config.templates, config.shipped_templates}) {
    const std::string file = folder + "/egress/presets.yaml";
    std::error_code problem;
    if (folder.empty() || !fs::exists(file, problem)) continue;
    CREEL_TRY(auto more, load_egress_presets(file));
    presets.merge(more);  // which keeps what is there: the operator's own
  }
  CREEL_TRY(auto templates, load_templates(folders, presets));
  CREEL_TRY(auto plans, load_plans(plans_file));
  for (auto& tmpl : templates) {
    if (tmpl.name == "openclaw" && !config.openclaw_image.empty()) {
      const auto image = parse_fixed_image(config.openclaw_image);
      if (!image) {
        return invalid("OPENCLAW_IMAGE",
                       "OPENCLAW_IMAGE: \"" + config.openclaw_image + "\" " + image.error().message + kImageExample);
      }
      tmpl.image = config.openclaw_image;
      // The tag is all that is known of the software in it.
      tmpl.version = image->tag;
      tmpl.image_allowlist.push_back(image->repository);
    }
    if (!config.image_allowlist.empty()) tmpl.image_allowlist = config.image_allowlist;
  }
  Catalog catalog{TemplateSet{std::move(templates), std::move(presets)}, std::move(plans)};
  if (catalog.templates.find(config.default_template) == nullptr) {
    std::string names;
    for (const auto& tmpl : catalog.templates.all()) names += (names.empty() ? "" : ", ") + tmpl.name;
    return invalid("CREEL_DEFAULT_TEMPLATE", "CREEL_DEFAULT_TEMPLATE: there is no template \"" +
                                                 config.default_template + "\"; there are " + names);
  }
  return catalog;
}

}  // namespace creel::config
