#include "controller/app.hpp"

#include <malloc.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <thread>

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
#include "controller/logging.hpp"
#include "controller/secrets/redact.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/agent_repository.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/events.hpp"
#include "controller/store/lease.hpp"
#include "controller/store/listener.hpp"
#include "controller/store/master_key.hpp"
#include "controller/store/migrate.hpp"
#include "controller/store/orphans.hpp"
#include "controller/store/pg.hpp"
#include "controller/store/stats_history.hpp"
#include "controller/store/whatsapp.hpp"
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
namespace {

constexpr std::size_t kHandlerThreads = 8;
constexpr std::size_t kVerifyThreads = 4;  // reading chains

// They mostly wait: for the engine, for gateways, for one that hangs. What is asked of the engine at once is capped
// apart from that.
std::size_t reconcile_workers() { return std::max<std::size_t>(16, 4 * std::thread::hardware_concurrency()); }
std::size_t parallel_changes() { return std::max<std::size_t>(2, 2 * std::thread::hardware_concurrency()); }

// Descriptors that are not clients' connections: the database, the engine, gateways, files.
constexpr rlim_t kOwnDescriptors = 1'024;

// Raises what this process may open to what the system lets it; fewer than `wanted` if even that is too little.
std::size_t affordable_connections(std::size_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted + kOwnDescriptors) return wanted;
  const rlim_t left = limit.rlim_cur > 2 * kOwnDescriptors ? limit.rlim_cur - kOwnDescriptors : limit.rlim_cur / 2;
  spdlog::warn(
      "only {} files may be open at a time: connections of clients are limited to {} instead of {}; raise the limit "
      "(ulimit -Hn, LimitNOFILE=) or set CREEL_HTTP_MAX_CONNECTIONS",
      limit.rlim_cur, left, wanted);
  return static_cast<std::size_t>(left);
}

// Members are made from top to bottom and destroyed from bottom to top: what stands below uses what stands above.
class App {
 public:
  explicit App(const Config& config) : config_(config) {}

  Result<void> start() {
    CREEL_CHECK(open_files());
    CREEL_CHECK(open_store());
    CREEL_CHECK(open_engine());
    CREEL_CHECK(open_api());
    connect();
    return {};
  }

