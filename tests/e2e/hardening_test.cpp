// Rule 8 of the architecture, seen by a process inside: in the reference agent and in the real OpenClaw image; and put
// right when somebody alters it.
#include <gtest/gtest.h>

#include <sstream>

#include "tests/support/creel_process.hpp"
#include "tests/support/inside.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

struct Kind {
  const char* name;
  const char* state_dir;
};
std::ostream& operator<<(std::ostream& out, const Kind& kind) { return out << kind.name; }

// "CapEff:\t0000000000000000" -> "0000000000000000"
std::string field(const std::string& status, const std::string& name) {
  std::istringstream lines{status};
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(name + ":")) {
      const auto value = line.find_first_not_of(" \t", name.size() + 1);
      return value == std::string::npos ? "" : line.substr(value);
    }
  return "no " + name + " in: " + status;
}

struct Mount {
  std::string at, type, options, source;
};

std::vector<Mount> mounts(const std::string& mountinfo) {
  std::vector<Mount> result;
  std::istringstream lines{mountinfo};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line};
    std::string id, parent, device, root, at, options, word, type, source;
    words >> id >> parent >> device >> root >> at >> options;
    while (words >> word && word != "-") {
    }
    words >> type >> source;
    result.push_back({at, type, options, root});
  }
  return result;
}

class Hardening : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    creel.start();
    key = creel.user("owner@example.com", "enterprise");
    const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}});
    ASSERT_EQ(made.status, 201) << made.text << creel.log();
    agent = made.json["agent"]["id"];
    until_ready();
  }
  void until_ready() {
    const Answer last = creel.until(
        "/api/agents/" + agent, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; },
        std::chrono::seconds{240});
    ASSERT_EQ(last.json["agent"]["phase"], "Ready") << last.text << creel.log();
  }

  CreelProcess creel{{{"CREEL_DEFAULT_TEMPLATE", GetParam().name}}};
  std::string key, agent;
};

INSTANTIATE_TEST_SUITE_P(Of, Hardening,
                         testing::Values(Kind{"reference", "/home/agent/state"},
                                         Kind{"openclaw", "/home/node/.openclaw"}),
                         [](const auto& info) { return std::string{info.param.name}; });

TEST_P(Hardening, IsWhatAProcessInsideSees) {
  const Inside inside{creel.engine(), agent, GetParam().state_dir};
  // The agent's own first process, and one that was put in.
  for (const char* process : {"1", "self"}) {
    const std::string status = inside.run({"cat", std::string{"/proc/"} + process + "/status"});
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
      EXPECT_EQ(field(status, set), "0000000000000000") << process << " " << set;
    EXPECT_EQ(field(status, "NoNewPrivs"), "1") << process;
    EXPECT_EQ(field(status, "Seccomp"), "2") << process;
    EXPECT_EQ(field(status, "Uid"), "1000\t1000\t1000\t1000") << process;
    EXPECT_EQ(field(status, "Gid"), "1000\t1000\t1000\t1000") << process;
    EXPECT_EQ(field(status, "Groups").find_first_not_of("1000 "), std::string::npos) << process;
  }

  // What may be written: the agent's volume, and memory. Nothing of the host is there.
  bool root = false, volume = false;
  for (const Mount& mount : mounts(inside.run({"cat", "/proc/self/mountinfo"}))) {
    const bool writable = ("," + mount.options + ",").find(",rw,") != std::string::npos;
    if (mount.at == "/") {
      root = true;
      EXPECT_FALSE(writable) << mount.options;
    } else if (mount.at == GetParam().state_dir) {
      volume = true;
      EXPECT_NE(mount.source.find("/volumes/creel-" + agent + "/_data"), std::string::npos) << mount.source;
    } else if (mount.at == "/etc/hosts" || mount.at == "/etc/hostname" || mount.at == "/etc/resolv.conf") {
      // The engine's own files for this container.
    } else if (mount.at.ends_with("/sbin/docker-init")) {
      EXPECT_FALSE(writable);
    } else {
      const std::set<std::string> kernel{"proc", "tmpfs", "devpts", "sysfs", "cgroup", "cgroup2", "mqueue"};
      EXPECT_TRUE(kernel.contains(mount.type)) << mount.at << " is a " << mount.type;
      if (mount.type == "sysfs" || mount.type.starts_with("cgroup")) {
        EXPECT_FALSE(writable) << mount.at;
      }
    }
  }
  EXPECT_TRUE(root && volume);
  EXPECT_EQ(inside.run({"write", "/intruder"}), "Read-only file system");
  EXPECT_EQ(inside.run({"write", "/etc/hosts"}), "Permission denied");
  EXPECT_EQ(inside.run({"write", std::string{GetParam().state_dir} + "/note"}), "written");
  EXPECT_NE(inside.run({"write", "/proc/sys/kernel/core_pattern"}), "written");
  for (const char* socket : {"/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"})
    EXPECT_EQ(inside.run({"cat", socket}), "No such file or directory") << socket;
  const std::string devices = inside.run({"ls", "/dev"});
  for (const char* device : {"mem", "kmem", "sda", "vda", "kvm", "loop0", "net"})
    EXPECT_EQ(("\n" + devices + "\n").find(std::string{"\n"} + device + "\n"), std::string::npos) << devices;
  // Processes of its own alone.
  const std::string processes = inside.run({"ls", "/proc"});
  EXPECT_EQ(processes.find("\n" + std::to_string(creel.pid()) + "\n"), std::string::npos);
}

