#include "controller/cli/advice.hpp"

#include <algorithm>
#include <utility>

namespace creel::cli {

std::string advised(std::string sentence, int status, const std::string& code, const std::string& agent, bool has_key) {
  const std::string id = agent.empty() ? "ID" : agent;
  // The API's own sentence names a route here.
  if (code == "AGENT_NOT_RUNNING") return "the agent is stopped; start it with `creel agents start " + id + "`";
  const std::pair<const char*, std::string> by_code[] = {
      {"AGENT_NOT_READY", "`creel agents show " + id + " --watch` shows when it is ready"},
      {"AGENT_UNREACHABLE", "`creel agents plan " + id + "` says why"},
      {"AGENT_FAILED", "`creel agents plan " + id + "` says why, `creel agents logs " + id + "` what it printed"},
      {"AGENT_LIMIT_REACHED",
       "delete one (`creel agents delete ID`), or have the plan changed (`creel user set --email … --plan …`)"},
      {"ENGINE_UNREACHABLE", "`creel doctor` on the controller's machine says what is wrong"},
      {"NOT_OBSERVED", "is a controller leading? `creel doctor` on its machine says what is wrong"},
      {"TEMPLATE_MISSING", "`creel doctor` on the controller's machine lists those that are"},
      {"IDEMPOTENCY_MISMATCH", "give another --idempotency-key"},
  };
  for (const auto& [known, remedy] : by_code)
    if (code == known) return std::move(sentence) + "; " + remedy;
  switch (status) {
    case 401:
      return std::move(sentence) + (has_key ? "; the API key is not valid" : "; set CREEL_API_KEY") +
             " (`creel key create --email YOU --name NAME` on the controller's machine makes a key)";
    case 402:
      return std::move(sentence) + "; an administrator sets it with `creel user set --email … --subscription active`";
    case 403:
      return std::move(sentence) +
             "; the key's account may not do this: `creel user set --email … --admin` makes it an administrator's";
    case 404:
      return std::move(sentence) + "; `creel agents list` shows the ids";
    case 503:
      return std::move(sentence) + "; `creel doctor` says what is missing";
    default:
      return sentence;
  }
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Optimal string alignment: three rows of the table are enough.
  std::vector<std::size_t> two_ago, before(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) before[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({before[j] + 1, row[j - 1] + 1, before[j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], two_ago[j - 2] + 1);
    }
    two_ago = std::exchange(before, row);
  }
  return before[b.size()];
}

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  // One letter in three, and in short words one.
  std::size_t least = std::max<std::size_t>(word.size() / 3, 1) + 1;
  for (const auto& candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance >= least || distance >= word.size()) continue;
    least = distance;
    best = candidate;
  }
  if (!best.empty() || word.empty()) return best;
  for (const auto& candidate : known) {
    if (!candidate.starts_with(word)) continue;
    if (!best.empty()) return {};
    best = candidate;
  }
  return best;
}

}  // namespace creel::cli
