#include "controller/core/agent.hpp"

#include <array>
#include <utility>

namespace creel {
namespace {

template <class Enum, std::size_t N>
std::optional<Enum> parse_enum(const std::array<Enum, N>& values, std::string_view text) {
  for (Enum value : values)
    if (text == to_string(value)) return value;
  return std::nullopt;
}

}  // namespace

const char* to_string(DesiredState state) {
  switch (state) {
    case DesiredState::running:
      return "running";
    case DesiredState::stopped:
      return "stopped";
    case DesiredState::deleted:
      return "deleted";
  }
  return "running";
}

std::optional<DesiredState> parse_desired_state(std::string_view text) {
  return parse_enum(std::array{DesiredState::running, DesiredState::stopped, DesiredState::deleted}, text);
}

const char* to_string(ImageState state) {
  switch (state) {
    case ImageState::unknown:
      return "unknown";
    case ImageState::absent:
      return "absent";
    case ImageState::pulling:
      return "pulling";
    case ImageState::present:
      return "present";
    case ImageState::failed:
      return "failed";
  }
  return "unknown";
}

const char* to_string(ContainerState state) {
  switch (state) {
    case ContainerState::created:
      return "created";
    case ContainerState::running:
      return "running";
    case ContainerState::restarting:
      return "restarting";
    case ContainerState::paused:
      return "paused";
    case ContainerState::exited:
      return "exited";
    case ContainerState::dead:
      return "dead";
    case ContainerState::removing:
      return "removing";
  }
  return "dead";
}

const char* to_string(UpdateStep step) {
  switch (step) {
    case UpdateStep::none:
      return "";
    case UpdateStep::pulling:
      return "Pulling";
    case UpdateStep::backing_up:
      return "BackingUp";
    case UpdateStep::trying:
      return "Trying";
    case UpdateStep::rolling_back:
      return "RollingBack";
  }
  return "";
}

std::optional<UpdateStep> parse_update_step(std::string_view text) {
  return parse_enum(std::array{UpdateStep::none, UpdateStep::pulling, UpdateStep::backing_up, UpdateStep::trying,
                               UpdateStep::rolling_back},
                    text);
}

const char* to_string(UpdateOutcome outcome) {
  switch (outcome) {
    case UpdateOutcome::none:
      return "";
    case UpdateOutcome::committed:
      return "Committed";
    case UpdateOutcome::rolled_back:
      return "RolledBack";
    case UpdateOutcome::given_up:
      return "GivenUp";
  }
  return "";
}

std::optional<UpdateOutcome> parse_update_outcome(std::string_view text) {
  return parse_enum(
      std::array{UpdateOutcome::none, UpdateOutcome::committed, UpdateOutcome::rolled_back, UpdateOutcome::given_up},
      text);
}

const char* to_string(Phase phase) {
  switch (phase) {
    case Phase::pending:
      return "Pending";
    case Phase::pulling:
      return "Pulling";
    case Phase::creating:
      return "Creating";
    case Phase::starting:
      return "Starting";
    case Phase::ready:
      return "Ready";
    case Phase::unready:
      return "Unready";
    case Phase::stopping:
      return "Stopping";
    case Phase::stopped:
      return "Stopped";
    case Phase::crash_looping:
      return "CrashLooping";
    case Phase::failed:
      return "Failed";
    case Phase::deleting:
      return "Deleting";
    case Phase::deleted:
      return "Deleted";
    case Phase::unknown:
      return "Unknown";
  }
  return "Unknown";
}

std::optional<Phase> parse_phase(std::string_view text) {
  return parse_enum(std::array{Phase::pending, Phase::pulling, Phase::creating, Phase::starting, Phase::ready,
                               Phase::unready, Phase::stopping, Phase::stopped, Phase::crash_looping, Phase::failed,
                               Phase::deleting, Phase::deleted, Phase::unknown},
                    text);
}

const char* status_word(Phase phase) {
  switch (phase) {
    case Phase::pending:
    case Phase::pulling:
    case Phase::creating:
      return "provisioning";
    case Phase::starting:  // the container runs; whether the gateway answers yet is the condition Ready
    case Phase::ready:
    case Phase::stopping:
      return "running";
    case Phase::stopped:
    case Phase::deleting:
    case Phase::deleted:
      return "stopped";
    case Phase::unready:
    case Phase::crash_looping:
    case Phase::failed:
      return "error";
    case Phase::unknown:
      return "error";  // never observed: an unknown keeps the phase last seen, see status.hpp
  }
  return "error";
}

}  // namespace creel
