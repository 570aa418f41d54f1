#include "reconciler/runtime/docker/strays.hpp"

#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace creel::docker {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr std::size_t kIdLength = 64;
constexpr auto kFresh = 200ms;
constexpr auto kDying = 2s;

bool hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

// One that has ended and waits to be collected is nobody's problem.
bool ended(const std::string& stat) {
  const auto name_end = stat.rfind(") ");
  return name_end == std::string::npos || stat.size() <= name_end + 2 || stat[name_end + 2] == 'Z' ||
         stat[name_end + 2] == 'X';
}

}  // namespace

std::string container_in(const std::string& memberships) {
  std::size_t run = 0;
  for (std::size_t at = 0; at <= memberships.size(); ++at) {
    if (at < memberships.size() && hex(memberships[at])) {
      ++run;
      continue;
    }
    if (run == kIdLength) return memberships.substr(at - run, run);
    run = 0;
  }
  return "";
}

std::string Strays::file(pid_t pid, const char* name) const {
  std::ifstream file{proc_ + "/" + std::to_string(pid) + "/" + name};
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Strays::Found Strays::look() const {
  Found found;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator{proc_, failed}) {
    const std::string name = entry.path().filename();
    if (name.empty() || !std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    const pid_t pid = std::stoi(name);
    const std::string id = container_in(file(pid, "cgroup"));
    if (!id.empty() && !ended(file(pid, "stat"))) found.emplace(id, pid);
  }
  return found;
}

std::vector<pid_t> Strays::of(const std::string& id, bool fresh) {
  const std::lock_guard lock{mutex_};
  if (fresh || found_at_ == Steady::time_point{} || Steady::now() - found_at_ > kFresh) {
    found_ = look();
    found_at_ = Steady::now();
  }
  std::vector<pid_t> pids;
  const auto [first, last] = found_.equal_range(id);
  for (auto at = first; at != last; ++at) pids.push_back(at->second);
  return pids;
}

std::set<std::string> Strays::holding(const std::string& mountpoint) {
  std::set<std::string> ids;
  struct stat wanted {};
  if (stat(mountpoint.c_str(), &wanted) != 0) return ids;
  const auto holds = [&](pid_t pid) {
    std::istringstream mounts{file(pid, "mountinfo")};
    for (std::string line; std::getline(mounts, line);) {
      // "36 35 98:0 /var/lib/docker/volumes/creel-…/_data /state rw …"
      std::istringstream fields{line};
      std::string number, parent, device, root, target;
      fields >> number >> parent >> device >> root >> target;
      if (!root.ends_with("/" + std::filesystem::path{mountpoint}.filename().string())) continue;
      struct stat found {};
      const std::string path = proc_ + "/" + std::to_string(pid) + "/root" + target;
      if (stat(path.c_str(), &found) == 0 && found.st_dev == wanted.st_dev && found.st_ino == wanted.st_ino)
        return true;
    }
    return false;
  };
  for (const auto& [id, pid] : look())
    if (holds(pid)) ids.insert(id);
  return ids;
}

Result<int> Strays::end(const std::string& id) {
  std::vector<pid_t> left = of(id, true);
  const auto count = static_cast<int>(left.size());
  const auto until = Steady::now() + kDying;
  int refused = 0;
  while (!left.empty() && Steady::now() < until) {
    for (const pid_t pid : left)
      if (kill(pid, SIGKILL) != 0 && errno != ESRCH) refused = errno;
    if (refused != 0) break;
    std::this_thread::sleep_for(20ms);
    left = of(id, true);
  }
  if (left.empty()) return count;
  std::string message = "processes of it run on without the engine (";
  for (const pid_t pid : left) message += (pid == left.front() ? "" : ", ") + std::to_string(pid);
  message += ") and cannot be ended";
  if (refused != 0) message += std::string{": "} + std::strerror(refused);
  return Error{ErrorKind::failed, message + "; end them on the engine's host with kill -9", {}, {}};
}

}  // namespace creel::docker
