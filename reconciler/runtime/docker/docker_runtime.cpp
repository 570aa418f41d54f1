#include "reconciler/runtime/docker/docker_runtime.hpp"

#include <spdlog/spdlog.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "reconciler/runtime/docker/codec.hpp"
#include "reconciler/runtime/docker/docker_logs.hpp"
#include "reconciler/runtime/docker/image.hpp"
#include "reconciler/runtime/docker/tar.hpp"

namespace creel::docker {

using std::chrono::seconds;

namespace {

constexpr std::chrono::milliseconds kRemovalDeadline{60'000};
constexpr std::chrono::milliseconds kLongestTurn{15'000};
constexpr std::size_t kMergedMax = 4u << 20;  // of a file to be merged: a larger one is replaced

std::int64_t now_seconds() { return std::chrono::duration_cast<seconds>(system_now().time_since_epoch()).count(); }

// "1000:1000" or "1000"; nullopt for names, which only the image can resolve.
std::optional<Owner> parse_owner(const std::string& user) {
  Owner owner;
  const char* const end = user.data() + user.size();
  const auto uid = std::from_chars(user.data(), end, owner.uid);
  if (uid.ec != std::errc{} || owner.uid < 0) return std::nullopt;
  if (uid.ptr == end) {
    owner.gid = owner.uid;
    return owner;
  }
  if (*uid.ptr != ':') return std::nullopt;
  const auto gid = std::from_chars(uid.ptr + 1, end, owner.gid);
  if (gid.ec != std::errc{} || gid.ptr != end || owner.gid < 0) return std::nullopt;
  return owner;
}

bool alive(ContainerState state) {
  return state == ContainerState::running || state == ContainerState::paused || state == ContainerState::restarting;
}

bool is(const Error& error, ErrorKind kind) { return error.kind == kind; }

// To the caller of an operation "invalid" would mean that the owner's input is wrong; here the engine refused the
// whole.
Error refused(Error error) {
  if (error.kind == ErrorKind::invalid) error.kind = ErrorKind::failed;
  return error;
}

// What the engine has most work with. (The copies of an update take long, but are as heavy as their volumes only.)
bool is_heavy(const Operation& operation) {
  return std::holds_alternative<op::CreateWorkload>(operation) ||
         std::holds_alternative<op::StartWorkload>(operation) ||
         std::holds_alternative<op::RestartWorkload>(operation) ||
         std::holds_alternative<op::RemoveWorkload>(operation);
}

seconds grace_of(std::int64_t grace_seconds) { return seconds{std::max<std::int64_t>(0, grace_seconds)}; }

}  // namespace

DockerRuntime::DockerRuntime(Engine& engine, RuntimeOptions options)
    : engine_(engine),
      options_(std::move(options)),
      networks_(engine, options_.controller_id),
      egress_(engine, networks_, options_.controller_id, options_.egress),
      volumes_(engine, options_.controller_id),
      pulls_([this](const std::string& image, const PullPool::Progress& progress,
                    std::stop_token stop) { return pull(image, progress, std::move(stop)); },
             options_.parallel_pulls),
      changes_(options_.parallel_changes, kLongestTurn) {}

Result<void> DockerRuntime::pull(const std::string& image, const PullPool::Progress& progress, std::stop_token stop) {
  const auto began = std::chrono::steady_clock::now();
  auto done = engine_.image_pull(image, progress, std::move(stop));
  const auto took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
  if (options_.pulled && (done || done.error().kind != ErrorKind::cancelled)) options_.pulled(done.has_value(), took);
  return done;
}

// --- observe ---

Result<void> DockerRuntime::admit(const std::string& key) {
  const std::lock_guard lock{quarantine_mutex_};
  const auto left = quarantine_.left(key, std::chrono::steady_clock::now());
  if (!left) return {};
  return Error{ErrorKind::timeout, "the engine gave no answer in time; it is asked again in " +
                                       std::to_string(std::chrono::ceil<seconds>(*left).count()) + " s"};
}

void DockerRuntime::account(const std::string& key, const std::optional<Error>& error) {
  const std::lock_guard lock{quarantine_mutex_};
  if (!error ||
      (!is(*error, ErrorKind::timeout) && !is(*error, ErrorKind::unavailable) && !is(*error, ErrorKind::cancelled)))
    quarantine_.answered(key);
  else if (is(*error, ErrorKind::timeout))
    quarantine_.silent(key, std::chrono::steady_clock::now());
}

// An engine that is silent about this one container may well answer about the others: those who ask are not to wait.
Result<Observed> DockerRuntime::observe(const AgentId& agent, const std::string& image, std::stop_token stop) {
  const std::string key = "observe " + object_name(agent);
  CREEL_CHECK(admit(key));
  auto observed = look(agent, image, stop);
  // What the others said is worth knowing; the container is what is left alone.
  if (observed && observed->workload_presence == Presence::unknown)
    account(key, Error{ErrorKind::timeout, observed->error, {}, {}});
  else
    account(key, observed ? std::nullopt : std::optional{observed.error()});
  return observed;
}

std::string DockerRuntime::locate(const AgentId& agent, const std::string& observed) {
  const std::string key = "observe " + object_name(agent);
  if (!admit(key)) return observed;
  const auto container = engine_.container_inspect(object_name(agent));
  account(key, container ? std::nullopt : std::optional{container.error()});
  if (!container) return is(container.error(), ErrorKind::not_found) ? "" : observed;
  const ObservedWorkload now = observe_container(*container, agent, options_.controller_id);
  return now.ours && now.state == ContainerState::running ? now.address : "";
}

Result<Observed> DockerRuntime::look(const AgentId& agent, const std::string& image, std::stop_token stop) {
  const std::string name = object_name(agent);
  Observed observed;
  std::optional<Error> container_error;
  std::optional<Error> volume_error;
  std::optional<Error> image_error;

  const auto container = engine_.container_inspect(name, stop);
  if (container) {
    observed.workload_presence = Presence::present;
    observed.workload = observe_container(*container, agent, options_.controller_id);
    if (!alive(observed.workload.state))
      observed.workload.strays = static_cast<int>(strays_.of(container->id, false).size());
  } else if (is(container.error(), ErrorKind::not_found)) {
    observed.workload_presence = Presence::absent;
  } else {
    container_error = container.error();
    // Nobody there: the other questions would only repeat that, at the price of a deadline each.
    if (is(*container_error, ErrorKind::unavailable) || is(*container_error, ErrorKind::cancelled))
      return *container_error;
  }

  const auto volume = engine_.volume_inspect(name, stop);
  if (volume) {
    observed.storage_presence = Presence::present;
    observed.storage_ours = is_ours(volume->labels, agent, options_.controller_id);
  } else if (is(volume.error(), ErrorKind::not_found)) {
    observed.storage_presence = Presence::absent;
  } else {
    volume_error = volume.error();
  }

  if (container && container->state == ContainerState::running &&
      (container->image == image || container->image_id == image)) {
    observed.image = ImageState::present;
    observed.image_id = container->image_id;
  } else if (!image.empty()) {
    look_at_image(image, stop, observed, image_error);
  }

  for (const auto* error : {&container_error, &volume_error, &image_error}) {
    if (*error && is(**error, ErrorKind::cancelled)) return **error;
  }
  if (container_error && volume_error) return *container_error;
  for (const auto* error : {&image_error, &volume_error, &container_error}) {
    if (*error) observed.error = (*error)->message;
  }
  if (options_.fence != nullptr) observed.fence = options_.fence->view();
  observed.at = system_now();
  return observed;
}

// A container keeps the reference it was made from, and an image its name until another takes it.
Result<ObservedImage> DockerRuntime::observe_image(const std::string& reference, std::stop_token stop) {
  ObservedImage image;
  if (const auto pull = pulls_.state(reference)) {
    image.pull = pull->under_way ? PullState::under_way : pull->succeeded ? PullState::succeeded : PullState::failed;
    image.message = pull->message;
  }
  const auto found = engine_.image_inspect(reference, stop);
  if (found) {
    image.presence = Presence::present;
    image.id = found->id;
    image.digest = digest_of(*found, reference);
  } else if (is(found.error(), ErrorKind::not_found)) {
    image.presence = Presence::absent;
  } else {
    return found.error();
  }
  return image;
}

void DockerRuntime::look_at_image(const std::string& image, std::stop_token stop, Observed& observed,
                                  std::optional<Error>& error) {
  const auto pull = pulls_.state(image);
  if (pull && pull->under_way) {
    observed.image = ImageState::pulling;
    observed.image_message = pull->message;
    return;
  }
  const auto found = engine_.image_inspect(image, stop);
  if (found) {
    observed.image = ImageState::present;
    observed.image_id = found->id;
  } else if (is(found.error(), ErrorKind::invalid)) {  // not a reference: no pull will help
    observed.image = ImageState::failed;
    observed.image_message = found.error().message;
  } else if (!is(found.error(), ErrorKind::not_found)) {
    error = found.error();
  } else {
    const bool failed = pull && !pull->succeeded;
    observed.image = failed ? ImageState::failed : ImageState::absent;
    observed.image_message = failed ? pull->message : "";
  }
}

// --- apply ---

Result<std::string> DockerRuntime::apply(const Operation& operation, std::stop_token stop) {
  const auto key = std::visit(
      [](const auto& op) -> std::string {
        if constexpr (requires { op.agent; }) return "apply " + object_name(op.agent);
        return {};
      },
      operation);
  if (!key.empty()) CREEL_CHECK(admit(key));
  std::optional<Turns::Held> turn;
  if (is_heavy(operation)) turn.emplace(changes_.take(stop));
  auto result = std::visit([&](const auto& op) { return carry_out(op, stop); }, operation);
  turn.reset();
  if (!key.empty()) account(key, result ? std::nullopt : std::optional{result.error()});
  if (!result) return refused(std::move(result).error());
  return result;
}

Result<ContainerInfo> DockerRuntime::own_container(const AgentId& agent, const std::string& runtime_id,
                                                   std::stop_token stop) {
  CREEL_TRY(ContainerInfo info, engine_.container_inspect(runtime_id, stop));
  // The engine also finds by name and by prefix of an id; only that very container is meant.
  if (info.id != runtime_id) return Error{ErrorKind::not_found, "there is no container " + runtime_id};
  if (!is_ours(info.labels, agent, options_.controller_id)) return foreign("container", info.name, info.labels);
  return info;
}

Result<std::string> DockerRuntime::carry_out(const op::PullImage& operation, std::stop_token) {
  if (operation.image.starts_with("sha256:"))
    return Error{ErrorKind::failed, "the image " + operation.image +
                                        " is not on the engine any more, and no registry "
                                        "knows it by this name; update the agent to an image that can be had"};
  CREEL_CHECK(pullable(operation.image));
  pulls_.start(operation.image);
  return std::string{};
}

Result<EgressPlace> DockerRuntime::place_of(const op::CreateWorkload& operation, std::stop_token stop) {
  if (!operation.spec.egress) {
    CREEL_TRY(std::string network, networks_.acquire(stop, operation.alternative));
    return EgressPlace{std::move(network), ""};
  }
  if (!options_.publish_at.empty())
    return Error{
        ErrorKind::failed,
        "an egress list needs an engine whose bridges are in reach of the controller: no port of an agent can be "
        "published out of its network; where they are in reach, set CREEL_PUBLISH_ADDRESS=none",
        {},
        {}};
  return egress_.place(*operation.spec.egress, stop);
}

// Before a process of the agent begins: the fence, if there is to be one; and what an agent with an egress list is not
// to run without.
Result<void> DockerRuntime::fenced_in(const ContainerInfo& info, std::stop_token stop) {
  std::optional<FenceView> fence;
  if (options_.fence != nullptr) fence = options_.fence->stand(stop);
  if (!egress_.is_place(info.network_mode)) return {};
  if (!fence || !fence->in_force)
    return Error{ErrorKind::failed,
                 "an egress list keeps nobody from the host without the fence, which is not in force" +
                     (fence ? ": " + fence->message : ""),
                 {},
                 {}};
  const auto place = egress_.stand(info.network_mode, stop);
  if (!place && place.error().kind == ErrorKind::not_found)
    return Error{ErrorKind::failed, "the network of its egress list is gone", {}, {}};
  if (!place) return place.error();
  if (info.resolvers != std::vector{place->resolver})
    return Error{ErrorKind::failed, "the network of its egress list was made anew, with other addresses", {}, {}};
  return {};
}

Result<std::string> DockerRuntime::create_or_find(const op::CreateWorkload& operation, std::stop_token stop) {
  const std::string name = object_name(operation.agent);
  CREEL_TRY(const EngineInfo about, engine_.cached_info(stop));
  CREEL_TRY(const VolumeInfo volume,
            engine_.volume_create(
                name, agent_labels(operation.agent, options_.controller_id, operation.generation, operation.spec_hash),
                stop));
  if (!is_ours(volume.labels, operation.agent, options_.controller_id)) return foreign("volume", name, volume.labels);

  CREEL_TRY(const EgressPlace place, place_of(operation, stop));
  const CreateContext context{options_.controller_id, place.network,     place.resolver, options_.publish_at,
                              about.limits_swap,      about.limits_pids, about.cpus};
  auto created = engine_.container_create(name, create_container_body(operation, context), stop);
  if (created || !is(created.error(), ErrorKind::conflict)) return created;

  // The name is taken: by the container of an earlier try whose answer was lost, or by something else.
  CREEL_TRY(const ContainerInfo other, engine_.container_inspect(name, stop));
  if (!is_ours(other.labels, operation.agent, options_.controller_id)) return foreign("container", name, other.labels);
  if (label(other.labels, kLabelSpecHash) != operation.spec_hash) {
    return Error{ErrorKind::conflict, "the container " + name + " exists already, made from another specification"};
  }
  return other.id;
}

Result<std::string> DockerRuntime::carry_out(const op::CreateWorkload& operation, std::stop_token stop) {
  CREEL_CHECK(free_volume(operation.agent, stop));
  CREEL_TRY(const std::string id, create_or_find(operation, stop));
  // From here on a failure leaves the container as created: the next pass delivers the files before it starts it.
  CREEL_CHECK(deliver(id, operation.spec.state_dir, operation.spec.user, operation.files, stop));
  return id;
}

// A fresh volume takes owner and mode from the image's folder of that name, and is root's when the image has none: an
// agent that cannot write its state then looks healthy and fails at the first chat. So the root is always written, too,
// and looked at afterwards.
Result<void> DockerRuntime::deliver(const std::string& runtime_id, const std::string& state_dir,
                                    const std::string& user, const std::vector<VolumeFile>& files,
                                    std::stop_token stop) {
  std::optional<Owner> root = parse_owner(user);
  if (!root && !files.empty()) root = Owner{files.front().uid, files.front().gid};
  CREEL_TRY(const auto merged, merge(runtime_id, state_dir, files, stop));
  if (merged.empty() && !root) return {};
  CREEL_TRY(std::string archive, delivery_archive(merged, root, now_seconds()));
  CREEL_CHECK(engine_.archive_put(runtime_id, state_dir, std::move(archive), stop));
  if (!root) return {};
  // The engine sets the owner before the mode: where the mode is right, so is the owner.
  CREEL_TRY(const PathStat stat, engine_.archive_stat(runtime_id, state_dir, stop));
  if (!stat.is_directory || stat.mode != 0700) {
    return Error{ErrorKind::failed, "the engine did not give the agent's volume to its user"};
  }
  return {};
}

// What of `files` is to be written: those that the agent writes too with what it wrote, or not at all when nothing of
// ours is missing there.
Result<std::vector<VolumeFile>> DockerRuntime::merge(const std::string& runtime_id, const std::string& state_dir,
                                                     const std::vector<VolumeFile>& files, std::stop_token stop) {
  std::vector<VolumeFile> merged;
  for (const auto& file : files) {
    if (!file.merge) {
      merged.push_back(file);
      continue;
    }
    std::string archive;
    const auto got = engine_.archive_get(
        runtime_id, state_dir + "/" + file.path,
        [&archive](std::string_view piece) {
          archive += piece;
          return archive.size() <= kMergedMax;
        },
        stop);
    if (!got && !is(got.error(), ErrorKind::not_found)) return got.error();
    const auto there = got ? first_file(archive) : std::nullopt;
    if (auto content = merge_members(there.value_or(""), file.content)) {
      merged.push_back(file);
      merged.back().content = std::move(*content);
    }
  }
  return merged;
}

Result<std::string> DockerRuntime::carry_out(const op::DeliverFiles& operation, std::stop_token stop) {
  CREEL_CHECK(own_container(operation.agent, operation.runtime_id, stop));
  CREEL_CHECK(deliver(operation.runtime_id, operation.state_dir, operation.user, operation.files, stop));
  return std::string{};
}

Result<void> DockerRuntime::unpause(const ContainerInfo& info, std::stop_token stop) {
  if (info.state != ContainerState::paused) return {};
  return engine_.container_unpause(info.id, stop);
}

Result<void> DockerRuntime::free_volume(const AgentId& agent, std::stop_token stop) {
  const auto volume = engine_.volume_inspect(object_name(agent), stop);
  if (!volume && is(volume.error(), ErrorKind::not_found)) return {};
  if (!volume) return volume.error();
  if (!is_ours(volume->labels, agent, options_.controller_id)) return {};
  for (const auto& id : strays_.holding(volume->mountpoint)) {
    const auto container = engine_.container_inspect(id, stop);
    if (!container && !is(container.error(), ErrorKind::not_found)) return container.error();
    if (!container || !alive(container->state)) CREEL_CHECK(end_strays(agent, id));
  }
  return {};
}

Result<int> DockerRuntime::end_strays(const AgentId& agent, const std::string& runtime_id) {
  if (!engine_.may_change())
    return Error{ErrorKind::cancelled, "another controller leads, and may end processes", {}, {}};
  CREEL_TRY(const int ended, strays_.end(runtime_id));
  if (ended > 0)
    spdlog::warn("agent {}: ended {} of its processes, which ran on without the engine", agent.str(), ended);
  return ended;
}

Result<std::string> DockerRuntime::carry_out(const op::StartWorkload& operation, std::stop_token stop) {
  CREEL_TRY(const ContainerInfo info, own_container(operation.agent, operation.runtime_id, stop));
  CREEL_CHECK(unpause(info, stop));
  CREEL_CHECK(fenced_in(info, stop));
  auto started = engine_.container_start(operation.runtime_id, stop);
  if (!started && is(started.error(), ErrorKind::not_found) && networks_.ensure(info.network_mode, stop)) {
    // The container was there a moment ago: it is the network that somebody removed. The container remembers the id of
    // the old one until it is attached to the new one of the same name.
    CREEL_CHECK(engine_.network_connect(info.network_mode, operation.runtime_id, stop));
    started = engine_.container_start(operation.runtime_id, stop);
  }
  const bool refused = !started && (is(started.error(), ErrorKind::failed) || is(started.error(), ErrorKind::conflict));
  if (refused && !alive(info.state)) {
    CREEL_TRY(const int ended, end_strays(operation.agent, operation.runtime_id));
    if (ended > 0) started = engine_.container_start(operation.runtime_id, stop);
  }
  if (!started) return started.error();
  return std::string{alive(info.state) ? kAlreadyRan : ""};
}

Result<std::string> DockerRuntime::carry_out(const op::StopWorkload& operation, std::stop_token stop) {
  const auto info = own_container(operation.agent, operation.runtime_id, stop);
  if (!info && is(info.error(), ErrorKind::not_found)) return std::string{};
  if (!info) return info.error();
  if (!alive(info->state)) CREEL_CHECK(end_strays(operation.agent, operation.runtime_id));
  CREEL_CHECK(unpause(*info, stop));  // a frozen process cannot end, not even when killed
  const auto stopped = engine_.container_stop(operation.runtime_id, grace_of(operation.grace_seconds), stop);
  if (!stopped && !is(stopped.error(), ErrorKind::not_found)) return stopped.error();
  return std::string{};
}

Result<std::string> DockerRuntime::carry_out(const op::RestartWorkload& operation, std::stop_token stop) {
  CREEL_TRY(const ContainerInfo info, own_container(operation.agent, operation.runtime_id, stop));
  CREEL_CHECK(unpause(info, stop));
  CREEL_CHECK(engine_.container_restart(operation.runtime_id, grace_of(operation.grace_seconds), stop));
  return std::string{};
}

Result<std::string> DockerRuntime::carry_out(const op::RemoveWorkload& operation, std::stop_token stop) {
  const auto info = own_container(operation.agent, operation.runtime_id, stop);
  if (!info && is(info.error(), ErrorKind::not_found)) return std::string{};
  if (!info) return info.error();
  if (!alive(info->state)) CREEL_CHECK(end_strays(operation.agent, operation.runtime_id));
  if (alive(info->state) && operation.grace_seconds > 0) {
    CREEL_CHECK(unpause(*info, stop));
    const auto stopped = engine_.container_stop(operation.runtime_id, grace_of(operation.grace_seconds), stop);
    if (!stopped && !is(stopped.error(), ErrorKind::not_found)) return stopped.error();
  }
  const auto removed = engine_.container_remove(operation.runtime_id, true, stop);
  if (!removed && is(removed.error(), ErrorKind::conflict)) {  // its removal is under way already
    const auto gone = engine_.container_wait(operation.runtime_id, "removed", kRemovalDeadline, stop);
    if (!gone && !is(gone.error(), ErrorKind::not_found)) return gone.error();
  } else if (!removed && !is(removed.error(), ErrorKind::not_found)) {
    return removed.error();
  }
  return std::string{};
}

Result<std::string> DockerRuntime::carry_out(const op::RemoveStorage& operation, std::stop_token stop) {
  const std::string name = object_name(operation.agent);
  CREEL_CHECK(free_volume(operation.agent, stop));
  CREEL_CHECK(volumes_.remove_backup(operation.agent, stop));
  const auto volume = engine_.volume_inspect(name, stop);
  if (!volume && is(volume.error(), ErrorKind::not_found)) return std::string{};
  if (!volume) return volume.error();
  if (!is_ours(volume->labels, operation.agent, options_.controller_id)) return foreign("volume", name, volume->labels);
  const auto removed = engine_.volume_remove(name, stop);
  if (!removed && !is(removed.error(), ErrorKind::not_found)) return removed.error();
  return std::string{};
}

Result<std::string> DockerRuntime::carry_out(const op::ClearStorage& operation, std::stop_token stop) {
  CREEL_CHECK(at_rest(operation.agent, stop));
  CREEL_CHECK(volumes_.clear(operation.agent, operation.image, operation.paths, stop));
  return std::string{};
}

Result<std::string> DockerRuntime::carry_out(const op::BackUpStorage& operation, std::stop_token stop) {
  CREEL_CHECK(at_rest(operation.agent, stop));
  CREEL_CHECK(volumes_.back_up(operation.agent, operation.image, stop));
  return std::string{};
}

Result<std::string> DockerRuntime::carry_out(const op::RestoreStorage& operation, std::stop_token stop) {
  CREEL_CHECK(at_rest(operation.agent, stop));
  CREEL_CHECK(volumes_.restore(operation.agent, operation.image, stop));
  return std::string{};
}

Result<std::string> DockerRuntime::carry_out(const op::RemoveBackup& operation, std::stop_token stop) {
  CREEL_CHECK(volumes_.remove_backup(operation.agent, stop));
  return std::string{};
}

// What is done to a volume would be lost on a process that uses it, or harm it.
Result<void> DockerRuntime::at_rest(const AgentId& agent, std::stop_token stop) {
  const std::string name = object_name(agent);
  const auto info = engine_.container_inspect(name, stop);
  if (!info && !is(info.error(), ErrorKind::not_found)) return info.error();
  if (info && !is_ours(info->labels, agent, options_.controller_id)) return foreign("container", name, info->labels);
  if (info && alive(info->state))
    return Error{ErrorKind::conflict, "the container " + name + " runs and uses its volume"};
  return free_volume(agent, stop);
}

// --- watch, objects, logs ---

Result<void> DockerRuntime::watch(std::function<void()> on_open, std::function<void(const AgentId&)> on_change,
                                  std::stop_token stop) {
  const nlohmann::json filters{{"type", {"container"}},
                               {"label", {std::string{kLabelController} + "=" + options_.controller_id}}};
  return engine_.events(
      filters.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), std::move(on_open),
      [&](std::string_view line) -> Result<bool> {
        CREEL_TRY(const auto event, read_event(line));
        if (!event) return true;
        if (const auto agent = AgentId::parse(event->agent)) on_change(*agent);
        return true;
      },
      stop);
}

Result<std::vector<OwnObject>> DockerRuntime::objects(std::stop_token stop) {
  const std::string filters = label_filter(kLabelController, options_.controller_id);
  CREEL_TRY(const auto containers, engine_.container_list(filters, stop));
  CREEL_TRY(const auto volumes, engine_.volume_list(filters, stop));
  std::vector<OwnObject> objects;
  for (const auto& container : containers) {
    // The fence's and the gateways' keepers look after those.
    if (!label(container.labels, kLabelRole).empty()) continue;
    objects.push_back(own_object(container.id, container.name, label(container.labels, kLabelAgent), true));
  }
  for (const auto& volume : volumes)
    objects.push_back(own_object(volume.name, volume.name, label(volume.labels, kLabelAgent), false));
  return objects;
}

Result<std::vector<LogLine>> DockerRuntime::last_lines(const std::string& runtime_id, std::size_t count,
                                                       std::optional<TimePoint> since, std::stop_token stop) {
  CREEL_TRY(const ContainerInfo info, engine_.container_inspect(runtime_id, stop));
  if (label(info.labels, kLabelController) != options_.controller_id)
    return foreign("container", info.name, info.labels);
  return read_tail(engine_, info, count, since, stop);
}

}  // namespace creel::docker
