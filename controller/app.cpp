#include "controller/app.hpp"

#include <malloc.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <cstdio>

#include "controller/app_parts.hpp"
#include "controller/logging.hpp"
#include "controller/store/events.hpp"
#include "controller/store/master_key.hpp"
#include "controller/store/whatsapp.hpp"

namespace creel {

Result<void> App::start() {
  CREEL_CHECK(open_files());
  CREEL_CHECK(open_store());
  CREEL_CHECK(open_engine());
  CREEL_CHECK(open_api());
  connect();
  return {};
}

void App::stop() {
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
  if (verify_pool_) verify_pool_->join();
  if (pool_) pool_->join();
  sampler_.reset();
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

void App::connect() {
  keep_keys();
  keep_live_streams();
  bridge_channels();
  export_numbers();
  keep_chats();
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
