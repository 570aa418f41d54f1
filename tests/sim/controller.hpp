// A controller process: the real Reconciler and WorkQueue, and between them and the world the places at which the
// process can die, be paused or lose its lease. Once it is dead nothing it calls has any effect.
#pragma once

#include <set>
#include <stop_token>

#include "reconciler/reconciler.hpp"
#include "reconciler/work_queue.hpp"
#include "tests/sim/watch.hpp"

namespace creel::sim {

class World;

class Controller final : public Runtime, public Prober, public AgentRepository {
 public:
  Controller(World& world, std::uint64_t term);

  std::uint64_t term() const { return term_; }
  bool leads() const { return !dead_ && !deposed_; }
  void die();
  void die_after_this() { dies_after_ = true; }
  void depose() { deposed_ = true; }  // its lease has run out

  void hint(const AgentId& id) { queue_.add(id, Priority::wish); }
  // Does the next thing that is due, if anything is.
  bool work();
  TimePoint next_due() const;

  Capabilities capabilities() const override;
  Result<Observed> observe(const AgentId& agent, const std::string& image, std::stop_token stop) override;
  Result<ObservedImage> observe_image(const std::string& reference, std::stop_token stop) override;
  Result<std::string> apply(const Operation& operation, std::stop_token stop) override;
  Result<void> watch(std::function<void()>, std::function<void(const AgentId&)>, std::stop_token) override;
  Result<std::vector<OwnObject>> objects(std::stop_token stop) override;
  Result<std::vector<LogLine>> last_lines(const std::string& runtime_id, std::size_t count,
                                          std::optional<TimePoint> since, std::stop_token stop) override;
  ProbeAnswer probe(const std::string& address, const Readiness& readiness, std::stop_token stop) override;

  Result<std::optional<AgentRecord>> load(const AgentId& id) override;
  Result<std::vector<std::string>> secrets(const AgentId&) override { return std::vector<std::string>{}; }
  Result<std::vector<AgentId>> list() override;
  Result<void> record(const AgentId& id, const AgentStatus& status, const History& history,
                      const std::vector<Event>& events, std::uint64_t term) override;
  Result<void> forget(const AgentId& id, std::uint64_t term) override;

 private:
  // A call of the engine, with all that may befall it.
  template <class Answer>
  Result<Answer> call(const std::function<Result<Answer>()>& carried_out);
  template <class Answer>
  Result<Answer> statement(bool writes, const std::function<Result<Answer>()>& carried_out);

  World& world_;
  const std::uint64_t term_;
  bool dead_ = false;
  bool deposed_ = false;
  bool dies_after_ = false;
  std::stop_source stop_;
  WorkQueue queue_;
  Reconciler reconciler_;
  TimePoint next_resync_;
  Pass pass_;
};

}  // namespace creel::sim
