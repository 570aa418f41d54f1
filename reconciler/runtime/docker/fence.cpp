#include "reconciler/runtime/docker/fence.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <nlohmann/json.hpp>

#include "controller/core/ids.hpp"
#include "reconciler/runtime/docker/codec.hpp"
#include "reconciler/runtime/docker/docker_logs.hpp"
#include "reconciler/runtime/docker/fence_rules.hpp"
#include "reconciler/runtime/docker/network_pool.hpp"
#include "reconciler/runtime/docker/service.hpp"

namespace creel::docker {

using nlohmann::json;

namespace {

constexpr std::chrono::seconds kFresh{10};
constexpr std::chrono::seconds kGrace{2};
constexpr std::chrono::seconds kPullAgain{60};
constexpr std::chrono::milliseconds kTakeDownDeadline{20'000};
constexpr std::chrono::milliseconds kSettle{5'000};
constexpr std::chrono::milliseconds kPoll{50};
constexpr std::size_t kLines = 5;
constexpr const char* kSaysSo = "fence: in force";

void pause(std::chrono::milliseconds duration, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  never.wait_for(lock, stop, duration, [] { return false; });
}

}  // namespace

Fence::Fence(Engine& engine, std::string controller_id, FenceSettings settings)
    : engine_(engine),
      controller_(std::move(controller_id)),
      settings_(std::move(settings)),
      name_("creel-" + controller_ + "-fence"),
      pulls_([&engine](const std::string& image, const PullPool::Progress& progress,
                       std::stop_token stop) { return engine.image_pull(image, progress, std::move(stop)); },
             1) {}

std::optional<FenceView> Fence::view() const {
  const std::lock_guard lock{mutex_};
  return view_;
}

std::optional<FenceView> Fence::fresh() const {
  const std::lock_guard lock{mutex_};
  return view_ && std::chrono::steady_clock::now() - seen_ < kFresh ? view_ : std::nullopt;
}

FenceView Fence::stand(std::stop_token stop) {
  if (auto seen = fresh()) return std::move(*seen);
  const std::lock_guard turn{pass_mutex_};
  if (auto seen = fresh()) return std::move(*seen);  // by whom this one waited for
  return pass_now(std::move(stop));
}

FenceView Fence::pass(std::stop_token stop) {
  const std::lock_guard turn{pass_mutex_};
  return pass_now(std::move(stop));
}

FenceView Fence::pass_now(std::stop_token stop) {
  auto seen = settings_.wanted ? keep(stop) : take_down(stop);
  FenceView view;
  if (seen) {
    view = std::move(*seen);
  } else if (seen.error().kind == ErrorKind::cancelled) {
    return FenceView{false, "Unknown", seen.error().message};
  } else {
    const bool away = seen.error().kind == ErrorKind::unavailable || seen.error().kind == ErrorKind::timeout;
    view = {false, away ? "EngineUnreachable" : "Failed", seen.error().message};
  }
  const std::lock_guard lock{mutex_};
  if (!view_ || view_->reason != view.reason) {
    if (view.in_force || view.reason == "SwitchedOff")
      spdlog::info("fence: {}", view.in_force ? "in force" : view.message);
    else
      spdlog::warn("fence: not in force: {}", view.message);
  }
  view_ = view;
  seen_ = std::chrono::steady_clock::now();
  return view;
}

Result<std::optional<ContainerInfo>> Fence::look(const std::string& name, std::stop_token stop) {
  const auto found = engine_.container_inspect(name, stop);
  if (!found && found.error().kind == ErrorKind::not_found) return std::optional<ContainerInfo>{};
  if (!found) return found.error();
  if (!is_service(found->labels, kRoleFence, controller_))
    return Error{
        ErrorKind::conflict, "a container named " + name + " exists, and is not this controller's fence", {}, {}};
  return std::optional{*found};
}

// Also the bridges of networks that an older release, or somebody by hand, has named otherwise.
Result<std::string> Fence::rules(std::stop_token stop) {
  CREEL_TRY(const EngineInfo info, engine_.cached_info(stop));
  CREEL_TRY(const auto networks, engine_.network_list(label_filter(kLabelController, controller_), stop));
  FenceOptions options;
  options.bridges = bridge_prefix(controller_, info.id);
  options.table = "creel_" + options.bridges.substr(2, 8);
  options.allow = settings_.allow;
  options.published = settings_.published;
  for (const NetworkInfo& network : networks) {
    std::string bridge = "br-" + network.id.substr(0, 12);
    if (const auto named = network.options.find("com.docker.network.bridge.name"); named != network.options.end())
      bridge = named->second;
    if (!bridge.starts_with(options.bridges)) options.others.push_back(std::move(bridge));
  }
  std::sort(options.others.begin(), options.others.end());
  table_ = options.table;
  return fence_rules(options);
}

Result<std::string> Fence::make(const std::string& name, const std::string& what, const std::string& hash,
                                std::stop_token stop) {
  CREEL_TRY(const EngineInfo about, engine_.cached_info(stop));
  // Where the engine maps users, those of a mapped container have no say in the host's network.
  json host{{"NetworkMode", "host"}, {"UsernsMode", "host"}, {"CapAdd", json::array({"NET_ADMIN"})}, {"Init", false}};
  const Service service{kRoleFence, settings_.image, hash, json::array({"/usr/bin/fence", table_, what}),
                        "0:0",      what != "off"};
  const json body = service_body(service, std::move(host), controller_, about);
  return engine_.container_create(name, body, stop);
}

// Nobody but the operator knows a registry that has it: the name that build-image.sh gives is no registry's.
FenceView Fence::without_image() {
  const std::string absent = "the image " + settings_.image + " is not on the engine";
  if (settings_.image == kEgressImage)
    return {false, "ImageAbsent",
            absent +
                "; make it with templates/egress/build-image.sh, name one that can be pulled (CREEL_EGRESS_IMAGE), "
                "or set CREEL_FENCE=off"};
  const auto state = pulls_.state(settings_.image);
  if (state && state->under_way) return {false, "ImageAbsent", absent + " yet; it is being pulled"};
  const auto now = std::chrono::steady_clock::now();
  if (!state || now - pulled_ > kPullAgain) {
    pulled_ = now;
    pulls_.start(settings_.image);
  }
  if (!state || state->succeeded) return {false, "ImageAbsent", absent + " yet; it is being pulled"};
  return {false, "ImageAbsent", absent + " and cannot be pulled: " + state->message};
}

Result<FenceView> Fence::keep(std::stop_token stop) {
  const auto image = engine_.image_inspect(settings_.image, stop);
  // What a fence that was made before does goes on, but nobody would mend it.
  if (!image && image.error().kind == ErrorKind::not_found) return without_image();
  if (!image) return image.error();
  CREEL_TRY(const std::string text, rules(stop));
  const std::string hash = sha256_hex(text).substr(0, 16);
  CREEL_TRY(auto there, look(name_, stop));
  switch (service_step(there, hash, image->id, 1)) {
    case ServiceStep::wait:
      return Error{ErrorKind::failed, "the engine is removing the container " + name_, {}, {}};
    case ServiceStep::replace:
      CREEL_CHECK(engine_.container_remove(there->id, true, stop));
      [[fallthrough]];
    case ServiceStep::make: {
      CREEL_TRY(const std::string id, make(name_, text, hash, stop));
      CREEL_CHECK(engine_.container_start(id, stop));
      break;
    }
    case ServiceStep::start:
      CREEL_CHECK(engine_.container_start(there->id, stop));
      break;
    case ServiceStep::none:
      break;
  }
  return judge(stop);
}

// Its own word: a container that runs has not proved anything yet.
Result<FenceView> Fence::judge(std::stop_token stop) {
  const auto until = std::chrono::steady_clock::now() + kSettle;
  std::string last;
  for (;;) {
    CREEL_TRY(const auto there, look(name_, stop));
    if (!there) return Error{ErrorKind::failed, "somebody removed the container " + name_, {}, {}};
    const std::string run = there->id + (there->started_at ? to_rfc3339(*there->started_at) : "");
    const bool running = there->state == ContainerState::running;
    if (running && run == proven_) return FenceView{true, "InForce", ""};
    CREEL_TRY(const auto lines, read_tail(engine_, *there, kLines, running ? there->started_at : std::nullopt, stop));
    for (const LogLine& line : lines) {
      if (running && line.text == kSaysSo) {
        proven_ = run;
        return FenceView{true, "InForce", ""};
      }
      if (!line.text.starts_with("fence: ")) last = line.text;
    }
    if (stop.stop_requested()) return Error{ErrorKind::cancelled, "the controller stops", {}, {}};
    if (std::chrono::steady_clock::now() > until)
      return FenceView{false, "Failed",
                       "the rules could not be set" + (last.empty() ? std::string{} : " (" + last + ")") +
                           "; the engine's host needs nf_tables in its kernel; see the log of the container " + name_};
    pause(kPoll, stop);
  }
}

// Its keeper goes last: as long as it is there, whatever was cut off is done again.
Result<FenceView> Fence::take_down(std::stop_token stop) {
  const FenceView off{false, "SwitchedOff", "CREEL_FENCE=off"};
  CREEL_TRY(const auto keeper, look(name_, stop));
  if (!keeper) return off;
  CREEL_CHECK(rules(stop));
  CREEL_CHECK(engine_.container_stop(keeper->id, kGrace, stop));
  const std::string name = name_ + "-off";
  CREEL_TRY(const auto before, look(name, stop));
  if (before) CREEL_CHECK(engine_.container_remove(before->id, true, stop));
  CREEL_TRY(const std::string id, make(name, "off", "", stop));
  CREEL_CHECK(engine_.container_start(id, stop));
  CREEL_TRY(const int code, engine_.container_wait(id, "not-running", kTakeDownDeadline, stop));
  if (code != 0)
    return Error{ErrorKind::failed,
                 "the rules of the fence could not be taken away; see the log of the container " + name +
                     ", or on the engine's host: nft delete table inet " + table_,
                 {},
                 {}};
  CREEL_CHECK(engine_.container_remove(id, true, stop));
  CREEL_CHECK(engine_.container_remove(keeper->id, true, stop));
  return off;
}

}  // namespace creel::docker
