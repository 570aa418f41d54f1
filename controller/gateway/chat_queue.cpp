#include "controller/gateway/chat_queue.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

namespace creel::gateway {
namespace {

using Call = std::function<void(ChatQueue::Turn)>;

struct Session {
  std::map<std::uint64_t, Call> ready;  // begun, by the order in which the places were taken
  std::size_t places = 0;               // taken, begun or not, whose turn has not come
  bool talking = false;
};

struct Agent {
  std::unordered_map<std::string, Session> sessions;
  std::deque<std::string> round;  // sessions with somebody ready and nobody talking; the first is next
  std::size_t places = 0;
  std::size_t talking = 0;
};

}  // namespace

struct ChatQueue::Impl : std::enable_shared_from_this<Impl> {
  explicit Impl(Limits given) : limits(given) {}

  const Limits limits;
  mutable std::mutex mutex;
  std::unordered_map<AgentId, Agent> agents;
  std::deque<AgentId> free;  // agents at which a turn may have become free; each is looked at by let_in()
  std::uint64_t next_number = 1;
  bool letting_in = false;
  bool stopped = false;

  void give_up(const AgentId& agent, const std::string& session) {
    const std::lock_guard lock{mutex};
    const auto at = agents.find(agent);
    if (at == agents.end()) return;
    --at->second.places;
    --at->second.sessions.at(session).places;
    forget_if_empty(agent, session);
  }

  void begin(const AgentId& agent, const std::string& session, std::uint64_t number, Call call) {
    {
      const std::lock_guard lock{mutex};
      if (stopped) return;
      Agent& there = agents.at(agent);
      Session& own = there.sessions.at(session);
      if (own.ready.empty() && !own.talking) there.round.push_back(session);
      own.ready.emplace(number, std::move(call));
      free.push_back(agent);
    }
    let_in();
  }

  void end_turn(const AgentId& agent, const std::string& session) {
    {
      const std::lock_guard lock{mutex};
      const auto at = agents.find(agent);
      if (at == agents.end()) return;
      Session& own = at->second.sessions.at(session);
      own.talking = false;
      --at->second.talking;
      if (!own.ready.empty()) at->second.round.push_back(session);
      free.push_back(agent);
      forget_if_empty(agent, session);
    }
    let_in();
  }

  void forget_if_empty(const AgentId& agent, const std::string& session) {
    Agent& there = agents.at(agent);
    const Session& own = there.sessions.at(session);
    if (own.places == 0 && !own.talking) there.sessions.erase(session);
    if (there.sessions.empty()) agents.erase(agent);
  }

  struct Next {
    AgentId agent;
    std::string session;
    Call call;
  };

  std::optional<Next> next() {
    for (; !free.empty(); free.pop_front()) {
      const auto at = agents.find(free.front());
      if (at == agents.end()) continue;
      Agent& there = at->second;
      if (there.round.empty() || there.talking >= limits.at_once) continue;
      Next found{at->first, std::move(there.round.front()), {}};
      there.round.pop_front();
      Session& own = there.sessions.at(found.session);
      found.call = std::move(own.ready.begin()->second);
      own.ready.erase(own.ready.begin());
      own.talking = true;
      --own.places;
      --there.places;
      ++there.talking;
      return found;  // the agent stays in `free`: there may be room for one more
    }
    return std::nullopt;
  }

  // One thread at a time, in a loop: a turn that ends within its own call must not nest the next one in it.
  void let_in() {
    std::unique_lock lock{mutex};
    if (letting_in) return;
    letting_in = true;
    while (auto found = next()) {
      lock.unlock();
      Turn turn{nullptr, [self = shared_from_this(), agent = found->agent, session = found->session](void*) {
                  self->end_turn(agent, session);
                }};
      found->call(std::move(turn));
      found.reset();  // what the call holds is let go outside the lock
      lock.lock();
    }
    letting_in = false;
  }
};

ChatQueue::ChatQueue(Limits limits) : impl_(std::make_shared<Impl>(limits)) {}

ChatQueue::~ChatQueue() { stop(); }

void ChatQueue::stop() {
  std::unordered_map<AgentId, Agent> forgotten;  // destroyed outside the lock: it may hold places and turns
  const std::lock_guard lock{impl_->mutex};
  impl_->stopped = true;
  forgotten.swap(impl_->agents);
  impl_->free.clear();
}

Result<ChatQueue::Place> ChatQueue::take_place(const AgentId& agent, const std::string& session) {
  const auto full = [](std::string message) {
    return Error{ErrorKind::limit, std::move(message), {}, "CHAT_QUEUE_FULL"};
  };
  const std::lock_guard lock{impl_->mutex};
  const Limits& limits = impl_->limits;
  if (const auto at = impl_->agents.find(agent); at != impl_->agents.end()) {
    if (at->second.places >= limits.waiting)
      return full("The agent has " + std::to_string(limits.waiting) + " messages waiting already; try again later");
    if (const auto own = at->second.sessions.find(session);
        own != at->second.sessions.end() && own->second.places >= limits.waiting_session)
      return full("This conversation has " + std::to_string(limits.waiting_session) +
                  " messages waiting already; wait for their replies, then send this one again");
  }
  Agent& there = impl_->agents[agent];
  ++there.places;
  ++there.sessions[session].places;
  return Place{impl_, agent, session, impl_->next_number++};
}

ChatQueue::Load ChatQueue::load() const {
  const std::lock_guard lock{impl_->mutex};
  Load load;
  for (const auto& [id, agent] : impl_->agents) {
    load.talking += agent.talking;
    load.waiting += agent.places;
  }
  return load;
}

ChatQueue::Place::Place(std::shared_ptr<Impl> queue, AgentId agent, std::string session, std::uint64_t number)
    : queue_(std::move(queue)), agent_(std::move(agent)), session_(std::move(session)), number_(number) {}

ChatQueue::Place& ChatQueue::Place::operator=(Place&& other) noexcept {
  std::swap(queue_, other.queue_);
  std::swap(agent_, other.agent_);
  std::swap(session_, other.session_);
  std::swap(number_, other.number_);
  return *this;
}

ChatQueue::Place::~Place() {
  if (queue_) queue_->give_up(agent_, session_);
}

void ChatQueue::Place::begin(std::function<void(Turn)> call) && {
  const auto queue = std::exchange(queue_, nullptr);
  if (queue) queue->begin(agent_, session_, number_, std::move(call));
}

}  // namespace creel::gateway
