// Adapter: what differs between kinds of gateways. Pure functions; the exchange itself is gateway.cpp's.
//
// Most speak the OpenAI dialect: openai_chat_request() and openai_chat_reply() are the shared part. Errors never hold
// the token: reply functions are given it only to strike it out of what a gateway says. Threads: no state.
#pragma once

#include <string>
#include <string_view>

#include "controller/gateway/gateway.hpp"
#include "controller/http/client.hpp"

namespace creel::gateway {

struct Adapter {
  std::string_view kind;
  http::Request (*chat_request)(const ChatRequest&);
  // failed: the gateway refused, or its model failed, and why.
  Result<ChatReply> (*chat_reply)(const http::Response&, const std::string& token);
};

extern const Adapter kOpenclaw;
extern const Adapter kReference;

// POST /v1/chat/completions with one user message; `model` is the name the gateway wants to be called by.
http::Request openai_chat_request(const ChatRequest& chat, std::string_view model);
// The session key as the header x-openclaw-session-key carries it, and as the gateway therefore knows it.
std::string session_header(std::string_view key);
Result<ChatReply> openai_chat_reply(const http::Response& response, const std::string& token);

// One line of at most 300 bytes without control characters, `token` struck out; never cut inside a UTF-8 character.
std::string for_people(std::string_view text, const std::string& token);
// There is no address to talk to; `observed`: the one that the agent had when it was last looked at.
Error nobody_there(const std::string& observed);
// The reason in an error body: {"error":{"message"}}, {"error"}, {"message"}, or {"failing":[…]}; "" when there is
// none.
std::string reason_in(const std::string& body);

// Whether OpenClaw's answer is really its model's error; see openclaw.cpp.
bool is_openclaw_model_error(std::string_view content);

}  // namespace creel::gateway
