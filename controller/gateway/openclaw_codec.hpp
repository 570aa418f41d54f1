// What OpenClaw's WebSocket says and is told (protocol 3 and 4; 2026.3.13 measured), as values. Pure; nothing throws.
//
// Its frames are {"type":"event","event","payload"}, {"type":"req","id","method","params"} and
// {"type":"res","id","ok","payload"|"error":{"code","message","details":{"code"}}}.
//
// Session keys: the gateway's are "agent:<agent>:<rest>", in lower case; ours are what chat is given ("topic:general"),
// for its main agent without the front part, and with what session_header() had encoded.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/result.hpp"
#include "controller/gateway/operator.hpp"
#include "controller/secrets/device_key.hpp"

namespace creel::gateway {

inline constexpr int kOldestProtocol = 3;
inline constexpr int kNewestProtocol = 4;

// The first request of a connection, signed for the nonce of the gateway's challenge.
std::string connect_frame(std::string_view id, const std::string& token, const secrets::DeviceKey& device,
                          const std::string& nonce, TimePoint now);
// What stands between another's client and the gateway needs of that client's first exchange: the nonce of a challenge
// ("" = it is none); the id of a request to connect as an operator (nullopt: it is none); the same request, signed by
// our device (with the token alone if there is no device), for those of our rights that it asks for; and the gateway's
// answer to the request of that id without the tokens it gives to the device (nullopt: it is not that answer).
std::string challenge_nonce(std::string_view frame);
std::optional<std::string> operator_connect_id(std::string_view frame);
std::string connect_as_device(std::string_view frame, const std::string& token, const std::string& device_seed,
                              const std::string& nonce, TimePoint now);
std::optional<std::string> answer_without_token(std::string_view frame, const std::string& id);
std::string request_frame(std::string_view id, std::string_view method, const nlohmann::json& params);
// What {"error":{…}} means to a caller; `token` is struck out of what the gateway says.
Error openclaw_error(const nlohmann::json& error, const std::string& token, const AgentId& agent);

// Of connect's answer ("hello-ok"), channels.status and sessions.list; `since_hello`: how long ago that was.
GatewayHealth openclaw_health(const nlohmann::json& hello, const nlohmann::json& channels,
                              const nlohmann::json& sessions, milliseconds since_hello);
std::vector<GatewaySession> openclaw_sessions(const nlohmann::json& payload);
// Of sessions.get or chat.history. Tool calls, heartbeats, what the gateway asked the agent by itself, and what it
// wraps around people's messages are left out.
std::vector<GatewayMessage> openclaw_history(const std::string& session_key, const nlohmann::json& payload);
std::vector<GatewaySkill> openclaw_skills(const nlohmann::json& payload);

std::string openclaw_key(const std::string& session_key);
std::string key_of_openclaw(const std::string& openclaw_key);
// A person's message without what the gateway put around it for its model: blocks "… (untrusted …):" of fenced JSON,
// "[Tue 2026-03-17 20:30 UTC] ", "[message_id: …]" lines, "System: […" lines.
std::string unwrapped(std::string_view text);

// Gives every message its id: the transcripts of 2026.3.13 name none, so it is made of what never changes about a
// message (session, sender, time; its number among those of the same moment).
void name_messages(const std::string& session_key, std::vector<GatewayMessage>& messages);

}  // namespace creel::gateway
