#include "controller/transcripts/collector.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>

#include "controller/store/agent_secrets.hpp"
#include "controller/store/transcripts.hpp"
#include "controller/transcripts/heard.hpp"

namespace creel::transcripts {
namespace {

using Steady = std::chrono::steady_clock;

// Of a session that was read before, mostly enough; else, and the first time, as much as a gateway gives.
constexpr std::size_t kFew = 200;
constexpr std::size_t kAll = 1000;

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// What gateways answered, for pass() to work on: answers come on threads that must not block.
class Inbox {
 public:
  void put(std::function<void()> work) {
    {
      const std::lock_guard lock{mutex_};
      waiting_.push_back(std::move(work));
    }
    came_.notify_one();
  }
  std::optional<std::function<void()>> take(Steady::time_point until, std::stop_token stop) {
    std::unique_lock lock{mutex_};
    came_.wait_until(lock, stop, until, [this] { return !waiting_.empty(); });
    if (waiting_.empty() || stop.stop_requested()) return std::nullopt;
    auto work = std::move(waiting_.front());
    waiting_.pop_front();
    return work;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any came_;
  std::deque<std::function<void()>> waiting_;
};

}  // namespace

struct Collector::Impl {
  struct Session {
    std::string key;
    std::string platform;
    TimePoint read_to;  // what is known after reading it
    std::size_t limit = kFew;
  };
  // An agent that is being asked.
  struct Round {
    gateway::OperatorTarget target;
    std::deque<Session> sessions;
  };
  struct Due {
    Steady::time_point at{};
    int failures = 0;
  };

  store::Database& database;
  const secrets::Sealer& sealer;
  const TemplateSet& templates;
  gateway::Operator& gateway;
  const Clock clock;
  const CollectorOptions options;
  const std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();
  std::map<AgentId, Round> rounds{};
  std::map<AgentId, Due> due{};
  Steady::time_point drop_at{};

  void pass(std::stop_token stop) {
    const auto until = Steady::now() + options.period;
    drop_old(stop);
    std::deque<store::TalkingAgent> waiting = agents_due();
    for (;;) {
      while (!waiting.empty() && rounds.size() < options.parallel && !stop.stop_requested()) {
        begin(waiting.front());
        waiting.pop_front();
      }
      auto work = inbox->take(until, stop);
      if (!work) return;
      (*work)();
    }
  }

  // Those not asked for longest first.
  std::deque<store::TalkingAgent> agents_due() {
    auto tx = database.begin();
    if (!tx) return {};
    const auto agents = store::talking_agents(*tx, options.controller_id);
    if (!agents) return {};
    std::map<AgentId, Due> still;
    std::deque<store::TalkingAgent> waiting;
    const auto now = Steady::now();
    for (const auto& agent : *agents) {
      const Due when = still[agent.id] = due[agent.id];
      if (when.at <= now && !rounds.contains(agent.id)) waiting.push_back(agent);
    }
    due = std::move(still);  // forgets who is gone
    std::stable_sort(waiting.begin(), waiting.end(),
                     [this](const auto& a, const auto& b) { return due[a.id].at < due[b.id].at; });
    return waiting;
  }

  Result<gateway::OperatorTarget> target_of(const store::TalkingAgent& agent) {
    gateway::OperatorTarget target;
    target.agent = agent.id;
    target.address = agent.address;
    const Template* tmpl = templates.find(agent.template_name);
    if (tmpl == nullptr) return Error{ErrorKind::not_found, "its template is not installed any more", {}, {}};
    target.kind = tmpl->gateway;
    CREEL_TRY(auto tx, database.begin());
    for (auto [name, into] : {std::pair{"gateway_token", &target.token}, std::pair{"device_key", &target.device_key}}) {
      CREEL_TRY(const auto sealed, store::get_secret(tx, agent.id, name));
      if (!sealed) continue;
      CREEL_TRY(*into, sealer.open(*sealed, secrets::secret_context(agent.id.str(), name)));
    }
    return target;
  }

  void begin(const store::TalkingAgent& agent) {
    auto target = target_of(agent);
    if (!target) return failed(agent.id, target.error());
    rounds[agent.id].target = *target;
    const TimePoint asked = clock();
    gateway.sessions(*target, [this, box = inbox, id = agent.id, asked](auto answer) {
      box->put([this, id, asked, answer = std::move(answer)] {
        answer ? sort_out(id, *answer, asked) : failed(id, answer.error());
      });
    });
  }

