#include "api/body.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace creel::api {
namespace {

using nlohmann::json;

// json takes anything, so the conversion to Result<json> would be ambiguous: it is said outright.
Result<json> good(json value) { return Result<json>{boost::system::in_place_value, std::move(value)}; }

// Depth before parsing: the parser and everything after it may then recurse without care.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

// The path of a text or key that holds a zero character, "" when there is none.
std::optional<std::string> zero_in(const json& value, const std::string& at) {
  if (value.is_string() && value.get_ref<const std::string&>().find('\0') != std::string::npos) return at;
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      if (key.find('\0') != std::string::npos) return at;
      if (auto found = zero_in(member, at == "body" ? key : at + "." + key)) return found;
    }
  } else if (value.is_array()) {
    for (const auto& member : value)
      if (auto found = zero_in(member, at)) return found;
  }
  return std::nullopt;
}

bool json_type(std::string_view content_type) {
  const auto semicolon = content_type.find(';');
  return same_ignoring_case(trimmed(content_type.substr(0, semicolon)), "application/json");
}

// Null counts as absent.
const json* find(const json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Error wrong_type(const char* name, const char* type) {
  return invalid(name, std::string{"The field "} + name + " must be " + type);
}

// Length in characters, or nullopt when the text is not UTF-8 (overlong forms and surrogates included).
std::optional<std::size_t> utf8_length(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++count) {
    const auto byte = [&](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
    const auto tail = [&](std::size_t at) { return (byte(at) & 0xC0) == 0x80; };
    const unsigned first = byte(i);
    if (first < 0x80) {
      i += 1;
    } else if (first >= 0xC2 && first < 0xE0 && tail(i + 1)) {
      i += 2;
    } else if ((first & 0xF0) == 0xE0 && tail(i + 1) && tail(i + 2) && !(first == 0xE0 && byte(i + 1) < 0xA0) &&
               !(first == 0xED && byte(i + 1) >= 0xA0)) {
      i += 3;
    } else if (first >= 0xF0 && first < 0xF5 && tail(i + 1) && tail(i + 2) && tail(i + 3) &&
               !(first == 0xF0 && byte(i + 1) < 0x90) && !(first == 0xF4 && byte(i + 1) >= 0x90)) {
      i += 4;
    } else {
      return std::nullopt;
    }
  }
  return count;
}

// A whole number of the query, clamped to what fits; nullopt: there is none, or it is no number.
std::optional<std::int64_t> number_of(const Request& request, const std::string& name) {
  const std::string text = request.query_value(name);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (end != text.data() + text.size() || text.empty()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return text[0] == '-' ? INT64_MIN : INT64_MAX;
  if (error != std::errc{}) return std::nullopt;
  return number;
}

}  // namespace

Result<json> parse_json(std::string_view text) {
  if (too_deep(text)) return invalid("body", "The body is nested more than 64 levels deep");
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return invalid("body", "The body is not valid JSON");
  if (const auto at = zero_in(value, "body")) return invalid(*at, "The field " + *at + " holds a zero character");
  return good(std::move(value));
}

Result<json> json_object(const Request& request) {
  if (request.body.empty()) return good(json::object());
  if (!json_type(request.header("Content-Type")))
    return invalid("Content-Type", "The body must be JSON, with Content-Type: application/json");
  CREEL_TRY(json value, parse_json(request.body));
  if (!value.is_object()) return invalid("body", "The body must be a JSON object");
  return good(std::move(value));
}

Result<std::optional<std::string>> text_field(const json& object, const char* name) {
  const json* value = find(object, name);
  if (value == nullptr) return std::optional<std::string>{};
  if (!value->is_string()) return wrong_type(name, "text");
  return std::optional{value->get<std::string>()};
}

Result<std::optional<bool>> bool_field(const json& object, const char* name) {
  const json* value = find(object, name);
  if (value == nullptr) return std::optional<bool>{};
  if (!value->is_boolean()) return wrong_type(name, "true or false");
  return std::optional{value->get<bool>()};
}

Result<std::optional<std::int64_t>> integer_field(const json& object, const char* name) {
  const json* value = find(object, name);
  if (value == nullptr) return std::optional<std::int64_t>{};
  // Parsed as unsigned when positive; beyond int64 it is no number anybody means.
  if (!value->is_number_integer() ||
      (value->is_number_unsigned() && value->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)))
    return wrong_type(name, "a whole number");
  return std::optional{value->get<std::int64_t>()};
}

std::string first_characters(std::string_view text, std::size_t most) {
  std::size_t end = 0;
  for (std::size_t count = 0; end < text.size(); ++end)
    if ((static_cast<unsigned char>(text[end]) & 0xC0) != 0x80 && count++ == most) break;
  return std::string{text.substr(0, end)};
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n\f\v";
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return std::string{text.substr(first, text.find_last_not_of(kBlank) - first + 1)};
}

bool valid_utf8(std::string_view text) { return utf8_length(text).has_value(); }

bool plain_text(std::string_view text, std::size_t least, std::size_t most) {
  const auto control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (std::any_of(text.begin(), text.end(), control)) return false;
  const auto length = utf8_length(text);
  return length && *length >= least && *length <= most;
}

Result<std::chrono::milliseconds> wait_of(const Request& request, std::chrono::milliseconds by_default,
                                          std::chrono::milliseconds longest) {
  if (const auto found = request.query.find("wait"); found != request.query.end()) {
    const std::string& text = found->second;
    double seconds = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), seconds, std::chars_format::fixed);
    const double most = std::chrono::duration<double>(longest).count();
    if (error != std::errc{} || end != text.data() + text.size() || !(seconds >= 0) || seconds > most) {
      Error bad = invalid(
          "wait", "The query parameter wait must be seconds between 0 and " + std::to_string(static_cast<int>(most)));
      bad.code = "INVALID_QUERY";
      return bad;
    }
    return std::chrono::milliseconds{static_cast<std::int64_t>(seconds * 1000)};
  }
  // RFC 7240: a comma list of preferences.
  std::string_view prefer = request.header("Prefer");
  while (!prefer.empty()) {
    const auto comma = prefer.find(',');
    if (same_ignoring_case(trimmed(prefer.substr(0, comma)), "respond-async")) return std::chrono::milliseconds{0};
    prefer.remove_prefix(comma == std::string_view::npos ? prefer.size() : comma + 1);
  }
  return by_default;
}

Result<bool> flag_of(const Request& request, const std::string& name) {
  const auto found = request.query.find(name);
  if (found == request.query.end() || found->second == "false") return false;
  if (found->second == "true") return true;
  Error bad = invalid(name, "The query parameter " + name + " must be true or false");
  bad.code = "INVALID_QUERY";
  return bad;
}

std::size_t limit_of(const Request& request, std::size_t by_default, std::size_t most) {
  const auto number = number_of(request, "limit");
  if (!number) return by_default;
  return static_cast<std::size_t>(std::clamp<std::int64_t>(*number, 1, static_cast<std::int64_t>(most)));
}

std::size_t offset_of(const Request& request) {
  return static_cast<std::size_t>(std::max<std::int64_t>(number_of(request, "offset").value_or(0), 0));
}

}  // namespace creel::api
