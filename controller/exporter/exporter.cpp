#include "controller/exporter/exporter.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "controller/exporter/agent_numbers.hpp"
#include "controller/exporter/process_numbers.hpp"

namespace creel {
namespace {

double seconds(std::chrono::duration<double> time) { return time.count(); }
double one_if(bool yes) { return yes ? 1 : 0; }

void add_whatsapp(Metrics::Page& page, const channels::BridgeCounters& counters) {
  const auto add = [&](const char* outcome, std::uint64_t count) {
    page.add("creel_messages_total", {"whatsapp", outcome}, static_cast<double>(count));
  };
  add("received", counters.received);
  add("answered", counters.answered);
  add("sent", counters.sent);
  add("failed", counters.failed);
}

}  // namespace

Exporter::Exporter(Metrics& metrics, Parts parts) : metrics_(metrics), parts_(std::move(parts)) {
  Job::Options job;
  job.name = "metrics";
  job.period = std::chrono::seconds{5};
  look_ = std::make_unique<Job>(std::move(job), [this](std::stop_token) { look(); });
  metrics_.collect([this](Metrics::Page& page) {
    of_this_process(page);
    if (const auto term = parts_.term()) of_the_leader(page, *term);
  });
}

Exporter::~Exporter() { stop(); }

void Exporter::stop() {
  metrics_.stop_collecting();
  look_.reset();
}

void Exporter::look() {
  const auto term = parts_.term();
  const auto asked = [&]() -> Result<std::shared_ptr<const Look>> {
    if (!term) {
      CREEL_CHECK(parts_.database.ping());
      return std::shared_ptr<const Look>{};
    }
    CREEL_TRY(auto tx, parts_.database.begin());
    CREEL_TRY(auto fleet, store::list_fleet(tx, parts_.controller_id));
    return std::make_shared<const Look>(Look{std::chrono::steady_clock::now(), *term, std::move(fleet)});
  }();
  const std::lock_guard lock{mutex_};
  database_up_ = asked || asked.error().kind != ErrorKind::unavailable;
  if (asked)
    last_ = *asked;
  else
    spdlog::debug("metrics: {}", asked.error().message);
}

void Exporter::of_this_process(Metrics::Page& page) const {
  page.add("creel_build_info", {CREEL_VERSION}, 1);
  add_process(page);
  page.add("creel_leader", one_if(parts_.term().has_value()));
  {
    const std::lock_guard lock{mutex_};
    if (database_up_) page.add("creel_database_up", one_if(*database_up_));
  }
  const store::PoolStats pool = parts_.database.stats();
  page.add("creel_database_connections_in_use", static_cast<double>(pool.in_use));
  page.add("creel_database_connections_max", static_cast<double>(pool.size));
  page.add("creel_database_connection_waits_total", static_cast<double>(pool.waits));
  page.add("creel_engine_breaker_open", one_if(!parts_.engine.reachable()));
  const auto load = parts_.chats.load();
  page.add("creel_chats_talking", static_cast<double>(load.talking));
  page.add("creel_chats_waiting", static_cast<double>(load.waiting));
  page.add("creel_event_readers", static_cast<double>(parts_.events.readers()));
  // Who has led before keeps what it counted.
  const auto& whatsapp = parts_.whatsapp.counters();
  const bool counted = whatsapp.received + whatsapp.answered + whatsapp.sent + whatsapp.failed > 0;
  if (counted || parts_.term()) add_whatsapp(page, whatsapp);
  for (const char* how : {"dns", "tls", "http"})
    if (const auto total = parts_.denials.total(how); total > 0 || parts_.term())
      page.add("creel_egress_denied_total", {how}, static_cast<double>(total));
}

void Exporter::of_the_leader(Metrics::Page& page, std::uint64_t term) const {
  page.add("creel_leader_term", static_cast<double>(term));
  page.add("creel_engine_up", one_if(parts_.engine.reachable() && parts_.loop.engine_events_connected()));
  if (const auto fence = parts_.fence.view()) {
    page.add("creel_fence_in_force", one_if(fence->in_force));
    page.add("creel_fence_wanted", one_if(fence->reason != "SwitchedOff"));
  }
  page.add("creel_image_pulls_under_way", static_cast<double>(parts_.runtime.pulls_under_way()));
  const WorkQueue::Load queue = parts_.loop.queue_load();
  page.add("creel_queue_depth", {"due"}, static_cast<double>(queue.due));
  page.add("creel_queue_depth", {"delayed"}, static_cast<double>(queue.delayed));
  page.add("creel_queue_oldest_age_seconds", seconds(queue.oldest_age));
  page.add("creel_whatsapp_waiting", static_cast<double>(parts_.whatsapp.counters().waiting));
  of_agents(page, term);
}

void Exporter::of_agents(Metrics::Page& page, std::uint64_t term) const {
  std::vector<AgentSample> samples;
  std::optional<TimePoint> oldest;
  for (auto& taken : parts_.sampler.newest()) {
    oldest = std::min(oldest.value_or(taken.sample.at), taken.sample.at);
    samples.push_back({std::move(taken.agent), taken.sample});
  }
  if (oldest) page.add("creel_stats_sample_age_seconds", std::max(0.0, seconds(system_now() - *oldest)));
  if (const stats::SamplerRound round = parts_.sampler.last_round(); round.took.count() > 0) {
    page.add("creel_stats_round_duration_seconds", seconds(round.took));
    page.add("creel_stats_round_failures", static_cast<double>(round.failed));
  }
  std::shared_ptr<const Look> last;
  {
    const std::lock_guard lock{mutex_};
    last = last_;
  }
  if (!last || last->term != term) return;
  page.add("creel_agents_snapshot_age_seconds", seconds(std::chrono::steady_clock::now() - last->at));
  add_fleet(page, last->fleet);
  add_agents(page, last->fleet, samples, parts_.agents);
}

}  // namespace creel