  void sort_out(const AgentId& id, const std::vector<gateway::GatewaySession>& sessions, TimePoint asked) {
    auto tx = database.begin();
    if (!tx) return failed(id, tx.error());
    const auto marks = store::transcript_marks(*tx, id);
    if (!marks) return failed(id, marks.error());
    auto& round = rounds[id];
    for (const auto& session : sessions) {
      if (!session.updated_at || is_machinery(session.key)) continue;
      const auto mark = marks->find(lower(session.key));
      if (mark != marks->end() && *session.updated_at <= mark->second) continue;
      round.sessions.push_back({session.key, session.platform, std::min(*session.updated_at, asked - options.settle),
                                mark == marks->end() ? kAll : kFew});
    }
    next(id);
  }

  void next(const AgentId& id) {
    auto& round = rounds[id];
    if (round.sessions.empty()) {
      rounds.erase(id);
      due[id] = {Steady::now() + options.period, 0};
      return;
    }
    const Session& session = round.sessions.front();
    gateway.history(round.target, session.key, session.limit, [this, box = inbox, id](auto answer) {
      box->put([this, id, answer = std::move(answer)] {
        if (!answer) return failed(id, answer.error());
        if (const auto kept = keep(id, *answer); !kept) return failed(id, kept.error());
        next(id);
      });
    });
  }

  Result<void> keep(const AgentId& id, const std::vector<gateway::GatewayMessage>& history) {
    auto& sessions = rounds[id].sessions;
    Session& session = sessions.front();
    store::Transcript transcript{id, session.key, session.platform, heard(history)};
    if (options.retention.count() > 0) {
      const TimePoint oldest = clock() - options.retention;
      std::erase_if(transcript.messages, [&](const auto& message) { return message.at < oldest; });
    }
    CREEL_TRY(auto tx, database.begin());
    if (session.limit < kAll) {
      CREEL_TRY(const std::size_t unknown, store::unknown_messages(tx, transcript));
      if (unknown == transcript.messages.size()) {  // there may be more between these and what was read before
        session.limit = kAll;
        return {};
      }
    }
    CREEL_TRY(const auto kept, store::keep_transcript(tx, transcript, session.read_to));
    CREEL_CHECK(tx.commit());
    if (options.collected && kept > 0) options.collected(session.platform, kept);
    sessions.pop_front();
    return {};
  }

  void failed(const AgentId& id, const Error& error) {
    rounds.erase(id);
    auto& when = due[id];
    const auto wait = std::min(options.longest_retry, options.period * (1 << std::min(when.failures, 16)));
    when.at = Steady::now() + wait;
    if (when.failures++ == 0 && error.kind != ErrorKind::cancelled && error.kind != ErrorKind::unavailable)
      spdlog::warn("transcripts of agent {}: {}", id.str(), error.message);
    else
      spdlog::debug("transcripts of agent {}: {}", id.str(), error.message);
  }

  void drop_old(std::stop_token stop) {
    if (options.retention.count() <= 0 || Steady::now() < drop_at) return;
    drop_at = Steady::now() + options.drop_every;
    const TimePoint before = clock() - options.retention;
    std::int64_t all = 0;
    for (std::int64_t batch = 1; batch > 0 && !stop.stop_requested(); all += batch) {
      batch = 0;
      auto tx = database.begin();
      if (!tx) break;
      const auto dropped = store::drop_messages_before(*tx, before, options.drop_batch);
      if (!dropped || !tx->commit()) break;
      batch = *dropped;
    }
    if (all > 0) spdlog::info("messages: {} older than {} dropped", all, to_rfc3339(before));
  }
};

Collector::Collector(store::Database& database, const secrets::Sealer& sealer, const TemplateSet& templates,
                     gateway::Operator& gateway, Clock clock, CollectorOptions options)
    : impl_(new Impl{database, sealer, templates, gateway, std::move(clock), std::move(options)}) {}

Collector::~Collector() = default;

void Collector::pass(std::stop_token stop) { impl_->pass(std::move(stop)); }

}  // namespace creel::transcripts
