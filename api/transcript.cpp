#include "api/transcript.hpp"

#include <algorithm>
#include <chrono>

namespace creel::api {
namespace {

// Between the controller's clock when it is told a message and the agent's when it writes it down: a message may have
// waited for its turn, and for a model at work.
constexpr std::chrono::minutes kAboutThen{10};

// Gateways trim what was said.
std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const auto first = text.find_first_not_of(kBlank);
  return first == std::string_view::npos ? std::string_view{}
                                         : text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

bool same(const store::Message& stored, const gateway::GatewayMessage& shown) {
  if (stored.external_id) return *stored.external_id == shown.id;
  const auto apart = stored.at < shown.at ? shown.at - stored.at : stored.at - shown.at;
  return stored.from_agent == shown.from_agent && trimmed(stored.content) == trimmed(shown.text) && apart <= kAboutThen;
}

}  // namespace

std::vector<Line> transcript(const std::vector<store::Message>& stored,
                             const std::vector<gateway::GatewayMessage>& shown) {
  std::vector<Line> lines;
  for (const auto& message : stored)
    lines.push_back(
        {"msg-" + std::to_string(message.id), message.from_agent, message.content, message.at, message.error});
  TimePoint newest{};
  for (const auto& message : stored) newest = std::max(newest, message.at);
  std::vector<bool> taken(stored.size(), false);
  for (const auto& message : shown) {
    std::size_t at = 0;
    while (at < stored.size() && (taken[at] || !same(stored[at], message))) ++at;
    if (at < stored.size())
      taken[at] = true;
    else if (message.at > newest && (!message.text.empty() || message.error))
      lines.push_back({message.id, message.from_agent, message.text, message.at, message.error});
  }
  std::stable_sort(lines.begin(), lines.end(), [](const Line& a, const Line& b) { return a.at < b.at; });
  return lines;
}

}  // namespace creel::api
