#include "api/waiters.hpp"

#include <spdlog/spdlog.h>

#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace creel::api {
namespace {

WaitOutcome stopped() {
  WaitOutcome outcome;
  outcome.error = Error{ErrorKind::cancelled, "the server is stopping", {}, {}};
  return outcome;
}

}  // namespace

struct Waiters::Impl : std::enable_shared_from_this<Waiters::Impl> {
  struct Waiter {
    std::function<bool(const Row&)> satisfied;
    std::function<void(WaitOutcome)> done;
    bool late = false;           // its deadline passed: the next read is its last
    std::uint64_t deadline = 0;  // the timer's id
  };
  // One for each agent somebody waits for. At most one read at a time; a wake-up during a read asks for another one,
  // because the read may have begun before what woke us.
  struct Watch {
    std::vector<std::shared_ptr<Waiter>> waiters;
    bool reading = false;
    bool again = false;
  };

  Impl(Read read, Post post, Timer& timer, std::chrono::milliseconds recheck)
      : read(std::move(read)), post(std::move(post)), timer(timer), recheck(recheck) {}

  const Read read;
  const Post post;
  Timer& timer;
  const std::chrono::milliseconds recheck;
  mutable std::mutex mutex;
  std::unordered_map<AgentId, Watch> watches;
  bool tick_set = false;
  bool stopping = false;

  // With the lock held.
  void wake(const AgentId& agent, Watch& watch) {
    if (watch.reading) {
      watch.again = true;
      return;
    }
    watch.reading = true;
    post([self = shared_from_this(), agent] { self->check(agent); });
  }

  void wake_all() {
    const std::lock_guard lock{mutex};
    for (auto& [agent, watch] : watches) wake(agent, watch);
  }

  // With the lock held: keeps one recheck tick going while anybody waits.
  void keep_ticking() {
    if (tick_set || stopping) return;
    tick_set = true;
    timer.after(recheck, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->tick();
    });
  }

  void tick() {
    const std::lock_guard lock{mutex};
    tick_set = false;
    if (watches.empty()) return;
    for (auto& [agent, watch] : watches) wake(agent, watch);
    keep_ticking();
  }

  void deadline_passed(const AgentId& agent, const std::shared_ptr<Waiter>& waiter) {
    const std::lock_guard lock{mutex};
    const auto found = watches.find(agent);
    if (found == watches.end()) return;
    waiter->late = true;
    wake(agent, found->second);
  }

  // On a pool thread: one read for everybody who waits for this agent.
  void check(const AgentId& agent) {
    std::vector<std::shared_ptr<Waiter>> asked;
    {
      const std::lock_guard lock{mutex};
      const auto found = watches.find(agent);
      if (found == watches.end()) return;
      found->second.again = false;
      asked = found->second.waiters;
    }
    Result<Row> row = read(agent);
    if (!row) spdlog::debug("waiting for agent {}: {}", agent.str(), row.error().message);
    std::vector<std::pair<std::shared_ptr<Waiter>, WaitOutcome>> ended;
    for (const auto& waiter : asked) {
      WaitOutcome outcome;
      if (row) {
        outcome.satisfied = waiter->satisfied(*row);
        outcome.row = *row;
      } else {
        outcome.error = row.error();
      }
      ended.emplace_back(waiter, std::move(outcome));
    }
    std::vector<std::pair<std::shared_ptr<Waiter>, WaitOutcome>> to_finish;
    {
      const std::lock_guard lock{mutex};
      const auto found = watches.find(agent);
      if (found == watches.end()) return;  // stop() finished them
      Watch& watch = found->second;
      for (auto& [waiter, outcome] : ended) {
        if (!outcome.satisfied && !waiter->late) continue;
        timer.cancel(waiter->deadline);
        std::erase(watch.waiters, waiter);
        to_finish.emplace_back(std::move(waiter), std::move(outcome));
      }
      watch.reading = false;
      if (watch.waiters.empty()) {
        watches.erase(found);
      } else if (watch.again) {
        wake(agent, watch);
      }
    }
    for (auto& [waiter, outcome] : to_finish) waiter->done(std::move(outcome));
  }
};

Waiters::Waiters(Read read, Post post, Timer& timer, std::chrono::milliseconds recheck)
    : impl_(std::make_shared<Impl>(std::move(read), std::move(post), timer, recheck)) {}

Waiters::~Waiters() { stop(); }

void Waiters::wait(const AgentId& agent, std::chrono::milliseconds longest, std::function<bool(const Row&)> satisfied,
                   std::function<void(WaitOutcome)> done) {
  auto waiter = std::make_shared<Impl::Waiter>();
  waiter->satisfied = std::move(satisfied);
  waiter->done = std::move(done);
  {
    const std::lock_guard lock{impl_->mutex};
    if (!impl_->stopping) {
      // Registered before the first read: a change between the two wakes us again.
      waiter->deadline =
          impl_->timer.after(longest, [weak = std::weak_ptr{impl_}, agent, waiter_weak = std::weak_ptr{waiter}] {
            const auto self = weak.lock();
            const auto late = waiter_weak.lock();
            if (self && late) self->deadline_passed(agent, late);
          });
      Impl::Watch& watch = impl_->watches[agent];
      watch.waiters.push_back(waiter);
      impl_->wake(agent, watch);
      impl_->keep_ticking();
      return;
    }
  }
  waiter->done(stopped());
}

void Waiters::notify(const std::string& agent_id) {
  if (agent_id.empty()) {
    impl_->wake_all();
    return;
  }
  const auto agent = AgentId::parse(agent_id);
  if (!agent) return;
  const std::lock_guard lock{impl_->mutex};
  if (const auto found = impl_->watches.find(*agent); found != impl_->watches.end()) impl_->wake(*agent, found->second);
}

std::size_t Waiters::waiting() const {
  const std::lock_guard lock{impl_->mutex};
  std::size_t count = 0;
  for (const auto& [agent, watch] : impl_->watches) count += watch.waiters.size();
  return count;
}

void Waiters::stop() {
  std::unordered_map<AgentId, Impl::Watch> watches;
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->stopping = true;
    watches.swap(impl_->watches);
  }
  for (auto& [agent, watch] : watches) {
    for (auto& waiter : watch.waiters) {
      impl_->timer.cancel(waiter->deadline);
      waiter->done(stopped());
    }
  }
}

}  // namespace creel::api
