// DockerRuntime: the Runtime interface over a Docker engine.
//
// An agent is one container and one volume, both named "creel-<id>", on a bridge shared with others (network_pool.hpp).
// Every operation that changes something first looks at the labels of the very object: what another controller made is
// never touched (ErrorKind::conflict, which names it). Threads and errors: as runtime.hpp says.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "controller/core/clock.hpp"
#include "reconciler/runtime/docker/egress.hpp"
#include "reconciler/runtime/docker/engine.hpp"
#include "reconciler/runtime/docker/fence.hpp"
#include "reconciler/runtime/docker/network_pool.hpp"
#include "reconciler/runtime/docker/pull_pool.hpp"
#include "reconciler/runtime/docker/quarantine.hpp"
#include "reconciler/runtime/docker/strays.hpp"
#include "reconciler/runtime/docker/turns.hpp"
#include "reconciler/runtime/docker/volume.hpp"
#include "reconciler/runtime/runtime.hpp"

namespace creel::docker {

struct RuntimeOptions {
  std::string controller_id;
  // Address of the engine's host that agents' ports are published and reached at; "": they are reached on its bridges.
  std::string publish_at = {};
  std::size_t parallel_pulls = 2;
  // Told of every pull that ended. On any thread; must not block.
  std::function<void(bool succeeded, std::chrono::milliseconds took)> pulled = {};
  // Containers made, started, restarted or removed at once: more only make the engine slower. One that hangs does not
  // hold the others up for more than 15 seconds.
  std::size_t parallel_changes = 4;
  // Stands before an agent's process begins; it must outlive the runtime. nullptr: there is none.
  Fence* fence = nullptr;
  EgressSettings egress = {};
};

class DockerRuntime : public Runtime, public Locator {
 public:
  // `engine` must outlive the runtime.
  DockerRuntime(Engine& engine, RuntimeOptions options);

  Capabilities capabilities() const override { return {}; }
  Result<Observed> observe(const AgentId& agent, const std::string& image, std::stop_token stop) override;
  Result<ObservedImage> observe_image(const std::string& reference, std::stop_token stop) override;
  std::string locate(const AgentId& agent, const std::string& observed) override;
  Result<std::string> apply(const Operation& operation, std::stop_token stop) override;
  Result<void> watch(std::function<void()> on_open, std::function<void(const AgentId&)> on_change,
                     std::stop_token stop) override;
  Result<std::vector<OwnObject>> objects(std::stop_token stop) override;
  Result<std::vector<LogLine>> last_lines(const std::string& runtime_id, std::size_t count,
                                          std::optional<TimePoint> since, std::stop_token stop) override;

  // Where agents with egress lists are; to be passed over again and again while this process leads.
  EgressGateways& egress() { return egress_; }

  // Pulls that run or wait for their turn.
  std::size_t pulls_under_way() const { return pulls_.under_way(); }
  // Blocks until no pull of the image is under way; false when `stop` was asked for first.
  bool wait_for_pull(const std::string& image, std::stop_token stop) { return pulls_.wait(image, stop); }

 private:
  Result<Observed> look(const AgentId& agent, const std::string& image, std::stop_token stop);
  // timeout: what is asked under this key is left alone for now.
  Result<void> admit(const std::string& key);
  void account(const std::string& key, const std::optional<Error>& error);
  Result<std::string> carry_out(const op::PullImage& operation, std::stop_token stop);
  Result<std::string> carry_out(const op::CreateWorkload& operation, std::stop_token stop);
  Result<std::string> carry_out(const op::DeliverFiles& operation, std::stop_token stop);
  Result<std::string> carry_out(const op::StartWorkload& operation, std::stop_token stop);
  Result<std::string> carry_out(const op::StopWorkload& operation, std::stop_token stop);
  Result<std::string> carry_out(const op::RestartWorkload& operation, std::stop_token stop);
  Result<std::string> carry_out(const op::RemoveWorkload& operation, std::stop_token stop);
  Result<std::string> carry_out(const op::RemoveStorage& operation, std::stop_token stop);
  Result<std::string> carry_out(const op::ClearStorage& operation, std::stop_token stop);
  Result<std::string> carry_out(const op::BackUpStorage& operation, std::stop_token stop);
  Result<std::string> carry_out(const op::RestoreStorage& operation, std::stop_token stop);
  Result<std::string> carry_out(const op::RemoveBackup& operation, std::stop_token stop);

  // The container of that engine id, if its labels are ours.
  Result<ContainerInfo> own_container(const AgentId& agent, const std::string& runtime_id, std::stop_token stop);
  Result<std::string> create_or_find(const op::CreateWorkload& operation, std::stop_token stop);
  Result<std::vector<VolumeFile>> merge(const std::string& runtime_id, const std::string& state_dir,
                                        const std::vector<VolumeFile>& files, std::stop_token stop);
  Result<void> deliver(const std::string& runtime_id, const std::string& state_dir, const std::string& user,
                       const std::vector<VolumeFile>& files, std::stop_token stop);
  Result<EgressPlace> place_of(const op::CreateWorkload& operation, std::stop_token stop);
  Result<void> fenced_in(const ContainerInfo& info, std::stop_token stop);
  Result<void> unpause(const ContainerInfo& info, std::stop_token stop);
  // Ends what runs of a container that the engine does not call running: how many processes.
  Result<int> end_strays(const AgentId& agent, const std::string& runtime_id);
  // The same of every container that has the agent's volume, those that the engine does not know any more, too.
  Result<void> free_volume(const AgentId& agent, std::stop_token stop);
  void look_at_image(const std::string& image, std::stop_token stop, Observed& observed, std::optional<Error>& error);
  Result<void> at_rest(const AgentId& agent, std::stop_token stop);
  Result<void> pull(const std::string& image, const PullPool::Progress& progress, std::stop_token stop);

  Engine& engine_;
  const RuntimeOptions options_;
  NetworkPool networks_;
  EgressGateways egress_;
  VolumeAccess volumes_;
  std::mutex quarantine_mutex_;
  Quarantine quarantine_;  // under quarantine_mutex_; keys: "observe creel-…", "apply creel-…"
  PullPool pulls_;
  Strays strays_;
  Turns changes_;
};

}  // namespace creel::docker
