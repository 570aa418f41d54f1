#include "controller/store/text.hpp"

#include <cstdint>
#include <nlohmann/json.hpp>

namespace creel::store {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Bytes of the character at `at`; 0 = not UTF-8, or a zero byte.
std::size_t character(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead == 0) return 0;
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const std::size_t more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  if (text.size() - at <= more) return 0;
  std::uint32_t code = lead & (0x3Fu >> more);
  for (std::size_t i = 1; i <= more; ++i) {
    const auto next = static_cast<unsigned char>(text[at + i]);
    if ((next & 0xC0) != 0x80) return 0;
    code = (code << 6) | (next & 0x3F);
  }
  if ((more == 2 && code < 0x800) || (more == 3 && (code < 0x10000 || code > 0x10FFFF))) return 0;
  if (code >= 0xD800 && code <= 0xDFFF) return 0;
  return more + 1;
}

}  // namespace

bool valid_text(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto length = character(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string repair_text(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto length = character(text, at);
    result += length == 0 ? kReplacement : text.substr(at, length);
    at += length == 0 ? 1 : length;
  }
  return result;
}

std::string to_column(const nlohmann::json& json) {
  const auto dumped = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  // jsonb refuses the escaped zero character. A backslash takes the next character with it, so that the text
  // "\\u0000" (an escaped backslash, then letters) is left alone.
  std::string result;
  result.reserve(dumped.size());
  for (std::size_t at = 0; at < dumped.size();) {
    if (dumped[at] != '\\') {
      result += dumped[at++];
    } else if (dumped.compare(at, 6, "\\u0000") == 0) {
      result += kReplacement;
      at += 6;
    } else {
      result.append(dumped, at, 2);
      at += 2;
    }
  }
  return result;
}

}  // namespace creel::store
