#include "tests/sim/script.hpp"

#include <array>

#include "tests/sim/random.hpp"

namespace creel::sim {
namespace {

struct Row {
  What what;
  const char* name;
  Kind kind;
  int weight;  // among its kind
};

// In the order of What.
constexpr std::array<Row, kWhats> kTable{{
    {What::provision, "provision", Kind::wish, 4},
    {What::start, "start", Kind::wish, 8},
    {What::stop, "stop", Kind::wish, 8},
    {What::restart, "restart", Kind::wish, 8},
    {What::repair, "repair", Kind::wish, 6},
    {What::reset_memory, "reset-memory", Kind::wish, 8},
    {What::configure, "configure", Kind::wish, 8},
    {What::configure_badly, "configure-badly", Kind::wish, 4},
    {What::change_plan, "change-plan", Kind::wish, 6},
    {What::list_egress, "list-egress", Kind::wish, 5},
    {What::update, "update", Kind::wish, 10},
    {What::update_to_exiting, "update-to-exiting", Kind::wish, 5},
    {What::update_to_unready, "update-to-unready", Kind::wish, 5},
    {What::update_to_missing, "update-to-missing", Kind::wish, 3},
    {What::remove, "delete", Kind::wish, 3},
    {What::purge, "delete-with-purge", Kind::wish, 3},
    {What::crash, "crash", Kind::world, 6},
    {What::out_of_memory, "out-of-memory", Kind::world, 4},
    {What::gateway_hangs, "gateway-hangs", Kind::world, 4},
    {What::removed_by_hand, "removed-by-hand", Kind::world, 6},
    {What::stopped_by_hand, "stopped-by-hand", Kind::world, 5},
    {What::started_by_hand, "started-by-hand", Kind::world, 5},
    {What::paused_by_hand, "paused-by-hand", Kind::world, 4},
    {What::altered_by_hand, "altered-by-hand", Kind::world, 4},
    {What::images_pruned, "images-pruned", Kind::world, 4},
    {What::name_taken, "name-taken", Kind::world, 3},
    {What::disk_full, "disk-full", Kind::world, 4},
    {What::fence_down, "fence-down", Kind::world, 4},
    {What::registry_away, "registry-away", Kind::world, 3},
    {What::engine_away, "engine-away", Kind::world, 4},
    {What::daemon_restart, "daemon-restart", Kind::world, 4},
    {What::host_reboot, "host-reboot", Kind::world, 4},
    {What::hints_lost, "hints-lost", Kind::world, 3},
    {What::hints_doubled, "hints-doubled", Kind::world, 2},
    {What::call_refused, "call-refused", Kind::call, 4},
    {What::call_failed_after, "call-failed-after", Kind::call, 4},
    {What::call_answer_lost, "call-answer-lost", Kind::call, 6},
    {What::call_hangs, "call-hangs", Kind::call, 4},
    {What::call_begins_late, "call-begins-late", Kind::call, 3},
    {What::call_answers_late, "call-answers-late", Kind::call, 5},
    {What::store_away, "store-away", Kind::statement, 2},
    {What::statement_fails, "statement-fails", Kind::statement, 4},
    {What::statement_answer_lost, "statement-answer-lost", Kind::statement, 5},
    {What::dies_before_call, "dies-before-call", Kind::death, 4},
    {What::dies_after_call, "dies-after-call", Kind::death, 5},
    {What::dies_before_statement, "dies-before-statement", Kind::death, 4},
    {What::dies_after_statement, "dies-after-statement", Kind::death, 4},
    {What::leader_changes, "leader-changes", Kind::leader, 3},
    {What::leader_is_paused, "leader-is-paused", Kind::leader, 3},
}};

const Row& row(What what) { return kTable[static_cast<std::size_t>(what)]; }

What pick(Random& random, Kind kind) {
  int all = 0;
  for (const Row& each : kTable)
    if (each.kind == kind) all += each.weight;
  int at = random.below(all);
  for (const Row& each : kTable) {
    if (each.kind != kind) continue;
    if (at < each.weight) return each.what;
    at -= each.weight;
  }
  return What::start;
}

}  // namespace

const char* to_string(What what) { return row(what).name; }
Kind kind_of(What what) { return row(what).kind; }

const char* to_string(Kind kind) {
  constexpr std::array names{"wish", "world", "call", "statement", "death", "leader"};
  return names[static_cast<std::size_t>(kind)];
}

Script make_script(std::uint64_t seed) {
  Random random{seed};
  Script script;
  script.seed = random.next();
  script.agents = std::array{1, 1, 1, 2, 2, 3, 4}[static_cast<std::size_t>(random.below(7))];
  for (int agent = 0; agent < script.agents; ++agent)
    script.steps.push_back({milliseconds{random.below(500)}, What::provision, agent});
  // A script with few kinds of trouble goes deeper into each than one that has them all at once.
  std::array<int, 6> weights{8, 0, 0, 0, 0, 0};
  for (std::size_t kind = 1; kind < weights.size(); ++kind) weights[kind] = random.chance(2) ? random.between(1, 5) : 0;
  int all = 0;
  for (const int weight : weights) all += weight;
  const int steps = random.between(4, 30);
  const int longest = std::array{300, 3'000, 20'000}[static_cast<std::size_t>(random.below(3))];
  for (int i = 0; i < steps; ++i) {
    int at = random.below(all);
    std::size_t kind = 0;
    while (at >= weights[kind]) at -= weights[kind++];
    Step step;
    step.after = milliseconds{random.chance(8) ? random.below(60'000) : random.below(longest)};
    step.what = pick(random, static_cast<Kind>(kind));
    step.agent = random.below(script.agents);
    step.nth = random.between(1, random.chance(2) ? 4 : 16);
    step.effects = !random.chance(4);
    step.lasts = milliseconds{random.between(100, random.chance(3) ? 90'000 : 9'000)};
    script.steps.push_back(step);
  }
  return script;
}

Script scripted_life() {
  Script life;
  life.seed = 1;
  constexpr std::array wishes{What::provision,
                              What::configure,
                              What::change_plan,
                              What::restart,
                              What::stop,
                              What::start,
                              What::update,
                              What::update_to_exiting,
                              What::update_to_unready,
                              What::repair,
                              What::reset_memory,
                              What::configure_badly,
                              What::update_to_missing,
                              What::configure,
                              What::remove,
                              What::provision,
                              What::purge};
  for (const What what : wishes) life.steps.push_back({milliseconds{20'000}, what});
  return life;
}

std::string to_string(const Step& step) {
  std::string text = "+" + std::to_string(step.after.count()) + " ms  " + to_string(step.what);
  switch (kind_of(step.what)) {
    case Kind::wish:
    case Kind::world:
      text += "  agent " + std::to_string(step.agent);
      break;
    case Kind::call:
    case Kind::statement:
    case Kind::death:
    case Kind::leader:
      text += "  number " + std::to_string(step.nth) + (step.effects ? " that changes something" : "");
      break;
  }
  return step.lasts > milliseconds{0} ? text + "  (for " + std::to_string(step.lasts.count()) + " ms if it lasts)"
                                      : text;
}

}  // namespace creel::sim
