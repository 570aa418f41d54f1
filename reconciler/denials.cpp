#include "reconciler/denials.hpp"

#include <algorithm>

namespace creel {
namespace {

constexpr std::size_t kNamesKept = 20;
constexpr std::size_t kNamesTold = 5;
constexpr std::chrono::hours kHour{1};

std::size_t slot(std::string_view how) { return how == "dns" ? 0 : how == "tls" ? 1 : 2; }

std::string times(std::uint64_t count) { return count == 1 ? "" : " (" + std::to_string(count) + " times)"; }

}  // namespace

void DenialBook::add(const AgentId& agent, const std::string& name, const std::string& how) {
  ++totals_[slot(how)];
  Agent& of = agents_[agent];
  ++of.uncounted;
  const std::string shown = name.empty() ? "an address without a name" : name;
  if (of.untold.size() < kNamesKept || of.untold.contains(shown))
    ++of.untold[shown];
  else
    ++of.untold_others;
}

std::uint64_t DenialBook::total(std::string_view how) const { return totals_[slot(how)]; }

DenialBook::Page DenialBook::page(TimePoint now) const {
  Page page;
  for (const auto& [id, agent] : agents_) {
    if (agent.uncounted > 0) page.counts[id] = agent.uncounted;
    if (agent.untold.empty()) continue;
    const auto recent = std::count_if(agent.told.begin(), agent.told.end(),
                                      [&](TimePoint at) { return at <= now && now - at < kHour; });
    if (recent >= kEventsAnHour) continue;
    std::vector<std::pair<std::uint64_t, std::string>> most;
    for (const auto& [name, count] : agent.untold) most.emplace_back(count, name);
    std::stable_sort(most.begin(), most.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::string message = "was refused: ";
    std::uint64_t others = agent.untold_others;
    for (std::size_t i = 0; i < most.size(); ++i) {
      if (i < kNamesTold)
        message += (i == 0 ? "" : ", ") + most[i].second + times(most[i].first);
      else
        others += most[i].first;
    }
    if (others > 0) message += ", and other names" + times(others);
    message += "; its egress list does not have " + std::string{most.size() == 1 && others == 0 ? "it" : "them"};
    page.events.push_back({id, "state", "EgressDenied", std::move(message), "creel"});
  }
  return page;
}

void DenialBook::written(const Page& page, TimePoint now) {
  for (const auto& [id, count] : page.counts) agents_[id].uncounted -= count;
  for (const Event& event : page.events) {
    Agent& agent = agents_[event.agent];
    agent.untold.clear();
    agent.untold_others = 0;
    agent.told.push_back(now);
  }
  for (auto& [id, agent] : agents_)
    std::erase_if(agent.told, [&](TimePoint at) { return at > now || now - at >= kHour; });
  std::erase_if(agents_, [](const auto& entry) {
    const Agent& agent = entry.second;
    return agent.uncounted == 0 && agent.untold.empty() && agent.told.empty();
  });
}

}  // namespace creel
