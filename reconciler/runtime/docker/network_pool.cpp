#include "reconciler/runtime/docker/network_pool.hpp"

#include <charconv>

#include "controller/core/ids.hpp"
#include "reconciler/runtime/docker/codec.hpp"

namespace creel::docker {

namespace {
// Removed agents leave the count only when it is taken anew: until then a network looks fuller than it is, which is
// harmless.
constexpr std::chrono::seconds kCountValid{30};
// A container created by another process of this controller is not counted until then either; the bridge has 23 ports
// more than we use.
constexpr int kNumberMax = 9'999;
constexpr int kAlternatives = 3;
}  // namespace

std::string bridge_name(const std::string& controller_id, const std::string& engine_id, int number) {
  return bridge_prefix(controller_id, engine_id) + std::to_string(number);
}

std::string bridge_prefix(const std::string& controller_id, const std::string& engine_id) {
  return "cr" + sha256_hex(controller_id + "\n" + engine_id).substr(0, 8) + "-";
}

std::string NetworkPool::name_of(int number) const { return "creel-" + controller_ + "-" + std::to_string(number); }

std::optional<int> NetworkPool::number_of(const std::string& name) const {
  const std::string prefix = "creel-" + controller_ + "-";
  if (!name.starts_with(prefix)) return std::nullopt;
  int number = 0;
  const char* const end = name.data() + name.size();
  const auto read = std::from_chars(name.data() + prefix.size(), end, number);
  if (read.ec != std::errc{} || read.ptr != end || number < 1 || number > kNumberMax) return std::nullopt;
  return number;
}

Result<void> NetworkPool::count(std::stop_token stop) {
  const auto now = std::chrono::steady_clock::now();
  if (counted_ && now - *counted_ < kCountValid) return {};
  CREEL_TRY(const auto containers, engine_.container_list(label_filter(kLabelController, controller_), stop));
  agents_.clear();
  for (const auto& container : containers) {
    if (const auto number = number_of(container.network_mode)) ++agents_[*number];
  }
  counted_ = now;
  return {};
}

Result<std::string> NetworkPool::acquire(std::stop_token stop, int alternative) {
  std::lock_guard lock{mutex_};
  CREEL_CHECK(count(stop));
  int pass_over = alternative % kAlternatives;
  for (int number = 1; number <= kNumberMax; ++number) {
    if (agents_[number] >= kAgentsPerNetwork || pass_over-- > 0) continue;
    CREEL_CHECK(ensure_number(number, stop));
    ++agents_[number];
    return name_of(number);
  }
  return Error{ErrorKind::limit, "every network of this controller is full"};
}

Result<void> NetworkPool::ensure(const std::string& name, std::stop_token stop) {
  const auto number = number_of(name);
  if (!number) return Error{ErrorKind::not_found, "the network " + name + " is not one of this controller's"};
  std::lock_guard lock{mutex_};
  return ensure_number(*number, stop);
}

Result<void> NetworkPool::ensure_number(int number, std::stop_token stop) {
  const std::string name = name_of(number);
  const auto check = [&](const Result<NetworkInfo>& found) -> Result<void> {
    if (!found) return found.error();
    if (label(found->labels, kLabelController) == controller_) return {};
    return Error{ErrorKind::conflict, "a network named " + name + " exists, and is not this controller's"};
  };
  const auto found = engine_.network_inspect(name, stop);
  if (found || found.error().kind != ErrorKind::not_found) return check(found);

  CREEL_TRY(const EngineInfo info, engine_.cached_info(stop));
  NetworkSpec spec;
  spec.name = name;
  spec.bridge = bridge_name(controller_, info.id, number);
  spec.labels = {{kLabelController, controller_}};
  const auto created = engine_.network_create(spec, stop);
  if (created) return {};
  // Another process of this controller may have been faster (409; or 403 for the bridge's name, which the engine keeps
  // unique, so that two networks of one name cannot come to be): then its network is as good.
  if (check(engine_.network_inspect(name, stop))) return {};
  return created.error();
}

}  // namespace creel::docker
