#include "tests/sim/cuts.hpp"

#include <cstdio>

#include "tests/sim/shrink.hpp"

namespace creel::sim {

int run_cuts() {
  const Script life = scripted_life();
  World whole{life};
  if (const auto violation = whole.run()) {
    std::printf("%s", describe(life).c_str());
    return 1;
  }
  std::uint64_t cuts = 0;
  for (const What what :
       {What::dies_before_call, What::dies_after_call, What::dies_before_statement, What::dies_after_statement}) {
    const bool call = what == What::dies_before_call || what == What::dies_after_call;
    const std::uint64_t last = call ? whole.counts.engine_calls : whole.counts.statements;
    for (std::uint64_t nth = 1; nth <= last; ++nth) {
      Script cut = life;
      Step death;
      death.what = what;
      death.nth = static_cast<int>(nth);
      cut.steps.insert(cut.steps.begin(), death);
      World world{cut};
      const auto violation = world.run();
      ++cuts;
      if (!violation) continue;
      std::printf("%s number %llu\n%s", to_string(what), static_cast<unsigned long long>(nth), describe(cut).c_str());
      return 1;
    }
  }
  std::printf("%llu cuts: %llu engine calls and %llu store statements of a life of %zu wishes, each before and after\n",
              static_cast<unsigned long long>(cuts), static_cast<unsigned long long>(whole.counts.engine_calls),
              static_cast<unsigned long long>(whole.counts.statements), life.steps.size());
  return 0;
}

}  // namespace creel::sim
