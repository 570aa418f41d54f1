#include "controller/core/plans.hpp"

namespace creel {
namespace {

// Only met when no plans were loaded at all, which the loader refuses: still a limit, because 0 means "no limit" to an
// engine.
SubscriptionPlan smallest() {
  SubscriptionPlan plan;
  plan.name = "free";
  plan.resources.memory_bytes = 1LL << 30;
  plan.resources.nano_cpus = 500'000'000;
  return plan;
}

}  // namespace

SubscriptionPlan Plans::of_user(std::string_view plan) const {
  if (const auto known = plans_.find(std::string{plan}); known != plans_.end()) return known->second;
  const SubscriptionPlan* lowest = nullptr;
  for (const auto& [name, candidate] : plans_) {
    if (lowest == nullptr || candidate.rank < lowest->rank) lowest = &candidate;
  }
  SubscriptionPlan result = lowest != nullptr ? *lowest : smallest();
  result.agent_limit = 1;
  return result;
}

SubscriptionPlan Plans::effective(std::string_view plan, std::string_view hint, bool admin) const {
  SubscriptionPlan own = of_user(plan);
  const auto asked = plans_.find(std::string{hint});
  if (asked == plans_.end()) return own;
  if (admin) return asked->second;
  if (asked->second.rank >= own.rank) return own;
  // Asking for a smaller agent does not make the account smaller.
  SubscriptionPlan lowered = asked->second;
  lowered.agent_limit = own.agent_limit;
  return lowered;
}

}  // namespace creel
