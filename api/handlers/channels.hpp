// Channels and model providers: what credentials an agent may have, what each looks like, and under which name it is
// sealed. Pure.
//
// The API's word is what people write ("whatsapp"), the secret is the name it is sealed under ("whatsapp_token"), which
// templates use too. Errors: invalid, naming the field; no error holds the value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controller/core/result.hpp"

namespace creel::api {

struct CredentialKind {
  std::string_view key;     // "telegram"
  std::string_view secret;  // "telegram"
};

// In the order of the document, then our own.
const std::vector<CredentialKind>& credential_kinds();
const CredentialKind* find_credential(std::string_view key);
// A value that a service could have given out; `field` is what the request calls it.
Result<void> check_credential(std::string_view key, const std::string& field, std::string_view value);
// An id of `least` to `most` digits; `what` says which, for people.
Result<void> check_digits(const std::string& field, std::string_view value, std::size_t least, std::size_t most,
                          const char* what);

// "gemini" -> "google": whose key an aiProvider's is; "" when there is no such provider.
std::string_view provider_credential(std::string_view provider);
inline constexpr const char* kProviders = "openrouter, gemini, groq, anthropic or openai";

// Where Meta is to send what people write to the agent.
std::string whatsapp_webhook_path(const std::string& agent_id);

}  // namespace creel::api
