// Client addresses: parsing, networks, and who the client is when the request came through trusted proxies. Pure.
//
// An IPv4 address mapped into IPv6 ("::ffff:10.0.0.1") is the IPv4 address. Errors: invalid, quoting the bad entry.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/http.hpp"
#include "controller/core/result.hpp"

namespace creel::api {

class Address {
 public:
  static std::optional<Address> parse(std::string_view text);
  bool is_v4() const;
  std::string text() const;
  // With everything after the first `prefix` bits zero (of 32 for IPv4, of 128 for IPv6).
  Address network(int prefix) const;
  bool operator==(const Address&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};  // IPv4 in mapped form
};

class TrustedProxies {
 public:
  TrustedProxies() = default;
  // Addresses or CIDR blocks: "127.0.0.1", "10.0.0.0/8", "fd00::/8".
  static Result<TrustedProxies> parse(const std::vector<std::string>& entries);
  bool contains(const Address& address) const;
  bool empty() const { return blocks_.empty(); }

 private:
  struct Block {
    Address network;
    int prefix = 0;
  };
  std::vector<Block> blocks_;
};

struct Client {
  std::string address;
  bool secure = false;  // a trusted proxy says https
};

// `peer`: who connected. From a trusted proxy the rightmost address in X-Forwarded-For that is not itself a trusted
// proxy is the client; what stands left of it anybody can have written.
Client find_client(const std::string& peer, const Headers& headers, const TrustedProxies& proxies);

}  // namespace creel::api
