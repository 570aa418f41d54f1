// Transcripts: what agents' own records of their sessions add to the messages (messages.hpp), and how far they were
// read.
//
// A message that a chat route has stored already (no external_id yet; same session, sender and words, near in time) is
// given its external_id, not stored again. Words are compared without regard to blanks. A reply that a gateway gave in
// pieces was stored as one: its pieces are known by that. Session keys are compared without regard to case, which
// gateways do not keep. Times are UTC. Errors: conflict (no such agent); else see pg.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

// An agent whose gateway can be asked.
struct TalkingAgent {
  AgentId id;
  std::string template_name;
  std::string address;
};
Result<std::vector<TalkingAgent>> talking_agents(Tx& tx, const std::string& controller_id);

// By lower-cased session key.
Result<std::map<std::string, TimePoint>> transcript_marks(Tx& tx, const AgentId& agent);

struct HeardMessage {
  std::string external_id;
  bool from_agent = false;
  std::string content;
  TimePoint at;
  std::optional<std::string> error;         // of a user's message: why it got no reply
  std::optional<std::int64_t> response_ms;  // of a reply
};

struct Transcript {
  AgentId agent;
  std::string key;
  std::string platform;
  std::vector<HeardMessage> messages;  // the oldest first
};
// How many of them are new here.
Result<std::size_t> unknown_messages(Tx& tx, const Transcript& transcript);
// Stores what is new and how far was read, in the caller's transaction: both or nothing. How many were added or taken
// up.
Result<std::size_t> keep_transcript(Tx& tx, const Transcript& transcript, TimePoint read_to);

// At most `limit` messages older than that, of all agents; how many went.
Result<std::int64_t> drop_messages_before(Tx& tx, TimePoint before, std::size_t limit);

}  // namespace creel::store
