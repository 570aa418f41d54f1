#include "controller/core/fence.hpp"

#include <arpa/inet.h>

#include <charconv>

namespace creel {
namespace {

bool read_number(std::string_view text, int most, int& number) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  return problem == std::errc{} && end == text.data() + text.size() && number >= 0 && number <= most;
}

}  // namespace

Result<FenceAllow> parse_fence_allow(std::string_view text) {
  const auto wrong = [&] {
    return invalid("", "\"" + std::string{text} +
                           "\" is neither an address or network, nor host; write for example 192.168.1.10:11434, "
                           "10.0.0.0/8, [fd00::5]:80 or host:11434");
  };
  FenceAllow allow;
  std::string_view place = text, port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return wrong();
    place = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && !port.starts_with(':')) return wrong();
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos && colon == text.rfind(':')) {
    place = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (!port.empty()) {
    int number = 0;
    if (!read_number(port.substr(1), 65'535, number) || number == 0) return wrong();
    allow.port = static_cast<std::uint16_t>(number);
  }
  if (place == "host") {
    allow.host = true;
    return allow;
  }
  const auto slash = place.find('/');
  const std::string address{place.substr(0, slash)};
  unsigned char bytes[16];
  if (inet_pton(AF_INET6, address.c_str(), bytes) == 1)
    allow.six = true;
  else if (inet_pton(AF_INET, address.c_str(), bytes) != 1)
    return wrong();
  int bits = 0;
  if (slash != std::string_view::npos && !read_number(place.substr(slash + 1), allow.six ? 128 : 32, bits))
    return wrong();
  allow.network = std::string{place};
  return allow;
}

}  // namespace creel
