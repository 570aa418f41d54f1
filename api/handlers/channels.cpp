#include "api/handlers/channels.hpp"

#include <algorithm>

namespace creel::api {
namespace {

// Longer than any token there is, shorter than what would not fit into a header.
constexpr std::size_t kLongest = 1024;

bool digit(char c) { return c >= '0' && c <= '9'; }
bool word(char c) { return digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-'; }
// What keys are made of. Not blanks, quotes, #, $ and \, which mean something in the files that agents read.
bool key_character(char c) {
  return word(c) || std::string_view{".~+/=:@|,!*%&?()[]{}<>;^"}.find(c) != std::string_view::npos;
}

template <class Test>
bool all(std::string_view text, Test test) {
  return std::all_of(text.begin(), text.end(), test);
}

// 123456789:AA… as BotFather gives it out.
bool telegram_token(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const auto secret = text.substr(colon + 1);
  return all(text.substr(0, colon), digit) && secret.size() >= 35 && all(secret, word);
}

// Three parts: the application's id in base64, a time, a signature.
bool discord_token(std::string_view text) {
  const auto first = text.find('.');
  const auto second = text.find('.', first == std::string_view::npos ? first : first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return false;
  const auto id = text.substr(0, first), time = text.substr(first + 1, second - first - 1),
             signature = text.substr(second + 1);
  return id.size() >= 18 && time.size() >= 4 && signature.size() >= 20 && all(id, word) && all(time, word) &&
         all(signature, word);
}

}  // namespace

const std::vector<CredentialKind>& credential_kinds() {
  static const std::vector<CredentialKind> kinds{{"anthropic", "anthropic"},
                                                 {"openai", "openai"},
                                                 {"openrouter", "openrouter"},
                                                 {"google", "google"},
                                                 {"groq", "groq"},
                                                 {"telegram", "telegram"},
                                                 {"discord", "discord"},
                                                 {"whatsapp", "whatsapp_token"},
                                                 {"whatsapp_app_secret", "whatsapp_app_secret"},
                                                 {"whatsapp_phone_number_id", "whatsapp_phone_number_id"}};
  return kinds;
}

const CredentialKind* find_credential(std::string_view key) {
  const auto& kinds = credential_kinds();
  const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.key == key; });
  return found == kinds.end() ? nullptr : &*found;
}

Result<void> check_credential(std::string_view key, const std::string& field, std::string_view value) {
  if (value.size() > kLongest)
    return invalid(field, "The field " + field + " is longer than " + std::to_string(kLongest) + " characters");
  if (key == "whatsapp_phone_number_id") return check_digits(field, value, 1, 32, "a WhatsApp phone number id");
  if (key == "telegram" && !telegram_token(value))
    return invalid(field, "The field " + field +
                              " is not a Telegram bot token; copy it from BotFather: digits, a colon, and 35 or more "
                              "letters, digits, - or _");
  if (key == "discord" && !discord_token(value))
    return invalid(field, "The field " + field +
                              " is not a Discord bot token; copy it from the page Bot of the developer portal: three "
                              "parts with a dot between them");
  if (value.size() < 8 || !all(value, key_character))
    return invalid(field, "The field " + field +
                              " must have 8 or more characters without blanks, quotes, #, $ and \\; copy it from where "
                              "it was given out");
  return {};
}

Result<void> check_digits(const std::string& field, std::string_view value, std::size_t least, std::size_t most,
                          const char* what) {
  if (value.size() >= least && value.size() <= most && all(value, digit)) return {};
  return invalid(field, "The field " + field + " must be " + what + ": a text of " + std::to_string(least) + " to " +
                            std::to_string(most) + " digits");
}

std::string_view provider_credential(std::string_view provider) {
  if (provider == "gemini") return "google";
  for (const std::string_view same : {"openrouter", "groq", "anthropic", "openai"})
    if (provider == same) return same;
  return {};
}

std::string whatsapp_webhook_path(const std::string& agent_id) {
  return "/api/channels/whatsapp/" + agent_id + "/webhook";
}

}  // namespace creel::api
