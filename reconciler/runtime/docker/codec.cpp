// What the engine answers.
#include "reconciler/runtime/docker/codec.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "reconciler/runtime/docker/isolation.hpp"
#include "reconciler/runtime/docker/log_decoder.hpp"

namespace creel::docker {

using nlohmann::json;

namespace {

constexpr std::size_t kLineMax = 4u << 20;

// --- reading JSON without trusting its types ---

const json kNull;

const json& at(const json& object, const char* key) {
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string text(const json& object, const char* key) {
  const json& value = at(object, key);
  return value.is_string() ? value.get<std::string>() : std::string{};
}

std::int64_t number(const json& object, const char* key) {
  const json& value = at(object, key);
  if (value.is_number_unsigned()) {
    // The engine writes "no limit" as a number near 2^64 here and there.
    const auto raw = value.get<std::uint64_t>();
    return raw > std::uint64_t{INT64_MAX} ? INT64_MAX : static_cast<std::int64_t>(raw);
  }
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

bool flag(const json& object, const char* key, bool missing = false) {
  const json& value = at(object, key);
  return value.is_boolean() ? value.get<bool>() : missing;
}

std::map<std::string, std::string> texts(const json& object, const char* key) {
  std::map<std::string, std::string> result;
  const json& value = at(object, key);
  if (!value.is_object()) return result;
  for (const auto& [name, entry] : value.items()) {
    if (entry.is_string()) result.emplace(name, entry.get<std::string>());
  }
  return result;
}

Error unreadable(const char* what) {
  return Error{ErrorKind::failed, std::string{"the engine's answer is not "} + what};
}

Result<json> parse(std::string_view body, json::value_t type, const char* what) {
  json value = json::parse(body, nullptr, false);
  if (value.is_discarded() || value.type() != type) return unreadable(what);
  // Said in full: json converts from and to nearly anything, an Error included.
  return Result<json>{boost::system::in_place_value, std::move(value)};
}

template <class T>
Result<std::vector<T>> read_list(const json& list, Result<T> (*read)(const json&)) {
  std::vector<T> result;
  for (const auto& entry : list) {
    CREEL_TRY(T value, read(entry));
    result.push_back(std::move(value));
  }
  return result;
}

std::optional<ContainerState> parse_state(std::string_view word) {
  for (const auto state :
       {ContainerState::created, ContainerState::running, ContainerState::restarting, ContainerState::paused,
        ContainerState::exited, ContainerState::dead, ContainerState::removing}) {
    if (word == to_string(state)) return state;
  }
  return std::nullopt;
}

Result<VolumeInfo> volume_of(const json& value) {
  VolumeInfo info;
  info.name = text(value, "Name");
  info.driver = text(value, "Driver");
  info.mountpoint = text(value, "Mountpoint");
  info.labels = texts(value, "Labels");
  if (info.name.empty()) return unreadable("a volume");
  return info;
}

Result<NetworkInfo> network_of(const json& value) {
  NetworkInfo info;
  info.id = text(value, "Id");
  info.name = text(value, "Name");
  info.driver = text(value, "Driver");
  info.labels = texts(value, "Labels");
  info.options = texts(value, "Options");
  if (const json& ranges = at(at(value, "IPAM"), "Config"); ranges.is_array() && !ranges.empty()) {
    info.subnet = text(ranges[0], "Subnet");
    info.ip_range = text(ranges[0], "IPRange");
  }
  if (info.id.empty() || info.name.empty()) return unreadable("a network");
  return info;
}

std::string without_slash(std::string name) {
  if (name.starts_with('/')) name.erase(0, 1);
  return name;
}

Result<ContainerSummary> summary_of(const json& value) {
  ContainerSummary info;
  info.id = text(value, "Id");
  if (info.id.empty()) return unreadable("a list of containers");
  if (const json& names = at(value, "Names"); names.is_array() && !names.empty() && names[0].is_string()) {
    info.name = without_slash(names[0].get<std::string>());
  }
  info.state = text(value, "State");
  info.network_mode = text(at(value, "HostConfig"), "NetworkMode");
  if (const json& networks = at(at(value, "NetworkSettings"), "Networks"); networks.is_object())
    for (const auto& [name, endpoint] : networks.items())
      if (auto address = text(endpoint, "IPAddress"); !address.empty())
        info.addresses.emplace(name, std::move(address));
  info.labels = texts(value, "Labels");
  return info;
}

std::optional<std::pair<int, int>> parse_api(std::string_view version) {
  const auto dot = version.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  int major = 0;
  int minor = 0;
  const char* const end = version.data() + version.size();
  const auto first = std::from_chars(version.data(), version.data() + dot, major);
  const auto second = std::from_chars(version.data() + dot + 1, end, minor);
  if (first.ec != std::errc{} || first.ptr != version.data() + dot || second.ec != std::errc{} || second.ptr != end) {
    return std::nullopt;
  }
  return std::pair{major, minor};
}

std::optional<std::string> decode_base64(std::string_view encoded) {
  static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  std::uint32_t bits = 0;
  int held = 0;
  for (char c : encoded) {
    if (c == '=') break;
    if (c == '-') c = '+';
    if (c == '_') c = '/';
    const auto value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      result += static_cast<char>(bits >> held & 0xFF);
    }
  }
  return result;
}

}  // namespace

Error foreign(const char* kind, const std::string& name, const Labels& labels) {
  const std::string owner = label(labels, kLabelController);
  return Error{ErrorKind::conflict, std::string{"the "} + kind + " " + name + " is not this controller's: " +
                                        (owner.empty() ? "it carries no label of Creel" : "it belongs to " + owner)};
}

std::string label(const Labels& labels, const char* key) {
  const auto found = labels.find(key);
  return found == labels.end() ? "" : found->second;
}

bool is_ours(const Labels& labels, const AgentId& agent, const std::string& controller_id) {
  return label(labels, kLabelAgent) == agent.str() && label(labels, kLabelController) == controller_id;
}

Error engine_error(int status, std::string_view body, const std::string& what) {
  ErrorKind kind = ErrorKind::failed;
  if (status == 400) kind = ErrorKind::invalid;
  if (status == 401 || status == 403) kind = ErrorKind::forbidden;
  if (status == 404) kind = ErrorKind::not_found;
  if (status == 409) kind = ErrorKind::conflict;
  const json value = json::parse(body, nullptr, false);
  std::string message = to_valid_utf8(text(value, "message"));
  // A proxy, or an engine that wants TLS and was asked without, says why in plain text.
  if (value.is_discarded() && body.size() < 200 && body.find('<') == std::string_view::npos)
    message = to_valid_utf8(std::string{body});
  while (!message.empty() && message.back() == '\n') message.pop_back();
  if (message.empty()) message = "HTTP status " + std::to_string(status);
  // One line: the engine appends logs of its helpers to some messages.
  std::replace(message.begin(), message.end(), '\n', ' ');
  return Error{kind, "the engine cannot " + what + ": " + message};
}

Result<ContainerInfo> read_container(std::string_view body, const std::optional<EngineInfo>& engine) {
  CREEL_TRY(const json value, parse(body, json::value_t::object, "a container"));
  const json& state = at(value, "State");
  const json& config = at(value, "Config");
  const json& host = at(value, "HostConfig");
  ContainerInfo info;
  info.id = text(value, "Id");
  const auto parsed = parse_state(text(state, "Status"));
  if (info.id.empty() || !parsed) return unreadable("a container");
  info.name = without_slash(text(value, "Name"));
  info.labels = texts(config, "Labels");
  info.state = *parsed;
  info.started_at = parse_rfc3339(text(state, "StartedAt"));
  info.finished_at = parse_rfc3339(text(state, "FinishedAt"));
  info.exit_code = static_cast<int>(number(state, "ExitCode"));
  info.oom_killed = flag(state, "OOMKilled");
  info.error = to_valid_utf8(text(state, "Error"));
  info.pid = number(state, "Pid");
  info.restart_count = number(value, "RestartCount");
  info.image = text(config, "Image");
  info.image_id = text(value, "Image");
  info.tty = flag(config, "Tty");
  info.network_mode = text(host, "NetworkMode");
  if (const json& resolvers = at(host, "Dns"); resolvers.is_array())
    for (const auto& resolver : resolvers)
      if (resolver.is_string()) info.resolvers.push_back(resolver.get<std::string>());
  const json& settings = at(value, "NetworkSettings");
  if (const json& networks = at(settings, "Networks"); networks.is_object()) {
    for (const auto& [name, endpoint] : networks.items()) {
      info.networks.insert(name);
      if (auto address = text(endpoint, "IPAddress"); !address.empty())
        info.addresses.emplace(name, std::move(address));
    }
  }
  if (const json& ports = at(settings, "Ports"); ports.is_object()) {
    for (const auto& [port, bindings] : ports.items()) {
      if (!bindings.is_array()) continue;
      for (const auto& binding : bindings) {
        info.ports[port].push_back({text(binding, "HostIp"), text(binding, "HostPort")});
      }
    }
  }
  if (engine) {
    info.isolation = isolation_fingerprint(host, text(config, "User"), engine->limits_swap, engine->limits_pids);
  }
  return info;
}

namespace {

// On the network it was made for, and no other. One that does not run may have lost its network for the moment: it is
// attached again at its start.
bool attached_as_made(const ContainerInfo& info) {
  if (info.networks.size() > 1) return false;
  if (info.networks.empty()) return info.state != ContainerState::running;
  return info.networks.contains(info.network_mode);
}

// An engine may tell the wildcard of what was published at the loopback address (Docker Desktop).
std::string reachable_at(const PublishedPort& published) {
  std::string host = published.host_ip;
  if (host.empty() || host == "0.0.0.0" || host == "::") host = "127.0.0.1";
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + published.host_port;
}

}  // namespace

ObservedWorkload observe_container(const ContainerInfo& info, const AgentId& agent, const std::string& controller_id) {
  ObservedWorkload observed;
  observed.runtime_id = info.id;
  observed.ours = is_ours(info.labels, agent, controller_id);
  observed.owner_label = label(info.labels, kLabelController);
  observed.spec_hash = label(info.labels, kLabelSpecHash);
  const std::string generation = label(info.labels, kLabelGeneration);
  std::from_chars(generation.data(), generation.data() + generation.size(), observed.generation);
  observed.state = info.state;
  observed.started_at = info.started_at;
  observed.finished_at = info.finished_at;
  observed.exit_code = info.exit_code;
  observed.oom_killed = info.oom_killed;
  observed.error = info.error;
  observed.restart_count = info.restart_count;
  observed.image_id = info.image_id;
  observed.pid = info.state == ContainerState::running || info.state == ContainerState::paused ? info.pid : 0;
  // No fingerprint: what the engine can limit is not known yet, and no proof is no drift.
  observed.hardening_ok =
      (info.isolation.empty() || info.isolation == label(info.labels, kLabelIsolation)) && attached_as_made(info);
  const std::string port = label(info.labels, kLabelPort);
  if (observed.pid != 0 && !port.empty() && port != "0") {
    if (const auto found = info.ports.find(port + "/tcp"); found != info.ports.end() && !found->second.empty()) {
      observed.address = reachable_at(found->second.front());
    } else if (const auto address = info.addresses.find(info.network_mode); address != info.addresses.end()) {
      observed.address = address->second + ":" + port;
    }
  }
  return observed;
}

Result<std::vector<ContainerSummary>> read_container_list(std::string_view body) {
  CREEL_TRY(const json value, parse(body, json::value_t::array, "a list of containers"));
  return read_list<ContainerSummary>(value, summary_of);
}

Result<EngineVersion> read_version(std::string_view body) {
  CREEL_TRY(const json value, parse(body, json::value_t::object, "an engine's version"));
  EngineVersion version;
  version.version = text(value, "Version");
  version.api_version = text(value, "ApiVersion");
  version.min_api_version = text(value, "MinAPIVersion");
  version.os = text(value, "Os");
  version.arch = text(value, "Arch");
  if (version.api_version.empty()) return unreadable("an engine's version");
  return version;
}

Result<EngineInfo> read_info(std::string_view body) {
  CREEL_TRY(const json value, parse(body, json::value_t::object, "an engine's description"));
  EngineInfo info;
  info.id = text(value, "ID");
  info.name = text(value, "Name");
  info.operating_system = text(value, "OperatingSystem");
  info.cgroup_version = text(value, "CgroupVersion");
  info.cgroup_driver = text(value, "CgroupDriver");
  info.cpus = number(value, "NCPU");
  info.memory_bytes = number(value, "MemTotal");
  info.limits_swap = flag(value, "SwapLimit", true);
  info.limits_pids = flag(value, "PidsLimit", true);
  if (info.cpus == 0 && info.name.empty()) return unreadable("an engine's description");
  return info;
}

Result<VolumeInfo> read_volume(std::string_view body) {
  CREEL_TRY(const json value, parse(body, json::value_t::object, "a volume"));
  return volume_of(value);
}

Result<std::vector<VolumeInfo>> read_volume_list(std::string_view body) {
  CREEL_TRY(const json value, parse(body, json::value_t::object, "a list of volumes"));
  const json& list = at(value, "Volumes");
  if (list.is_null()) return std::vector<VolumeInfo>{};  // how the engine writes an empty list
  if (!list.is_array()) return unreadable("a list of volumes");
  return read_list<VolumeInfo>(list, volume_of);
}

Result<NetworkInfo> read_network(std::string_view body) {
  CREEL_TRY(const json value, parse(body, json::value_t::object, "a network"));
  return network_of(value);
}

Result<std::vector<NetworkInfo>> read_network_list(std::string_view body) {
  CREEL_TRY(const json value, parse(body, json::value_t::array, "a list of networks"));
  return read_list<NetworkInfo>(value, network_of);
}

Result<ImageInfo> read_image(std::string_view body) {
  CREEL_TRY(const json value, parse(body, json::value_t::object, "an image"));
  ImageInfo info;
  info.id = text(value, "Id");
  if (info.id.empty()) return unreadable("an image");
  if (const json& digests = at(value, "RepoDigests"); digests.is_array()) {
    for (const auto& digest : digests) {
      if (digest.is_string()) info.repo_digests.push_back(digest.get<std::string>());
    }
  }
  return info;
}

Result<std::string> read_created_id(std::string_view body) {
  CREEL_TRY(const json value, parse(body, json::value_t::object, "the id of what was created"));
  std::string id = text(value, "Id");
  if (id.empty()) return unreadable("the id of what was created");
  return id;
}

Result<int> read_wait(std::string_view body) {
  CREEL_TRY(const json value, parse(body, json::value_t::object, "an exit code"));
  if (!at(value, "StatusCode").is_number_integer()) return unreadable("an exit code");
  return static_cast<int>(number(value, "StatusCode"));
}

Result<stats::Usage> read_stats(std::string_view body) {
  CREEL_TRY(const json value, parse(body, json::value_t::object, "a container's usage"));
  const json& cpu = at(at(value, "cpu_stats"), "cpu_usage");
  const json& memory = at(value, "memory_stats");
  if (!at(cpu, "total_usage").is_number() || !at(memory, "usage").is_number()) {
    return Error{ErrorKind::not_found, "the engine has no usage of this container: it is not running"};
  }
  stats::Usage usage;
  usage.cpu_seconds = static_cast<double>(number(cpu, "total_usage")) / 1e9;
  const json& detail = at(memory, "stats");
  // cgroup v1 counts the whole subtree under total_*; v2 has no such field.
  const std::int64_t inactive = at(detail, "total_inactive_file").is_number() ? number(detail, "total_inactive_file")
                                                                              : number(detail, "inactive_file");
  usage.memory_bytes = std::max<std::int64_t>(0, number(memory, "usage") - inactive);
  usage.memory_limit_bytes = number(memory, "limit");
  usage.pids = number(at(value, "pids_stats"), "current");
  if (const json& networks = at(value, "networks"); networks.is_object()) {
    usage.network_known = true;
    for (const auto& [name, counters] : networks.items()) {
      usage.network_rx_bytes += number(counters, "rx_bytes");
      usage.network_tx_bytes += number(counters, "tx_bytes");
    }
  }
  return usage;
}

Result<PathStat> read_path_stat(std::string_view header) {
  const auto decoded = decode_base64(header);
  const json value = decoded ? json::parse(*decoded, nullptr, false) : json{};
  if (!value.is_object() || !at(value, "mode").is_number_unsigned()) return unreadable("a path's description");
  const auto mode = at(value, "mode").get<std::uint64_t>();
  PathStat stat;
  stat.name = text(value, "name");
  stat.size = number(value, "size");
  stat.mode = static_cast<std::uint32_t>(mode & 0777);
  stat.is_directory = (mode >> 31 & 1) != 0;  // Go's os.ModeDir
  return stat;
}

Result<std::optional<ContainerEvent>> read_event(std::string_view line) {
  static constexpr std::array<std::string_view, 15> kChanges{
      "create",  "start",   "die",    "stop",   "kill",   "restart",       "oom",       "pause",
      "unpause", "destroy", "rename", "update", "remove", "health_status", "checkpoint"};
  CREEL_TRY(const json value, parse(line, json::value_t::object, "an event"));
  if (text(value, "Type") != "container") return std::optional<ContainerEvent>{};
  ContainerEvent event;
  event.action = text(value, "Action");
  // "health_status: healthy"
  if (const auto colon = event.action.find(':'); colon != std::string::npos) event.action.erase(colon);
  // Left out above all: "extract-to-dir", by which a delivery of files would wake the pass that made it.
  if (std::find(kChanges.begin(), kChanges.end(), event.action) == kChanges.end())
    return std::optional<ContainerEvent>{};
  const json& actor = at(value, "Actor");
  event.container_id = text(actor, "ID");
  event.agent = text(at(actor, "Attributes"), kLabelAgent);
  return std::optional{std::move(event)};
}

Result<std::string> negotiate_api(const EngineVersion& version) {
  constexpr std::pair kOldest{1, 41};
  constexpr std::pair kNewest{1, 48};
  const auto speaks = parse_api(version.api_version);
  const auto oldest = version.min_api_version.empty() ? speaks : parse_api(version.min_api_version);
  if (!speaks || !oldest) return unreadable("an engine's version");
  if (*speaks < kOldest) {
    return Error{ErrorKind::failed, "the Docker engine " + version.version + " speaks API " + version.api_version +
                                        "; Creel needs 1.41 (Docker 20.10) or later"};
  }
  if (*oldest > kNewest) {
    return Error{ErrorKind::failed, "the Docker engine " + version.version + " wants API " + version.min_api_version +
                                        " or later; this Creel speaks 1.41 to 1.48"};
  }
  const auto chosen = std::min(*speaks, kNewest);
  return std::to_string(chosen.first) + "." + std::to_string(chosen.second);
}

Result<bool> LineSplitter::push(std::string_view bytes, const std::function<Result<bool>(std::string_view)>& take) {
  buffer_ += bytes;
  std::size_t used = 0;
  for (;;) {
    const auto newline = buffer_.find('\n', used);
    if (newline == std::string::npos) break;
    std::string_view line{buffer_.data() + used, newline - used};
    used = newline + 1;
    while (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    CREEL_TRY(const bool more, take(line));
    if (!more) return false;
  }
  buffer_.erase(0, used);
  if (buffer_.size() > kLineMax) return Error{ErrorKind::failed, "the engine sent a line without an end"};
  return true;
}

std::optional<std::string> merge_members(const std::string& there, const std::string& ours) {
  json merged = json::parse(there, nullptr, /*allow_exceptions=*/false);
  if (!merged.is_object()) return ours;
  const json more = json::parse(ours, nullptr, /*allow_exceptions=*/false);
  const std::size_t before = merged.size();
  if (more.is_object())
    for (const auto& [name, value] : more.items()) merged.emplace(name, value);
  if (merged.size() == before) return std::nullopt;
  return merged.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace creel::docker
