#include "reconciler/exits.hpp"

#include <algorithm>

#include "reconciler/update.hpp"

namespace creel {
namespace {

constexpr int kMostCounted = 1'000;

std::string cause_of_end(const Observed& observed, const History& history) {
  const ObservedWorkload& workload = observed.workload;
  if (workload.oom_killed) return "OOMKilled";
  const bool refused = observed.config_word == ConfigWord::refused ||
                       (!history.refused_files_hash.empty() && history.refused_files_hash == history.files_hash);
  if (refused) return "ConfigRefused";
  // A process that runs again tells nothing about how the last one ended.
  if (workload.state == ContainerState::running && !history.exits.cause.empty()) return history.exits.cause;
  return "Exited";
}

}  // namespace

History learn_exits(const DesiredAgent& desired, const Observed& observed, History history, TimePoint now) {
  Exits& exits = history.exits;
  if (observed.workload_presence != Presence::present || !observed.workload.ours) {
    if (observed.workload_presence == Presence::absent) {
      exits.held = false;
      exits.seen = 0;
    }
    return history;
  }
  const ObservedWorkload& workload = observed.workload;
  if (workload.restart_count < exits.seen)
    exits.seen = 0;  // the engine counts anew after a start that it was asked for
  const std::int64_t more = workload.restart_count - exits.seen;
  exits.seen = workload.restart_count;
  if (workload.state == ContainerState::running) exits.held = false;
  const UpdateStep step = history.update.step;
  if (desired.state != DesiredState::running || (step != UpdateStep::none && step != UpdateStep::pulling))
    return history;
  if (more > 0) {
    exits.count = static_cast<int>(std::min<std::int64_t>(exits.count + more, kMostCounted));
    exits.last = now;
    exits.cause = cause_of_end(observed, history);
  }
  if (exits.count > 0 && workload.state == ContainerState::restarting) {
    exits.cause = cause_of_end(observed, history);
    exits.code = workload.exit_code;
  }
  return history;
}

std::optional<milliseconds> exits_left(const DesiredAgent& desired, const History& history, const Policy& policy,
                                       TimePoint now) {
  const Exits& exits = history.exits;
  const BackoffRule& rule = backoff_rule(exits.cause, policy);
  if (exits.count < rule.free || !exits.last || history.files_hash != desired.files_hash) return std::nullopt;
  return left_of(backoff_delay(exits.count - rule.free + 1, rule), *exits.last, now);
}

std::string exit_words(const Observed& observed, const History& history) {
  const Exits& exits = history.exits;
  // The engine tells the code of a process that has ended: 0 while the next one runs, or after Creel's own stop.
  const bool running = observed.workload.state == ContainerState::running;
  const int code = running || exits.held ? exits.code : observed.workload.exit_code;
  std::string words = "the agent exited with code " + std::to_string(code);
  if (observed.workload.oom_killed || (exits.count > 0 && exits.cause == "OOMKilled"))
    words = "the agent was killed for exceeding its memory limit";
  else if (running && code == 0)  // or it was not seen
    words = "the agent keeps exiting";
  if (exits.count > 1) words += ", " + std::to_string(exits.count) + " times in a row";
  return words;
}

void forgive(History& history) {
  history.failures = 0;
  history.last_failure.reset();
  history.last_failure_reason.clear();
  history.last_failure_message.clear();
  history.exits.count = 0;
  history.exits.last.reset();
  history.exits.cause.clear();
  history.exits.code = 0;
  history.exits.held = false;
}

}  // namespace creel
