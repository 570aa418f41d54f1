// The world of one history: virtual time, the engine, the rows, owners, and the controllers that lead one after
// another. Everything in it follows from the history alone.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "tests/sim/controller.hpp"
#include "tests/sim/random.hpp"
#include "tests/sim/script.hpp"

namespace creel::sim {

struct Counts {
  std::uint64_t histories = 0;
  std::uint64_t passes = 0;
  std::uint64_t engine_calls = 0;
  std::uint64_t statements = 0;
  std::uint64_t controllers = 0;
  std::array<std::uint64_t, kWhats> took_place{};
  milliseconds longest_calm{0};  // until all was as wished, once nothing went wrong any more
  void add(const Counts& more);
};

class World {
 public:
  explicit World(const Script& script, bool tells = false);
  ~World();

  // To the end of the history, and on until all is as wished; nullopt: every promise held.
  std::optional<Violation> run();

  TimePoint now;
  SimRuntime engine;
  test::MemoryRepository store;
  Owners owners;
  Watch watch;
  Counts counts;
  std::string story;  // what happened, if it is to be told

  void tell(const std::string& line);
  std::uint64_t newest_term() const { return store.term; }

  // --- for controllers ---
  // While it stands, calls are those of this controller.
  class Turn {
   public:
    Turn(World& world, Controller& controller) : world_(world), before_(world.caller_) { world.caller_ = &controller; }
    ~Turn() { world_.caller_ = before_; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    World& world_;
    Controller* before_;
  };
  enum class Statement { works, fails, answer_lost };
  Statement statement_begins(bool writes);
  void answer_travels();
  void kill(Controller& controller);
  void pass_begins(const AgentId& id);

 private:
  struct Armed {
    Step step;
    int left;
  };
  SimFault call_begins(const std::string& call);
  SimFault fault_of(const Step& step, const std::string& call, Controller& caller);
  std::optional<Step> strike(bool call, bool effects);
  void take_place(const Step& step);
  void befall(const Step& step, const AgentId& id);
  void take_name(const AgentId& id, const Step& step);
  void prune_images();
  void outage(const Step& step, bool reboot);
  void pass_time(milliseconds duration);
  void live_until(TimePoint end);
  bool stopped() const { return watch.violation().has_value(); }
  TimePoint next_event() const;
  void happen_what_is_due();
  void later(milliseconds delay, std::function<void()> what);
  void hint(const AgentId& id);
  void lead_anew();
  void change_leader(milliseconds lasts);
  void calm_down();
  void end_all_trouble();
  // "" when everything is as its owner last asked, else what is not.
  std::string not_as_wished();
  std::string not_as_wished(const AgentId& id, Owner& owner);
  std::string not_running(const AgentId& id, const Owner& owner, const AgentRecord& record);
  std::string data_missing(const AgentId& id, const Owner& owner);
  void wait_until_all_is_as_wished();
  void check_nothing_more_is_done();

  const Script& script_;
  const bool tells_;
  std::string last_told_;  // a line that would only repeat it is left out
  Random random_;
  std::size_t next_step_ = 0;
  TimePoint next_step_at_;
  std::multimap<TimePoint, std::function<void()>> agenda_;
  std::vector<Armed> armed_;
  TimePoint engine_back_;
  TimePoint store_back_;
  TimePoint registry_back_;
  TimePoint disk_back_;
  TimePoint fence_back_;
  TimePoint hints_back_;
  TimePoint hints_single_;
  int boots_ = 0;  // of the daemon
  milliseconds answer_delay_{0};
  std::optional<Step> leader_leaves_;
  bool calm_ = false;
  int depth_ = 0;
  Controller* leading_ = nullptr;
  Controller* caller_ = nullptr;
  std::vector<std::unique_ptr<Controller>> controllers_;
  std::map<AgentId, std::pair<TimePoint, int>> busy_;  // passes since
};

}  // namespace creel::sim
