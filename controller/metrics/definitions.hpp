// Definitions: every metric that Creel exports, in one table: name, type, labels, meaning, and who exports it. Nothing
// is counted that is not in it: a name that is not there does not compile. monitoring/metrics.md shows it to people.
//
// Names follow Prometheus: one prefix, base units, `_total` on counters, `_seconds`, `_bytes`. Labels take values that
// this program knows beforehand (routes, kinds, causes), `agent` alone excepted, which is capped. No label is called
// `instance` or `job`: those are the scraper's.
//
// A metric that nobody measured is absent, never 0.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace creel {

enum class MetricType { counter, gauge, histogram };
enum class ExportedBy {
  each,    // every controller, of itself
  leader,  // only the one that leads, as long as it does; counters stay with who has counted
};

struct Metric {
  const char* name;
  MetricType type;
  const char* labels;  // "kind cause": in the order in which values are given; "" = none
  ExportedBy by;
  const char* help;
};

inline constexpr std::array kMetrics{
    Metric{"creel_action_duration_seconds", MetricType::histogram, "kind", ExportedBy::leader,
           "How long actions on the runtime took."},
    Metric{"creel_actions_total", MetricType::counter, "kind cause outcome", ExportedBy::leader,
           "Actions on the runtime by what was done, why, and whether it succeeded (ok, failed)."},
    Metric{"creel_agent_cpu_seconds_total", MetricType::counter, "agent", ExportedBy::leader,
           "Processor time that the agent has used since its container started."},
    Metric{"creel_agent_memory_limit_bytes", MetricType::gauge, "agent", ExportedBy::leader,
           "Memory that the agent may use."},
    Metric{"creel_agent_memory_working_set_bytes", MetricType::gauge, "agent", ExportedBy::leader,
           "Memory in use that cannot be dropped at once."},
    Metric{"creel_agent_messages", MetricType::gauge, "agent", ExportedBy::leader,
           "Messages of people to the agent that are kept."},
    Metric{"creel_agent_messages_failed", MetricType::gauge, "agent", ExportedBy::leader,
           "Of the kept messages of people to the agent, those that it did not answer."},
    Metric{"creel_agent_network_receive_bytes_total", MetricType::counter, "agent", ExportedBy::leader,
           "Bytes received since the container started, without the loopback interface."},
    Metric{"creel_agent_network_transmit_bytes_total", MetricType::counter, "agent", ExportedBy::leader,
           "Bytes sent since the container started, without the loopback interface."},
    Metric{"creel_agent_phase", MetricType::gauge, "agent phase", ExportedBy::leader,
           "1 for the phase that the agent is in."},
    Metric{"creel_agent_processes", MetricType::gauge, "agent", ExportedBy::leader,
           "Processes and threads of the agent."},
    Metric{"creel_agent_restarts_total", MetricType::counter, "cause", ExportedBy::leader,
           "Runs of agents that began anew: the process ended by itself (exited, oom-killed, config-refused) and the "
           "engine restarted it, or Creel did, by why."},
    Metric{"creel_agents", MetricType::gauge, "phase", ExportedBy::leader, "Agents by phase."},
    Metric{"creel_agents_drifted", MetricType::gauge, "", ExportedBy::leader,
           "Agents that are not as their owners wish: something is left to do for them, or to wait for."},
    Metric{"creel_agents_hindered", MetricType::gauge, "cause", ExportedBy::leader,
           "Agents that are not as their owners wish, by what stands in the way."},
    Metric{"creel_agents_snapshot_age_seconds", MetricType::gauge, "", ExportedBy::leader,
           "How old the numbers of agents are (creel_agents, creel_agents_drifted, creel_agents_hindered, "
           "creel_agent_phase)."},
    Metric{"creel_agents_without_series", MetricType::gauge, "", ExportedBy::leader,
           "Agents that have no series of their own, because there are more than CREEL_METRICS_AGENTS."},
    Metric{"creel_build_info", MetricType::gauge, "version", ExportedBy::each, "1, with the version that runs."},
    Metric{"creel_chat_duration_seconds", MetricType::histogram, "channel", ExportedBy::each,
           "From a message's sending to an agent's gateway to its reply or error."},
    Metric{"creel_chats_talking", MetricType::gauge, "", ExportedBy::each, "Chats that an agent is at work on."},
    Metric{"creel_chats_total", MetricType::counter, "channel outcome", ExportedBy::each,
           "Messages sent to agents' gateways by what came of it: answered, or the kind of error."},
    Metric{"creel_chats_waiting", MetricType::gauge, "", ExportedBy::each, "Chats that wait for their turn."},
    Metric{"creel_database_connection_waits_total", MetricType::counter, "", ExportedBy::each,
           "How often a free connection of the pool had to be waited for."},
    Metric{"creel_database_connections_in_use", MetricType::gauge, "", ExportedBy::each,
           "Connections of the pool in use."},
    Metric{"creel_database_connections_max", MetricType::gauge, "", ExportedBy::each, "Connections the pool may have."},
    Metric{"creel_database_up", MetricType::gauge, "", ExportedBy::each,
           "1 while PostgreSQL takes this controller's queries, asked every five seconds."},
    Metric{"creel_egress_denied_total", MetricType::counter, "by", ExportedBy::leader,
           "Tries of agents to reach a name that is not on their egress list, by what refused them (dns, tls, http)."},
    Metric{"creel_engine_breaker_open", MetricType::gauge, "", ExportedBy::each,
           "1 while this controller's calls to the engine fail at once, because it did not answer before."},
    Metric{"creel_engine_call_duration_seconds", MetricType::histogram, "verb", ExportedBy::each,
           "Calls to the engine; of streams (logs, events, pulls, archives that are read) until they begin."},
    Metric{"creel_engine_calls_total", MetricType::counter, "verb code", ExportedBy::each,
           "Calls to the engine by HTTP status, or why there was none (timeout, unavailable, cancelled); refused: not "
           "made, because the breaker is open."},
    Metric{"creel_engine_up", MetricType::gauge, "", ExportedBy::leader,
           "1 while the engine answers and its events are listened to."},
    Metric{"creel_event_readers", MetricType::gauge, "", ExportedBy::each, "Open streams of events."},
    Metric{"creel_fence_in_force", MetricType::gauge, "", ExportedBy::leader,
           "1 while agents are kept from the host and its networks."},
    Metric{"creel_fence_wanted", MetricType::gauge, "", ExportedBy::leader, "1 unless CREEL_FENCE=off."},
    Metric{"creel_gateway_tunnels", MetricType::gauge, "", ExportedBy::each,
           "Open tunnels to agents, such as WebSockets."},
    Metric{"creel_http_connections", MetricType::gauge, "", ExportedBy::each, "Open client connections."},
    Metric{"creel_http_request_duration_seconds", MetricType::histogram, "method route", ExportedBy::each,
           "From the whole request to the answer's first byte, by the route's pattern."},
    Metric{"creel_http_requests_total", MetricType::counter, "method route code", ExportedBy::each,
           "Requests answered, by the route's pattern and the status."},
    Metric{"creel_image_pull_duration_seconds", MetricType::histogram, "", ExportedBy::leader,
           "Pulls of images, whole."},
    Metric{"creel_image_pulls_total", MetricType::counter, "outcome", ExportedBy::leader,
           "Pulls of images that ended (ok, failed)."},
    Metric{"creel_image_pulls_under_way", MetricType::gauge, "", ExportedBy::leader,
           "Pulls of images that run or wait for their turn."},
    Metric{"creel_leader", MetricType::gauge, "", ExportedBy::each, "1 while this controller holds the lease."},
    Metric{"creel_leader_term", MetricType::gauge, "", ExportedBy::leader,
           "Term of the lease, which grows with every change of the leader."},
    Metric{"creel_messages_total", MetricType::counter, "platform outcome", ExportedBy::each,
           "Messages of people to agents by what became of them: received, answered, failed, refused (too many wait), "
           "sent (parts of replies to WhatsApp), collected (found in an agent's own transcripts)."},
    Metric{"creel_process_cpu_seconds_total", MetricType::counter, "", ExportedBy::each,
           "Processor time that the controller has used."},
    Metric{"creel_process_open_fds", MetricType::gauge, "", ExportedBy::each,
           "File descriptors that the controller has open."},
    Metric{"creel_process_resident_memory_bytes", MetricType::gauge, "", ExportedBy::each,
           "The controller's own memory."},
    Metric{"creel_process_start_time_seconds", MetricType::gauge, "", ExportedBy::each,
           "When the controller started, as Unix time."},
    Metric{"creel_queue_depth", MetricType::gauge, "state", ExportedBy::leader,
           "Agents to be looked at: due now, or delayed until their time comes."},
    Metric{"creel_queue_oldest_age_seconds", MetricType::gauge, "", ExportedBy::leader,
           "How long the one that has waited longest has been due."},
    Metric{"creel_reconcile_duration_seconds", MetricType::histogram, "outcome", ExportedBy::leader,
           "Looks at one agent: it was as wished (converged), was acted on (acted), is waited for (waiting), something "
           "failed (failed), its row was dropped (forgotten), or the look was given up (abandoned)."},
    Metric{"creel_stats_round_duration_seconds", MetricType::gauge, "", ExportedBy::leader,
           "How long the last round of the stats sampler over all agents took."},
    Metric{"creel_stats_round_failures", MetricType::gauge, "", ExportedBy::leader,
           "Agents that the last round could not measure."},
    Metric{"creel_stats_sample_age_seconds", MetricType::gauge, "", ExportedBy::leader,
           "Age of the newest sample of the agent whose is oldest."},
    Metric{"creel_whatsapp_waiting", MetricType::gauge, "", ExportedBy::leader,
           "Messages for agents and parts of replies that are not done."},
};

// One of kMetrics, by its name.
class MetricName {
 public:
  // By its place, not its address: what looks at addresses for sanitizers is no constant expression to this compiler.
  consteval MetricName(const char* name) {
    while (index_ < kMetrics.size() && std::string_view{kMetrics[index_].name} != name) ++index_;
    if (index_ == kMetrics.size()) throw "a metric of this name is not defined";
  }
  const Metric& operator*() const { return kMetrics[index_]; }
  const Metric* operator->() const { return &kMetrics[index_]; }

 private:
  std::size_t index_ = 0;
};

const char* to_string(MetricType type);
std::vector<std::string> label_names(const Metric& metric);
// kMetrics for people: a table in Markdown, one row a metric.
std::string metrics_table();

}  // namespace creel
