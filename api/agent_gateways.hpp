// AgentGateways: what agents' gateways say about them, for the routes that show it. However many ask, one question is
// under way an agent; an answer serves everybody for two seconds. Errors are not kept.
//
// Threads: every method from any thread, none blocks. `done` is called exactly once, on the gateway's thread or on the
// calling one: it must not block. Errors: those of gateway::Operator.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controller/gateway/operator.hpp"

namespace creel::api {

// The same calls as gateway::Operator's, to which the app binds them.
struct GatewayCalls {
  template <class T>
  using Done = gateway::Operator::Done<T>;
  using Target = gateway::OperatorTarget;
  std::function<void(const Target&, Done<gateway::GatewayHealth>)> health;
  std::function<void(const Target&, Done<std::vector<gateway::GatewaySession>>)> sessions;
  std::function<void(const Target&, const std::string& key, std::size_t limit,
                     Done<std::vector<gateway::GatewayMessage>>)>
      history;
  std::function<void(const Target&, Done<std::vector<gateway::GatewaySkill>>)> skills;
  std::function<void(const Target&, const std::string& id, bool enabled, Done<gateway::GatewaySkill>)> set_skill;
};

class AgentGateways {
 public:
  template <class T>
  using Done = gateway::Operator::Done<T>;
  using Target = gateway::OperatorTarget;

  explicit AgentGateways(GatewayCalls calls, std::chrono::milliseconds keep = std::chrono::milliseconds{2'000});
  ~AgentGateways();  // answers that are still to come are passed on all the same
  AgentGateways(const AgentGateways&) = delete;
  AgentGateways& operator=(const AgentGateways&) = delete;

  void health(const Target& target, Done<gateway::GatewayHealth> done);
  void sessions(const Target& target, Done<std::vector<gateway::GatewaySession>> done);
  void history(const Target& target, const std::string& session_key, std::size_t limit,
               Done<std::vector<gateway::GatewayMessage>> done);
  void skills(const Target& target, Done<std::vector<gateway::GatewaySkill>> done);
  // Never shared; what was known of the agent's skills is asked anew afterwards.
  void set_skill(const Target& target, const std::string& id, bool enabled, Done<gateway::GatewaySkill> done);

 private:
  struct Impl;
  const GatewayCalls calls_;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace creel::api
