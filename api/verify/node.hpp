// Node: one Ethereum-like node's JSON-RPC, as far as reading contracts needs it.
//
// Blocking, bounded by `until`; answers are bounded in size. Errors: VERIFIER_UNREACHABLE (see errors.hpp) whatever
// goes wrong with the node: slow, away, another status than 200, no JSON, too much of it; and for a call that the
// contract itself ended: conflict, kReverted. The messages name the setting, never the node's address. Threads: any,
// several at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>

#include "api/verify/ethereum.hpp"
#include "controller/core/result.hpp"
#include "controller/http/client.hpp"

namespace creel::verify {

inline constexpr const char* kReverted = "REVERTED";

// When to give up.
struct Until {
  std::chrono::steady_clock::time_point deadline;
  std::stop_token stop{};
};

class Node {
 public:
  // `setting`: the variable that holds `url`, for messages ("ETH_RPC_URL").
  Node(http::Client& http, std::string setting, std::string url)
      : http_(http), setting_(std::move(setting)), url_(std::move(url)) {}

  const std::string& setting() const { return setting_; }
  bool configured() const { return !url_.empty(); }

  // The bytes that the contract answers at the newest block; none where there is no contract.
  Result<std::string> call(const Address& contract, std::string_view data, const Until& until) const;
  // 1: Ethereum, 8453: Base.
  Result<std::uint64_t> chain_id(const Until& until) const;

 private:
  Result<std::string> ask(const std::string& body, const Until& until) const;

  http::Client& http_;
  std::string setting_;
  std::string url_;
};

}  // namespace creel::verify
