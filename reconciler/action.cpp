#include "reconciler/action.hpp"

namespace creel {
namespace {

struct Name {
  const char* operator()(const op::PullImage&) const { return "pull-image"; }
  const char* operator()(const op::CreateWorkload&) const { return "create"; }
  const char* operator()(const op::DeliverFiles&) const { return "deliver-files"; }
  const char* operator()(const op::StartWorkload&) const { return "start"; }
  const char* operator()(const op::StopWorkload&) const { return "stop"; }
  const char* operator()(const op::RestartWorkload&) const { return "restart"; }
  const char* operator()(const op::RemoveWorkload&) const { return "remove"; }
  const char* operator()(const op::RemoveStorage&) const { return "remove-volume"; }
  const char* operator()(const op::ClearStorage&) const { return "clear-memory"; }
  const char* operator()(const op::BackUpStorage&) const { return "back-up"; }
  const char* operator()(const op::RestoreStorage&) const { return "restore"; }
  const char* operator()(const op::RemoveBackup&) const { return "remove-backup"; }
};

}  // namespace

const char* operation_name(const Operation& operation) { return std::visit(Name{}, operation); }

const char* to_string(Why why) {
  switch (why) {
    case Why::created:
      return "created";
    case Why::gone:
      return "container-gone";
    case Why::spec_changed:
      return "spec-changed";
    case Why::altered:
      return "altered";
    case Why::paused:
      return "paused";
    case Why::dead:
      return "dead";
    case Why::strays:
      return "strays";
    case Why::not_running:
      return "not-running";
    case Why::start_failed:
      return "start-failed";
    case Why::not_ready:
      return "not-ready";
    case Why::exiting:
      return "exiting";
    case Why::image_missing:
      return "image-missing";
    case Why::config_changed:
      return "config-changed";
    case Why::stop:
      return "stop";
    case Why::restart:
      return "restart";
    case Why::repair:
      return "repair";
    case Why::reset:
      return "reset";
    case Why::update:
      return "update";
    case Why::roll_back:
      return "roll-back";
    case Why::deleted:
      return "deleted";
  }
  return "unknown";
}

std::string to_string(const Plan& plan) {
  std::string out;
  for (const auto& action : plan.actions) {
    if (!out.empty()) out += '\n';
    out += std::string{operation_name(action.operation)} + ": " + action.cause;
  }
  if (plan.forget) out += (out.empty() ? "" : "\n") + std::string{"forget: container and volume are gone"};
  if (!plan.waiting_for.empty()) out += (out.empty() ? "" : "\n") + std::string{"wait: "} + plan.waiting_for;
  return out.empty() ? "converged" : out;
}

}  // namespace creel
