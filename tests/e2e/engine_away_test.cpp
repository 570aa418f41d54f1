// An engine that is away for long, with many agents waiting for it: the controller idles, and when the engine comes
// back all of them are brought up without a storm.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <thread>

#include "tests/support/creel_process.hpp"
#include "tests/support/engine_audit.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using Steady = std::chrono::steady_clock;

constexpr std::size_t kAgents = 200;

// CREEL_AWAY_SECONDS: 600 in `./test.sh --all`.
std::chrono::seconds away() {
  const char* text = std::getenv("CREEL_AWAY_SECONDS");
  return std::chrono::seconds{text != nullptr ? std::stoi(text) : 60};
}

// Of all threads, in user and kernel mode, so far.
double cpu_seconds(pid_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
  std::string text;
  std::getline(file, text);
  std::istringstream fields{text.substr(text.rfind(')') + 2)};
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

TEST(EngineAway, ForLongCostsNothingAndItsReturnIsNoStorm) {
  const std::string socket = required_env("CREEL_TEST_WORK") + "/away.sock";
  CreelProcess creel{{{"DOCKER_HOST", "unix://" + socket}}};
  creel.start();
  std::vector<std::string> keys;
  for (const char* email : {"one@example.com", "two@example.com"}) keys.push_back(creel.user(email, "enterprise"));
  for (std::size_t i = 0; i < kAgents; ++i) {
    const Answer made = creel.call("POST", "/api/agents/provision?wait=0", keys[i % keys.size()],
                                   {{"name", "agent " + std::to_string(i)}});
    ASSERT_EQ(made.status, 201) << made.text;
  }

  const double before = cpu_seconds(creel.pid());
  const auto since = Steady::now();
  std::this_thread::sleep_for(away());  // the point of the test
  const std::chrono::duration<double> lasted = Steady::now() - since;
  const double share = (cpu_seconds(creel.pid()) - before) / lasted.count();
  EXPECT_LT(share, 0.02) << "a busy loop";
  std::printf("engine away: %zu agents for %.0f s, %.2f %% of a core\n", kAgents, lasted.count(), share * 100);

  EngineAudit audit{required_env("DOCKER_HOST").substr(7), socket};
  const auto ready = [](const Answer& answer) {
    std::size_t count = 0;
    for (const auto& agent : answer.json["agents"]) count += agent["status"] == "running" ? 1 : 0;
    return count == kAgents / 2;
  };
  for (const auto& key : keys)
    EXPECT_TRUE(ready(creel.until("/api/agents?limit=100", key, ready, std::chrono::seconds{400})))
        << creel.log().substr(0, 20'000);
  const std::chrono::duration<double> took = Steady::now() - since - lasted;

  std::multiset<std::string> creates;
  std::size_t changes = 0;
  for (const auto& call : audit.calls()) {
    changes += call.changes() ? 1 : 0;
    if (const auto at = call.path.find("/containers/create?name="); at != std::string::npos)
      creates.insert(call.path.substr(at));
  }
  EXPECT_EQ(creates.size(), kAgents) << "some were made more than once";
  // A volume, a container, its files, its start; and the network.
  EXPECT_LE(changes, kAgents * 5);
  EXPECT_LE(audit.most_changes_at_once(), 2 * static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  std::printf("engine back: all ready after %.0f s, %zu calls, %zu of them changes, at most %d of these at once\n",
              took.count(), audit.calls().size(), changes, audit.most_changes_at_once());
  creel.stop();  // before the socket goes
}

}  // namespace
}  // namespace creel::test
