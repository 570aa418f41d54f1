#include "reconciler/stats/cgroup.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace creel::stats {

namespace {

// Kernel files have no size that could be asked for; they are read until they end.
std::optional<std::string> read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string text;
  char piece[4096];
  ssize_t got = 0;
  while ((got = ::read(fd, piece, sizeof piece)) > 0) text.append(piece, static_cast<std::size_t>(got));
  close(fd);
  if (got < 0) return std::nullopt;
  return text;
}

std::optional<std::string_view> next(std::string_view& text, char separator) {
  if (text.empty()) return std::nullopt;
  const auto end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> result;
  for (std::size_t at = 0; at < line.size();) {
    const auto begin = line.find_first_not_of(" \t", at);
    if (begin == std::string_view::npos) break;
    at = std::min(line.find_first_of(" \t", begin), line.size());
    result.push_back(line.substr(begin, at - begin));
  }
  return result;
}

std::optional<std::int64_t> integer(std::string_view text) {
  std::uint64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) return std::nullopt;
  return static_cast<std::int64_t>(std::min<std::uint64_t>(value, INT64_MAX));
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

// "36 35 0:29 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory"
std::vector<CgroupMount> parse_mounts(std::string_view mountinfo) {
  std::vector<CgroupMount> mounts;
  while (const auto line = next(mountinfo, '\n')) {
    const auto fields = words(*line);
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 6 || fields.end() - dash < 4) continue;
    const std::string_view type = dash[1];
    if (type == "cgroup2") mounts.push_back({"", std::string{fields[4]}, std::string{fields[3]}});
    if (type != "cgroup") continue;
    std::string_view options = dash[3];
    while (const auto option = next(options, ',')) {
      // Controllers stand among the mount's options; anything else there is never asked for as one.
      mounts.push_back({std::string{*option}, std::string{fields[4]}, std::string{fields[3]}});
    }
  }
  return mounts;
}

// "4:memory:/docker/1234", "0::/system.slice/docker-1234.scope"
std::map<std::string, std::string> parse_memberships(std::string_view text) {
  std::map<std::string, std::string> result;
  while (const auto line = next(text, '\n')) {
    const auto first = line->find(':');
    if (first == std::string_view::npos) continue;
    const auto second = line->find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string path{line->substr(second + 1)};
    std::string_view controllers = line->substr(first + 1, second - first - 1);
    if (controllers.empty()) result.emplace("", path);
    while (const auto controller = next(controllers, ',')) result.emplace(*controller, path);
  }
  return result;
}

std::optional<std::int64_t> parse_keyed(std::string_view text, std::string_view key) {
  while (const auto line = next(text, '\n')) {
    if (line->size() > key.size() && line->starts_with(key) && (*line)[key.size()] == ' ') {
      return integer(trim(line->substr(key.size() + 1)));
    }
  }
  return std::nullopt;
}

std::optional<std::int64_t> parse_number(std::string_view text) { return integer(trim(text)); }

std::optional<NetworkCounters> parse_net_dev(std::string_view text) {
  NetworkCounters sum;
  bool headed = false;
  while (const auto line = next(text, '\n')) {
    if (line->find('|') != std::string_view::npos) {
      headed = true;
      continue;
    }
    const auto colon = line->find(':');
    if (colon == std::string_view::npos) continue;
    const auto name = words(line->substr(0, colon));
    const auto numbers = words(line->substr(colon + 1));
    if (name.size() != 1 || numbers.size() < 9) return std::nullopt;
    if (name[0] == "lo") continue;
    const auto rx = integer(numbers[0]);
    const auto tx = integer(numbers[8]);
    if (!rx || !tx) return std::nullopt;
    sum.rx_bytes += *rx;
    sum.tx_bytes += *tx;
  }
  if (!headed) return std::nullopt;
  return sum;
}

CgroupReader::CgroupReader(std::string proc) : proc_(std::move(proc)) {
  if (const auto text = read_file(proc_ + "/self/mountinfo")) mounts_ = parse_mounts(*text);
  if (const auto text = read_file(proc_ + "/meminfo")) {
    std::string_view rest = *text;
    while (const auto line = next(rest, '\n')) {
      const auto fields = words(*line);
      if (fields.size() >= 2 && fields[0] == "MemTotal:") machine_memory_ = integer(fields[1]).value_or(0) * 1024;
    }
  }
}

