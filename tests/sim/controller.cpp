#include "tests/sim/controller.hpp"

#include <algorithm>

#include "reconciler/sources.hpp"
#include "tests/sim/world.hpp"

namespace creel::sim {
namespace {

constexpr milliseconds kResync{30'000};

Error gone() { return {ErrorKind::cancelled, "this controller is dead (simulated)", {}, {}}; }

}  // namespace

Controller::Controller(World& world, std::uint64_t term)
    : world_(world),
      term_(term),
      queue_([&world] { return world.now.time_since_epoch(); }),
      reconciler_({*this, *this, *this, [&world] { return world.now; }, Policy{},
                   [this] { return leads() ? std::optional{term_} : std::nullopt; }}),
      next_resync_(world.now) {}

void Controller::die() {
  dead_ = true;
  stop_.request_stop();
}

bool Controller::work() {
  if (world_.now >= next_resync_) {
    next_resync_ = world_.now + kResync;
    (void)resync(queue_, *this);
    return true;
  }
  const auto key = queue_.try_pop();
  if (!key) return false;
  pass_ = {};
  pass_.id = *key;
  world_.pass_begins(*key);
  work_on(queue_, reconciler_, *key, stop_.get_token());
  return true;
}

TimePoint Controller::next_due() const {
  const auto due = queue_.next_due();
  return due ? std::min(next_resync_, TimePoint{*due}) : next_resync_;
}

// --- the engine ---

template <class Answer>
Result<Answer> Controller::call(const std::function<Result<Answer>()>& carried_out) {
  if (dead_) return gone();
  World::Turn turn{world_, *this};
  auto answer = carried_out();
  if (dies_after_) world_.kill(*this);
  if (!dead_) world_.answer_travels();
  if (dead_) return gone();
  return answer;
}

Capabilities Controller::capabilities() const { return world_.engine.capabilities(); }

Result<Observed> Controller::observe(const AgentId& agent, const std::string& image, std::stop_token stop) {
  pass_.seen.reset();
  pass_.ready.reset();
  pass_.removed = pass_.stopped = false;
  auto seen = call<Observed>([&] { return world_.engine.observe(agent, image, stop); });
  if (seen) pass_.seen = *seen;
  return seen;
}

Result<ObservedImage> Controller::observe_image(const std::string& reference, std::stop_token stop) {
  return call<ObservedImage>([&] { return world_.engine.observe_image(reference, stop); });
}

ProbeAnswer Controller::probe(const std::string& address, const Readiness& readiness, std::stop_token stop) {
  const auto answer =
      call<ProbeAnswer>([&]() -> Result<ProbeAnswer> { return world_.engine.probe(address, readiness, stop); });
  if (!answer) return {std::nullopt, answer.error().message};
  pass_.ready = answer->ready;
  return *answer;
}

Result<std::string> Controller::apply(const Operation& operation, std::stop_token stop) {
  if (dead_) return gone();
  world_.tell(std::string{"  term "} + std::to_string(term_) + ": " + operation_name(operation));
  world_.watch.operation_begins(pass_, operation, leads(), world_.now);
  const auto done = call<std::string>([&] {
    auto result = world_.engine.apply(operation, stop);
    if (!leads() && pass_.loaded) world_.owners.of(pass_.id).late_call = true;
    world_.watch.operation_ends(operation);
    return result;
  });
  if (std::holds_alternative<op::RemoveWorkload>(operation) && done) pass_.removed = true;
  if (std::holds_alternative<op::StopWorkload>(operation) && done) pass_.stopped = true;
  if (done) pass_.done.insert(operation_name(operation));
  if (!done) world_.tell("    " + done.error().message);
  return done;
}

Result<void> Controller::watch(std::function<void()>, std::function<void(const AgentId&)>, std::stop_token) {
  return {};  // the world tells of changes by hint()
}

Result<std::vector<OwnObject>> Controller::objects(std::stop_token stop) {
  return call<std::vector<OwnObject>>([&] { return world_.engine.objects(stop); });
}

Result<std::vector<LogLine>> Controller::last_lines(const std::string& runtime_id, std::size_t count,
                                                    std::optional<TimePoint> since, std::stop_token stop) {
  return call<std::vector<LogLine>>([&] { return world_.engine.last_lines(runtime_id, count, since, stop); });
}

// --- the store ---

template <class Answer>
Result<Answer> Controller::statement(bool writes, const std::function<Result<Answer>()>& carried_out) {
  if (dead_) return gone();
  World::Turn turn{world_, *this};
  const World::Statement fate = world_.statement_begins(writes);
  if (dead_) return gone();
  const Error away{ErrorKind::unavailable, "the store is away (simulated)", {}, {}};
  if (fate == World::Statement::fails) return away;
  auto answer = carried_out();
  if (dies_after_) world_.kill(*this);
  if (!dead_) world_.answer_travels();
  if (dead_) return gone();
  if (fate == World::Statement::answer_lost) return away;
  return answer;
}

Result<std::optional<AgentRecord>> Controller::load(const AgentId& id) {
  auto loaded = statement<std::optional<AgentRecord>>(false, [&] { return world_.store.load(id); });
  if (loaded) pass_.loaded = *loaded;
  return loaded;
}

Result<std::vector<AgentId>> Controller::list() {
  return statement<std::vector<AgentId>>(false, [&] { return world_.store.list(); });
}

Result<void> Controller::record(const AgentId& id, const AgentStatus& status, const History& history,
                                const std::vector<Event>& events, std::uint64_t term) {
  if (dead_) return gone();
  world_.watch.record_begins(pass_, status, history, events);
  return statement<void>(true, [&]() -> Result<void> {
    const auto row = world_.store.rows.find(id);
    const UpdateStep before = row == world_.store.rows.end() ? UpdateStep::none : row->second.history.update.step;
    auto written = world_.store.record(id, status, history, events, term);
    if (written) {
      world_.watch.record_ends(id, before, term, world_.newest_term());
      world_.tell(std::string{"  term "} + std::to_string(term_) + ": recorded " + to_string(status.phase) + " [" +
                  status.plan + "]");
    }
    return written;
  });
}

Result<void> Controller::forget(const AgentId& id, std::uint64_t term) {
  return statement<void>(true, [&]() -> Result<void> {
    auto written = world_.store.forget(id, term);
    if (written) {
      world_.watch.record_ends(id, UpdateStep::none, term, world_.newest_term());
      world_.tell("  forgotten " + id.str());
    }
    return written;
  });
}

}  // namespace creel::sim
