#include "tests/support/support.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace creel::test {

std::string golden(const std::string& name, const std::string& actual) {
  const std::filesystem::path path = std::filesystem::path{CREEL_SOURCE_DIR} / "tests" / "golden" / name;
  if (std::getenv("CREEL_UPDATE_GOLDEN") != nullptr) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream{path} << actual << "\n";
  }
  std::ifstream file{path};
  if (!file) return "(no golden file " + name + ": run with CREEL_UPDATE_GOLDEN=1 and look at what is written)";
  std::stringstream text;
  text << file.rdbuf();
  std::string out = text.str();
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  return out;
}

std::string required_env(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0')
    throw std::runtime_error(std::string{name} +
                             " is not set: run these tests through ./test.sh, which starts what they need");
  return value;
}

}  // namespace creel::test
