// What is set, and where it came from, for people and programs; and what the process itself was given.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "controller/config/config.hpp"

extern char** environ;

namespace creel::config {
namespace {

std::string shown(const Origin& origin, bool secret) {
  if (origin.value.empty()) return {};
  if (secret) return "********";
  return origin.variable == "DATABASE_URL" ? mask_database_url(origin.value) : origin.value;
}

}  // namespace

std::string Loaded::describe() const {
  std::size_t key_width = 0, value_width = 0;
  for (std::size_t i = 0; i < origins.size(); ++i) {
    key_width = std::max(key_width, settings()[i].key.size());
    value_width = std::max(value_width, std::min<std::size_t>(shown(origins[i], settings()[i].secret).size(), 40));
  }
  std::string text;
  for (std::size_t i = 0; i < origins.size(); ++i) {
    const std::string value = shown(origins[i], settings()[i].secret);
    std::string line = settings()[i].key + std::string(key_width + 2 - settings()[i].key.size(), ' ') + value;
    line +=
        std::string(value.size() < value_width ? value_width - value.size() + 2 : 2, ' ') + "# " + origins[i].source;
    text += line + "\n";
  }
  return text;
}

std::string Loaded::describe_json() const {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < origins.size(); ++i) {
    object[settings()[i].key] = {{"value", shown(origins[i], settings()[i].secret)}, {"source", origins[i].source}};
  }
  return object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

Environment process_environment() {
  Environment result;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (const auto equals = text.find('='); equals != std::string_view::npos) {
      result.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return result;
}

std::string executable_path() {
  std::error_code problem;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", problem);
  return problem ? std::string{} : path.string();
}

}  // namespace creel::config
