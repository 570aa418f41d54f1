#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>

#include "controller/app_parts.hpp"
#include "controller/secrets/redact.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/events.hpp"
#include "controller/store/master_key.hpp"
#include "controller/store/stats_history.hpp"

namespace creel {

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

void App::keep_chats() {
  Job::Options job;
  job.name = "chats";
  job.period = chats_->hold() / 3;
  chats_job_ = std::make_unique<Job>(std::move(job), [this](std::stop_token) { chats_->pass(); });
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

}  // namespace creel
