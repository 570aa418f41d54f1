// Plans: how many agents a user may have and what each gets. Read from templates/plans.yaml by config/; pure here.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "controller/core/agent.hpp"

namespace creel {

struct SubscriptionPlan {
  std::string name;
  int agent_limit = 1;
  int rank = 0;  // order: a tier hint may lower, never raise
  Resources resources;
};

class Plans {
 public:
  Plans() = default;
  explicit Plans(std::map<std::string, SubscriptionPlan> plans) : plans_(std::move(plans)) {}
  bool known(std::string_view name) const { return plans_.find(std::string{name}) != plans_.end(); }
  // An unknown plan is the lowest one with limit 1.
  SubscriptionPlan of_user(std::string_view plan) const;
  // What a hint comes to for a user on `plan`: the lower of both. Admins get what they ask for.
  SubscriptionPlan effective(std::string_view plan, std::string_view hint, bool admin) const;

 private:
  std::map<std::string, SubscriptionPlan> plans_;
};

inline constexpr int kAdminAgentLimit = 999;

}  // namespace creel
