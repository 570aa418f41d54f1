// The simulation's own randomness: the same on every machine and library, unlike std::uniform_int_distribution.
#pragma once

#include <cstdint>

namespace creel::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  // SplitMix64.
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // 0 … bound - 1; bound > 0. The bias is of no account here.
  int below(int bound) { return static_cast<int>(next() % static_cast<std::uint64_t>(bound)); }
  int between(int least, int most) { return least + below(most - least + 1); }
  bool chance(int in) { return below(in) == 0; }

 private:
  std::uint64_t state_;
};

}  // namespace creel::sim
