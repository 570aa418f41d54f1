// Runtime: the interface between the reconciler and whatever runs containers. It speaks of workloads, not of Docker.
//
// Threads: every method may be called from any thread. Each has a deadline of its own and ends early when `stop` is
// asked for (ErrorKind::cancelled). A timeout means that the outcome is unknown, never that something is absent.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "controller/core/agent.hpp"
#include "controller/core/ports.hpp"
#include "controller/core/result.hpp"

namespace creel {

// What the runtime does by itself, so that plan() leaves it alone.
struct Capabilities {
  bool restarts_exited = true;  // restarts a process that exits (Docker's unless-stopped)
};

// Operations: what plan() may ask for. Each is idempotent: "already so" is success.
namespace op {
// Starts (or joins) a pull in the background and returns at once; progress and outcome show in Observed::image.
struct PullImage {
  std::string image;
};
// Makes volume and container, not started, and puts the files into the volume. `generation` and `spec_hash` become
// labels.
struct CreateWorkload {
  AgentId agent;
  WorkloadSpec spec;
  std::string spec_hash;
  std::uint64_t generation = 0;
  std::vector<VolumeFile> files;
  // Another number leads to another network, as far as there are several: what is wrong may be that of the last one.
  int alternative = 0;
};
// Gives the volume to `user`, as CreateWorkload does, which may have been interrupted before that; and replaces files
// in it, each whole at every moment.
struct DeliverFiles {
  AgentId agent;
  std::string runtime_id;
  std::string state_dir;
  std::string user;  // as WorkloadSpec's
  std::vector<VolumeFile> files;
};
struct StartWorkload {
  AgentId agent;
  std::string runtime_id;
};
struct StopWorkload {
  AgentId agent;
  std::string runtime_id;
  std::int64_t grace_seconds = 10;
};
// Stop and start in one call, so that no crash of the controller can leave it stopped.
struct RestartWorkload {
  AgentId agent;
  std::string runtime_id;
  std::int64_t grace_seconds = 10;
};
// Removes that very container (by engine id), never its volume. The container gets `grace_seconds` to end if it runs.
struct RemoveWorkload {
  AgentId agent;
  std::string runtime_id;
  std::int64_t grace_seconds = 10;
};
// Removes the agent's volume and its copy for good.
struct RemoveStorage {
  AgentId agent;
};
// Copies the agent's volume, as a whole, in place of an earlier copy. Nothing may run on the volume. A failure leaves
// no copy. `image` (here and below): any that is there; it is kept from being pruned as long as the copy.
struct BackUpStorage {
  AgentId agent;
  std::string image;
};
// Gives the volume the contents of the copy and nothing else. not_found: there is no copy. Can be repeated.
struct RestoreStorage {
  AgentId agent;
  std::string image;
};
// Removes the copy.
struct RemoveBackup {
  AgentId agent;
};
// Empties folders and files of the volume, as Template::memory names them; what is not there stays away. Nothing may
// run on the volume. `image`: any that is there.
struct ClearStorage {
  AgentId agent;
  std::string image;
  std::vector<std::string> paths;
};
}  // namespace op

using Operation = std::variant<op::PullImage, op::CreateWorkload, op::DeliverFiles, op::StartWorkload, op::StopWorkload,
                               op::RestartWorkload, op::RemoveWorkload, op::RemoveStorage, op::ClearStorage,
                               op::BackUpStorage, op::RestoreStorage, op::RemoveBackup>;

// Short and stable, for plans, events and metrics: "create", "start", "pull-image", ...
const char* operation_name(const Operation& operation);

// A container or volume that carries this controller's labels.
enum class ObjectKind { container, helper, volume, backup };  // helper: a container of op::ClearStorage and its like
struct OwnObject {
  ObjectKind kind = ObjectKind::container;
  std::string id;  // of a container, the runtime_id; else the name
  std::string name;
  std::string agent;        // the label, as it stands
  bool given_name = false;  // the name is the one that the runtime gives to that agent's object of this kind
  bool is_container() const { return kind == ObjectKind::container || kind == ObjectKind::helper; }
};

inline constexpr const char* kAlreadyRan = "already ran";

class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual Capabilities capabilities() const = 0;
  // One snapshot of workload, volume and image. What could not be asked is `unknown` with `error` set; an Error is
  // returned only when nothing at all could be learned (engine unreachable: unavailable; no answer in time: timeout).
  virtual Result<Observed> observe(const AgentId& agent, const std::string& image, std::stop_token stop) = 0;
  // One image, and what became of the last pull of it.
  virtual Result<ObservedImage> observe_image(const std::string& reference, std::stop_token stop) = 0;
  // After CreateWorkload the returned string is the new runtime_id; after StartWorkload kAlreadyRan if there was a
  // process already; else "".
  virtual Result<std::string> apply(const Operation& operation, std::stop_token stop) = 0;
  // Calls back with each agent whose workload changed, until stop or until the stream breaks (then: an Error).
  // `on_open` is called once the stream stands: what happened before it is not reported.
  virtual Result<void> watch(std::function<void()> on_open, std::function<void(const AgentId&)> on_change,
                             std::stop_token stop) = 0;
  // Every container and volume that carries this controller's labels. An Error when the listing is not whole.
  virtual Result<std::vector<OwnObject>> objects(std::stop_token stop) = 0;
  // The last lines the workload printed, from `since` on if it is given, oldest first (for "why did it exit").
  virtual Result<std::vector<LogLine>> last_lines(const std::string& runtime_id, std::size_t count,
                                                  std::optional<TimePoint> since, std::stop_token stop) = 0;
};

}  // namespace creel
