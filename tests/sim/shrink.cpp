#include "tests/sim/shrink.hpp"

#include <algorithm>

namespace creel::sim {
namespace {

bool fails(const Script& script, const std::string& invariant) {
  const auto violation = run(script);
  return violation && violation->invariant == invariant;
}

// Without the steps from `first` on; what follows keeps its time.
Script without(const Script& script, std::size_t first, std::size_t count) {
  Script less = script;
  milliseconds gap{0};
  for (std::size_t i = first; i < first + count; ++i) gap += less.steps[i].after;
  less.steps.erase(less.steps.begin() + static_cast<std::ptrdiff_t>(first),
                   less.steps.begin() + static_cast<std::ptrdiff_t>(first + count));
  if (first < less.steps.size()) less.steps[first].after += gap;
  return less;
}

}  // namespace

std::optional<Violation> run(const Script& script) {
  World world{script};
  return world.run();
}

Script shrink(Script script, const std::string& invariant) {
  for (std::size_t size = std::max<std::size_t>(1, script.steps.size() / 2); size > 0; size /= 2) {
    bool again = true;
    while (again) {
      again = false;
      for (std::size_t first = 0; first + size <= script.steps.size();) {
        Script less = without(script, first, size);
        if (fails(less, invariant)) {
          script = std::move(less);
          again = size == 1;  // what could not go before may go now
        } else {
          first += size;
        }
      }
    }
  }
  for (std::size_t i = 0; i < script.steps.size(); ++i) {
    const auto try_with = [&](const std::function<void(Step&)>& change) {
      Script other = script;
      change(other.steps[i]);
      if (fails(other, invariant)) script = std::move(other);
    };
    try_with([](Step& step) { step.nth = 1; });
    try_with([](Step& step) { step.effects = false; });
    try_with([](Step& step) { step.lasts = milliseconds{0}; });
    try_with([](Step& step) { step.after = milliseconds{0}; });
  }
  return script;
}

std::string describe(const Script& script) {
  World world{script, true};
  const auto violation = world.run();
  std::string text = "steps:\n";
  for (const Step& step : script.steps) text += "  " + to_string(step) + "\n";
  text += "what happened:\n" + world.story;
  if (violation) text += "VIOLATED " + violation->invariant + ": " + violation->text + "\n";
  return text;
}

}  // namespace creel::sim
