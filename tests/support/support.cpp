#include "tests/support/support.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>

namespace creel::test {

std::string source_dir() { return CREEL_SOURCE_DIR; }

std::string golden(const std::string& name, const std::string& actual) {
  const std::filesystem::path path = std::filesystem::path{source_dir()} / "tests" / "golden" / name;
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

std::uint16_t free_port() {
  constexpr int kFirst = 15'000, kCount = 15'000;
  static int next = static_cast<int>(std::random_device{}() % kCount);
  for (int tries = 0; tries < kCount; ++tries) {
    const auto port = static_cast<std::uint16_t>(kFirst + next++ % kCount);
    const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const bool free = bind(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    close(probe);
    if (free) return port;
  }
  throw std::runtime_error("no port of 127.0.0.1 is free");
}

}  // namespace creel::test
