#include "reconciler/config_feedback.hpp"

#include <algorithm>

#include "reconciler/telling_line.hpp"

namespace creel {
namespace {

bool holds_one(const std::string& line, const std::vector<std::string>& texts) {
  return std::any_of(texts.begin(), texts.end(),
                     [&](const std::string& text) { return line.find(text) != std::string::npos; });
}

bool decided(const History& history) {
  return history.files_hash == history.taken_files_hash || history.files_hash == history.refused_files_hash;
}

// Its process has read the delivered files at its start. One that took the place of the process which was seen before
// the delivery may have begun before it, too; of those that Creel has not begun only the clocks tell.
bool began_after_delivery(const ObservedWorkload& workload, const History& history) {
  if (!workload.started_at || workload.started_at == history.delivered_run) return false;
  return history.started_since || (history.delivered_by && *workload.started_at >= *history.delivered_by);
}

}  // namespace

bool config_undecided(const DesiredAgent& desired, const Observed& observed, const History& history) {
  return !desired.readiness.config.silent() && observed.workload_presence == Presence::present &&
         observed.workload.ours && observed.workload.runtime_id == history.files_delivered_to && !decided(history);
}

bool worth_hearing(const DesiredAgent& desired, const Observed& observed, const History& history) {
  if (!config_undecided(desired, observed, history)) return false;
  const ObservedWorkload& workload = observed.workload;
  return workload.state != ContainerState::running || !began_after_delivery(workload, history) ||
         workload.restart_count > history.last_restart_count;
}

void hear(const std::vector<LogLine>& lines, const DesiredAgent& desired, const std::vector<std::string>& secrets,
          Observed& observed) {
  const ConfigFeedback& feedback = desired.readiness.config;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (holds_one(line->text, feedback.refused)) {
      observed.config_word = ConfigWord::refused;
      observed.config_message = telling_line({*line}, desired.files, secrets);
      return;
    }
    if (holds_one(line->text, feedback.taken)) {
      observed.config_word = ConfigWord::taken;
      return;
    }
  }
}

History learn_config(const DesiredAgent& desired, const Observed& observed, History history) {
  if (observed.workload_presence != Presence::present || !observed.workload.ours ||
      observed.workload.runtime_id != history.files_delivered_to || decided(history))
    return history;
  const ObservedWorkload& workload = observed.workload;
  const bool read_at_start =
      workload.state == ContainerState::running && observed.ready == true && began_after_delivery(workload, history);
  if (observed.config_word == ConfigWord::refused) {
    history.refused_files_hash = history.files_hash;
    history.refused_message = observed.config_message;
  } else if (observed.config_word == ConfigWord::taken || read_at_start) {
    history.taken_files_hash = history.files_hash;
    // What was refused before may be wished again; then it is tried again.
    if (history.files_hash == desired.files_hash) {
      history.refused_files_hash.clear();
      history.refused_message.clear();
    }
  }
  return history;
}

std::optional<milliseconds> redelivery_in(const DesiredAgent& desired, const Observed& observed, const History& history,
                                          const Policy& policy, TimePoint now) {
  if (!config_undecided(desired, observed, history) || history.deliveries >= policy.config_deliveries ||
      !history.delivered_at || observed.workload.state != ContainerState::running)
    return std::nullopt;
  return std::max(policy.config_patience - (now - *history.delivered_at), milliseconds{0});
}

milliseconds word_awaited(const DesiredAgent& desired, const Observed& observed, const History& history,
                          const Policy& policy, TimePoint now) {
  const ObservedWorkload& workload = observed.workload;
  if (desired.readiness.config.silent() || history.files_hash == desired.files_hash || !history.delivered_at ||
      workload.runtime_id != history.files_delivered_to || workload.state != ContainerState::running ||
      began_after_delivery(workload, history) || (decided(history) && !history.delivered_known))
    return milliseconds{0};
  return left_of(policy.config_patience, *history.delivered_at, now);
}

DesiredAgent in_force(DesiredAgent desired, const History& history) {
  if (!desired.last_good || desired.files_hash != history.refused_files_hash) return desired;
  FileSet good = std::move(*desired.last_good);
  desired.last_good.reset();
  desired.files = std::move(good.files);
  desired.files_hash = std::move(good.files_hash);
  desired.restart_files_hash = std::move(good.restart_files_hash);
  return desired;
}

Condition config_condition(const DesiredAgent& desired, const History& history) {
  const std::string& wanted = desired.files_hash;
  Condition condition;
  condition.type = "ConfigAccepted";
  if (!wanted.empty() && history.refused_files_hash == wanted) {
    condition.status = "False";
    condition.reason = "Refused";
    condition.message = "the agent refused its configuration: " + history.refused_message +
                        (desired.last_good ? " (the last good one stays in force)" : "");
  } else if (!wanted.empty() && history.taken_files_hash == wanted) {
    condition.status = "True";
    condition.reason = "TakenIn";
  } else {
    condition.status = "Unknown";
    const bool delivered = history.files_hash == wanted && !history.files_delivered_to.empty();
    condition.reason = delivered ? "NotSaid" : "NotDelivered";
    condition.message = delivered ? "the agent has not said yet what it makes of its configuration"
                                  : "the agent has not got its configuration yet";
  }
  return condition;
}

}  // namespace creel
