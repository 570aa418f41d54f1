// A script: what owners wish and what goes wrong, as a list of steps that a seed makes and that can be cut down.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controller/core/clock.hpp"

namespace creel::sim {

enum class What {
  // wishes
  provision,
  start,
  stop,
  restart,
  repair,
  reset_memory,
  configure,
  configure_badly,
  change_plan,
  list_egress,
  update,
  update_to_exiting,
  update_to_unready,
  update_to_missing,
  remove,
  purge,
  // what happens to the engine and its containers
  crash,
  out_of_memory,
  gateway_hangs,
  removed_by_hand,
  stopped_by_hand,
  started_by_hand,
  paused_by_hand,
  altered_by_hand,
  images_pruned,
  name_taken,
  disk_full,
  fence_down,
  registry_away,
  engine_away,
  daemon_restart,
  host_reboot,
  hints_lost,
  hints_doubled,
  // what the n-th call of the engine meets
  call_refused,
  call_failed_after,
  call_answer_lost,
  call_hangs,
  call_begins_late,
  call_answers_late,
  // what the n-th statement of the store meets
  store_away,
  statement_fails,
  statement_answer_lost,
  // who reconciles
  dies_before_call,
  dies_after_call,
  dies_before_statement,
  dies_after_statement,
  leader_changes,
  leader_is_paused,
};
constexpr std::size_t kWhats = static_cast<std::size_t>(What::leader_is_paused) + 1;

enum class Kind { wish, world, call, statement, death, leader };

const char* to_string(What what);
Kind kind_of(What what);
const char* to_string(Kind kind);

struct Step {
  milliseconds after{0};  // the step before
  What what;
  int agent = 0;          // slot: 0 …
  int nth = 1;            // call or statement, from this step on
  bool effects = false;   // only calls that change something are counted
  milliseconds lasts{0};  // of outages and pauses
};

struct Script {
  std::uint64_t seed = 0;  // of what is not in the steps: latencies
  int agents = 1;
  std::vector<Step> steps;
};

Script make_script(std::uint64_t seed);
// A life without faults in which an agent meets every wish, for the cut points.
Script scripted_life();
std::string to_string(const Step& step);

}  // namespace creel::sim
