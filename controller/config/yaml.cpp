#include "controller/config/yaml.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <system_error>

namespace creel::config {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxFile = 1u << 20;
constexpr int kMaxDepth = 64;
// Aliases make a small file large: a bound on what comes out.
constexpr std::size_t kMaxNodes = 100'000;

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text;
  if (in) {
    text.resize(kMaxFile + 1);
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
  }
  if (!in.is_open() || in.bad() || (in.fail() && !in.eof())) {
    const std::string reason = std::error_code(errno, std::generic_category()).message();
    throw Refused{invalid(path, path + " cannot be read: " + reason)};
  }
  if (text.size() > kMaxFile) throw Refused{invalid(path, path + " is larger than 1 MiB")};
  return text;
}

bool is_plain(const YAML::Node& node) { return node.Tag() == "?" || node.Tag().empty(); }

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

class JsonBuilder {
 public:
  explicit JsonBuilder(const YamlFile& file) : file_(file) {}

  Json build(const YAML::Node& node, const std::string& field, int depth) {
    if (depth > kMaxDepth) file_.refuse(node, field, "is nested deeper than 64 levels");
    if (++nodes_ > kMaxNodes) file_.refuse(node, field, "comes to more than 100,000 values; use fewer aliases");
    if (node.IsMap()) {
      Json object = Json::object();
      for (const auto& [key, value] : pairs(file_, node, field)) {
        object[key] = build(value, field + "." + key, depth + 1);
      }
      return object;
    }
    if (node.IsSequence()) {
      Json array = Json::array();
      for (const auto& element : node) {
        array.push_back(build(element, field + "[" + std::to_string(array.size()) + "]", depth + 1));
      }
      return array;
    }
    if (node.IsNull()) return nullptr;
    return is_plain(node) ? plain(node, field) : Json(node.Scalar());
  }

 private:
  Json plain(const YAML::Node& node, const std::string& field) {
    const std::string& text = node.Scalar();
    if (text.empty() || text == "~" || text == "null") return nullptr;
    if (text == "true") return true;
    if (text == "false") return false;
    std::string lower = text;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(tolower(c)); });
    for (const char* word : {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}) {
      if (lower == word)
        file_.refuse(node, field, "\"" + text + "\" can be read in two ways; write true, false or null, or quote it");
    }
    const std::string_view digits = std::string_view{text}.substr(text[0] == '-' ? 1 : 0);
    if (all_digits(digits)) {
      if (digits.size() > 1 && digits[0] == '0') {
        file_.refuse(node, field, "\"" + text + "\" can be read as octal or decimal; quote it or drop the zero");
      }
      std::int64_t number = 0;
      if (std::from_chars(text.data(), text.data() + text.size(), number).ec == std::errc{}) return number;
      file_.refuse(node, field, "\"" + text + "\" is too large for a number; quote it");
    }
    double number = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool numeric = digits.size() > 0 && digits[0] >= '0' && digits[0] <= '9';
    if (numeric && problem == std::errc{} && end == text.data() + text.size()) return number;
    return text;
  }

  const YamlFile& file_;
  std::size_t nodes_ = 0;
};

}  // namespace

YamlFile::YamlFile(std::string path) : path_(std::move(path)) {
  const std::string text = read_file(path_);
  try {
    const auto documents = YAML::LoadAll(text);
    if (documents.size() > 1) throw Refused{invalid(path_, path_ + " holds more than one YAML document; keep one")};
    if (!documents.empty()) root_ = documents.front();
  } catch (const YAML::Exception& problem) {
    throw Refused{
        invalid(path_, path_ + ":" + std::to_string(problem.mark.line + 1) + ": this is not YAML: " + problem.msg)};
  }
}

void YamlFile::refuse(const YAML::Node& at, const std::string& field, const std::string& what) const {
  const int line = at.Mark().line;
  std::string place = path_;
  if (line >= 0) place += ":" + std::to_string(line + 1);
  throw Refused{invalid(field, place + ": " + (field.empty() ? "" : field + ": ") + what)};
}

