// Codec: values of Creel <-> the engine's JSON. Pure: no I/O, no clock, no log.
//
// Every reader takes any bytes: what is not the JSON expected is ErrorKind::failed naming what was read; unknown fields
// are ignored; a missing or null field is its default. Recorded answers of a real engine are in tests/golden/engine/.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/result.hpp"
#include "reconciler/runtime/docker/types.hpp"
#include "reconciler/runtime/runtime.hpp"
#include "reconciler/stats/usage.hpp"

namespace creel::docker {

// --- what we send ---

struct CreateContext {
  std::string controller_id;
  std::string network;          // the bridge it is attached to
  std::string resolver = {};    // who it asks for names; "" = whom the engine tells it
  std::string publish_at = {};  // address of the engine's host that the gateway's port is published at; "" = nowhere
  bool limits_swap = true;      // EngineInfo
  bool limits_pids = true;
  std::int64_t cpus = 0;  // the engine refuses a limit above what it has; 0 = not known
};

// "creel-<id>": the name of an agent's container and of its volume.
std::string object_name(const AgentId& agent);
// The copy of an agent's volume, and the container by which a volume is reached beside its agent (volume.hpp).
std::string backup_name(const AgentId& agent);
std::string helper_name(const std::string& volume);
// What an object of this name and label is; its labels name this controller.
OwnObject own_object(const std::string& id, const std::string& name, const std::string& agent_label, bool container);
Labels agent_labels(const AgentId& agent, const std::string& controller_id, std::uint64_t generation,
                    const std::string& spec_hash);
// Body of POST /containers/create. Holds no secret.
nlohmann::json create_container_body(const op::CreateWorkload& operation, const CreateContext& context);
// {"label":["a=b"]} as the engine's `filters` parameter takes it.
std::string label_filter(const std::string& key, const std::string& value);

// --- what it answers ---

// 304 ("already so") and 2xx are no errors: do not ask. `what` is the verb phrase: "start the container".
Error engine_error(int status, std::string_view body, const std::string& what);

// `info`: what the engine cannot limit stays out of the fingerprint; nullopt: the fingerprint is left "".
Result<ContainerInfo> read_container(std::string_view body, const std::optional<EngineInfo>& info);
Result<std::vector<ContainerSummary>> read_container_list(std::string_view body);
Result<EngineVersion> read_version(std::string_view body);
Result<EngineInfo> read_info(std::string_view body);
Result<VolumeInfo> read_volume(std::string_view body);
Result<std::vector<VolumeInfo>> read_volume_list(std::string_view body);
Result<NetworkInfo> read_network(std::string_view body);
Result<std::vector<NetworkInfo>> read_network_list(std::string_view body);
Result<ImageInfo> read_image(std::string_view body);
// "Id" of a create answer.
Result<std::string> read_created_id(std::string_view body);
// StatusCode of a wait answer.
Result<int> read_wait(std::string_view body);
Result<stats::Usage> read_stats(std::string_view body);
// Header X-Docker-Container-Path-Stat: base64 of JSON.
Result<PathStat> read_path_stat(std::string_view header);
// One line of the event stream; nullopt: about something else than a container, or nothing that changes a workload.
Result<std::optional<ContainerEvent>> read_event(std::string_view line);

// A container seen through the eyes of this controller. Address: the published port if there is one, else the bridge
// address.
ObservedWorkload observe_container(const ContainerInfo& info, const AgentId& agent, const std::string& controller_id);
bool is_ours(const Labels& labels, const AgentId& agent, const std::string& controller_id);
std::string label(const Labels& labels, const char* key);  // "" when absent
// conflict: a thing of ours would have this name, and it is somebody else's. `kind`: "container", "volume".
Error foreign(const char* kind, const std::string& name, const Labels& labels);

// Highest API version both sides speak, between 1.41 and 1.48. failed: there is none, and why.
Result<std::string> negotiate_api(const EngineVersion& version);

// Splits a stream into lines, whatever its pieces. A line longer than 4 MiB is an error.
class LineSplitter {
 public:
  // `take` returns an Error to end, false when it has enough.
  Result<bool> push(std::string_view bytes, const std::function<Result<bool>(std::string_view line)>& take);

 private:
  std::string buffer_;
};

// `there` with the members of the object `ours` that it lacks; nullopt when it lacks none. What is no JSON object is
// replaced: whoever wrote it reads it as empty.
std::optional<std::string> merge_members(const std::string& there, const std::string& ours);

}  // namespace creel::docker
