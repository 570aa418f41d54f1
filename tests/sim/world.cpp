#include "tests/sim/world.hpp"

#include <algorithm>

namespace creel::sim {
namespace {

constexpr milliseconds kHang{60'000};      // the deadline of a call
constexpr milliseconds kBusySpan{10'000};  // in which
constexpr int kBusyPasses = 200;           // are too many for one agent
constexpr const char* kRegistry[] = {"agent:1", "agent:2", "agent:3", "agent:exiting", "agent:unready"};

bool writes_data(const std::string& call) {
  for (const char* prefix : {"deliver-files", "create.files", "create.rest", "clear-memory", "back-up", "restore",
                             "remove-volume", "remove-backup"})
    if (call.starts_with(prefix)) return true;
  return false;
}

}  // namespace

void Counts::add(const Counts& more) {
  histories += more.histories;
  passes += more.passes;
  engine_calls += more.engine_calls;
  statements += more.statements;
  controllers += more.controllers;
  for (std::size_t i = 0; i < kWhats; ++i) took_place[i] += more.took_place[i];
  longest_calm = std::max(longest_calm, more.longest_calm);
}

World::World(const Script& script, bool tells)
    : now(*parse_rfc3339("2026-03-19T00:00:00Z")),
      engine([this] { return now; }),
      owners(engine, store),
      watch(engine, store, owners),
      script_(script),
      tells_(tells),
      random_(script.seed),
      next_step_at_(now),
      engine_back_(now),
      store_back_(now),
      registry_back_(now),
      disk_back_(now),
      fence_back_(now),
      hints_back_(now),
      hints_single_(now) {
  for (const char* image : kRegistry) engine.pullable.insert(image);
  engine.unready = {kUnready};
  engine.digests = random_.chance(2);
  engine.pull_time = milliseconds{random_.below(3) * 1'500};
  engine.ready_after = milliseconds{400 + random_.below(3) * 400};  // not before it has read its configuration
  if (random_.chance(2)) engine.images.insert(kFirstImage);
  engine.fault = [this](const std::string& call) { return call_begins(call); };
  engine.changed = [this](const AgentId& id) { hint(id); };
  if (!script.steps.empty()) next_step_at_ = now + script.steps[0].after;
  store.term = 0;
  counts.histories = 1;
  lead_anew();
}

World::~World() = default;

void World::tell(const std::string& line) {
  if (!tells_ || line == last_told_) return;
  last_told_ = line;
  story += to_rfc3339(now).substr(5) + "  " + line + "\n";
}

std::optional<Violation> World::run() {
  while (!stopped() && next_step_ < script_.steps.size()) live_until(next_step_at_ + milliseconds{1});
  if (!stopped()) live_until(now + milliseconds{1'000});
  if (!stopped()) calm_down();
  return watch.violation();
}

// --- time ---

void World::later(milliseconds delay, std::function<void()> what) { agenda_.emplace(now + delay, std::move(what)); }

TimePoint World::next_event() const {
  TimePoint next = now + std::chrono::hours{1'000};
  if (next_step_ < script_.steps.size()) next = std::min(next, next_step_at_);
  if (!agenda_.empty()) next = std::min(next, agenda_.begin()->first);
  if (const auto at = engine.next_tick()) next = std::min(next, *at);
  if (const auto at = owners.next_deed()) next = std::min(next, *at);
  return next;
}

void World::happen_what_is_due() {
  engine.disk_full = now < disk_back_;
  engine.fenced = now >= fence_back_;
  engine.tick();
  owners.run_processes(now);
  while (!agenda_.empty() && agenda_.begin()->first <= now) {
    const auto what = std::move(agenda_.begin()->second);
    agenda_.erase(agenda_.begin());
    what();
  }
  while (next_step_ < script_.steps.size() && next_step_at_ <= now) {
    const Step step = script_.steps[next_step_++];
    if (next_step_ < script_.steps.size()) next_step_at_ += script_.steps[next_step_].after;
    take_place(step);
  }
}

void World::pass_time(milliseconds duration) {
  const TimePoint end = now + duration;
  while (!stopped()) {
    const TimePoint next = std::min(end, std::max(next_event(), now + milliseconds{1}));
    if (next > end) break;
    now = next;
    happen_what_is_due();
    if (now >= end) break;
  }
}

void World::live_until(TimePoint end) {
  ++depth_;
  while (now < end && !stopped()) {
    // Those that are in the middle of a pass further down are still needed.
    if (depth_ == 1) std::erase_if(controllers_, [&](const auto& each) { return each.get() != leading_; });
    if (leading_ != nullptr && leading_->work()) continue;
    TimePoint next = std::min(next_event(), end);
    if (leading_ != nullptr) next = std::min(next, leading_->next_due());
    pass_time(std::max(next - now, milliseconds{1}));
  }
  --depth_;
}

// --- controllers ---

void World::lead_anew() {
  ++store.term;
  ++counts.controllers;
  // What a process knows of its pulls dies with it, and they with it.
  engine.pulling.clear();
  engine.pulls.clear();
  engine.pull_errors.clear();
  controllers_.push_back(std::make_unique<Controller>(*this, store.term));
  leading_ = controllers_.back().get();
  tell("term " + std::to_string(store.term) + " begins");
}

void World::kill(Controller& controller) {
  tell("the controller of term " + std::to_string(controller.term()) + " dies");
  const bool led = leading_ == &controller;
  controller.die();
  if (!led) return;
  leading_ = nullptr;
  later(milliseconds{random_.between(100, 8'000)}, [this] {
    if (leading_ == nullptr) lead_anew();
  });
}

// The lease goes to another while the present one is in the middle of something.
void World::change_leader(milliseconds lasts) {
  if (leading_ == nullptr) return;
  leading_->depose();
  leading_ = nullptr;
  lead_anew();
  if (lasts > milliseconds{0} && depth_ < 3) live_until(now + lasts);
}

void World::hint(const AgentId& id) {
  if (leading_ == nullptr || now < hints_back_) return;
  leading_->hint(id);
  if (now < hints_single_)
    later(milliseconds{random_.below(3'000)}, [this, id] {
      if (leading_ != nullptr) leading_->hint(id);
    });
}

void World::pass_begins(const AgentId& id) {
  ++counts.passes;
  auto& [since, passes] = busy_[id];
  if (now - since > kBusySpan) {
    since = now;
    passes = 0;
  }
  if (++passes > kBusyPasses)
    watch.say("no-busy-loop", std::to_string(passes) + " passes for agent " + id.str() + " within 10 s");
}

// --- what calls and statements meet ---

// The step, if one's turn has come with this call or statement.
std::optional<Step> World::strike(bool call, bool effects) {
  std::optional<Step> struck;
  for (auto& each : armed_) {
    const Kind kind = kind_of(each.step.what);
    const bool of_calls =
        kind == Kind::call || each.step.what == What::dies_before_call || each.step.what == What::dies_after_call;
    if (kind != Kind::leader && of_calls != call) continue;
    if (each.step.effects && !effects) continue;
    if (--each.left <= 0 && !struck) struck = each.step;
  }
  std::erase_if(armed_, [](const Armed& each) { return each.left <= 0; });
  if (struck) {
    ++counts.took_place[static_cast<std::size_t>(struck->what)];
    tell(std::string{"** "} + to_string(struck->what));
  }
  return struck;
}

SimFault World::call_begins(const std::string& call) {
  if (caller_ == nullptr) return SimFault::none;  // the simulation itself looks
  Controller* const caller = caller_;
  ++counts.engine_calls;
  const int boots = boots_;
  pass_time(milliseconds{random_.between(1, 12)});
  if (now < engine_back_ || boots != boots_) return SimFault::unavailable;
  // What is on its way already takes place; a part that would come after it does not: the process is dead, or may not
  // act any more.
  const bool part = call.find('.') != std::string::npos;
  if (stopped() || !caller->leads()) return part ? SimFault::unavailable : SimFault::none;
  const bool looks = call.starts_with("observe") || call == "probe" || call == "logs" || call == "objects";
  const auto step = strike(true, !looks);
  if (!step) return SimFault::none;
  const SimFault fault = fault_of(*step, call, *caller);
  if (part && !caller->leads()) return SimFault::unavailable;
  return boots == boots_ || fault == SimFault::timeout ? fault : SimFault::unavailable;
}

SimFault World::fault_of(const Step& step, const std::string& call, Controller& caller) {
  switch (step.what) {
    case What::call_refused:
      return SimFault::refused;
    case What::call_failed_after:
      return SimFault::failed_after;
    case What::call_answer_lost:
      answer_delay_ = kHang;
      return SimFault::lost_answer;
    case What::call_hangs:
      pass_time(kHang);
      return SimFault::timeout;
    case What::call_begins_late:
      pass_time(step.lasts);
      return SimFault::none;
    case What::call_answers_late:
      answer_delay_ = step.lasts;
      return SimFault::none;
    case What::dies_before_call:
      kill(caller);
      return SimFault::timeout;
    case What::dies_after_call:
      caller.die_after_this();
      return SimFault::none;
    case What::leader_changes:
      change_leader(milliseconds{0});
      return SimFault::none;
    case What::leader_is_paused:
      if (writes_data(call))
        leader_leaves_ = step;  // what was sent before it; see README.md for what comes after it
      else
        change_leader(step.lasts);
      return SimFault::none;
    default:
      return SimFault::none;
  }
}

void World::answer_travels() {
  const milliseconds delay = std::exchange(answer_delay_, milliseconds{0});
  if (delay > milliseconds{0}) pass_time(delay);
  if (const auto step = std::exchange(leader_leaves_, std::nullopt))
    change_leader(step->what == What::leader_is_paused ? step->lasts : milliseconds{0});
}

World::Statement World::statement_begins(bool writes) {
  ++counts.statements;
  Controller* const caller = caller_;
  pass_time(milliseconds{random_.between(1, 4)});
  if (stopped() || now < store_back_) return Statement::fails;
  const auto step = strike(false, writes);
  if (!step) return Statement::works;
  switch (step->what) {
    case What::statement_answer_lost:
      return Statement::answer_lost;
    case What::dies_before_statement:
      kill(*caller);
      return Statement::fails;
    case What::dies_after_statement:
      caller->die_after_this();
      return Statement::works;
    case What::leader_changes:
    case What::leader_is_paused:
      leader_leaves_ = step;  // while the answer is on its way
      return Statement::works;
    default:
      return Statement::fails;
  }
}

}  // namespace creel::sim
