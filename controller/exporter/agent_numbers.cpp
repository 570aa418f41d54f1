#include "controller/exporter/agent_numbers.hpp"

#include <array>
#include <map>
#include <set>
#include <string>

namespace creel {
namespace {

// reconciler/cause.hpp and History::last_failure_reason. Rows may have been written by another version.
constexpr std::array kCauses{"BackUpFailed",
                             "ConfigRefused",
                             "CreateFailed",
                             "DeliverFailed",
                             "EngineTimeout",
                             "EngineUnavailable",
                             "EngineUnreachable",
                             "Exited",
                             "ImageUnavailable",
                             "NameTaken",
                             "NotReady",
                             "OOMKilled",
                             "RemoveFailed",
                             "ResetFailed",
                             "RestartFailed",
                             "RestoreFailed",
                             "StartFailed",
                             "StopFailed",
                             "other"};

constexpr std::array kPhases{Phase::pending,  Phase::pulling,  Phase::creating, Phase::starting,      Phase::ready,
                             Phase::unready,  Phase::stopping, Phase::stopped,  Phase::crash_looping, Phase::failed,
                             Phase::deleting, Phase::deleted,  Phase::unknown};

}  // namespace

void add_fleet(Metrics::Page& page, const std::vector<store::FleetAgent>& fleet) {
  std::map<Phase, int> phases;
  std::map<std::string, int> causes;
  for (const char* cause : kCauses) causes[cause] = 0;
  int drifted = 0;
  for (const auto& agent : fleet) {
    ++phases[agent.phase];
    if (agent.phase == Phase::deleted) continue;  // its volume is kept for a while: that is as wished
    if (!agent.settled) ++drifted;
    if (!agent.cause.empty()) ++causes[causes.contains(agent.cause) ? agent.cause : "other"];
  }
  for (const Phase phase : kPhases) page.add("creel_agents", {to_string(phase)}, phases[phase]);
  for (const auto& [cause, count] : causes) page.add("creel_agents_hindered", {cause}, count);
  page.add("creel_agents_drifted", drifted);
}

void add_agents(Metrics::Page& page, const std::vector<store::FleetAgent>& fleet,
                const std::vector<AgentSample>& samples, std::size_t most) {
  std::set<AgentId> all;
  for (const auto& agent : fleet)
    if (agent.phase != Phase::deleted) all.insert(agent.id);
  for (const auto& sample : samples) all.insert(sample.agent);
  std::set<AgentId> shown;
  for (const auto& id : all) {
    if (shown.size() == most) break;
    shown.insert(id);
  }
  page.add("creel_agents_without_series", static_cast<double>(all.size() - shown.size()));
  for (const auto& agent : fleet) {
    if (!shown.contains(agent.id)) continue;
    const std::string id = agent.id.str();
    page.add("creel_agent_phase", {id, to_string(agent.phase)}, 1);
    page.add("creel_agent_messages", {id}, static_cast<double>(agent.messages));
    page.add("creel_agent_messages_failed", {id}, static_cast<double>(agent.messages_failed));
  }
  for (const auto& [agent, sample] : samples) {
    if (!shown.contains(agent)) continue;
    const Metrics::Values label{agent.str()};
    page.add("creel_agent_cpu_seconds_total", label, sample.cpu_seconds_total);
    page.add("creel_agent_memory_working_set_bytes", label, static_cast<double>(sample.memory_bytes));
    page.add("creel_agent_memory_limit_bytes", label, static_cast<double>(sample.memory_limit_bytes));
    page.add("creel_agent_processes", label, static_cast<double>(sample.pids));
    if (!sample.network_known) continue;
    page.add("creel_agent_network_receive_bytes_total", label, static_cast<double>(sample.network_rx_bytes));
    page.add("creel_agent_network_transmit_bytes_total", label, static_cast<double>(sample.network_tx_bytes));
  }
}

}  // namespace creel
