// The API without sockets: a dispatcher over a real PostgreSQL, with an engine, a gateway and a reconciler that do what
// the test says. Tests only.
#pragma once

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>

#include "api/dispatcher.hpp"
#include "controller/core/agent_json.hpp"
#include "controller/store/credentials.hpp"
#include "tests/integration/pg_fixture.hpp"

namespace creel::test {

using nlohmann::json;

struct FakeStats : StatsSource {
  std::optional<StatsSample> latest(const AgentId&) override { return sample; }
  std::optional<StatsSample> sample;
};

struct FakeLogs : LogSource {
  Result<std::vector<LogLine>> tail(const AgentId&, std::size_t count, std::stop_token) override {
    if (error) return *error;
    const std::size_t from = lines.size() > count ? lines.size() - count : 0;
    return std::vector<LogLine>(lines.begin() + static_cast<std::ptrdiff_t>(from), lines.end());
  }
  Result<void> follow(const AgentId&, std::size_t, std::function<bool(const LogLine&)> sink,
                      std::stop_token stop) override {
    if (error) return *error;
    for (const auto& line : lines)
      if (!sink(line)) return {};
    if (!endless) return {};
    std::mutex mutex;
    std::condition_variable_any ended;
    std::unique_lock lock{mutex};
    ended.wait(lock, stop, [] { return false; });
    return Error{ErrorKind::cancelled, "stopped", {}, {}};
  }
  std::vector<LogLine> lines;
  std::optional<Error> error;
  bool endless = false;  // goes on after the lines until it is told to stop
};

class ApiTest : public PgTest {
 protected:
  void SetUp() override {
    PgTest::SetUp();
    if (HasFatalFailure()) return;
    settings_.default_template = "tiny";
    settings_.rate = {0, 0, 0, 0};
    settings_.provision_wait = settings_.lifecycle_wait = std::chrono::milliseconds{20'000};
    settings_.chat_wait = std::chrono::milliseconds{20'000};
    build();
    ann_ = make_user();
    ann_key_ = make_key(ann_.id);
  }

  void TearDown() override {
    if (chat_queue_) chat_queue_->stop();
    if (waiters_) waiters_->stop();
    if (streams_) streams_->stop();
    if (events_) events_->stop();
    if (verify_pool_) verify_pool_->join();
    if (pool_) pool_->join();
    events_.reset();  // its thread uses the database
    dispatcher_.reset();
    waiters_.reset();
    PgTest::TearDown();
  }

  // After a change of settings_.
  void build() {
    pool_ = std::make_unique<api::Pool>(3);
    api::Post post = [this](std::function<void()> work) { pool_->post(std::move(work)); };
    waiters_ = std::make_unique<api::Waiters>(
        [this](const AgentId& id) -> Result<api::Waiters::Row> {
          CREEL_TRY(auto tx, database_->begin());
          return store::get_agent(tx, id);
        },
        post, timer_, std::chrono::milliseconds{3'600'000});
    streams_ = std::make_unique<api::Streams>(settings_.max_streams);
    chat_queue_ = std::make_unique<gateway::ChatQueue>(chat_limits_);
    chats_ = std::make_unique<api::Chats>(*database_, chat_hold_);
    events_ = std::make_unique<api::EventFeed>(*database_, settings_.max_event_readers, std::chrono::milliseconds{20});
    // What the test sets in gateway_calls_, whenever it does.
    api::GatewayCalls calls;
    calls.health = [this](const auto& target, auto done) { gateway_calls_.health(target, std::move(done)); };
    calls.sessions = [this](const auto& target, auto done) { gateway_calls_.sessions(target, std::move(done)); };
    calls.history = [this](const auto& target, const std::string& key, std::size_t limit, auto done) {
      gateway_calls_.history(target, key, limit, std::move(done));
    };
    calls.skills = [this](const auto& target, auto done) { gateway_calls_.skills(target, std::move(done)); };
    calls.set_skill = [this](const auto& target, const std::string& id, bool enabled, auto done) {
      gateway_calls_.set_skill(target, id, enabled, std::move(done));
    };
    gateways_ = std::make_unique<api::AgentGateways>(std::move(calls));
    throttle_ = std::make_unique<api::LoginThrottle>(settings_.login_attempts, settings_.login_window);
    verify_pool_ = std::make_unique<api::Pool>(2);
    verifier_ = std::make_unique<verify::Verifier>(
        http_, verify_settings_, [this](std::function<void()> work) { verify_pool_->post(std::move(work)); });
    deps_ = std::make_unique<api::Deps>(
        api::Deps{*database_,
                  sealer_,
                  templates_,
                  plans_,
                  stats_,
                  logs_,
                  [this](const std::string& kind, gateway::ChatRequest request, auto done) {
                    if (chat_) chat_(kind, std::move(request), std::move(done));
                  },
                  *waiters_,
                  *streams_,
                  *events_,
                  timer_,
                  std::move(post),
                  metrics_,
                  *throttle_,
                  settings_,
                  system_now,
                  "creel",
                  [this] { return engine_; },
                  *verifier_,
                  [this](const AgentId&, const std::string& address, const std::string& token, auto done) {
                    accepts_(address, token, std::move(done));
                  },
                  *chat_queue_,
                  *chats_,
                  *gateways_});
    dispatcher_ =
        std::make_unique<api::Dispatcher>(*deps_, api::TrustedProxies::parse(settings_.trusted_proxies).value());
  }

  std::string make_key(const UserId& user) {
    const std::string key = "sk_" + random_hex(32);
    auto tx = begin();
    const store::ApiKey row{"key_" + random_hex(8), user, "test", key.substr(0, 8), system_now(), {}, {}};
    EXPECT_TRUE(store::create_api_key(tx, row, sha256_hex(key)));
    EXPECT_TRUE(tx.commit());
    return key;
  }

  // A user with another plan or subscription.
  std::string make_user_with(const std::string& email, const std::string& plan, const std::string& subscription,
                             bool admin = false) {
    store::User user{new_user_id(), email, "", admin, plan, subscription, system_now()};
    auto tx = begin();
    EXPECT_TRUE(store::create_user(tx, user));
    EXPECT_TRUE(tx.commit());
    return make_key(user.id);
  }

  struct Answer {
    int status = 0;
    json body;
    api::Headers headers;
    std::string text;
    std::string header(std::string_view name) const { return std::string{api::find_header(headers, name)}; }
  };

  static Answer answer_of(api::Response response) {
    Answer answer{response.status, json::parse(response.body, nullptr, false), response.headers, response.body};
    return answer;
  }

  Answer ask(const std::string& method, const std::string& target, const std::string& key, const json& body = nullptr,
             api::Headers headers = {}) {
    if (!key.empty()) headers.emplace_back("Authorization", "Bearer " + key);
    std::string text;
    if (!body.is_null()) {
      text = body.dump();
      headers.emplace_back("Content-Type", "application/json");
    }
    return send({method, target, std::move(headers), std::move(text), "10.1.2.3"});
  }

  Answer send(api::Incoming incoming) {
    api::Reply reply = dispatcher_->handle(std::move(incoming));
    if (auto* response = std::get_if<api::Response>(&reply)) return answer_of(std::move(*response));
    if (auto* later = std::get_if<api::Later>(&reply)) {
      auto promise = std::make_shared<std::promise<api::Response>>();
      auto future = promise->get_future();
      later->start([promise](api::Response response) { promise->set_value(std::move(response)); });
      if (future.wait_for(std::chrono::seconds{60}) != std::future_status::ready) return {};
      return answer_of(future.get());
    }
    ADD_FAILURE() << "a stream";
    return {};
  }

  std::future<Answer> ask_aside(const std::string& method, const std::string& target, const std::string& key,
                                const json& body = nullptr) {
    return std::async(std::launch::async, [=, this] { return ask(method, target, key, body); });
  }

  // Provisions without waiting; the agent's id.
  std::string provision(const std::string& key, const std::string& name = "fred") {
    const Answer answer = ask("POST", "/api/agents/provision?wait=0", key, {{"name", name}});
    EXPECT_EQ(answer.status, 201) << answer.text;
    return answer.body["agent"]["id"].get<std::string>();
  }

  std::uint64_t generation(const std::string& id) {
    return run("SELECT generation FROM agents WHERE id = $1", {id})[0].unsigned_integer("generation");
  }

  // What the reconciler would record, for the newest wish, and the notification that follows.
  AgentStatus observed(const std::string& id, Phase phase, const std::string& run_id = "container-1") {
    AgentStatus status;
    status.phase = phase;
    status.observed_generation = generation(id);
    status.observed_at = system_now();
    status.conditions = {{"EngineReachable", "True", "Answered", "", system_now()}};
    if (phase == Phase::ready || phase == Phase::starting) {
      status.started_at = started_at_;
      status.runtime_id = run_id;
      status.address = "127.0.0.1:18789";
    }
    record(id, status);
    return status;
  }

  void record(const std::string& id, const AgentStatus& status) {
    run("UPDATE agent_status SET status = $2 WHERE agent_id = $1", {id, json(status).dump()});
    waiters_->notify(id);
  }

  // Once a newer wish than `than` is stored.
  bool wished_after(const std::string& id, std::uint64_t than) {
    return eventually([&] { return generation(id) > than; });
  }

  // One that has nothing to say.
  static api::GatewayCalls silent_gateway() {
    api::GatewayCalls calls;
    calls.health = [](const auto&, auto done) { done(gateway::GatewayHealth{}); };
    calls.sessions = [](const auto&, auto done) { done(std::vector<gateway::GatewaySession>{}); };
    calls.history = [](const auto&, const std::string&, std::size_t, auto done) {
      done(std::vector<gateway::GatewayMessage>{});
    };
    calls.skills = [](const auto&, auto done) { done(std::vector<gateway::GatewaySkill>{}); };
    calls.set_skill = [](const auto&, const std::string&, bool, auto done) {
      done(Error{ErrorKind::not_found, "no such skill", {}, {}});
    };
    return calls;
  }

  static Template tiny_template() {
    Template tmpl;
    tmpl.name = "tiny";
    tmpl.version = "1.2.3";
    tmpl.image = "example/tiny:1";
    tmpl.image_allowlist = {"example/tiny", "registry.example:5000/tiny"};
    tmpl.gateway = "reference";
    tmpl.state_dir = "/state";
    tmpl.port = 18789;
    tmpl.config_path = "config.json";
    tmpl.config_base = R"({"gateway":{"token":"${gateway_token}","bind":"lan"},"model":"${model}"})";
    tmpl.protected_keys = {"gateway.bind", "gateway.token"};
    tmpl.min_memory_bytes = 64 << 20;
    tmpl.memory = {"notes/", "MEMORY.md"};
    tmpl.config_when = {{{"telegram"}, R"({"telegram":{"token":"${secret.telegram}"}})"}};
    tmpl.provider_models = {{"openai", "openai/gpt-4o"}, {"gemini", "google/gemini-2.0-flash"}};
    tmpl.files = {{".env", "OPENAI=${secret.openai}\nGOOGLE=${secret.google}\n", 0600, true}};
    return tmpl;
  }

  static Plans some_plans() {
    const auto plan = [](const char* name, int limit, int rank, std::int64_t memory) {
      return std::pair{std::string{name}, SubscriptionPlan{name, limit, rank, {memory << 20, 500'000'000, 256}}};
    };
    return Plans{{plan("free", 1, 0, 1024), plan("starter", 1, 1, 2048), plan("pro", 3, 2, 4096),
                  plan("enterprise", 100, 3, 16384)}};
  }

  api::Settings settings_;
  verify::Settings verify_settings_;
  http::Client http_;
  const secrets::Sealer sealer_ = secrets::Sealer::from_base64("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").value();
  const TemplateSet templates_{{tiny_template()}};
  const Plans plans_ = some_plans();
  FakeStats stats_;
  FakeLogs logs_;
  std::function<void(const std::string&, gateway::ChatRequest, std::function<void(Result<gateway::ChatReply>)>)> chat_;
  // What an agent's gateway says about a token.
  std::function<void(const std::string&, const std::string&, std::function<void(Result<bool>)>)> accepts_ =
      [](const std::string&, const std::string&, auto done) { done(true); };
  api::EngineState engine_{"reachable", ""};
  Metrics metrics_;
  api::Timer timer_;
  TimePoint started_at_ = system_now();
  std::unique_ptr<api::Pool> pool_;
  std::unique_ptr<api::Waiters> waiters_;
  std::unique_ptr<api::Streams> streams_;
  std::unique_ptr<api::EventFeed> events_;
  std::unique_ptr<api::LoginThrottle> throttle_;
  gateway::ChatQueue::Limits chat_limits_;
  std::chrono::milliseconds chat_hold_{30'000};
  std::unique_ptr<gateway::ChatQueue> chat_queue_;
  std::unique_ptr<api::Chats> chats_;
  api::GatewayCalls gateway_calls_ = silent_gateway();
  std::unique_ptr<api::AgentGateways> gateways_;
  std::unique_ptr<api::Deps> deps_;
  std::unique_ptr<verify::Verifier> verifier_;
  std::unique_ptr<api::Pool> verify_pool_;
  std::unique_ptr<api::Dispatcher> dispatcher_;
  store::User ann_;
  std::string ann_key_;
};

}  // namespace creel::test
