#include "api/log_level.hpp"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

namespace creel::api {
namespace {

using nlohmann::json;

std::optional<std::string> json_level(std::string_view line) {
  // A log line may be megabytes of an agent's output: only a plausible one is parsed.
  if (line.size() > 64 * 1024 || !line.starts_with('{') || !line.ends_with('}')) return std::nullopt;
  const json value = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return std::nullopt;
  for (const char* name : {"level", "severity", "logLevelName"}) {
    const auto found = value.find(name);
    if (found == value.end()) continue;
    if (found->is_string()) return parse_level(found->get_ref<const std::string&>());
    if (found->is_number_integer()) {
      const auto number = found->get<std::int64_t>();  // pino: 10 trace … 60 fatal
      return number >= 50 ? "error" : number >= 40 ? "warn" : number >= 30 ? "info" : "debug";
    }
  }
  return std::nullopt;
}

// A token that is only a time: digits and what stands between them.
bool looks_like_time(std::string_view word) {
  return !word.empty() && std::isdigit(static_cast<unsigned char>(word[0])) != 0 &&
         std::all_of(word.begin(), word.end(), [](char c) {
           return (c >= '0' && c <= '9') || std::string_view{"-:.,TZ+/"}.find(c) != std::string_view::npos;
         });
}

}  // namespace

std::optional<std::string> parse_level(std::string_view word) {
  std::string lower{word};
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower == "debug" || lower == "trace" || lower == "silly" || lower == "verbose") return "debug";
  if (lower == "info" || lower == "notice" || lower == "log") return "info";
  if (lower == "warn" || lower == "warning") return "warn";
  if (lower == "error" || lower == "err" || lower == "fatal" || lower == "critical" || lower == "panic") return "error";
  return std::nullopt;
}

std::string level_of(std::string_view line, bool is_stderr) {
  if (auto level = json_level(line)) return *level;
  constexpr std::string_view kAround = " \t[](){}<>|:=,;";
  // The word may follow a timestamp of one or two tokens.
  for (int token = 0; token < 3; ++token) {
    const auto begin = line.find_first_not_of(kAround);
    if (begin == std::string_view::npos) break;
    line.remove_prefix(begin);
    // A time has colons in it, so a token first ends at a blank or bracket; a level may end at a colon.
    const auto end = std::min(line.find_first_of(" \t[](){}<>|="), line.size());
    std::string_view word = line.substr(0, end);
    const bool time = looks_like_time(word);
    if (!time) word = word.substr(0, word.find_first_of(":,;"));
    if (auto level = parse_level(word)) {
      // "log" and "err" begin ordinary sentences too; the long words are clear enough.
      if (word.size() > 3) return *level;
      if (std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isupper(c); })) return *level;
    }
    if (!time) break;
    line.remove_prefix(end);
  }
  return is_stderr ? "warn" : "info";
}

}  // namespace creel::api
