// creel_sim: runs histories and says what they held.
//
//   creel_sim [--histories N] [--first SEED] [--threads N]   histories of the seeds SEED, SEED + 1, …
//   creel_sim --seed N                                       one of them, told step by step
//   creel_sim --cuts                                         a scripted life, cut at every call and statement
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <thread>

#include "tests/sim/cuts.hpp"
#include "tests/sim/shrink.hpp"

namespace creel::sim {
namespace {

struct Failure {
  std::uint64_t seed;
  Violation violation;
};

int report_failure(const Script& script, const Violation& violation) {
  const Script less = shrink(script, violation.invariant);
  std::printf("%s\nshrunk from %zu to %zu steps\n", describe(less).c_str(), script.steps.size(), less.steps.size());
  return 1;
}

void print(const Counts& counts) {
  const auto number = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
  std::printf("histories %llu, passes %llu, engine calls %llu, store statements %llu, controllers %llu\n",
              number(counts.histories), number(counts.passes), number(counts.engine_calls), number(counts.statements),
              number(counts.controllers));
  std::printf("longest time from the last fault until all was as wished: %lld s\n",
              static_cast<long long>(counts.longest_calm.count() / 1000));
  for (const Kind kind : {Kind::wish, Kind::world, Kind::call, Kind::statement, Kind::death, Kind::leader}) {
    std::string line;
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < kWhats; ++i) {
      if (kind_of(static_cast<What>(i)) != kind) continue;
      all += counts.took_place[i];
      line += (line.empty() ? "" : ", ") + std::string{to_string(static_cast<What>(i))} + " " +
              std::to_string(counts.took_place[i]);
    }
    std::printf("%s %llu: %s\n", to_string(kind), number(all), line.c_str());
  }
}

int run_many(std::uint64_t first, std::uint64_t histories, unsigned threads) {
  std::atomic<std::uint64_t> next{0};
  std::mutex mutex;
  Counts all;
  std::optional<Failure> failure;
  {
    std::vector<std::jthread> workers;
    for (unsigned i = 0; i < threads; ++i)
      workers.emplace_back([&](std::stop_token) {
        Counts mine;
        for (std::uint64_t at = next++; at < histories; at = next++) {
          const Script script = make_script(first + at);
          World world{script};
          auto violation = world.run();
          mine.add(world.counts);
          if (!violation) continue;
          next = histories;
          const std::lock_guard lock(mutex);
          if (!failure || first + at < failure->seed) failure = Failure{first + at, std::move(*violation)};
        }
        const std::lock_guard lock(mutex);
        all.add(mine);
      });
  }
  print(all);
  if (!failure) return 0;
  std::printf("\nFAILED --seed %llu  %s: %s\n", static_cast<unsigned long long>(failure->seed),
              failure->violation.invariant.c_str(), failure->violation.text.c_str());
  return report_failure(make_script(failure->seed), failure->violation);
}

int run_one(std::uint64_t seed) {
  const Script script = make_script(seed);
  const auto violation = run(script);
  if (violation) return report_failure(script, *violation);
  std::printf("%severy promise held\n", describe(script).c_str());
  return 0;
}

}  // namespace
}  // namespace creel::sim

int main(int argc, char** argv) {
  CLI::App app{"Simulated histories of the reconciler"};
  std::uint64_t histories = 20'000;
  std::uint64_t first = 1;
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  std::uint64_t seed = 0;
  bool cuts = false;
  app.add_option("--histories", histories, "how many");
  app.add_option("--first", first, "the first seed");
  app.add_option("--threads", threads, "how many at a time");
  CLI::Option* const one = app.add_option("--seed", seed, "this one only, told step by step");
  app.add_flag("--cuts", cuts, "a scripted life, cut at every call and statement");
  CLI11_PARSE(app, argc, argv);
  spdlog::set_level(spdlog::level::off);
  if (cuts) return creel::sim::run_cuts();
  return one->count() > 0 ? creel::sim::run_one(seed) : creel::sim::run_many(first, histories, threads);
}
