#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "controller/app_parts.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/master_key.hpp"
#include "controller/store/migrate.hpp"

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

}  // namespace

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

}  // namespace creel
