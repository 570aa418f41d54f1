#include "controller/streams/live_streams.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "controller/store/agent_secrets.hpp"
#include "controller/store/events.hpp"

namespace creel::streams {
namespace {

// Mux may have done what it was asked to, although nobody was told.
bool outcome_unknown(const Error& error) {
  return error.kind == ErrorKind::unavailable || error.kind == ErrorKind::timeout || error.kind == ErrorKind::cancelled;
}

Result<void> record(store::Tx& tx, const AgentId& agent, const char* reason, std::string message) {
  return store::append_event(tx, Event{agent, "action", reason, std::move(message), "creel"});
}

}  // namespace

std::string LiveStreams::passthrough(const AgentId& agent) const {
  return "creel/" + options_.controller_id + "/" + agent.str();
}

void LiveStreams::pass(std::stop_token stop) {
  const auto all = [&]() -> Result<void> {
    CREEL_TRY(auto tx, database_.begin());
    CREEL_TRY(const int due, store::count_due_live_streams(tx, options_.controller_id));
    CREEL_CHECK(tx.commit());
    // What fails is due later than what has not been tried yet, so nothing is tried twice.
    for (int i = 0; i < due && !stop.stop_requested(); ++i) CREEL_CHECK(next(stop));
    return {};
  };
  if (const auto done = all(); !done) spdlog::debug("live streams: {}", done.error().message);
}

Result<void> LiveStreams::next(std::stop_token stop) {
  CREEL_TRY(auto tx, database_.begin());
  CREEL_TRY(const auto row, store::claim_live_stream(tx, options_.controller_id, options_.hold));
  CREEL_CHECK(tx.commit());
  if (!row) return {};
  return row->wanted ? make(*row, stop) : remove(*row, stop);
}

Result<void> LiveStreams::make(const store::LiveStream& row, std::stop_token stop) {
  if (row.maybe_made) {
    const auto found = mux_.find(passthrough(row.agent), stop);
    if (!found) return fail(row, found.error());
    if (!found->empty()) {
      // More than one when a creation took effect only after it had been looked for in vain; another such may still
      // come, so the row goes on saying that there may be one more, and what there is goes with the agent.
      for (std::size_t i = 1; i < found->size(); ++i)
        if (const auto removed = mux_.remove((*found)[i].id, stop); !removed) return fail(row, removed.error());
      return keep(row.agent, found->front(), true);
    }
  }
  CREEL_TRY(auto tx, database_.begin());
  CREEL_CHECK(store::expect_live_stream(tx, row.agent));
  CREEL_CHECK(tx.commit());
  const auto made = mux_.create(passthrough(row.agent), stop);
  if (made) return keep(row.agent, *made, row.maybe_made);
  store::LiveStream after = row;
  after.maybe_made = row.maybe_made || outcome_unknown(made.error());
  return fail(after, made.error());
}

Result<void> LiveStreams::remove(const store::LiveStream& row, std::stop_token stop) {
  std::vector<std::string> ids;
  if (!row.stream_id.empty()) ids.push_back(row.stream_id);
  if (row.maybe_made) {
    const auto found = mux_.find(passthrough(row.agent), stop);
    if (!found) return fail(row, found.error());
    for (const auto& stream : *found)
      if (stream.id != row.stream_id) ids.push_back(stream.id);
  }
  for (const auto& id : ids)
    if (const auto removed = mux_.remove(id, stop); !removed) return fail(row, removed.error());
  CREEL_TRY(auto tx, database_.begin());
  CREEL_CHECK(store::drop_live_stream(tx, row.agent));
  if (!ids.empty())
    CREEL_CHECK(record(tx, row.agent, "LiveStreamDeleted", "The live stream was deleted with its agent"));
  return tx.commit();
}

Result<void> LiveStreams::keep(const AgentId& agent, const MuxStream& stream, bool maybe_made) {
  CREEL_TRY(auto tx, database_.begin());
  // The agent may have gone in the meantime; then its stream is deleted next, and nobody needs the key.
  CREEL_TRY(const bool agent_is_there, store::keep_live_stream(tx, agent, stream.id, maybe_made));
  if (agent_is_there) {
    const auto context = secrets::secret_context(agent.str(), "stream_key");
    CREEL_CHECK(store::put_secret(tx, agent, "stream_key", sealer_.seal(stream.key, context)));
  }
  CREEL_CHECK(record(tx, agent, "LiveStreamCreated", "The live stream is there"));
  return tx.commit();
}

// Returns the error again when it is Mux that is away: what cannot be done for one agent now cannot be done for the
// next one either. A refusal of this one stream is no reason not to go on.
Result<void> LiveStreams::fail(const store::LiveStream& row, const Error& error) {
  if (error.kind == ErrorKind::cancelled) return error;  // the controller stops; the next one goes on from the row
  const auto exponent = std::min(row.attempts, 16);
  const auto retry_in = std::min(options_.longest_retry, options_.first_retry * (1 << exponent));
  CREEL_TRY(auto tx, database_.begin());
  CREEL_CHECK(store::fail_live_stream(tx, row.agent, error.message, row.maybe_made, retry_in));
  // Not at every attempt: Mux may be away for a day.
  if (row.attempts == 0) CREEL_CHECK(record(tx, row.agent, "LiveStreamFailed", error.message));
  CREEL_CHECK(tx.commit());
  spdlog::warn("live stream of agent {}: {}; tried again in {} s", row.agent.str(), error.message,
               retry_in.count() / 1000);
  if (outcome_unknown(error)) return error;
  return {};
}

}  // namespace creel::streams
