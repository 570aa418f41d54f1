#include "reconciler/runtime/docker/volume.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "controller/core/clock.hpp"
#include "reconciler/runtime/docker/codec.hpp"

namespace creel::docker {

using nlohmann::json;

namespace {

constexpr const char* kMount = "/creel";

bool absent(const Error& error) { return error.kind == ErrorKind::not_found; }

// The entries of "agents/" come as "agents/", "agents/main/", "agents/main/sessions/", …: "main/".
std::optional<std::string> child_of(const std::string& folder, const std::string& path) {
  if (path.size() <= folder.size() || !path.starts_with(folder)) return std::nullopt;
  const auto slash = path.find('/', folder.size());
  return path.substr(folder.size(), slash == std::string::npos ? slash : slash + 1 - folder.size());
}

}  // namespace

VolumeAccess::VolumeAccess(Engine& engine, std::string controller_id)
    : engine_(engine), controller_(std::move(controller_id)) {}

Result<void> VolumeAccess::close(const AgentId& agent, const std::string& volume, std::stop_token stop) {
  const auto info = engine_.container_inspect(helper_name(volume), stop);
  if (!info && absent(info.error())) return {};
  if (!info) return info.error();
  if (!is_ours(info->labels, agent, controller_)) return foreign("container", info->name, info->labels);
  const auto removed = engine_.container_remove(info->id, true, stop);
  if (!removed && !absent(removed.error())) return removed.error();
  return {};
}

Result<std::string> VolumeAccess::open(const AgentId& agent, const std::string& volume, const std::string& image,
                                       std::stop_token stop) {
  CREEL_CHECK(close(agent, volume, stop));
  const json body{
      {"Image", image},
      {"Entrypoint", json::array({"/never-started"})},
      {"Cmd", json::array()},
      {"User", "65534:65534"},
      {"Labels", agent_labels(agent, controller_, 0, "")},
      {"NetworkDisabled", true},
      {"HostConfig",
       {{"NetworkMode", "none"},
        {"CapDrop", json::array({"ALL"})},
        {"SecurityOpt", json::array({"no-new-privileges"})},
        {"ReadonlyRootfs", true},
        // Nothing of the image is copied into the volume.
        {"Mounts",
         json::array(
             {{{"Type", "volume"}, {"Source", volume}, {"Target", kMount}, {"VolumeOptions", {{"NoCopy", true}}}}})}}}};
  return engine_.container_create(helper_name(volume), body, stop);
}

Result<bool> VolumeAccess::has_volume(const AgentId& agent, const std::string& name, std::stop_token stop) {
  const auto volume = engine_.volume_inspect(name, stop);
  if (!volume && absent(volume.error())) return false;
  if (!volume) return volume.error();
  if (!is_ours(volume->labels, agent, controller_)) return foreign("volume", name, volume->labels);
  return true;
}

Result<void> VolumeAccess::remove_volume(const AgentId& agent, const std::string& name, std::stop_token stop) {
  CREEL_TRY(const bool there, has_volume(agent, name, stop));
  if (!there) return {};
  const auto removed = engine_.volume_remove(name, stop);
  if (!removed && !absent(removed.error())) return removed.error();
  return {};
}

// From the engine and back to it, so that it works wherever the engine is; no more than a buffer of it is ever here.
// Two containers, because the engine locks one for as long as an archive of it is read. "/.": the archive's names begin
// below the folder.
Result<void> VolumeAccess::copy(const AgentId& agent, const std::string& from, const std::string& to,
                                const std::string& image, std::stop_token stop) {
  CREEL_TRY(const std::string source, open(agent, from, image, stop));
  CREEL_TRY(const std::string target, open(agent, to, image, stop));
  return engine_.archive_put(
      target, kMount,
      [&](const http::Client::Write& write) -> Result<void> {
        // An engine that fails in the middle ends the archive as if that were all.
        TarReader reader;
        bool wanted = true;
        Result<void> read;
        const auto sink = [&](std::string_view bytes) {
          read = reader.push(bytes, [](const TarEntry&) {});
          wanted = read && write(bytes);
          return wanted;
        };
        CREEL_CHECK(engine_.archive_get(source, std::string{kMount} + "/.", sink, stop));
        if (!read) return read.error();
        if (wanted && !reader.ended()) return Error{ErrorKind::failed, "the engine sent a part of the volume only"};
        return {};
      },
      stop);
}

Result<void> VolumeAccess::back_up(const AgentId& agent, const std::string& image, std::stop_token stop) {
  const std::string own = object_name(agent);
  CREEL_TRY(const bool there, has_volume(agent, own, stop));
  if (!there) return Error{ErrorKind::not_found, "there is no volume " + own};
  CREEL_CHECK(remove_backup(agent, stop));
  CREEL_CHECK(engine_.volume_create(backup_name(agent), agent_labels(agent, controller_, 0, ""), stop));
  if (const auto copied = copy(agent, own, backup_name(agent), image, stop); !copied) {
    (void)remove_backup(agent, {});  // half a copy is worth nothing, and the disk may be full
    return copied.error();
  }
  return close(agent, own, stop);
}

Result<void> VolumeAccess::restore(const AgentId& agent, const std::string& image, std::stop_token stop) {
  const std::string own = object_name(agent);
  CREEL_TRY(const bool there, has_volume(agent, backup_name(agent), stop));
  if (!there) return Error{ErrorKind::not_found, "there is no volume " + backup_name(agent)};
  CREEL_CHECK(close(agent, own, stop));
  CREEL_CHECK(remove_volume(agent, own, stop));
  CREEL_CHECK(engine_.volume_create(own, agent_labels(agent, controller_, 0, ""), stop));
  CREEL_CHECK(copy(agent, backup_name(agent), own, image, stop));
  return close(agent, own, stop);
}

Result<void> VolumeAccess::remove_backup(const AgentId& agent, std::stop_token stop) {
  CREEL_CHECK(close(agent, object_name(agent), stop));
  CREEL_CHECK(close(agent, backup_name(agent), stop));
  return remove_volume(agent, backup_name(agent), stop);
}

Result<std::optional<VolumeAccess::Seen>> VolumeAccess::look(const std::string& container, const std::string& path,
                                                             std::stop_token stop) {
  TarReader reader;
  std::optional<Seen> seen;
  std::set<std::string> names;
  std::optional<Error> broken;
  const auto got = engine_.archive_get(
      container, path,
      [&](std::string_view bytes) {
        const auto read = reader.push(bytes, [&](const TarEntry& entry) {
          if (!seen)
            seen = Seen{entry, {}};
          else if (const auto name = child_of(seen->itself.path, entry.path))
            names.insert(*name);
        });
        if (!read) broken = read.error();
        return !broken;
      },
      stop);
  if (!got && absent(got.error())) return std::optional<Seen>{};
  if (!got) return got.error();
  if (broken) return *broken;
  if (!seen) return Error{ErrorKind::failed, "the engine sent an empty archive"};
  seen->children.assign(names.begin(), names.end());
  return seen;
}

// "agents/*/sessions/" → "agents/main/sessions/", …
Result<std::vector<std::string>> VolumeAccess::expand(const std::string& container, const std::string& pattern,
                                                      std::stop_token stop) {
  const auto star = pattern.find('*');
  if (star == std::string::npos) return std::vector{pattern};
  const std::string folder = pattern.substr(0, star);  // with its slash
  CREEL_TRY(const auto seen, look(container, std::string{kMount} + "/" + folder, stop));
  std::vector<std::string> paths;
  for (const auto& name : seen ? seen->children : std::vector<std::string>{}) {
    if (!name.ends_with('/')) continue;
    CREEL_TRY(auto more, expand(container, folder + name + pattern.substr(star + 2), stop));
    std::move(more.begin(), more.end(), std::back_inserter(paths));
  }
  return paths;
}

// The archive endpoint knows no deletion. But an entry that is a file takes the place of whatever has its name, of a
// folder with all that is in it, too; and a folder's entry takes the place of that file. So a folder is emptied by two
// entries, and a file by one. (Unpack in moby's pkg/archive, since Docker 1.8 and in all its successors; looked at
// afterwards all the same.) An archive cut short leaves a file where a folder was: the next try makes it one again.
Result<void> VolumeAccess::clear(const AgentId& agent, const std::string& image, const std::vector<std::string>& paths,
                                 std::stop_token stop) {
  CREEL_TRY(const bool there, has_volume(agent, object_name(agent), stop));
  if (!there) return {};
  CREEL_TRY(const std::string container, open(agent, object_name(agent), image, stop));
  TarWriter tar{std::chrono::duration_cast<std::chrono::seconds>(system_now().time_since_epoch()).count()};
  std::vector<std::string> found;
  for (const auto& pattern : paths) {
    CREEL_TRY(const auto concrete, expand(container, pattern, stop));
    for (const auto& path : concrete) {
      const bool folder = path.ends_with('/');
      const std::string plain = folder ? path.substr(0, path.size() - 1) : path;
      CREEL_TRY(const auto seen, look(container, std::string{kMount} + "/" + plain, stop));
      if (!seen) continue;
      const int mode = seen->itself.type == (folder ? '5' : '0') ? seen->itself.mode : folder ? 0700 : 0600;
      tar.file(plain, "", mode, seen->itself.owner);
      if (folder) tar.directory(path, mode, seen->itself.owner);
      found.push_back(path);
    }
  }
  if (!found.empty()) CREEL_CHECK(engine_.archive_put(container, kMount, tar.finish(), stop));
  for (const auto& path : found) {
    const bool folder = path.ends_with('/');
    CREEL_TRY(const auto left, look(container, std::string{kMount} + "/" + path, stop));
    const bool empty = left && (folder ? left->itself.type == '5' && left->children.empty() : left->itself.size == 0);
    if (!empty) return Error{ErrorKind::failed, "the engine did not empty " + path + " in the agent's volume"};
  }
  return close(agent, object_name(agent), stop);
}

}  // namespace creel::docker
