#include "api/verify/node.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "api/verify/errors.hpp"

namespace creel::verify {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxAnswer = 256u << 10;

json question(const char* method, json params) {
  return json{{"jsonrpc", "2.0"}, {"id", 1}, {"method", method}, {"params", std::move(params)}};
}

// Nodes agree on no code: most say 3, older ones -32000 with a message that begins so.
bool says_reverted(const json& error) {
  const auto code = error.find("code");
  if (code != error.end() && code->is_number_integer() && *code == 3) return true;
  const auto message = error.find("message");
  if (message == error.end() || !message->is_string()) return false;
  std::string text = message->get<std::string>();
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text.find("revert") != std::string::npos;
}

}  // namespace

// The text in "result".
Result<std::string> Node::ask(const std::string& body, const Until& until) const {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until.deadline - std::chrono::steady_clock::now());
  const std::string who = "The node of " + setting_;
  if (left.count() <= 0) return unreachable(who + " did not answer in time; try again later");
  http::Request request;
  request.method = "POST";
  request.url = url_;
  request.headers = {{"Content-Type", "application/json"}};
  request.body = body;
  request.deadline = left;
  request.connect_timeout = std::min(left, request.connect_timeout);
  request.max_body = kMaxAnswer;
  const auto answer = http_.send(std::move(request), until.stop);
  if (!answer) {
    spdlog::warn("verification: {}: {}", setting_, answer.error().message);
    switch (answer.error().kind) {
      case ErrorKind::timeout:
        return unreachable(who + " did not answer in time; try again later");
      case ErrorKind::cancelled:
        return unreachable("Creel is stopping; try again when it runs");
      case ErrorKind::failed:
        return unreachable(who + " broke off or sent more than an answer can hold");
      default:
        return unreachable(who + " cannot be reached; try again later");
    }
  }
  if (answer->status != 200) return unreachable(who + " answered with status " + std::to_string(answer->status));
  const json parsed = json::parse(answer->body, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object())
    return unreachable(who + " did not answer with JSON-RPC; does the setting name such a node?");
  if (const auto error = parsed.find("error"); error != parsed.end() && error->is_object()) {
    if (says_reverted(*error))
      return Error{ErrorKind::conflict, who + " says that the contract ended the call", {}, kReverted};
    const auto code = error->find("code");
    return unreachable(who + " refused the call" +
                       (code != error->end() && code->is_number_integer() ? " (code " + code->dump() + ")" : ""));
  }
  const auto result = parsed.find("result");
  if (result == parsed.end() || !result->is_string()) return unreachable(who + " answered without a result");
  return result->get<std::string>();
}

Result<std::string> Node::call(const Address& contract, std::string_view data, const Until& until) const {
  const json params = {{{"to", hex_of(contract)}, {"data", hex_of(data)}}, "latest"};
  CREEL_TRY(const std::string text, ask(question("eth_call", params).dump(), until));
  auto bytes = bytes_of_hex(text);
  if (!bytes) return unreachable("The node of " + setting_ + " answered with something else than bytes");
  return std::move(*bytes);
}

Result<std::uint64_t> Node::chain_id(const Until& until) const {
  CREEL_TRY(const std::string text, ask(question("eth_chainId", json::array()).dump(), until));
  // A quantity: no leading zeros, so the number of digits may be odd.
  const bool hex = text.starts_with("0x") && text.size() > 2 && text.size() <= 18 &&
                   std::all_of(text.begin() + 2, text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
  if (!hex) return unreachable("The node of " + setting_ + " answered with something else than a chain id");
  return std::stoull(text.substr(2), nullptr, 16);
}

}  // namespace creel::verify
