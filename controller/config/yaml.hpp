// Strict reading of YAML, shared by the files of this folder. Includes yaml-cpp: for .cpp files of config/ only.
//
// Inside this folder a refusal travels as the exception Refused (yaml-cpp throws too); guarded() turns both into an
// Error at the folder's edge. Threads: no state.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <exception>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/result.hpp"

namespace creel::config {

struct Refused {
  Error error;
};

// One YAML file; knows how to name a place in it.
class YamlFile {
 public:
  // Throws Refused when it cannot be read, is larger than 1 MiB, or is not YAML.
  explicit YamlFile(std::string path);
  const std::string& path() const { return path_; }
  const YAML::Node& root() const { return root_; }
  // "<file>:<line>: <field>: <what>".
  [[noreturn]] void refuse(const YAML::Node& at, const std::string& field, const std::string& what) const;

 private:
  std::string path_;
  YAML::Node root_;
};

// A map whose keys are all known. The constructor refuses an unknown or repeated one.
class Fields {
 public:
  Fields(const YamlFile& file, const YAML::Node& node, std::string prefix,
         std::initializer_list<std::string_view> known);

  bool has(const char* key) const { return find(key).has_value(); }
  std::optional<YAML::Node> find(const char* key) const;
  // Scalars of any plain type are taken as the text they are written as.
  std::string text(const char* key, std::string_view fallback = "") const;
  std::string required_text(const char* key) const;
  bool boolean(const char* key, bool fallback) const;
  std::int64_t integer(const char* key, std::int64_t fallback, std::int64_t least, std::int64_t most) const;
  std::vector<std::string> texts(const char* key) const;
  std::vector<std::pair<std::string, std::string>> text_map(const char* key) const;
  std::string field(std::string_view key) const {
    return prefix_.empty() ? std::string{key} : prefix_ + "." + std::string{key};
  }
  [[noreturn]] void refuse(const char* key, const std::string& what) const;
  const YamlFile& file() const { return file_; }

 private:
  const YamlFile& file_;
  YAML::Node node_;
  std::string prefix_;
};

// The text of a scalar, refused when it is anything else.
std::string scalar_text(const YamlFile& file, const YAML::Node& node, const std::string& field);
// A map's pairs in order; a repeated key, or one that is not a scalar, is refused.
std::vector<std::pair<std::string, YAML::Node>> pairs(const YamlFile& file, const YAML::Node& node,
                                                      const std::string& field);
// YAML as JSON text, by the YAML 1.2 core schema. What reads differently in YAML 1.1 (yes, on, 0600) is refused unless
// it is quoted.
std::string to_json_text(const YamlFile& file, const YAML::Node& node, const std::string& field);

// Calls `body`, which returns a Result, and turns what is thrown inside into an Error.
template <class Body>
auto guarded(const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Refused& refused) {
    return refused.error;
  } catch (const YAML::Exception& problem) {
    return Error{ErrorKind::invalid, std::string{"YAML: "} + problem.what(), {}, {}};
  } catch (const std::exception& problem) {
    return Error{ErrorKind::internal, std::string{"while reading YAML: "} + problem.what(), {}, {}};
  }
}

}  // namespace creel::config
