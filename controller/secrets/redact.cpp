#include "controller/secrets/redact.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace creel::secrets {
namespace {

constexpr std::size_t kShortestSecret = 6;

bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool token_char(char c) { return digit(c) || letter(c) || c == '_' || c == '-'; }
// RFC 6750 b64token.
bool bearer_char(char c) { return token_char(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '='; }

struct Shape {
  std::string_view prefix;
  std::size_t least;  // token characters that must follow the prefix
};
// Vendors' own prefixes. "sk_" and "sk-" cover our own keys, OpenAI, Anthropic ("sk-ant-") and OpenRouter ("sk-or-").
constexpr std::array<Shape, 10> kShapes{{{"sk_", 16},
                                         {"sk-", 16},
                                         {"gsk_", 16},
                                         {"ghp_", 20},
                                         {"gho_", 20},
                                         {"github_pat_", 20},
                                         {"xoxb-", 10},
                                         {"xoxp-", 10},
                                         {"xapp-", 10},
                                         {"AIza", 30}}};

template <class Predicate>
std::size_t run_length(std::string_view text, std::size_t from, Predicate predicate) {
  std::size_t at = from;
  while (at < text.size() && predicate(text[at])) ++at;
  return at - from;
}

// Length of a vendor's token that begins at `at`; 0 = none. It must not begin inside a word ("task-force" is none).
std::size_t vendor_token(std::string_view text, std::size_t at) {
  if (at > 0 && (digit(text[at - 1]) || letter(text[at - 1]))) return 0;
  for (const auto& shape : kShapes) {
    if (text.substr(at, shape.prefix.size()) != shape.prefix) continue;
    const auto tail = run_length(text, at + shape.prefix.size(), token_char);
    if (tail >= shape.least) return shape.prefix.size() + tail;
  }
  return 0;
}

// Telegram: 6 or more digits, ':', 35 or more token characters. Also behind "bot", as in its URLs.
std::size_t telegram_token(std::string_view text, std::size_t at) {
  const auto digits = run_length(text, at, digit);
  if (digits < 6 || at + digits >= text.size() || text[at + digits] != ':') return 0;
  const auto tail = run_length(text, at + digits + 1, token_char);
  return tail >= 35 ? digits + 1 + tail : 0;
}

// Length of "Bearer " with its blanks at `at`, when a token follows; `token` gets the length of that.
std::size_t bearer_prefix(std::string_view text, std::size_t at, std::size_t& token) {
  constexpr std::string_view kWord = "bearer";
  if (text.size() - at <= kWord.size()) return 0;
  for (std::size_t i = 0; i < kWord.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(text[at + i])) != kWord[i]) return 0;
  }
  const auto blanks = run_length(text, at + kWord.size(), [](char c) { return c == ' ' || c == '\t'; });
  if (blanks == 0) return 0;
  token = run_length(text, at + kWord.size() + blanks, bearer_char);
  return token >= 8 ? kWord.size() + blanks : 0;
}

std::string redact_shapes(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  std::size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (digit(c)) {
      if (const auto length = telegram_token(text, at); length > 0) {
        result += kRedacted;
        at += length;
        continue;
      }
      // Past the whole run, so that a long number is looked at once and not once a digit.
      const auto digits = run_length(text, at, digit);
      result += text.substr(at, digits);
      at += digits;
      continue;
    }
    if (c == 'b' || c == 'B') {
      std::size_t token = 0;
      if (const auto prefix = bearer_prefix(text, at, token); prefix > 0) {
        result += text.substr(at, prefix);
        result += kRedacted;
        at += prefix + token;
        continue;
      }
    }
    if (const auto length = letter(c) ? vendor_token(text, at) : 0; length > 0) {
      result += kRedacted;
      at += length;
      continue;
    }
    result += c;
    ++at;
  }
  return result;
}

}  // namespace

std::string redact(std::string_view text, const std::vector<std::string>& secrets) {
  std::vector<std::string_view> known;
  for (const auto& secret : secrets) {
    if (secret.size() >= kShortestSecret) known.emplace_back(secret);
  }
  // Longest first: a secret that is part of another must not leave the rest of the longer one standing.
  std::sort(known.begin(), known.end(), [](auto a, auto b) { return a.size() > b.size(); });
  std::string result{text};
  for (const auto secret : known) {
    auto found = result.find(secret);
    if (found == std::string::npos) continue;
    std::string cut;
    std::size_t from = 0;
    for (; found != std::string::npos; found = result.find(secret, from)) {
      cut.append(result, from, found - from);
      cut += kRedacted;
      from = found + secret.size();
    }
    cut.append(result, from);
    result = std::move(cut);
  }
  return redact_shapes(result);
}

}  // namespace creel::secrets
