#include "api/target.hpp"

#include "api/body.hpp"

namespace creel::api {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Error bad_target(const char* message) { return Error{ErrorKind::invalid, message, "target", "BAD_REQUEST"}; }

}  // namespace

Result<std::string> percent_decode(std::string_view text, bool plus_is_blank) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return bad_target("The address holds a broken percent-escape");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_blank) {
      c = ' ';
    }
    if (c == '\0') return bad_target("The address holds a zero byte");
    out += c;
  }
  if (!valid_utf8(out)) return bad_target("The address holds bytes that are not UTF-8");
  return out;
}

Result<Target> parse_target(std::string_view target) {
  Target result;
  if (target == "*") {
    result.path = "*";
    return result;
  }
  // Absolute form is for proxies, but every server must take it (RFC 9112, 3.2.2).
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    const auto slash = target.find_first_of("/?#");
    target.remove_prefix(slash == std::string_view::npos ? target.size() : slash);
    if (target.empty()) target = "/";
    break;
  }
  target = target.substr(0, target.find('#'));
  if (!target.starts_with('/')) return bad_target("The address must begin with /");
  const auto question = target.find('?');
  result.path = std::string{target.substr(0, question)};
  std::string_view rest = std::string_view{result.path}.substr(1);
  while (true) {
    const auto slash = rest.find('/');
    CREEL_TRY(auto segment, percent_decode(rest.substr(0, slash), false));
    result.segments.push_back(std::move(segment));
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (question == std::string_view::npos) return result;
  rest = target.substr(question + 1);
  while (!rest.empty()) {
    const auto ampersand = rest.find('&');
    const std::string_view pair = rest.substr(0, ampersand);
    rest.remove_prefix(ampersand == std::string_view::npos ? rest.size() : ampersand + 1);
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    CREEL_TRY(auto name, percent_decode(pair.substr(0, equals), true));
    CREEL_TRY(auto value,
              percent_decode(equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1), true));
    result.query.emplace(std::move(name), std::move(value));
  }
  return result;
}

}  // namespace creel::api
