#include "api/handlers/live_stream.hpp"

#include <nlohmann/json.hpp>

#include "api/handlers/support.hpp"
#include "controller/store/live_streams.hpp"

namespace creel::api {

using nlohmann::json;

Result<LiveStreamView> live_stream_of(store::Tx& tx, const AgentId& agent, const Deps& deps) {
  CREEL_TRY(const auto stream, store::get_live_stream(tx, agent));
  if (!stream) return LiveStreamView{};
  if (!stream->stream_id.empty()) return LiveStreamView{stream->stream_id, "", true};
  const std::string later = "; GET /api/instance/" + agent.str() + " shows it when it is there";
  if (!deps.settings.live_streams)
    return LiveStreamView{"",
                          "There is no live stream, because this Creel has no access to Mux: MUX_TOKEN_ID and "
                          "MUX_TOKEN_SECRET are not set",
                          true};
  if (!stream->last_error.empty())
    return LiveStreamView{"", "The live stream is not there yet: " + stream->last_error + "; it is tried again" + later,
                          true};
  return LiveStreamView{"", "The live stream is being made" + later, false};
}

Result<void> add_live_stream(json& object, store::Tx& tx, const store::AgentRow& row, const Caller& caller,
                             const Deps& deps) {
  object["streamKey"] = object["liveStreamId"] = object["liveStreamMessage"] = nullptr;
  if (caller.id != row.owner) return {};
  CREEL_TRY(const LiveStreamView stream, live_stream_of(tx, row.id, deps));
  if (!stream.missing.empty()) object["liveStreamMessage"] = stream.missing;
  if (stream.id.empty()) return {};
  object["liveStreamId"] = stream.id;
  CREEL_TRY(const auto key, open_secret(tx, row.id, "stream_key", deps.sealer));
  if (key) object["streamKey"] = *key;
  return {};
}

}  // namespace creel::api
