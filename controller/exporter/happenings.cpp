#include "controller/exporter/happenings.hpp"

#include <utility>

namespace creel {
namespace {

// Exits::cause, as labels are written.
std::string exit_label(const std::string& cause) {
  if (cause == "OOMKilled") return "oom-killed";
  if (cause == "ConfigRefused") return "config-refused";
  return "exited";
}

// Transcripts name platforms as the agent's software does: others than these are one.
std::string platform_label(const std::string& platform) {
  for (const char* known : {"api", "telegram", "discord", "whatsapp", "slack", "signal", "webchat"})
    if (platform == known) return platform;
  return "other";
}

}  // namespace

void Happenings::lead() {
  for (const auto end :
       {PassEnd::converged, PassEnd::acted, PassEnd::waiting, PassEnd::failed, PassEnd::forgotten, PassEnd::abandoned})
    metrics_.expect("creel_reconcile_duration_seconds", {to_string(end)});
  for (const char* cause : {"exited", "oom-killed", "config-refused", "restart", "not-ready", "paused"})
    metrics_.count("creel_agent_restarts_total", {cause}, 0);
  for (const char* outcome : {"ok", "failed"}) metrics_.count("creel_image_pulls_total", {outcome}, 0);
  metrics_.expect("creel_image_pull_duration_seconds", {});
}

void Happenings::passed(const PassReport& report, std::chrono::microseconds took) {
  metrics_.observe("creel_reconcile_duration_seconds", {to_string(report.end)}, took);
  if (report.exits > 0) metrics_.count("creel_agent_restarts_total", {exit_label(report.exit_cause)}, report.exits);
}

void Happenings::acted(const Action& action, bool succeeded, std::chrono::microseconds took) {
  const char* kind = operation_name(action.operation);
  for (const bool outcome : {true, false})
    metrics_.count("creel_actions_total", {kind, to_string(action.why), outcome ? "ok" : "failed"},
                   outcome == succeeded ? 1 : 0);
  metrics_.observe("creel_action_duration_seconds", {kind}, took);
  if (succeeded && std::holds_alternative<op::RestartWorkload>(action.operation))
    metrics_.count("creel_agent_restarts_total", {to_string(action.why)});
}

void Happenings::called_engine(const char* verb, const std::string& code, std::chrono::microseconds took) {
  metrics_.count("creel_engine_calls_total", {verb, code});
  if (code != "refused") metrics_.observe("creel_engine_call_duration_seconds", {verb}, took);
}

void Happenings::pulled(bool succeeded, std::chrono::milliseconds took) {
  metrics_.count("creel_image_pulls_total", {succeeded ? "ok" : "failed"});
  metrics_.observe("creel_image_pull_duration_seconds", {}, took);
}

void Happenings::collected(const std::string& platform, std::size_t messages) {
  metrics_.count("creel_messages_total", {platform_label(platform), "collected"}, static_cast<double>(messages));
}

Happenings::ChatDone Happenings::counting(const char* channel, ChatDone done) {
  // The HTTP client answers while it is being ended, too; the metrics are there until then.
  return [this, channel, began = std::chrono::steady_clock::now(),
          done = std::move(done)](Result<gateway::ChatReply> reply) {
    metrics_.count("creel_chats_total", {channel, reply ? "answered" : to_string(reply.error().kind)});
    metrics_.observe("creel_chat_duration_seconds", {channel}, std::chrono::steady_clock::now() - began);
    done(std::move(reply));
  };
}

}  // namespace creel
