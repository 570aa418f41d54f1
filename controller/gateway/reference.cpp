// The reference agent (templates/reference/agent): the OpenAI dialect, with errors as HTTP statuses.
#include "controller/gateway/adapter.hpp"

namespace creel::gateway {
namespace {

http::Request chat_request(const ChatRequest& chat) { return openai_chat_request(chat, "reference"); }

}  // namespace

extern const Adapter kReference = {"reference", chat_request, openai_chat_reply};

}  // namespace creel::gateway