std::optional<std::string> CgroupReader::folder(const std::map<std::string, std::string>& memberships,
                                                const std::string& controller) const {
  const auto member = memberships.find(controller);
  if (member == memberships.end()) return std::nullopt;
  for (const auto& mount : mounts_) {
    if (mount.controller != controller) continue;
    // A process in a container may see only a part of the hierarchy, mounted as if it were all.
    std::string_view path = member->second;
    if (mount.root != "/") {
      if (!path.starts_with(mount.root)) continue;
      path.remove_prefix(mount.root.size());
    }
    return mount.mount_point + std::string{path};
  }
  return std::nullopt;
}

Result<Usage> CgroupReader::read(std::int64_t pid, const std::string& runtime_id) const {
  const Error gone{ErrorKind::not_found, "process " + std::to_string(pid) + " is not one of that container here"};
  if (pid <= 0 || runtime_id.empty()) return gone;
  const std::string process = proc_ + "/" + std::to_string(pid);
  const auto text = read_file(process + "/cgroup");
  if (!text) return gone;
  auto memberships = parse_memberships(*text);
  // A process that starts joins one hierarchy of version 1 after another: in those it has not come to, it is in a group
  // of others, whose usage is theirs.
  std::erase_if(memberships, [&](const auto& entry) { return entry.second.find(runtime_id) == std::string::npos; });

  Usage usage;
  std::optional<std::int64_t> memory;
  std::optional<std::int64_t> limit;
  std::optional<std::int64_t> inactive;
  std::optional<double> cpu;
  const auto file_number = [](const std::string& path) -> std::optional<std::int64_t> {
    const auto content = read_file(path);
    return content ? parse_number(*content) : std::nullopt;
  };
  const auto file_keyed = [](const std::string& path, std::string_view key) -> std::optional<std::int64_t> {
    const auto content = read_file(path);
    return content ? parse_keyed(*content, key) : std::nullopt;
  };
  // In the mixture of both versions the accounting is in version 1; version 2 then holds no controllers.
  if (const auto v1 = folder(memberships, "memory")) {
    memory = file_number(*v1 + "/memory.usage_in_bytes");
    limit = file_number(*v1 + "/memory.limit_in_bytes");
    inactive = file_keyed(*v1 + "/memory.stat", "total_inactive_file");
    if (const auto folder_cpu = folder(memberships, "cpuacct")) {
      if (const auto nanoseconds = file_number(*folder_cpu + "/cpuacct.usage"))
        cpu = static_cast<double>(*nanoseconds) / 1e9;
    }
    if (const auto folder_pids = folder(memberships, "pids")) {
      usage.pids = file_number(*folder_pids + "/pids.current").value_or(0);
    }
  } else if (const auto v2 = folder(memberships, "")) {
    memory = file_number(*v2 + "/memory.current");
    limit = file_number(*v2 + "/memory.max");
    inactive = file_keyed(*v2 + "/memory.stat", "inactive_file");
    if (const auto microseconds = file_keyed(*v2 + "/cpu.stat", "usage_usec")) {
      cpu = static_cast<double>(*microseconds) / 1e6;
    }
    usage.pids = file_number(*v2 + "/pids.current").value_or(0);
  }
  if (!memory || !cpu) return gone;  // it ended meanwhile, or this kernel does not account
  usage.cpu_seconds = *cpu;
  usage.memory_bytes = std::max<std::int64_t>(0, *memory - inactive.value_or(0));
  usage.memory_limit_bytes = limit.value_or(machine_memory_);
  // Version 1 writes "no limit" as a number near 2^63.
  if (machine_memory_ > 0) usage.memory_limit_bytes = std::min(usage.memory_limit_bytes, machine_memory_);
  if (const auto network_text = read_file(process + "/net/dev")) {
    if (const auto counters = parse_net_dev(*network_text)) {
      usage.network_known = true;
      usage.network_rx_bytes = counters->rx_bytes;
      usage.network_tx_bytes = counters->tx_bytes;
    }
  }
  return usage;
}

}  // namespace creel::stats
