// What befalls the engine and its containers, and how a step of a history takes place.
#include <algorithm>

#include "tests/sim/world.hpp"

namespace creel::sim {

void World::take_place(const Step& step) {
  const auto count = [&] { ++counts.took_place[static_cast<std::size_t>(step.what)]; };
  switch (kind_of(step.what)) {
    case Kind::wish: {
      if (now < store_back_) return;  // the API says so
      const auto id = owners.wish(step.what, step.agent, now);
      if (!id) return;
      count();
      tell(std::string{"** "} + to_string(step.what) + "  agent " + id->str());
      return hint(*id);
    }
    case Kind::world: {
      const auto id = owners.agent_of(step.agent);
      if (calm_ || !id) return;
      return befall(step, *id);
    }
    case Kind::statement:
      if (step.what == What::store_away) {
        if (calm_) return;
        count();
        tell("** store-away");
        store_back_ = now + step.lasts;
        return;
      }
      break;
    case Kind::call:
    case Kind::death:
    case Kind::leader:
      break;
  }
  if (!calm_) armed_.push_back({step, step.nth});
}

void World::befall(const Step& step, const AgentId& id) {
  const auto it = engine.containers.find(id);
  const bool there = it != engine.containers.end() && it->second.owner == "creel" && now >= engine_back_;
  const bool runs = there && it->second.state == ContainerState::running;
  const auto done = [&] {
    ++counts.took_place[static_cast<std::size_t>(step.what)];
    tell(std::string{"** "} + to_string(step.what) + "  agent " + id.str());
  };
  // Each says by itself whether it could take place.
  switch (step.what) {
    case What::crash:
    case What::out_of_memory:
      if (!runs) return;
      done();
      engine.exit(id, step.what == What::crash ? 1 : 137, step.what == What::out_of_memory);
      break;
    case What::gateway_hangs:
      if (!runs) return;
      done();
      it->second.answers = false;
      break;
    case What::removed_by_hand:
      if (!there) return;
      done();
      engine.containers.erase(id);
      hint(id);
      break;
    case What::stopped_by_hand:
      if (!there || !SimRuntime::has_process(it->second)) return;
      done();
      engine.halt(id);
      break;
    case What::started_by_hand:
      // Not a container that has not even got its files: Docker lets people do that, and they get what they asked for.
      if (!there || it->second.state != ContainerState::exited) return;
      done();
      engine.begin(id);
      break;
    case What::paused_by_hand:
      if (!runs) return;
      done();
      it->second.state = ContainerState::paused;
      hint(id);
      break;
    case What::altered_by_hand:
      if (!there) return;
      done();
      it->second.hardening_ok = false;
      break;
    case What::images_pruned:
      if (now < engine_back_) return;
      done();
      prune_images();
      break;
    case What::name_taken:
      take_name(id, step);
      break;
    case What::disk_full:
      done();
      disk_back_ = now + step.lasts;
      break;
    case What::fence_down:
      done();
      fence_back_ = now + step.lasts;
      break;
    case What::registry_away:
      done();
      registry_back_ = now + step.lasts;
      engine.pullable.clear();
      later(step.lasts, [this] {
        if (now >= registry_back_) engine.pullable = {"agent:1", "agent:2", "agent:3", kExiting, kUnready};
      });
      break;
    case What::engine_away:
      done();
      engine_back_ = std::max(engine_back_, now + step.lasts);
      break;
    case What::daemon_restart:
    case What::host_reboot:
      done();
      outage(step, step.what == What::host_reboot);
      break;
    case What::hints_lost:
      done();
      hints_back_ = now + step.lasts;
      break;
    case What::hints_doubled:
      done();
      hints_single_ = now + step.lasts;
      break;
    default:
      break;
  }
  watch.engine_changed();
}

// As `docker image prune --all`: what no container uses.
void World::prune_images() {
  std::set<std::string> used;
  for (const auto& [id, container] : engine.containers) used.insert(SimRuntime::plain(container.image_id));
  for (const auto& [id, copy] : engine.backups) used.insert(SimRuntime::plain(copy.image));
  std::erase_if(engine.images, [&](const std::string& image) { return !used.contains(image); });
}

// Somebody else makes a container, or a volume, of the name that Creel would give its own.
void World::take_name(const AgentId& id, const Step& step) {
  if (engine.containers.contains(id) || now < engine_back_) return;
  const bool volume = step.nth % 2 == 0;
  if (volume && engine.volumes.contains(id)) return;
  ++counts.took_place[static_cast<std::size_t>(step.what)];
  tell("** name-taken  agent " + id.str());
  if (volume) {
    engine.foreign_volumes.insert(id);
    later(step.lasts, [this, id] { engine.foreign_volumes.erase(id); });
    return;
  }
  SimRuntime::Container other;
  other.id = "foreign-" + id.str();
  other.owner = "another";
  other.state = ContainerState::running;
  other.image = other.image_id = "something";
  engine.containers[id] = other;
  watch.plant(id, other);
  later(step.lasts, [this, id] {
    watch.uproot(id);
    if (const auto it = engine.containers.find(id); it != engine.containers.end() && it->second.owner == "another")
      engine.containers.erase(it);
  });
}

// Processes end; when the daemon is back, those run that nobody had stopped. A reboot ends the controller, too.
void World::outage(const Step& step, bool reboot) {
  ++boots_;
  const milliseconds lasts = std::min(step.lasts, milliseconds{reboot ? 40'000 : 6'000});
  engine_back_ = std::max(engine_back_, now + lasts);
  std::vector<std::pair<AgentId, std::string>> ran;
  for (auto& [id, container] : engine.containers) {
    if (container.owner != "creel" || !SimRuntime::has_process(container)) continue;
    container.state = ContainerState::exited;
    ran.emplace_back(id, container.id);
  }
  for (const auto& [image, until] : engine.pulling) {
    engine.pulls[image] = PullState::failed;
    engine.pull_errors[image] = "the pull was interrupted (simulated)";
  }
  engine.pulling.clear();
  later(lasts, [this, ran] {
    for (const auto& [id, container] : ran)
      if (const auto it = engine.containers.find(id); it != engine.containers.end() && it->second.id == container)
        engine.begin(id);
  });
  if (reboot && leading_ != nullptr) kill(*leading_);
}

}  // namespace creel::sim
