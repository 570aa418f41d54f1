// An agent's live stream, as its owner sees it.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "api/deps.hpp"
#include "controller/store/agents.hpp"

namespace creel::api {

struct LiveStreamView {
  std::string id;       // "" = not there
  std::string missing;  // why not, and what happens next; "" when it is there or none is wanted
  bool settled = true;  // nothing more is gained by waiting a moment
};

Result<LiveStreamView> live_stream_of(store::Tx& tx, const AgentId& agent, const Deps& deps);
// streamKey, liveStreamId and liveStreamMessage: for the owner alone, null for everybody else.
Result<void> add_live_stream(nlohmann::json& object, store::Tx& tx, const store::AgentRow& row, const Caller& caller,
                             const Deps& deps);

}  // namespace creel::api
