// LiveStreams: makes Mux agree with the table live_streams. Each agent that was provisioned with one gets one stream,
// and loses it when it is deleted, whether or not the agent's own row is still there.
//
// Before Mux is asked to create, the row says so: a stream whose answer was lost is looked for before another is made.
// What fails is tried again after `first_retry`, twice as long each time, up to `longest_retry`.
//
// Threads: pass() on one thread at a time (a Job, on the leader only); it blocks on Mux and on PostgreSQL.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>

#include "controller/core/result.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/live_streams.hpp"
#include "controller/store/pg.hpp"
#include "controller/streams/mux.hpp"

namespace creel::streams {

struct LiveStreamOptions {
  std::string controller_id = "creel";
  std::chrono::milliseconds first_retry{2'000};
  std::chrono::milliseconds longest_retry{300'000};
  // How long a row is one controller's. Longer than everything done with a row can take, so that two never work on it.
  std::chrono::milliseconds hold{90'000};
};

class LiveStreams {
 public:
  // What is handed in must outlive this object.
  LiveStreams(store::Database& database, const secrets::Sealer& sealer, Mux mux, LiveStreamOptions options)
      : database_(database), sealer_(sealer), mux_(std::move(mux)), options_(std::move(options)) {}

  // Everything that is due now, once; ends early when Mux cannot be reached or `stop` is asked for.
  void pass(std::stop_token stop);

 private:
  Result<void> next(std::stop_token stop);
  Result<void> make(const store::LiveStream& row, std::stop_token stop);
  Result<void> remove(const store::LiveStream& row, std::stop_token stop);
  Result<void> keep(const AgentId& agent, const MuxStream& stream, bool maybe_made);
  Result<void> fail(const store::LiveStream& row, const Error& error);
  std::string passthrough(const AgentId& agent) const;

  store::Database& database_;
  const secrets::Sealer& sealer_;
  const Mux mux_;
  const LiveStreamOptions options_;
};

}  // namespace creel::streams
