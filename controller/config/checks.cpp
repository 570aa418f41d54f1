#include "controller/config/checks.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>

#include "controller/config/config.hpp"

namespace creel::config {

namespace fs = std::filesystem;
using std::chrono::seconds;

Error wrong(const std::string& what) { return invalid("", what); }

std::string trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return std::string{text};
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> result;
  for (;;) {
    const auto comma = text.find(',');
    if (auto element = trim(text.substr(0, comma)); !element.empty()) result.push_back(std::move(element));
    if (comma == std::string_view::npos) return result;
    text.remove_prefix(comma + 1);
  }
}

bool only(std::string_view text, bool (*allowed)(char)) {
  return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}

bool slug_character(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; }

bool domain_name(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  for (;;) {
    const auto dot = text.find('.');
    const auto label = text.substr(0, dot);
    if (!only(label, slug_character) || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    if (dot == std::string_view::npos) return label.front() >= 'a' && label.front() <= 'z';
    text.remove_prefix(dot + 1);
  }
}

namespace {

// "https://example.com:8443/x" -> "https", "example.com", ":8443"
struct UrlParts {
  std::string scheme, host, port, rest;
};

UrlParts split_url(const std::string& url) {
  UrlParts parts;
  const auto colons = url.find("://");
  if (colons == std::string::npos) return parts;
  parts.scheme = url.substr(0, colons);
  const auto slash = std::min(url.find_first_of("/?#", colons + 3), url.size());
  const std::string authority = url.substr(colons + 3, slash - colons - 3);
  parts.rest = url.substr(slash);
  const auto colon =
      authority.find(':', authority.starts_with('[') ? std::min(authority.find(']'), authority.size()) : 0);
  parts.host = authority.substr(0, colon);
  if (colon != std::string::npos) parts.port = authority.substr(colon);
  return parts;
}

// Browsers let authenticators make no keys for IP addresses, but for "localhost", which is this machine too.
UrlParts webauthn_url(const std::string& url) {
  UrlParts parts = split_url(url);
  if (parts.host == "127.0.0.1" || parts.host == "[::1]") parts.host = "localhost";
  return parts;
}

}  // namespace

Result<bool> parse_bool(const std::string& text) {
  for (const char* word : {"true", "1", "yes", "on"}) {
    if (text == word) return true;
  }
  for (const char* word : {"false", "0", "no", "off"}) {
    if (text == word) return false;
  }
  return wrong("\"" + text + "\" is neither true nor false");
}

Result<int> parse_int(const std::string& text, int least, int most) {
  int number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc{} || end != text.data() + text.size() || number < least || number > most) {
    return wrong("\"" + text + "\" is not a whole number from " + std::to_string(least) + " to " +
                 std::to_string(most));
  }
  return number;
}

Result<seconds> parse_seconds(const std::string& text, seconds least, seconds most) {
  CREEL_TRY(const auto duration, parse_duration(text));
  const auto whole = std::chrono::duration_cast<seconds>(duration);
  if (whole != duration || whole < least || whole > most) {
    return wrong("\"" + text + "\" is not between " + std::to_string(least.count()) + " and " +
                 std::to_string(most.count()) + " seconds");
  }
  return whole;
}

