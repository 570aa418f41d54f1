#include "api/agent_gateways.hpp"

#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace creel::api {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Questions by name. One that is forgotten while it is under way still answers those who asked it, and nobody else.
template <class T>
class Shared : public std::enable_shared_from_this<Shared<T>> {
 public:
  using Done = gateway::Operator::Done<T>;
  explicit Shared(std::chrono::milliseconds keep) : keep_(keep) {}

  void get(const std::string& name, const std::function<void(Done)>& ask, Done done) {
    std::shared_ptr<Question> question;
    std::optional<T> known;
    {
      const std::lock_guard lock{mutex_};
      std::erase_if(questions_, [&](const auto& item) { return outdated(*item.second); });
      auto& place = questions_[name];
      if (place && place->answer) {
        known = place->answer;
      } else if (place) {
        return place->waiting.push_back(std::move(done));
      } else {
        place = question = std::make_shared<Question>();
        question->waiting.push_back(std::move(done));
      }
    }
    if (known) return done(std::move(*known));
    ask([self = this->shared_from_this(), name, question](Result<T> answer) {
      self->answered(name, question, std::move(answer));
    });
  }

  void forget(const std::string& name) {
    const std::lock_guard lock{mutex_};
    questions_.erase(name);
  }

 private:
  struct Question {
    std::optional<T> answer;
    SteadyClock::time_point at;
    std::vector<Done> waiting;
  };

  bool outdated(const Question& question) const { return question.answer && SteadyClock::now() - question.at > keep_; }

  void answered(const std::string& name, const std::shared_ptr<Question>& question, Result<T> answer) {
    std::vector<Done> waiting;
    {
      const std::lock_guard lock{mutex_};
      waiting.swap(question->waiting);
      if (answer) {
        question->answer = *answer;
        question->at = SteadyClock::now();
      } else if (const auto at = questions_.find(name); at != questions_.end() && at->second == question) {
        questions_.erase(at);
      }
    }
    for (const auto& done : waiting) done(answer);
  }

  const std::chrono::milliseconds keep_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Question>> questions_;
};

// An agent that was restarted or given another token is asked anew.
std::string name_of(const gateway::OperatorTarget& target) {
  return target.agent.str() + " " + target.address + " " + sha256_hex(target.token + target.device_key);
}

}  // namespace

struct AgentGateways::Impl {
  explicit Impl(std::chrono::milliseconds keep)
      : health(std::make_shared<Shared<gateway::GatewayHealth>>(keep)),
        sessions(std::make_shared<Shared<std::vector<gateway::GatewaySession>>>(keep)),
        history(std::make_shared<Shared<std::vector<gateway::GatewayMessage>>>(keep)),
        skills(std::make_shared<Shared<std::vector<gateway::GatewaySkill>>>(keep)) {}
  const std::shared_ptr<Shared<gateway::GatewayHealth>> health;
  const std::shared_ptr<Shared<std::vector<gateway::GatewaySession>>> sessions;
  const std::shared_ptr<Shared<std::vector<gateway::GatewayMessage>>> history;
  const std::shared_ptr<Shared<std::vector<gateway::GatewaySkill>>> skills;
};

AgentGateways::AgentGateways(GatewayCalls calls, std::chrono::milliseconds keep)
    : calls_(std::move(calls)), impl_(std::make_shared<Impl>(keep)) {}

AgentGateways::~AgentGateways() = default;

void AgentGateways::health(const Target& target, Done<gateway::GatewayHealth> done) {
  impl_->health->get(
      name_of(target), [&](auto answered) { calls_.health(target, std::move(answered)); }, std::move(done));
}

void AgentGateways::sessions(const Target& target, Done<std::vector<gateway::GatewaySession>> done) {
  impl_->sessions->get(
      name_of(target), [&](auto answered) { calls_.sessions(target, std::move(answered)); }, std::move(done));
}

void AgentGateways::history(const Target& target, const std::string& session_key, std::size_t limit,
                            Done<std::vector<gateway::GatewayMessage>> done) {
  impl_->history->get(
      name_of(target) + " " + std::to_string(limit) + " " + session_key,
      [&](auto answered) { calls_.history(target, session_key, limit, std::move(answered)); }, std::move(done));
}

void AgentGateways::skills(const Target& target, Done<std::vector<gateway::GatewaySkill>> done) {
  impl_->skills->get(
      name_of(target), [&](auto answered) { calls_.skills(target, std::move(answered)); }, std::move(done));
}

void AgentGateways::set_skill(const Target& target, const std::string& id, bool enabled,
                              Done<gateway::GatewaySkill> done) {
  calls_.set_skill(target, id, enabled,
                   [skills = impl_->skills, name = name_of(target), done = std::move(done)](auto answer) {
                     skills->forget(name);
                     done(std::move(answer));
                   });
}

}  // namespace creel::api
