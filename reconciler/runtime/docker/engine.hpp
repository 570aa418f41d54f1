// Engine: the Docker Engine API, one function an endpoint. It knows HTTP and JSON, and nothing of agents.
//
// Threads: every method may be called from any thread. Errors: unavailable (cannot be reached, or the breaker is open),
// timeout (the outcome is unknown), cancelled (`stop`), not_found/conflict/invalid/forbidden/failed (the engine said
// so; its sentence is in the message). "Already so" (304) is success. Each call has a deadline of its own.
//
// The API version (1.41 to 1.48) is negotiated at the first call and again after the connection was lost: the engine
// may have been upgraded meanwhile. Nothing is ever executed inside a container.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/result.hpp"
#include "controller/http/client.hpp"
#include "reconciler/runtime/docker/types.hpp"
#include "reconciler/stats/usage.hpp"

namespace creel::docker {

struct EngineOptions {
  std::string docker_host = "unix:///var/run/docker.sock";  // or "tcp://host:port"
  std::string tls_dir;                                      // holds ca.pem, cert.pem, key.pem; "" = plain tcp
  bool tls_verify = true;
  // The term under which this controller may change things now; nullopt: it may not, and such a call is cancelled.
  // Asked again when its first byte is about to be sent, so that a controller that was paused does not go on where it
  // stopped. The engine is told it as "User-Agent: creel/<controller> term/<term>". Empty: always allowed.
  std::function<std::optional<std::uint64_t>()> term;
  std::string user_agent = "creel";  // what the term is added to
  // Told of every call: the name of the method below, the HTTP status or the error's kind or "refused" (the breaker is
  // open: nothing was sent), and how long it took, of streams until they began. On any thread; must not block.
  std::function<void(const char* verb, const std::string& code, std::chrono::microseconds took)> called = {};
  std::chrono::milliseconds connect_timeout{3'000};
  std::chrono::milliseconds read_deadline{5'000};      // inspect, list, ping
  std::chrono::milliseconds write_deadline{60'000};    // create, start, remove, archive: disks and kernels can be slow
  std::chrono::milliseconds pull_inactivity{120'000};  // a pull may take hours, but not in silence
};

struct LogQuery {
  std::optional<std::size_t> tail;  // nullopt: all
  bool follow = false;
  std::int64_t since_nanoseconds = 0;  // Unix time, inclusive; 0 = from the beginning
};

class Engine {
 public:
  // Returns false to end the stream, which then is a success.
  using BytesSink = std::function<bool(std::string_view)>;
  using LineSink = std::function<Result<bool>(std::string_view)>;

  // invalid: docker_host is neither unix:///… nor tcp://host:port. `client` must outlive the engine.
  static Result<std::unique_ptr<Engine>> make(http::Client& client, EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // For messages: "unix:///var/run/docker.sock".
  const std::string& address() const;
  bool is_unix_socket() const;
  // The breaker's state, for /metrics and readiness: false while calls fail at once.
  bool reachable() const;
  // EngineOptions::term allows changes at this moment.
  bool may_change() const;

  Result<void> ping(std::stop_token stop = {});
  Result<EngineVersion> version(std::stop_token stop = {});
  Result<EngineInfo> info(std::stop_token stop = {});
  // info(), asked once and again after the connection was lost.
  Result<EngineInfo> cached_info(std::stop_token stop = {});

  Result<std::string> container_create(const std::string& name, const nlohmann::json& body, std::stop_token stop = {});
  Result<void> container_start(const std::string& id, std::stop_token stop = {});
  Result<void> container_stop(const std::string& id, std::chrono::seconds grace, std::stop_token stop = {});
  Result<void> container_restart(const std::string& id, std::chrono::seconds grace, std::stop_token stop = {});
  Result<void> container_kill(const std::string& id, const std::string& signal, std::stop_token stop = {});
  Result<void> container_unpause(const std::string& id, std::stop_token stop = {});
  // Anonymous volumes go with it, named ones stay. `force`: kills it first if it runs.
  Result<void> container_remove(const std::string& id, bool force, std::stop_token stop = {});
  Result<ContainerInfo> container_inspect(const std::string& id_or_name, std::stop_token stop = {});
  // All of them, running or not. `filters`: the engine's JSON, e.g. of label_filter(); "" = none.
  Result<std::vector<ContainerSummary>> container_list(const std::string& filters, std::stop_token stop = {});
  // `condition`: "not-running", "next-exit", "removed". The exit code.
  Result<int> container_wait(const std::string& id, const std::string& condition, std::chrono::milliseconds deadline,
                             std::stop_token stop = {});
  // The stream's bytes, with time stamps: feed a LogDecoder.
  Result<void> container_logs(const std::string& id, const LogQuery& query, BytesSink sink, std::stop_token stop = {});
  Result<stats::Usage> container_stats(const std::string& id, std::stop_token stop = {});
  // Unpacks a tar into the folder `path`, with the owners it names. Works on a created container, too.
  Result<void> archive_put(const std::string& id, const std::string& path, std::string tar, std::stop_token stop = {});
  // The same, of an archive that is made while it is sent; see http::Client::upload.
  Result<void> archive_put(const std::string& id, const std::string& path,
                           const std::function<Result<void>(const http::Client::Write&)>& produce,
                           std::stop_token stop = {});
  // The bytes of a tar of `path`.
  Result<void> archive_get(const std::string& id, const std::string& path, BytesSink sink, std::stop_token stop = {});
  Result<PathStat> archive_stat(const std::string& id, const std::string& path, std::stop_token stop = {});

  // An existing volume of that name is answered as it is, whatever its labels: look at them.
  Result<VolumeInfo> volume_create(const std::string& name, const Labels& labels, std::stop_token stop = {});
  Result<VolumeInfo> volume_inspect(const std::string& name, std::stop_token stop = {});
  Result<void> volume_remove(const std::string& name, std::stop_token stop = {});
  Result<std::vector<VolumeInfo>> volume_list(const std::string& filters, std::stop_token stop = {});

  Result<std::string> network_create(const NetworkSpec& spec, std::stop_token stop = {});
  Result<NetworkInfo> network_inspect(const std::string& id_or_name, std::stop_token stop = {});
  Result<std::vector<NetworkInfo>> network_list(const std::string& filters, std::stop_token stop = {});
  // Attaches a container to it; one that does not run gets it at its next start.
  Result<void> network_connect(const std::string& network, const std::string& container, std::stop_token stop = {});
  Result<void> network_remove(const std::string& id, std::stop_token stop = {});

  Result<ImageInfo> image_inspect(const std::string& reference, std::stop_token stop = {});
  // `progress` is called with one line for people each time something moved. Ends when the image is there. An error
  // names the registry's reason.
  Result<void> image_pull(const std::string& reference, std::function<void(const std::string&)> progress,
                          std::stop_token stop = {});
  Result<void> image_remove(const std::string& reference, std::stop_token stop = {});

  // One call of `on_line` an event (JSON text) until stop (cancelled), the line sink's false (success) or the end of
  // the stream (unavailable).
  Result<void> events(const std::string& filters, std::function<void()> on_open, LineSink on_line,
                      std::stop_token stop = {});

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::docker