std::string scalar_text(const YamlFile& file, const YAML::Node& node, const std::string& field) {
  if (node.IsNull()) file.refuse(node, field, "has no value; give one or remove the line");
  if (!node.IsScalar()) file.refuse(node, field, "must be a single value");
  const std::string& text = node.Scalar();
  if (text.find('\0') != std::string::npos) file.refuse(node, field, "holds a NUL character");
  return text;
}

std::vector<std::pair<std::string, YAML::Node>> pairs(const YamlFile& file, const YAML::Node& node,
                                                      const std::string& field) {
  if (!node.IsMap()) file.refuse(node, field, "must be a map of \"key: value\" lines");
  std::vector<std::pair<std::string, YAML::Node>> result;
  std::set<std::string> seen;
  for (const auto& pair : node) {
    if (!pair.first.IsScalar()) file.refuse(pair.first, field, "has a key that is not a plain word");
    const std::string& key = pair.first.Scalar();
    if (!seen.insert(key).second)
      file.refuse(pair.first, field.empty() ? key : field + "." + key, "is given twice; keep one");
    result.emplace_back(key, pair.second);
  }
  return result;
}

std::string to_json_text(const YamlFile& file, const YAML::Node& node, const std::string& field) {
  return JsonBuilder{file}.build(node, field, 0).dump(2, ' ', false, Json::error_handler_t::replace);
}

Fields::Fields(const YamlFile& file, const YAML::Node& node, std::string prefix,
               std::initializer_list<std::string_view> known)
    : file_(file), node_(node), prefix_(std::move(prefix)) {
  for (const auto& [key, value] : pairs(file, node, prefix_)) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string list;
    for (const auto& word : known) list += (list.empty() ? "" : ", ") + std::string{word};
    // The key's own mark is that of its value's line for scalars; both are on one line in any sane file.
    file.refuse(value, field(key), "is not a known key; known are " + list);
  }
}

std::optional<YAML::Node> Fields::find(const char* key) const {
  for (const auto& pair : node_) {
    if (pair.first.Scalar() == key) return pair.second;
  }
  return std::nullopt;
}

void Fields::refuse(const char* key, const std::string& what) const {
  const auto node = find(key);
  file_.refuse(node ? *node : node_, field(key), what);
}

std::string Fields::text(const char* key, std::string_view fallback) const {
  const auto node = find(key);
  return node ? scalar_text(file_, *node, field(key)) : std::string{fallback};
}

std::string Fields::required_text(const char* key) const {
  const std::string value = text(key);
  if (value.empty()) refuse(key, has(key) ? "must not be empty" : "is missing; add it");
  return value;
}

bool Fields::boolean(const char* key, bool fallback) const {
  if (!has(key)) return fallback;
  const std::string value = text(key);
  if (value != "true" && value != "false") refuse(key, "must be true or false, not \"" + value + "\"");
  return value == "true";
}

std::int64_t Fields::integer(const char* key, std::int64_t fallback, std::int64_t least, std::int64_t most) const {
  if (!has(key)) return fallback;
  const std::string value = text(key);
  std::int64_t number = 0;
  const auto [end, problem] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (problem != std::errc{} || end != value.data() + value.size() || number < least || number > most) {
    refuse(key, "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most) + ", not \"" +
                    value + "\"");
  }
  return number;
}

std::vector<std::string> Fields::texts(const char* key) const {
  std::vector<std::string> result;
  const auto node = find(key);
  if (!node) return result;
  if (!node->IsSequence()) refuse(key, "must be a list");
  for (const auto& element : *node) {
    result.push_back(scalar_text(file_, element, field(key) + "[" + std::to_string(result.size()) + "]"));
  }
  return result;
}

std::vector<std::pair<std::string, std::string>> Fields::text_map(const char* key) const {
  std::vector<std::pair<std::string, std::string>> result;
  const auto node = find(key);
  if (!node) return result;
  for (const auto& [name, value] : pairs(file_, *node, field(key))) {
    result.emplace_back(name, scalar_text(file_, value, field(key) + "." + name));
  }
  return result;
}

}  // namespace creel::config