  // First no new requests, then no new actions, then the store. Agents are left alone.
  void stop() {
    if (waiters_) waiters_->stop();
    if (verifier_) verifier_->stop();
    if (server_) server_->stop();
    if (chat_queue_) chat_queue_->stop();
    if (streams_) streams_->stop();
    if (events_) events_->stop();
    if (listener_) listener_->stop();
    if (lease_) lease_->stop();
    keys_job_.reset();
    live_streams_job_.reset();
    chats_job_.reset();
    collector_job_.reset();
    stats_job_.reset();
    events_job_.reset();
    orphans_job_.reset();
    fence_job_.reset();
    egress_job_.reset();
    if (whatsapp_) whatsapp_->close();
    whatsapp_job_.reset();
    if (loop_) loop_->follow();
    if (exporter_) exporter_->stop();
    sampler_.reset();
    if (verify_pool_) verify_pool_->join();
    if (pool_) pool_->join();
    if (!holder_.empty())
      if (const auto gone = store::forget_holder(*database_, holder_); !gone)
        spdlog::debug("master key: {}", gone.error().message);
    server_.reset();
    operator_.reset();
    http_.reset();  // cancels what is still under way, before what its callbacks use goes
    database_.reset();
    if (postgres_)
      if (auto stopped = postgres_->stop(); !stopped) spdlog::warn("{}", stopped.error().message);
  }

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

Result<void> App::open_files() {
  std::error_code failed;
  std::filesystem::create_directories(config_.state_dir, failed);
  if (failed)
    return Error{ErrorKind::failed, "cannot create the state folder " + config_.state_dir + " (" + failed.message() +
                                        "); set CREEL_STATE_DIR to a folder this user may write to"};
  CREEL_TRY(catalog_, config::load_catalog(config_));
  CREEL_TRY(sealer_, secrets::Sealer::load(config_.master_key, config_.master_key_previous, config_.master_key_file));
  return {};
}

Result<void> App::open_store() {
  conninfo_ = config_.database_url;
  if (conninfo_.empty()) {
    EmbeddedPostgres::Options options;
    options.state_dir = config_.state_dir;
    options.user = config_.postgres_user;
    options.progress = [](std::string_view line) { spdlog::info("PostgreSQL: {}", line); };
    CREEL_TRY(postgres_, EmbeddedPostgres::start(std::move(options)));
    conninfo_ = postgres_->conninfo();
  }
  CREEL_TRY(const int applied, store::migrate(conninfo_));
  if (applied > 0) spdlog::info("database: {} migrations applied", applied);
  CREEL_TRY(database_, store::Database::open(conninfo_, kHandlerThreads + reconcile_workers()));
  CREEL_TRY(store::Tx tx, database_->begin());
  CREEL_CHECK(store::check_master_key(tx, *sealer_));
  CREEL_CHECK(tx.commit());
  // Before it serves: whoever rotates the master key waits until every controller holds the new one.
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  place_ = std::string{host} + ", process " + std::to_string(getpid());
  holder_ = random_hex(8);
  CREEL_CHECK(store::keep_keys(*database_, *sealer_, holder_, place_));
  repository_ = std::make_unique<store::PgAgentRepository>(*database_, *sealer_, config_.controller_id);
  return {};
}

Result<void> App::open_engine() {
  http_ = std::make_unique<http::Client>();
  docker::EngineOptions options;
  options.docker_host = config_.docker_host;
  options.tls_dir = config_.docker_cert_path;
  options.tls_verify = config_.docker_tls_verify;
  const auto term = [this] { return held_term(); };
  options.term = term;
  options.user_agent = "creel/" + config_.controller_id;
  options.called = [this](const char* verb, const std::string& code, std::chrono::microseconds took) {
    happenings_.called_engine(verb, code, took);
  };
  CREEL_TRY(engine_, docker::Engine::make(*http_, std::move(options)));
  docker::RuntimeOptions runtime_options;
  runtime_options.controller_id = config_.controller_id;
  runtime_options.parallel_changes = parallel_changes();
  runtime_options.pulled = [this](bool succeeded, milliseconds took) { happenings_.pulled(succeeded, took); };
  fence_ = std::make_unique<docker::Fence>(
      *engine_, config_.controller_id,
      docker::FenceSettings{config_.fence, config_.fence_allow, config_.publish_address, config_.egress_image});
  runtime_options.publish_at = config_.publish_address;
  runtime_options.fence = fence_.get();
  runtime_options.egress.image = config_.egress_image;
  runtime_options.egress.resolvers = config_.egress_resolvers;
  runtime_ = std::make_unique<docker::DockerRuntime>(*engine_, std::move(runtime_options));
  gateways_ = std::make_unique<gateway::Gateways>(*http_, runtime_.get());
  operator_ = std::make_unique<gateway::Operator>(*http_, gateway::OperatorOptions{}, runtime_.get());
  logs_ = std::make_unique<docker::DockerLogs>(*engine_, config_.controller_id);
  // An engine that is away is no reason not to start: wishes are taken, and carried out when it comes back.
  if (auto version = engine_->version(); version)
    spdlog::info("engine: {} answers, version {}", engine_->address(), version->version);
  else
    spdlog::warn("engine: {}; wishes are stored and carried out when it answers", version.error().message);

  Policy policy;
  policy.volume_retention = config_.volume_retention;
  reconciler_ = std::make_unique<Reconciler>(
      ReconcilerDeps{*repository_, *runtime_, *gateways_, system_now, policy, term, &happenings_});
  loop_ = std::make_unique<ControlLoop>(*reconciler_, *repository_, *runtime_,
                                        ControlLoop::Options{reconcile_workers(), config_.resync});
  stats::Sampler::Remote remote = [this](const std::string& id, std::stop_token stop) {
    return engine_->container_stats(id, std::move(stop));
  };
  stats::SamplerOptions sampling;
  sampling.period = config_.stats;
  sampler_ = std::make_unique<stats::Sampler>(
      sampling, [this] { return sample_targets(); }, std::move(remote), system_now);
  return {};
}

std::optional<std::uint64_t> App::held_term() const {
  if (!lease_ || !lease_->held()) return std::nullopt;
  return lease_->term();
}

// What runs, as the status rows say: the sampler asks the store, not the engine. Only the leader samples: the others
// read what it has stored.
std::optional<std::vector<stats::Target>> App::sample_targets() {
  if (!leading_) return std::vector<stats::Target>{};
  auto tx = database_->begin();
  if (!tx) return std::nullopt;
  auto rows = store::list_agents(*tx, std::nullopt, 10'000);
  if (!rows) return std::nullopt;
  std::vector<stats::Target> targets;
  for (const auto& row : *rows)
    if (row.controller_id == config_.controller_id && !row.status.runtime_id.empty() && row.status.started_at)
      targets.push_back({row.id, row.status.runtime_id, row.status.pid, row.status.started_at});
  return targets;
}

Result<void> App::open_api() {
  settings_.listen = config_.listen.str();
  settings_.gateway_listen = config_.gateway_listen.str();
  settings_.tls_certificate = config_.tls_cert;
  settings_.tls_key = config_.tls_key;
  settings_.pool_threads = kHandlerThreads;
  settings_.agents_domain = config_.agents_domain;
  settings_.agents_url_scheme = config_.agents_url_scheme;
  settings_.agents_url_port = config_.agents_url_port;
  settings_.gateway_url = config_.gateway_url;
  settings_.default_template = config_.default_template;
  settings_.public_url = config_.url;
  settings_.signup = config_.signup;
  settings_.admin_emails = {config_.admin_emails.begin(), config_.admin_emails.end()};
  settings_.trusted_proxies = config_.trusted_proxies;
  settings_.rate = {config_.rate_limit_provision, config_.rate_limit_chat, config_.rate_limit_instance,
                    config_.rate_limit_api};
  settings_.max_connections = affordable_connections(static_cast<std::size_t>(config_.http_max_connections));
  settings_.max_address_connections = static_cast<std::size_t>(config_.http_max_address_connections);
  settings_.max_header_bytes = static_cast<std::size_t>(config_.http_max_header_bytes);
  settings_.max_body_bytes = settings_.max_answer_bytes = static_cast<std::size_t>(config_.http_max_memory);
  settings_.header_timeout = config_.http_header_timeout;
  settings_.body_timeout = config_.http_body_timeout;
  settings_.idle_timeout = config_.http_idle_timeout;
  settings_.write_timeout = config_.http_write_timeout;
  settings_.chat_wait = config_.chat_wait;
  settings_.metrics = config_.metrics;
  settings_.stats_period = config_.stats;
  settings_.live_streams = !config_.mux_token_id.empty() && !config_.mux_token_secret.empty();
  settings_.whatsapp_app_secret = config_.whatsapp_app_secret;
  settings_.stripe_webhook_secret = config_.stripe_webhook_secret;
  CREEL_TRY(auto proxies, api::TrustedProxies::parse(settings_.trusted_proxies));

  timer_ = std::make_unique<api::Timer>();
  pool_ = std::make_unique<api::Pool>(settings_.pool_threads);
  api::Post post = [this](std::function<void()> work) { pool_->post(std::move(work)); };
  auto read_row = [this](const AgentId& id) -> Result<api::Waiters::Row> {
    CREEL_TRY(store::Tx tx, database_->begin());
    return store::get_agent(tx, id);
  };
  waiters_ = std::make_unique<api::Waiters>(read_row, post, *timer_);
  streams_ = std::make_unique<api::Streams>(settings_.max_streams);
  events_ = std::make_unique<api::EventFeed>(*database_, settings_.max_event_readers);
  throttle_ = std::make_unique<api::LoginThrottle>(settings_.login_attempts, settings_.login_window);
  chat_queue_ = std::make_unique<gateway::ChatQueue>();
  chats_ = std::make_unique<api::Chats>(*database_);
  open_verifier();
  open_agent_gateways();
  api::ChatFunction chat = [this](const std::string& kind, gateway::ChatRequest request,
                                  std::function<void(Result<gateway::ChatReply>)> done) {
    gateways_->chat_async(kind, std::move(request), happenings_.counting("api", std::move(done)));
  };
  auto engine_state = [this]() -> api::EngineState {
    if (!lease_ || !lease_->held()) return {"unknown", "this controller does not lead"};
    if (engine_->reachable() && loop_->engine_events_connected()) return {"reachable", ""};
    return {"unreachable", "no answer from " + engine_->address()};
  };
  deps_ = std::make_unique<api::Deps>(
      api::Deps{*database_,
                *sealer_,
                catalog_->templates,
                catalog_->plans,
                *sampler_,
                *logs_,
                std::move(chat),
                *waiters_,
                *streams_,
                *events_,
                *timer_,
                std::move(post),
                *metrics_,
                *throttle_,
                settings_,
                system_now,
                config_.controller_id,
                engine_state,
                *verifier_,
                [this](const AgentId& agent, const std::string& address, const std::string& token, auto done) {
                  gateways_->accepts_async(agent, address, token, std::move(done));
                },
                *chat_queue_,
                *chats_,
                *agent_gateways_});
  proxy_ = std::make_unique<api::Proxy>(*deps_, proxies, runtime_.get());
  dispatcher_ = std::make_unique<api::Dispatcher>(*deps_, std::move(proxies));
  CREEL_TRY(server_, api::Server::start(settings_, *dispatcher_, *pool_, *metrics_, proxy_.get()));
  return {};
}

void App::open_verifier() {
  verify::Settings settings;
  settings.eth_rpc_url = config_.eth_rpc_url;
  settings.base_rpc_url = config_.base_rpc_url;
  settings.eas_chain = config_.eas_chain;
  settings.eas_contract = config_.eas_contract;
  settings.eas_schemas = config_.eas_schemas;
  settings.eas_attesters = config_.eas_attesters;
  settings.coinbase_eas_contract = config_.coinbase_eas_contract;
  settings.coinbase_indexer = config_.coinbase_indexer;
  settings.coinbase_attester = config_.coinbase_attester;
  settings.coinbase_schema = config_.coinbase_schema;
  settings.ens_registry = config_.ens_registry;
  settings.webauthn_rp_id = config_.webauthn_rp_id;
  settings.webauthn_origins = config_.webauthn_origins;
  verify_pool_ = std::make_unique<api::Pool>(kVerifyThreads);
  verifier_ = std::make_unique<verify::Verifier>(
      *http_, std::move(settings), [this](std::function<void()> work) { verify_pool_->post(std::move(work)); });
}

void App::open_agent_gateways() {
  api::GatewayCalls calls;
  calls.health = [this](const auto& target, auto done) { operator_->health(target, std::move(done)); };
  calls.sessions = [this](const auto& target, auto done) { operator_->sessions(target, std::move(done)); };
  calls.history = [this](const auto& target, const std::string& key, std::size_t limit, auto done) {
    operator_->history(target, key, limit, std::move(done));
  };
  calls.skills = [this](const auto& target, auto done) { operator_->skills(target, std::move(done)); };
  calls.set_skill = [this](const auto& target, const std::string& id, bool enabled, auto done) {
    operator_->set_skill(target, id, enabled, std::move(done));
  };
  agent_gateways_ = std::make_unique<api::AgentGateways>(std::move(calls));
}

void App::connect() {
  keep_keys();
  keep_live_streams();
  bridge_channels();
  export_numbers();
  Job::Options chats;
  chats.name = "chats";
  chats.period = chats_->hold() / 3;
  chats_job_ = std::make_unique<Job>(std::move(chats), [this](std::stop_token) { chats_->pass(); });
  collect_transcripts();
  keep_stats();
  keep_events();
  look_for_orphans();
  keep_the_fence();
  keep_egress();
  listener_ = std::make_unique<store::Listener>(conninfo_);
  listener_->subscribe(store::kAgentChannel, [this](const std::string& id) {
    loop_->on_wish(id);
    if (live_streams_job_) live_streams_job_->wake();
  });
  listener_->subscribe(store::kStatusChannel, [this](const std::string& id) {
    waiters_->notify(id);
    sampler_->wake();
  });
  listener_->subscribe(store::kEventChannel, [this](const std::string&) { events_->notify(); });
  listener_->subscribe(store::kWhatsappChannel, [this](const std::string&) { whatsapp_job_->wake(); });
  listener_->start();
  lease_ = std::make_unique<store::Lease>(
      conninfo_, config_.controller_id,
      [this](std::uint64_t term) {
        spdlog::info("leading, term {}", term);
        term_ = term;
        happenings_.lead();
        exporter_->wake();
        whatsapp_->lead();
        leading_ = true;
        loop_->lead();
        sampler_->wake();
        if (live_streams_job_) live_streams_job_->wake();
        if (collector_job_) collector_job_->wake();
        whatsapp_job_->wake();
        if (events_job_) events_job_->wake();
        orphans_job_->wake();
        fence_job_->wake();
      },
      [this] {
        spdlog::info("not leading any more");
        leading_ = false;
        loop_->follow();
      });
}

void App::keep_keys() {
  auto complaint = std::make_shared<std::string>();
  Job::Options job;
  job.name = "master key";
  job.period = std::chrono::seconds{2};
  keys_job_ = std::make_unique<Job>(std::move(job), [this, complaint](std::stop_token) {
    const auto kept = store::keep_keys(*database_, *sealer_, holder_, place_);
    std::string now = kept ? "" : kept.error().message;
    if (now == *complaint) return;
    if (!kept && kept.error().kind != ErrorKind::unavailable) spdlog::error("master key: {}", now);
    *complaint = std::move(now);
    // It can read nothing and store nothing: whoever has the key is to lead, and the next start says the same.
    if (!kept && kept.error().kind == ErrorKind::corrupt && !failed_.exchange(true)) kill(getpid(), SIGTERM);
  });
}

void App::keep_live_streams() {
  if (!settings_.live_streams) {
    if (config_.mux_token_id.empty() != config_.mux_token_secret.empty())
      spdlog::warn("live streams: MUX_TOKEN_ID and MUX_TOKEN_SECRET work only together; set both or none");
    return;
  }
  streams::Mux::Options mux;
  mux.base_url = config_.mux_base_url;
  mux.token_id = config_.mux_token_id;
  mux.token_secret = config_.mux_token_secret;
  streams::LiveStreamOptions options;
  options.controller_id = config_.controller_id;
  live_streams_ = std::make_unique<streams::LiveStreams>(*database_, *sealer_, streams::Mux{*http_, std::move(mux)},
                                                         std::move(options));
  Job::Options job;
  job.name = "live streams";
  job.period = std::chrono::seconds{2};
  job.may_run = [this] { return leading_.load(); };
  live_streams_job_ =
      std::make_unique<Job>(std::move(job), [this](std::stop_token stop) { live_streams_->pass(std::move(stop)); });
}

void App::collect_transcripts() {
  transcripts::CollectorOptions options;
  options.controller_id = config_.controller_id;
  options.retention = config_.message_retention;
  options.collected = [this](const std::string& platform, std::size_t messages) {
    happenings_.collected(platform, messages);
  };
  collector_ = std::make_unique<transcripts::Collector>(*database_, *sealer_, catalog_->templates, *operator_,
                                                        system_now, options);
  Job::Options job;
  job.name = "transcripts";
  job.period = std::chrono::milliseconds{100};  // a pass takes its own time
  job.may_run = [this] { return leading_.load(); };
  collector_job_ =
      std::make_unique<Job>(std::move(job), [this](std::stop_token stop) { collector_->pass(std::move(stop)); });
}

// Looks each second for what the sampler has taken since, which costs nothing when there is none.
void App::keep_stats() {
  const std::chrono::seconds length = std::max(std::chrono::seconds{10}, config_.stats);
  auto written = std::make_shared<TimePoint>();
  auto tended = std::make_shared<TimePoint>();
  Job::Options job;
  job.name = "stats history";
  job.may_run = [this] { return leading_.load(); };
  stats_job_ = std::make_unique<Job>(std::move(job), [this, length, written, tended](std::stop_token stop) {
    std::vector<store::RunSample> samples;
    TimePoint newest = *written;
    for (auto& taken : sampler_->newest()) {
      if (taken.sample.at <= *written) continue;
      newest = std::max(newest, taken.sample.at);
      samples.push_back({taken.agent, taken.started_at, taken.sample});
    }
    const auto write = [&]() -> Result<void> {
      if (samples.empty()) return {};
      CREEL_TRY(auto tx, database_->begin());
      CREEL_CHECK(store::check_term(tx, config_.controller_id, term_));
      CREEL_CHECK(store::write_samples(tx, samples, length));
      CREEL_CHECK(tx.commit());
      *written = newest;
      return {};
    };
    auto done = write();
    if (done && system_now() - *tended >= std::chrono::minutes{1}) {
      done = store::tend_stats(*database_, system_now(), stop);
      if (done) *tended = system_now();
    }
    if (!done) spdlog::warn("stats history: {}", done.error().message);
  });
}

void App::keep_events() {
  if (config_.event_retention.count() == 0) return;
  Job::Options job;
  job.name = "events";
  job.period = std::chrono::minutes{1};
  job.may_run = [this] { return leading_.load(); };
  events_job_ = std::make_unique<Job>(std::move(job), [this](std::stop_token stop) {
    const auto dropped = store::drop_events(*database_, system_now() - config_.event_retention, std::move(stop));
    if (!dropped) spdlog::warn("events: {}", dropped.error().message);
  });
}

void App::look_for_orphans() {
  orphan_store_ = std::make_unique<store::PgOrphanStore>(*database_, config_.controller_id);
  OrphanPolicy policy;
  policy.mode = config_.orphans;
  policy.grace = config_.orphan_grace;
  policy.volume_retention = config_.volume_retention;
  policy.period = std::clamp<milliseconds>(policy.grace / 4, milliseconds{500}, policy.period);
  orphans_ = std::make_unique<OrphanSearch>(
      OrphanSearch::Deps{*runtime_, *orphan_store_, system_now, policy, [this] { return held_term(); }});
  Job::Options job;
  job.name = "orphans";
  job.period = policy.period;
  job.may_run = [this] { return leading_.load(); };
  orphans_job_ =
      std::make_unique<Job>(std::move(job), [this](std::stop_token stop) { orphans_->pass(std::move(stop)); });
}

void App::keep_the_fence() {
  Job::Options job;
  job.name = "fence";
  job.period = std::chrono::seconds{10};
  job.may_run = [this] { return leading_.load(); };
  fence_job_ = std::make_unique<Job>(std::move(job), [this](std::stop_token stop) { fence_->pass(std::move(stop)); });
}

void App::keep_egress() {
  Job::Options job;
  job.name = "egress";
  job.period = std::chrono::seconds{10};
  job.may_run = [this] { return leading_.load(); };
  egress_job_ = std::make_unique<Job>(std::move(job), [this](std::stop_token stop) {
    const auto denials = runtime_->egress().pass(std::move(stop));
    if (!denials) return spdlog::debug("egress: {}", denials.error().message);
    // What an agent asks for may hold its keys.
    std::map<AgentId, std::vector<std::string>> known;
    for (const auto& [agent, denial] : *denials) {
      auto found = known.find(agent);
      if (found == known.end()) {
        auto secrets = repository_->secrets(agent);
        if (!secrets) spdlog::warn("egress: what {} asked for is not told: {}", agent.str(), secrets.error().message);
        if (secrets) found = known.emplace(agent, std::move(*secrets)).first;
      }
      denials_.add(agent,
                   found == known.end() ? std::string{secrets::kRedacted} : secrets::redact(denial.name, found->second),
                   denial.how);
    }
    const auto write = [&]() -> Result<void> {
      const DenialBook::Page page = denials_.page(system_now());
      if (page.counts.empty() && page.events.empty()) return {};
      CREEL_TRY(auto tx, database_->begin());
      CREEL_CHECK(store::check_term(tx, config_.controller_id, term_));
      for (const auto& [agent, count] : page.counts) CREEL_CHECK(store::count_denied(tx, agent, count));
      for (const Event& event : page.events) CREEL_CHECK(store::append_event(tx, event));
      CREEL_CHECK(tx.commit());
      denials_.written(page, system_now());
      return {};
    };
    if (const auto written = write(); !written) spdlog::warn("egress: {}", written.error().message);
  });
}

void App::bridge_channels() {
  channels::Whatsapp::Options whatsapp;
  whatsapp.graph_url = config_.whatsapp_graph_url;
  channels::BridgeOptions options;
  options.controller_id = config_.controller_id;
  options.chat_deadline = std::max(settings_.chat_deadline, settings_.chat_wait);
  channels::Bridge::Chat chat = [this](const std::string& kind, gateway::ChatRequest request, auto done) {
    gateways_->chat_async(kind, std::move(request), happenings_.counting("whatsapp", std::move(done)));
  };
  whatsapp_ = std::make_unique<channels::Bridge>(
      channels::Bridge::Parts{*database_, *sealer_, catalog_->templates, *chat_queue_, std::move(chat),
                              channels::Whatsapp{*http_, std::move(whatsapp)}},
      std::move(options), [this] { whatsapp_job_->wake(); });
  Job::Options job;
  job.name = "WhatsApp";
  job.period = std::chrono::seconds{1};
  job.may_run = [this] { return leading_.load(); };
  whatsapp_job_ =
      std::make_unique<Job>(std::move(job), [this](std::stop_token stop) { whatsapp_->pass(std::move(stop)); });
}

void App::export_numbers() {
  exporter_ = std::make_unique<Exporter>(
      *metrics_, Exporter::Parts{*database_, *engine_, *runtime_, *fence_, *loop_, *sampler_, denials_, *whatsapp_,
                                 *chat_queue_, *events_, [this] { return held_term(); }, config_.controller_id,
                                 static_cast<std::size_t>(config_.metrics_agents)});
}

}  // namespace

int run_serve(const Config& config) {
  // glibc gives each thread an arena of its own, which costs megabytes for threads that mostly wait.
  mallopt(M_ARENA_MAX, 2);
  // Large bodies and answers are the system's again at once, and what nobody has written to yet takes no memory.
  mallopt(M_MMAP_THRESHOLD, 128 * 1024);
  set_up_logging(config.log, config.log_level);
  signal(SIGPIPE, SIG_IGN);
  // Blocked before any thread is made, so that all inherit it and only this one takes them, by sigwait.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  App app{config};
  if (auto started = app.start(); !started) {
    std::fprintf(stderr, "creel: %s\n", started.error().message.c_str());
    app.stop();
    return 1;
  }
  spdlog::info("serving on {}://{}", config.tls_cert.empty() ? "http" : "https", app.address());
  int received = 0;
  sigwait(&signals, &received);
  spdlog::info("{}: stopping; agents run on", app.failed()         ? "cannot go on"
                                              : received == SIGINT ? "interrupted"
                                                                   : "told to end");
  // A second signal ends it at once.
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  app.stop();
  return app.failed() ? 1 : 0;
}

}  // namespace creel
