#include "api/auth/client_address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "api/body.hpp"

namespace creel::api {
namespace {

constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

// "1.2.3.4", "1.2.3.4:5678", "[::1]", "[::1]:5678", "::1"
std::string_view without_port(std::string_view text) {
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    return end == std::string_view::npos ? std::string_view{} : text.substr(1, end - 1);
  }
  const auto colon = text.find(':');
  if (colon != std::string_view::npos && text.find(':', colon + 1) == std::string_view::npos)
    return text.substr(0, colon);
  return text;
}

// Every element of every header of that name, in the order they were added.
std::vector<std::string> list_of(const Headers& headers, std::string_view name) {
  std::vector<std::string> elements;
  for (const auto& [key, value] : headers) {
    if (!same_ignoring_case(key, name)) continue;
    std::string_view rest = value;
    while (true) {
      const auto comma = rest.find(',');
      elements.push_back(trimmed(rest.substr(0, comma)));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return elements;
}

}  // namespace

std::optional<Address> Address::parse(std::string_view text) {
  const std::string copy{text};
  Address address;
  if (inet_pton(AF_INET6, copy.c_str(), address.bytes_.data()) == 1) return address;
  std::array<std::uint8_t, 4> v4{};
  if (inet_pton(AF_INET, copy.c_str(), v4.data()) != 1) return std::nullopt;
  std::copy(kMapped.begin(), kMapped.end(), address.bytes_.begin());
  std::copy(v4.begin(), v4.end(), address.bytes_.begin() + 12);
  return address;
}

bool Address::is_v4() const { return std::equal(kMapped.begin(), kMapped.end(), bytes_.begin()); }

std::string Address::text() const {
  std::array<char, INET6_ADDRSTRLEN> out{};
  if (is_v4())
    inet_ntop(AF_INET, bytes_.data() + 12, out.data(), out.size());
  else
    inet_ntop(AF_INET6, bytes_.data(), out.data(), out.size());
  return out.data();
}

Address Address::network(int prefix) const {
  Address result = *this;
  int bits = is_v4() ? prefix + 96 : prefix;
  for (auto& byte : result.bytes_) {
    if (bits <= 0)
      byte = 0;
    else if (bits < 8)
      byte = static_cast<std::uint8_t>(byte & (0xFF << (8 - bits)));
    bits -= 8;
  }
  return result;
}

Result<TrustedProxies> TrustedProxies::parse(const std::vector<std::string>& entries) {
  TrustedProxies proxies;
  for (const std::string& entry : entries) {
    const auto bad = [&] {
      return invalid("CREEL_TRUSTED_PROXIES",
                     "CREEL_TRUSTED_PROXIES: '" + entry + "' is neither an address nor a block like 10.0.0.0/8");
    };
    const auto slash = entry.find('/');
    const auto address = Address::parse(std::string_view{entry}.substr(0, slash));
    if (!address) return bad();
    const int most = address->is_v4() ? 32 : 128;
    int prefix = most;
    if (slash != std::string::npos) {
      const char* end = entry.data() + entry.size();
      const auto [stop, error] = std::from_chars(entry.data() + slash + 1, end, prefix);
      if (error != std::errc{} || stop != end || prefix < 0 || prefix > most) return bad();
    }
    proxies.blocks_.push_back(Block{address->network(prefix), prefix});
  }
  return proxies;
}

bool TrustedProxies::contains(const Address& address) const {
  return std::any_of(blocks_.begin(), blocks_.end(), [&](const Block& block) {
    return address.is_v4() == block.network.is_v4() && address.network(block.prefix) == block.network;
  });
}

Client find_client(const std::string& peer, const Headers& headers, const TrustedProxies& proxies) {
  Client client;
  auto address = Address::parse(peer);
  client.address = address ? address->text() : peer;
  if (!address || !proxies.contains(*address)) return client;
  client.secure = same_ignoring_case(trimmed(find_header(headers, "X-Forwarded-Proto")), "https");
  const auto forwarded = list_of(headers, "X-Forwarded-For");
  for (auto hop = forwarded.rbegin(); hop != forwarded.rend(); ++hop) {
    const auto before = Address::parse(without_port(*hop));
    if (!before) break;  // rubbish: the last address that is known stands
    client.address = before->text();
    if (!proxies.contains(*before)) break;
  }
  return client;
}

}  // namespace creel::api
