// Collector: keeps what people and agents said, as the agents' own transcripts tell it. Each running agent is asked for
// its sessions every `period`; of those that changed since they were last read, what is new is stored.
//
// What was read and how far are written in one transaction: a death in the middle loses and doubles nothing. At most
// `parallel` agents are asked at a time, each with the operator's deadlines, so that a stuck one holds up no other; one
// that fails is asked again later and later. Messages older than `retention` are dropped, a batch at a time, and not
// collected again.
//
// Threads: pass() on one thread at a time (a Job, on the leader only). It blocks on PostgreSQL, and returns after about
// `period`, or when `stop` is asked for; what is under way then goes on in the next pass.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "controller/core/clock.hpp"
#include "controller/core/template.hpp"
#include "controller/gateway/operator.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/pg.hpp"

namespace creel::transcripts {

struct CollectorOptions {
  std::string controller_id = "creel";
  std::size_t parallel = 16;
  milliseconds period{5'000};
  milliseconds longest_retry{300'000};
  // A session is read until it has been quiet for so long: a gateway may tell its change before it has written all.
  milliseconds settle{20'000};
  milliseconds retention{std::chrono::hours{24 * 90}};  // 0 = for ever
  milliseconds drop_every{60'000};
  std::size_t drop_batch = 1'000;
  // Told of messages that were not known before, by platform as the gateway names it. Must not block.
  std::function<void(const std::string& platform, std::size_t messages)> collected{};
};

class Collector {
 public:
  // What is handed in must outlive this object; callbacks of the operator's may come later still.
  Collector(store::Database& database, const secrets::Sealer& sealer, const TemplateSet& templates,
            gateway::Operator& gateway, Clock clock, CollectorOptions options);
  ~Collector();

  void pass(std::stop_token stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::transcripts
