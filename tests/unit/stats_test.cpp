// Usage of containers: kernel files of both versions, the sampler over a made-up /proc, and the docker command line's
// units.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "reconciler/stats/cgroup.hpp"
#include "reconciler/stats/sampler.hpp"

namespace creel::stats {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr const char* kNetDev =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier "
    "compressed\n"
    "    lo:     500       5    0    0    0     0          0         0      500       5    0    0    0     0       0   "
    "       0\n"
    "  eth0:    1516      18    0    0    0     0          0         0       70       1    0    0    0     0       0   "
    "       0\n"
    "  eth1:1000       18    0    0    0     0          0         0       30       1    0    0    0     0       0      "
    "    0\n";

// A made-up machine: /proc and the control group folders below one temporary folder.
class Machine {
 public:
  Machine() {
    char name[] = "/tmp/creel-stats-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    root = name;
  }
  ~Machine() { fs::remove_all(root); }
  void write(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path{root + path}.parent_path());
    // In one piece, as the kernel's files are read.
    std::ofstream{root + path + ".new", std::ios::trunc} << text;
    fs::rename(root + path + ".new", root + path);
  }
  void v1(const std::string& pid, const std::string& id, std::int64_t cpu_ns, std::int64_t memory) const {
    write("/proc/self/mountinfo",
          "31 23 0:28 / /x rw - tmpfs tmpfs rw\n"
          "32 31 0:29 / " +
              root +
              "/cg/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
              "35 31 0:32 / " +
              root +
              "/cg/memory rw,relatime shared:5 - cgroup cgroup rw,memory\n"
              "39 31 0:36 / " +
              root +
              "/cg/pids rw,relatime - cgroup cgroup rw,pids\n"
              "41 31 0:38 / " +
              root + "/cg/unified rw,relatime - cgroup2 cgroup2 rw\n");
    write("/proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 1 kB\n");
    write("/proc/" + pid + "/cgroup", "8:pids:/docker/" + id + "\n4:memory:/docker/" + id + "\n1:cpu,cpuacct:/docker/" +
                                          id + "\n0::/docker/" + id + "\n");
    write("/proc/" + pid + "/net/dev", kNetDev);
    write("/cg/cpu,cpuacct/docker/" + id + "/cpuacct.usage", std::to_string(cpu_ns) + "\n");
    write("/cg/memory/docker/" + id + "/memory.usage_in_bytes", std::to_string(memory) + "\n");
    write("/cg/memory/docker/" + id + "/memory.limit_in_bytes", "67108864\n");
    write("/cg/memory/docker/" + id + "/memory.stat", "inactive_file 7\ntotal_inactive_file 1000\n");
    write("/cg/pids/docker/" + id + "/pids.current", "3\n");
  }
  std::string root;
};

