// stats_bench: what it costs to keep the samples of many agents.
//
// In one run, over the same history: rounds written by write_samples() (one statement a round), and the same rows by
// one plain INSERT each, each committed, as a simple writer would. Prints rows a second of both and their ratio.
//
//   CREEL_TEST_DATABASE_URL=… stats_bench [AGENTS] [ROUNDS]                          (./test.sh --all sets this)
#include <chrono>
#include <cstdio>
#include <string>

#include "controller/store/agents.hpp"
#include "controller/store/migrate.hpp"
#include "controller/store/stats_history.hpp"
#include "controller/store/users.hpp"
#include "tests/support/support.hpp"

namespace {

using namespace creel;
using Steady = std::chrono::steady_clock;

double seconds_since(Steady::time_point start) { return std::chrono::duration<double>(Steady::now() - start).count(); }

void outside_transactions(store::Database& server, const std::string& sql) {
  auto tx = server.begin().value();
  tx.exec("ROLLBACK").value();
  tx.exec(sql).value();
}

std::vector<AgentId> make_agents(store::Database& database, int count) {
  const store::User user{new_user_id(), "bench@example.com", "", false, "enterprise", "active", system_now()};
  auto tx = database.begin().value();
  store::create_user(tx, user).value();
  std::vector<AgentId> ids;
  for (int i = 0; i < count; ++i) {
    store::AgentRow row;
    row.id = new_agent_id();
    row.owner = user.id;
    row.name = "bench";
    row.created_at = row.updated_at = system_now();
    store::insert_agent(tx, row, -1).value();
    ids.push_back(row.id);
  }
  tx.commit().value();
  return ids;
}

std::vector<store::RunSample> round_of(const std::vector<AgentId>& ids, TimePoint started, int number) {
  std::vector<store::RunSample> samples;
  for (const auto& id : ids) {
    store::RunSample sample{id, started, {}};
    sample.sample.at = started + number * std::chrono::seconds{10};
    sample.sample.cpu_known = sample.sample.network_known = true;
    sample.sample.cpu_percent = 1.5;
    sample.sample.cpu_seconds_total = number * 0.15;
    sample.sample.memory_bytes = 100 << 20;
    sample.sample.memory_limit_bytes = 1 << 30;
    sample.sample.network_rx_bytes = sample.sample.network_tx_bytes = number * 1'000;
    sample.sample.pids = 11;
    samples.push_back(sample);
  }
  return samples;
}

void write_singly(store::Database& database, const store::RunSample& one) {
  auto tx = database.begin().value();
  const auto at = store::slot_of(one.sample.at, std::chrono::seconds{10});
  tx.exec(
        "INSERT INTO agent_stats VALUES ($1, 10, $2, $3, $4, 1, $5, 0.15, 10, 1.5, $6, $6, $7, $8, $8, 1000, 1000, "
        "$9, false)",
        {one.agent, at, one.sample.at, one.started_at, std::to_string(one.sample.cpu_seconds_total),
         one.sample.memory_bytes, one.sample.memory_limit_bytes, one.sample.network_rx_bytes, one.sample.pids})
      .value();
  tx.commit().value();
}

}  // namespace

int main(int argc, char** argv) {
  const int agents = argc > 1 ? std::stoi(argv[1]) : 500;
  const int rounds = argc > 2 ? std::stoi(argv[2]) : 30;
  const std::string conninfo = test::required_env("CREEL_TEST_DATABASE_URL");
  auto server = store::Database::open(conninfo, 1).value();
  const std::string name = "creel_bench_" + random_hex(4);
  outside_transactions(*server, "CREATE DATABASE " + name);
  {
    store::migrate(conninfo + " dbname=" + name).value();
    auto database = store::Database::open(conninfo + " dbname=" + name, 2).value();
    const auto ids = make_agents(*database, agents);
    const TimePoint started = system_now() - std::chrono::hours{1};

    const auto begin = Steady::now();
    for (int number = 1; number <= rounds; ++number) {
      auto tx = database->begin().value();
      store::write_samples(tx, round_of(ids, started, number), std::chrono::seconds{10}).value();
      tx.commit().value();
    }
    const double together = seconds_since(begin);

    const auto single_begin = Steady::now();
    const int single_rounds = std::max(1, rounds / 10);
    for (int number = rounds + 1; number <= rounds + single_rounds; ++number)
      for (const auto& one : round_of(ids, started, number)) write_singly(*database, one);
    const double singly = seconds_since(single_begin);

    const auto tend_begin = Steady::now();
    store::tend_stats(*database, system_now() + std::chrono::hours{2}).value();
    const double tended = seconds_since(tend_begin);

    const double fast = agents * rounds / together, slow = agents * single_rounds / singly;
    std::printf("stats: a round of %d agents %.1f ms, %.0f rows/s; one INSERT a row %.0f rows/s; ratio %.1f\n", agents,
                together / rounds * 1'000, fast, slow, fast / slow);
    std::printf("stats: rolling up and expiring %d rows %.0f ms\n", agents * (rounds + single_rounds), tended * 1'000);
  }
  outside_transactions(*server, "DROP DATABASE " + name + " WITH (FORCE)");
  return 0;
}
