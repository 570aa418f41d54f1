// App: all parts of a controller. For app*.cpp only: app_open.cpp makes them, app_jobs.cpp has what they do now and
// then, app.cpp connects and stops them.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/dispatcher.hpp"
#include "api/proxy/proxy.hpp"
#include "api/server/server.hpp"
#include "controller/channels/bridge.hpp"
#include "controller/config/config.hpp"
#include "controller/config/template_file.hpp"
#include "controller/embedded_postgres.hpp"
#include "controller/exporter/exporter.hpp"
#include "controller/exporter/happenings.hpp"
#include "controller/gateway/gateway.hpp"
#include "controller/gateway/operator.hpp"
#include "controller/http/client.hpp"
#include "controller/jobs/job.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/agent_repository.hpp"
#include "controller/store/lease.hpp"
#include "controller/store/listener.hpp"
#include "controller/store/orphans.hpp"
#include "controller/store/pg.hpp"
#include "controller/streams/live_streams.hpp"
#include "controller/transcripts/collector.hpp"
#include "reconciler/denials.hpp"
#include "reconciler/orphans.hpp"
#include "reconciler/runtime/docker/docker_logs.hpp"
#include "reconciler/runtime/docker/docker_runtime.hpp"
#include "reconciler/runtime/docker/engine.hpp"
#include "reconciler/runtime/docker/fence.hpp"
#include "reconciler/sources.hpp"
#include "reconciler/stats/sampler.hpp"

namespace creel {

// Members are made from top to bottom and destroyed from bottom to top: what stands below uses what stands above.
class App {
 public:
  explicit App(const Config& config) : config_(config) {}

  Result<void> start();
  // First no new requests, then no new actions, then the store. Agents are left alone.
  void stop();

  std::string address() const { return server_->address(); }
  // It told itself to end.
  bool failed() const { return failed_; }

 private:
  Result<void> open_files();
  Result<void> open_store();
  Result<void> open_engine();
  Result<void> open_api();
  void open_verifier();
  void open_agent_gateways();
  void connect();
  void keep_chats();
  void keep_live_streams();
  void collect_transcripts();
  void keep_stats();
  void keep_events();
  void look_for_orphans();
  void keep_the_fence();
  void keep_egress();
  void bridge_channels();
  void keep_keys();
  void export_numbers();
  std::optional<std::vector<stats::Target>> sample_targets();
  std::optional<std::uint64_t> held_term() const;

  const Config& config_;
  std::unique_ptr<Metrics> metrics_ = std::make_unique<Metrics>();
  Happenings happenings_{*metrics_};
  std::optional<config::Catalog> catalog_;
  std::optional<secrets::Sealer> sealer_;
  std::unique_ptr<EmbeddedPostgres> postgres_;
  std::string conninfo_;
  std::unique_ptr<store::Database> database_;
  std::unique_ptr<store::PgAgentRepository> repository_;
  std::unique_ptr<http::Client> http_;
  std::unique_ptr<gateway::Gateways> gateways_;
  std::unique_ptr<gateway::Operator> operator_;
  std::unique_ptr<docker::Engine> engine_;
  std::unique_ptr<docker::Fence> fence_;
  std::unique_ptr<docker::DockerRuntime> runtime_;
  std::unique_ptr<docker::DockerLogs> logs_;
  std::unique_ptr<Reconciler> reconciler_;
  std::unique_ptr<ControlLoop> loop_;
  std::unique_ptr<stats::Sampler> sampler_;
  std::unique_ptr<store::Lease> lease_;
  std::unique_ptr<store::Listener> listener_;
  std::unique_ptr<streams::LiveStreams> live_streams_;
  std::unique_ptr<Job> keys_job_;
  std::unique_ptr<Job> live_streams_job_;
  std::unique_ptr<transcripts::Collector> collector_;
  std::unique_ptr<Job> collector_job_;
  std::unique_ptr<Job> stats_job_;
  std::unique_ptr<Job> events_job_;
  std::unique_ptr<store::PgOrphanStore> orphan_store_;
  std::unique_ptr<OrphanSearch> orphans_;
  std::unique_ptr<Job> orphans_job_;
  std::unique_ptr<Job> fence_job_;
  DenialBook denials_;
  std::unique_ptr<Job> egress_job_;
  std::unique_ptr<gateway::ChatQueue> chat_queue_;
  std::unique_ptr<channels::Bridge> whatsapp_;
  std::unique_ptr<Job> whatsapp_job_;
  std::atomic<bool> leading_{false};  // as the lease last said
  std::atomic<std::uint64_t> term_{0};
  std::string holder_, place_;  // of master keys: the name of this process among the controllers, and where it runs
  std::atomic<bool> failed_{false};
  api::Settings settings_;
  std::unique_ptr<api::Timer> timer_;
  std::unique_ptr<api::Pool> pool_;
  std::unique_ptr<api::Waiters> waiters_;
  std::unique_ptr<api::Streams> streams_;
  std::unique_ptr<api::EventFeed> events_;
  std::unique_ptr<api::LoginThrottle> throttle_;
  std::unique_ptr<verify::Verifier> verifier_;
  std::unique_ptr<api::Pool> verify_pool_;
  std::unique_ptr<api::Chats> chats_;
  std::unique_ptr<Job> chats_job_;
  std::unique_ptr<api::AgentGateways> agent_gateways_;
  std::unique_ptr<api::Deps> deps_;
  std::unique_ptr<api::Proxy> proxy_;
  std::unique_ptr<api::Dispatcher> dispatcher_;
  std::unique_ptr<api::Server> server_;
  std::unique_ptr<Exporter> exporter_;
};

}  // namespace creel