TEST(CgroupParsers, ReadMountsOfBothVersions) {
  const auto mounts = parse_mounts(
      "23 1 0:20 / / rw - ext4 /dev/x rw\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "33 31 0:30 /docker/me /sys/fs/cgroup/memory rw master:1 - cgroup cgroup rw,memory\n"
      "34 31 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
      "garbage\n35 - cgroup\n");
  const auto find = [&](const std::string& controller) {
    for (const auto& mount : mounts) {
      if (mount.controller == controller) return mount;
    }
    return CgroupMount{"?", "", ""};
  };
  EXPECT_EQ(find("cpuacct").mount_point, "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_EQ(find("memory").root, "/docker/me");
  EXPECT_EQ(find("").mount_point, "/sys/fs/cgroup");
}

TEST(CgroupParsers, ReadMembershipsAndNumbers) {
  const auto memberships =
      parse_memberships("9:name=systemd:/a\n4:memory:/docker/1\n1:cpu,cpuacct:/docker/2\n0::/docker:3\nbad\n");
  EXPECT_EQ(memberships.at("memory"), "/docker/1");
  EXPECT_EQ(memberships.at("cpuacct"), "/docker/2");
  EXPECT_EQ(memberships.at(""), "/docker:3");
  EXPECT_EQ(parse_keyed("usage_usec 12\nuser_usec 3\n", "user_usec"), 3);
  EXPECT_EQ(parse_keyed("total_inactive_file 5\ninactive_file 6\n", "inactive_file"), 6);
  EXPECT_FALSE(parse_keyed("inactive_file\n", "inactive_file"));
  EXPECT_FALSE(parse_keyed("", "x"));
  EXPECT_EQ(parse_number("42\n"), 42);
  EXPECT_EQ(parse_number("18446744073709551615\n"), INT64_MAX);
  EXPECT_FALSE(parse_number("max\n"));
  EXPECT_FALSE(parse_number(""));
  EXPECT_FALSE(parse_number("4 2\n"));
}

TEST(CgroupParsers, SumInterfacesWithoutLoopback) {
  EXPECT_EQ(parse_net_dev(kNetDev), (NetworkCounters{2516, 100}));
  EXPECT_FALSE(parse_net_dev(""));
  EXPECT_FALSE(parse_net_dev("Inter-| x\n eth0: 1 2 3\n"));
}

TEST(CgroupReader, ReadsVersion1) {
  const Machine machine;
  machine.v1("77", "abc", 2'500'000'000, 5000);
  const CgroupReader reader{machine.root + "/proc"};
  const auto usage = reader.read(77, "abc");
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(*usage, (Usage{2.5, 4000, 67108864, 2516, 100, true, 3}));
}

TEST(CgroupReader, ReadsVersion2WithAnyParentAndWithoutLimit) {
  const Machine machine;
  machine.write("/proc/self/mountinfo", "34 31 0:31 /outer " + machine.root + "/cg rw - cgroup2 cgroup2 rw\n");
  machine.write("/proc/meminfo", "MemTotal: 1048576 kB\n");
  machine.write("/proc/5/cgroup", "0::/outer/my.slice/docker-abc.scope\n");
  machine.write("/cg/my.slice/docker-abc.scope/memory.current", "9000\n");
  machine.write("/cg/my.slice/docker-abc.scope/memory.max", "max\n");
  machine.write("/cg/my.slice/docker-abc.scope/memory.stat", "file 10\ninactive_file 500\n");
  machine.write("/cg/my.slice/docker-abc.scope/cpu.stat", "usage_usec 1500000\n");
  machine.write("/cg/my.slice/docker-abc.scope/pids.current", "2\n");
  const CgroupReader reader{machine.root + "/proc"};
  const auto usage = reader.read(5, "abc");
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(*usage, (Usage{1.5, 8500, 1ll << 30, 0, 0, false, 2}));
}

TEST(CgroupReader, RefusesAProcessThatIsNotThatContainers) {
  const Machine machine;
  machine.v1("77", "abc", 1, 1);
  const CgroupReader reader{machine.root + "/proc"};
  EXPECT_EQ(reader.read(77, "other").error().kind, ErrorKind::not_found);
  EXPECT_EQ(reader.read(78, "abc").error().kind, ErrorKind::not_found);
  EXPECT_FALSE(reader.read(0, "abc"));
  EXPECT_FALSE(reader.read(77, ""));
}

TEST(CgroupReader, TakesNothingFromAGroupThatAStartingProcessHasYetToLeave) {
  const Machine machine;
  machine.v1("77", "abc", 1, 1);
  machine.write("/cg/cpu,cpuacct/cpuacct.usage", "2820361151535\n");  // the whole machine's
  machine.write("/proc/77/cgroup", "8:pids:/docker/abc\n4:memory:/docker/abc\n1:cpu,cpuacct:/\n0::/docker/abc\n");
  const CgroupReader reader{machine.root + "/proc"};
  const auto usage = reader.read(77, "abc");
  ASSERT_FALSE(usage) << usage->cpu_seconds;
  EXPECT_EQ(usage.error().kind, ErrorKind::not_found);
}

// --- sampler ---

const AgentId kAgent = *AgentId::parse("0123456789abcdef");

std::optional<StatsSample> wait_for(Sampler& sampler, const std::function<bool(const StatsSample&)>& good) {
  for (int i = 0; i < 500; ++i) {
    const auto sample = sampler.latest(kAgent);
    if (sample && good(*sample)) return sample;
    std::this_thread::sleep_for(10ms);
  }
  return std::nullopt;
}

TEST(Sampler, TellsTheShareOfACoreFromTheSecondSampleOn) {
  const Machine machine;
  machine.v1("77", "abc", 1'000'000'000, 5000);
  const Target target{kAgent, "abc", 77, std::nullopt};
  // The first gap is long enough for the file to be changed in between.
  Sampler sampler{{10'000ms, 300ms, machine.root + "/proc"}, [&] { return std::vector{target}; }, {}, system_now};
  const auto first = wait_for(sampler, [](const auto&) { return true; });
  ASSERT_TRUE(first);
  EXPECT_FALSE(first->cpu_known);
  EXPECT_EQ(first->memory_bytes, 4000);
  EXPECT_EQ(first->cpu_seconds_total, 1.0);
  machine.v1("77", "abc", 1'150'000'000, 6000);
  const auto second = wait_for(sampler, [](const auto& sample) { return sample.cpu_known; });
  ASSERT_TRUE(second);
  EXPECT_GT(second->cpu_percent, 5.0);
  EXPECT_LE(second->cpu_percent, 50.0) << "0.15 s in no less than 0.3 s";
  EXPECT_EQ(second->memory_bytes, 5000);
}

TEST(Sampler, ForgetsWhatIsNoTargetAnyMoreAndBeginsANewRunAnew) {
  const Machine machine;
  machine.v1("77", "abc", 1'000'000'000, 5000);
  machine.v1("78", "def", 9'000'000'000, 2500);
  std::mutex mutex;
  std::vector<Target> targets{{kAgent, "abc", 77, std::nullopt}};
  Sampler sampler{{10ms, 5ms, machine.root + "/proc"},
                  [&] {
                    std::lock_guard lock{mutex};
                    return targets;
                  },
                  {},
                  system_now};
  ASSERT_TRUE(wait_for(sampler, [](const auto& sample) { return sample.cpu_known; }));
  {
    std::lock_guard lock{mutex};
    targets = {{kAgent, "def", 78, std::nullopt}};
  }
  const auto other = wait_for(sampler, [](const auto& sample) { return sample.memory_bytes == 1500; });
  ASSERT_TRUE(other);
  EXPECT_LT(other->cpu_percent, 1.0) << "another run's seconds are not this one's";
  {
    std::lock_guard lock{mutex};
    targets.clear();
  }
  bool gone = false;
  for (int i = 0; i < 500 && !gone; ++i, std::this_thread::sleep_for(10ms)) gone = !sampler.latest(kAgent);
  EXPECT_TRUE(gone);
}

TEST(Sampler, GoesOnWithTheTargetsItKnowsWhileTheStoreIsAway) {
  const Machine machine;
  machine.v1("77", "abc", 1'000'000'000, 5000);
  std::atomic<int> asked{0};
  Sampler sampler{{10ms, 5ms, machine.root + "/proc"},
                  [&]() -> std::optional<std::vector<Target>> {
                    if (++asked > 1) return std::nullopt;
                    return std::vector<Target>{{kAgent, "abc", 77, std::nullopt}};
                  },
                  {},
                  system_now};
  ASSERT_TRUE(wait_for(sampler, [](const auto&) { return true; }));
  machine.v1("77", "abc", 1'000'000'000, 7000);
  EXPECT_TRUE(wait_for(sampler, [](const auto& sample) { return sample.memory_bytes == 6000; }));
  EXPECT_GT(asked, 1);
}

TEST(Sampler, AsksTheEngineForContainersElsewhere) {
  const Machine machine;
  machine.v1("77", "abc", 1, 1);
  std::atomic<int> calls{0};
  Sampler sampler{{10'000ms, 10ms, machine.root + "/proc"},
                  [] {
                    return std::vector<Target>{{kAgent, "far", 77, std::nullopt}};
                  },
                  [&](const std::string& id, std::stop_token) -> Result<Usage> {
                    EXPECT_EQ(id, "far");
                    return Usage{static_cast<double>(++calls), 42, 100, 1, 2, true, 1};
                  },
                  system_now};
  const auto sample = wait_for(sampler, [](const auto& one) { return one.cpu_known; });
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->memory_bytes, 42);
  EXPECT_GT(sample->cpu_percent, 0);
  EXPECT_EQ(calls, 2);
}

TEST(Sampler, KeepsTheLastSampleWhenTheEngineIsAwayAndDropsItWhenTheContainerIs) {
  const Machine machine;
  machine.v1("77", "abc", 1, 1);
  std::atomic<int> calls{0};
  std::atomic<ErrorKind> error{ErrorKind::unavailable};
  Sampler sampler{{20ms, 5ms, machine.root + "/proc"},
                  [] {
                    return std::vector<Target>{{kAgent, "far", 77, std::nullopt}};
                  },
                  [&](const std::string&, std::stop_token) -> Result<Usage> {
                    if (++calls == 1) return Usage{1, 42, 100, 1, 2, true, 1};
                    return Error{error, "x"};
                  },
                  system_now};
  for (int i = 0; i < 500 && calls < 4; ++i) std::this_thread::sleep_for(10ms);
  ASSERT_GE(calls, 4);
  ASSERT_TRUE(sampler.latest(kAgent));
  error = ErrorKind::not_found;
  bool gone = false;
  for (int i = 0; i < 500 && !gone; ++i, std::this_thread::sleep_for(10ms)) gone = !sampler.latest(kAgent);
  EXPECT_TRUE(gone);
}

}  // namespace
}  // namespace creel::stats
