// Exporter: reads at each scrape what the parts of the process hold. A scrape asks neither PostgreSQL nor the engine:
// what must be asked of PostgreSQL is asked every few seconds by a thread of the exporter's, so that a scrape answers
// at once however long they are away, and tells that they are.
//
// Threads: stop() and the destructor wait for a scrape under way; afterwards the parts may go.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/event_feed.hpp"
#include "controller/channels/bridge.hpp"
#include "controller/gateway/chat_queue.hpp"
#include "controller/jobs/job.hpp"
#include "controller/metrics/metrics.hpp"
#include "controller/store/fleet.hpp"
#include "controller/store/pg.hpp"
#include "reconciler/denials.hpp"
#include "reconciler/runtime/docker/docker_runtime.hpp"
#include "reconciler/sources.hpp"
#include "reconciler/stats/sampler.hpp"

namespace creel {

class Exporter {
 public:
  struct Parts {
    store::Database& database;
    docker::Engine& engine;
    docker::DockerRuntime& runtime;
    docker::Fence& fence;
    ControlLoop& loop;
    stats::Sampler& sampler;
    DenialBook& denials;
    channels::Bridge& whatsapp;
    gateway::ChatQueue& chats;
    api::EventFeed& events;
    std::function<std::optional<std::uint64_t>()> term;  // of the lease while it is held
    std::string controller_id;
    std::size_t agents;  // that have series of their own
  };

  Exporter(Metrics& metrics, Parts parts);
  ~Exporter();  // stop()
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  void stop();
  // What the exporter has asked PostgreSQL for is old: the lease was taken.
  void wake() { look_->wake(); }

 private:
  // Of all agents, as PostgreSQL said.
  struct Look {
    std::chrono::steady_clock::time_point at;
    std::uint64_t term;
    std::vector<store::FleetAgent> fleet;
  };

  void look();
  void of_this_process(Metrics::Page& page) const;
  void of_the_leader(Metrics::Page& page, std::uint64_t term) const;
  void of_agents(Metrics::Page& page, std::uint64_t term) const;

  Metrics& metrics_;
  const Parts parts_;
  mutable std::mutex mutex_;
  std::optional<bool> database_up_;   // under mutex_
  std::shared_ptr<const Look> last_;  // under mutex_
  std::unique_ptr<Job> look_;
};

}  // namespace creel
