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

// A text with its escapes taken away, and where each byte of it stood before.
struct Plain {
  std::string text;
  std::vector<std::size_t> from;  // of each byte of `text`, and the end

  void add(std::string_view bytes, std::size_t at) {
    text += bytes;
    from.insert(from.end(), bytes.size(), at);
  }
};

int hex_value(char c) {
  if (digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The number that `count` hex digits at `at` are; -1: there are none.
int hex_number(std::string_view text, std::size_t at, std::size_t count) {
  int number = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    const int value = i < text.size() ? hex_value(text[i]) : -1;
    if (value < 0) return -1;
    number = number * 16 + value;
  }
  return number;
}

// Of the basic plane; halves of a surrogate pair come out as three bytes each, which no secret has.
std::string utf8(int point) {
  if (point < 0x80) return {static_cast<char>(point)};
  if (point < 0x800) return {static_cast<char>(0xC0 | point >> 6), static_cast<char>(0x80 | (point & 0x3F))};
  return {static_cast<char>(0xE0 | point >> 12), static_cast<char>(0x80 | (point >> 6 & 0x3F)),
          static_cast<char>(0x80 | (point & 0x3F))};
}

// What JSON writes with a backslash, wherever it stands.
Plain without_json_escapes(std::string_view text) {
  constexpr std::string_view kLetters = "bfnrt", kMeant = "\b\f\n\r\t";
  Plain plain;
  for (std::size_t at = 0; at < text.size();) {
    const char next = text[at] == '\\' && at + 1 < text.size() ? text[at + 1] : '\0';
    const int point = next == 'u' ? hex_number(text, at + 2, 4) : -1;
    const auto letter = next == '\0' ? std::string_view::npos : kLetters.find(next);
    if (point >= 0)
      plain.add(utf8(point), at);
    else if (letter != std::string_view::npos)
      plain.add(kMeant.substr(letter, 1), at);
    else if (next == '"' || next == '\\' || next == '/')
      plain.add(text.substr(at + 1, 1), at);
    else
      plain.add(text.substr(at, 1), at);
    const bool pair = letter != std::string_view::npos || next == '"' || next == '\\' || next == '/';
    at += point >= 0 ? 6 : pair ? 2 : 1;
  }
  plain.from.push_back(text.size());
  return plain;
}

Plain without_percent_escapes(std::string_view text) {
  Plain plain;
  for (std::size_t at = 0; at < text.size();) {
    const int byte = text[at] == '%' ? hex_number(text, at + 1, 2) : -1;
    const char meant = static_cast<char>(byte);
    plain.add(byte >= 0 ? std::string_view{&meant, 1} : text.substr(at, 1), at);
    at += byte >= 0 ? 3 : 1;
  }
  plain.from.push_back(text.size());
  return plain;
}

// `text` without the places where its plain form holds a secret. `known`: longest first.
std::string cut(std::string_view text, const Plain& plain, const std::vector<std::string_view>& known) {
  std::vector<bool> hidden;
  for (const auto secret : known) {
    for (auto found = plain.text.find(secret); found != std::string::npos; found = plain.text.find(secret, found + 1)) {
      hidden.resize(plain.text.size());
      std::fill_n(hidden.begin() + static_cast<std::ptrdiff_t>(found), secret.size(), true);
    }
  }
  if (hidden.empty()) return std::string{text};
  std::string result;
  for (std::size_t i = 0; i < hidden.size(); ++i) {
    if (!hidden[i])
      // The bytes of one escape begin at one place: it is taken over once.
      result += text.substr(plain.from[i], plain.from[i + 1] - plain.from[i]);
    else if (i == 0 || !hidden[i - 1])
      result += kRedacted;
  }
  return result;
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
    std::string rest;
    std::size_t from = 0;
    for (; found != std::string::npos; found = result.find(secret, from)) {
      rest.append(result, from, found - from);
      rest += kRedacted;
      from = found + secret.size();
    }
    rest.append(result, from);
    result = std::move(rest);
  }
  // What prints a secret often writes it as JSON or as part of a URL.
  if (!known.empty() && result.find('\\') != std::string::npos)
    result = cut(result, without_json_escapes(result), known);
  if (!known.empty() && result.find('%') != std::string::npos)
    result = cut(result, without_percent_escapes(result), known);
  return redact_shapes(result);
}

}  // namespace creel::secrets