using HardeningDrift = Hardening;
INSTANTIATE_TEST_SUITE_P(Of, HardeningDrift, testing::Values(Kind{"reference", "/home/agent/state"}),
                         [](const auto& info) { return std::string{info.param.name}; });

TEST_P(HardeningDrift, IsPutRightHoweverTheContainerWasAltered) {
  EngineApi& engine = creel.engine();
  const auto id = [&]() -> std::string {
    const json now = engine.container(agent);
    return now.is_object() ? now["Id"].get<std::string>() : "";
  };
  // As it should be, in another container than `before`.
  const auto right_again = [&](const std::string& before) {
    creel.until("/api/agents/" + agent, key, [&](const Answer& a) {
      const json now = engine.container(agent);
      return a.json["agent"]["phase"] == "Ready" && now.is_object() && now["Id"] != before &&
             now["State"]["Running"] == true;
    });
    const json now = engine.container(agent);
    ASSERT_TRUE(now.is_object()) << creel.log();
    EXPECT_NE(now["Id"], before) << creel.log();
    EXPECT_EQ(now["HostConfig"]["Privileged"], false);
    EXPECT_EQ(now["NetworkSettings"]["Networks"].size(), 1u) << now["NetworkSettings"]["Networks"];
    const Inside inside{engine, agent, GetParam().state_dir};
    EXPECT_EQ(field(inside.run({"cat", "/proc/1/status"}), "CapEff"), "0000000000000000");
  };

  std::string before = id();
  EXPECT_EQ(engine.call("POST", "/containers/" + before + "/update", {{"PidsLimit", 5000}}).status, 200);
  right_again(before);

  // Joined to another network: traffic between its containers is on there.
  const std::string other = "other-" + creel.controller();
  ASSERT_EQ(engine
                .call("POST", "/networks/create",
                      {{"Name", other}, {"Labels", {{"dev.creel.controller", creel.controller()}}}})
                .status,
            201);
  before = id();
  EXPECT_EQ(engine.call("POST", "/networks/" + other + "/connect", {{"Container", before}}).status, 200);
  right_again(before);

  // Taken off its own: nobody would reach it any more.
  before = id();
  const std::string network = engine.container(agent)["HostConfig"]["NetworkMode"];
  EXPECT_EQ(
      engine.call("POST", "/networks/" + network + "/disconnect", {{"Container", before}, {"Force", true}}).status,
      200);
  right_again(before);

  // Made anew by hand under its name and with all its labels, but as root, with what capabilities an engine gives.
  const json old = engine.container(agent);
  json host = old["HostConfig"];
  host["CapDrop"] = nullptr;
  host["SecurityOpt"] = nullptr;
  host["ReadonlyRootfs"] = false;
  creel.kill_hard();
  EXPECT_EQ(engine.call("DELETE", "/containers/" + id() + "?force=1").status, 204);
  const Answer made = engine.call("POST", "/containers/create?name=creel-" + agent,
                                  {{"Image", old["Config"]["Image"]},
                                   {"User", "0:0"},
                                   {"Env", old["Config"]["Env"]},
                                   {"Labels", old["Config"]["Labels"]},
                                   {"HostConfig", host}});
  ASSERT_EQ(made.status, 201) << made.text;
  before = made.json["Id"];
  const Answer begun = engine.call("POST", "/containers/" + before + "/start");
  ASSERT_EQ(begun.status, 204) << begun.text;
  {
    const Inside inside{engine, agent, GetParam().state_dir};
    ASSERT_NE(field(inside.run({"cat", "/proc/1/status"}), "CapEff"), "0000000000000000") << "it is dangerous now";
  }
  creel.start();
  right_again(before);
}

}  // namespace
}  // namespace creel::test
