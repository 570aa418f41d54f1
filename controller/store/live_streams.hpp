// Live streams: one row for each agent that is to have a stream at Mux, kept until the stream is deleted there, which
// may be after the agent is gone. Wished for by api/, made true by streams/.
//
// Errors: see pg.hpp. A row that is claimed is nobody else's until `hold` has passed, or until it is settled by one of
// the functions below it.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct LiveStream {
  AgentId agent;
  std::string stream_id;    // "" = not there yet
  bool maybe_made = false;  // Mux may have one that stream_id does not name
  int attempts = 0;         // failed ones in a row
  std::string last_error;   // of the last attempt, "" = none or it succeeded
  bool wanted = true;       // false: the agent is deleted
};

// In the transaction that makes the agent.
Result<void> want_live_stream(Tx& tx, const AgentId& agent, const std::string& controller_id);
Result<std::optional<LiveStream>> get_live_stream(Tx& tx, const AgentId& agent);

// How many are due now and have something to be done: to be created, or deleted with their agents.
Result<int> count_due_live_streams(Tx& tx, const std::string& controller_id);
// The one that is due for longest.
Result<std::optional<LiveStream>> claim_live_stream(Tx& tx, const std::string& controller_id,
                                                    std::chrono::milliseconds hold);
// Before Mux is asked to make one: whatever happens to the answer, it is looked for from now on. not_found: the row has
// gone with its agent in the meantime, and nothing must be made.
Result<void> expect_live_stream(Tx& tx, const AgentId& agent);
// False: the agent's row is gone. Until commit it stays if it is there, so that the key can be sealed beside it.
Result<bool> keep_live_stream(Tx& tx, const AgentId& agent, const std::string& stream_id, bool maybe_made);
// Tried again when `retry_in` has passed.
Result<void> fail_live_stream(Tx& tx, const AgentId& agent, const std::string& error, bool maybe_made,
                              std::chrono::milliseconds retry_in);
// It is gone at Mux.
Result<void> drop_live_stream(Tx& tx, const AgentId& agent);
// The same when Mux was never asked for one (it is not configured); else the row stays.
Result<void> drop_unmade_live_stream(Tx& tx, const AgentId& agent);

}  // namespace creel::store