Result<std::string> parse_path(const std::string& text) {
  std::error_code problem;
  const fs::path absolute = fs::absolute(text, problem);
  if (problem) return wrong("the path \"" + text + "\" cannot be made absolute: " + problem.message());
  std::string path = absolute.lexically_normal().string();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Result<std::string> parse_url(const std::string& text, std::initializer_list<std::string_view> schemes) {
  for (const auto scheme : schemes) {
    const std::string prefix = std::string{scheme} + "://";
    const bool visible = std::none_of(text.begin(), text.end(), [](unsigned char c) { return c <= ' ' || c == 0x7f; });
    if (!text.starts_with(prefix) || !visible) continue;
    std::string url = text;
    while (url.ends_with('/')) url.pop_back();
    if (url.size() > prefix.size() && url[prefix.size()] != '/') return url;
  }
  std::string list;
  for (const auto scheme : schemes) list += (list.empty() ? "" : " or ") + std::string{scheme} + "://";
  return wrong("this is not a URL; it must begin with " + list + " and name a host");
}

Result<std::string> parse_docker_host(const std::string& text) {
  if (text.starts_with("unix://")) {
    if (text.size() > 8 && text[7] == '/') return text;
    return wrong("\"" + text + "\" names no socket; write unix:///var/run/docker.sock");
  }
  if (text.starts_with("tcp://")) {
    std::string rest = text.substr(6);
    while (rest.ends_with('/')) rest.pop_back();
    CREEL_TRY(const auto address, parse_host_port(rest));
    return "tcp://" + address.str();
  }
  return wrong("\"" + text +
               "\" is not supported; write unix:///PATH or tcp://HOST:PORT (for ssh, forward the socket)");
}

Result<std::string> parse_network(const std::string& text) {
  const auto slash = text.find('/');
  const std::string address = text.substr(0, slash);
  unsigned char bytes[16];
  const int bits = inet_pton(AF_INET, address.c_str(), bytes) == 1    ? 32
                   : inet_pton(AF_INET6, address.c_str(), bytes) == 1 ? 128
                                                                      : 0;
  if (bits == 0 || (slash != std::string::npos && !parse_int(text.substr(slash + 1), 0, bits))) {
    return wrong("\"" + text + "\" is neither an IP address nor a network such as 10.0.0.0/8");
  }
  return text;
}

Result<std::string> parse_address(const std::string& text) {
  if (text.find('/') != std::string::npos || !parse_network(text))
    return wrong("\"" + text + "\" is not an IP address");
  return text;
}

Result<std::string> parse_publish_address(const std::string& text) {
  CREEL_TRY(const std::string address, parse_address(text));
  unsigned char bytes[16] = {};
  const bool six = inet_pton(AF_INET, address.c_str(), bytes) != 1;
  if (six) inet_pton(AF_INET6, address.c_str(), bytes);
  const bool any = std::all_of(std::begin(bytes), std::end(bytes), [](unsigned char byte) { return byte == 0; });
  if (any)
    return wrong(
        "\"" + text +
        "\" is every address of the engine's host, public ones too; name the one that this controller reaches");
  // Multicast and broadcast; addresses that mean nothing without an interface.
  if (six ? bytes[0] == 0xff || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80) : bytes[0] >= 224)
    return wrong("\"" + text + "\" is not the address of one machine");
  return address;
}

Result<void> check_master_key(const std::string& given) {
  const std::string text = trim(given);
  const auto digit = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  const bool size = text.size() == 43 || (text.size() == 44 && text.back() == '=');
  const bool form = size && std::all_of(text.begin(), text.begin() + 43, digit);
  if (!form) return wrong("the key is not 32 bytes in base64; make one with: openssl rand -base64 32");
  return {};
}

Result<std::string> parse_hex(const std::string& text, std::size_t digits) {
  const auto digit = [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; };
  if (text.size() != digits + 2 || !text.starts_with("0x") || !only(std::string_view{text}.substr(2), digit))
    return wrong("\"" + text + "\" is not \"0x\" and " + std::to_string(digits) + " hex digits");
  return text;
}

Result<std::vector<std::string>> parse_hex_list(const std::string& text, std::size_t digits) {
  return parse_each(text, [digits](const std::string& element) { return parse_hex(element, digits); });
}

std::string default_rp_id(const std::string& url) {
  const std::string host = webauthn_url(url).host;
  return domain_name(host) ? host : std::string{};
}

std::string default_origin(const std::string& url) {
  const UrlParts parts = webauthn_url(url);
  // As browsers write it: without the scheme's own port.
  const bool own = parts.port == (parts.scheme == "https" ? ":443" : ":80");
  return parts.scheme + "://" + parts.host + (own ? std::string{} : parts.port);
}

Result<void> check_origin(const std::string& origin, const std::string& rp_id) {
  const UrlParts parts = split_url(origin);
  const bool localhost = parts.host == "localhost" || parts.host.ends_with(".localhost");
  const bool secure = parts.scheme == "https" || (parts.scheme == "http" && localhost);
  const bool port = parts.port.empty() || parse_int(parts.port.substr(1), 1, 65535).has_value();
  if (!secure || !domain_name(parts.host) || !port || !parts.rest.empty())
    return wrong("\"" + origin +
                 "\" is not an origin such as https://example.com, without a path (http:// only for localhost)");
  if (rp_id.empty()) return wrong("set CREEL_WEBAUTHN_RP_ID too: there is no domain to take from CREEL_URL");
  if (parts.host != rp_id && !parts.host.ends_with("." + rp_id))
    return wrong("\"" + origin + "\" is not of the domain " + rp_id + " (CREEL_WEBAUTHN_RP_ID)");
  return {};
}

}  // namespace creel::config
