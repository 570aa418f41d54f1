// An engine on another host: the controller is in a network namespace of its own, from which it sees this machine as an
// address at the other end of a cable, and the engine there over TCP.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>

#include "controller/core/ids.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/inside.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

bool shell(const std::string& command) { return std::system(("PATH=$PATH:/usr/sbin:/sbin; " + command).c_str()) == 0; }

class Elsewhere {
 public:
  static constexpr const char* kHere = "10.255.98.1";
  static constexpr const char* kThere = "10.255.98.2";

  Elsewhere() {
    const std::string id = random_hex(3), in = "ip netns exec " + name() + " ";
    // An interrupted run may have left one.
    shell("ip netns del " + name() + " 2>/dev/null");
    EXPECT_TRUE(shell("ip netns add " + name() + " && ip link add ce" + id + " type veth peer name cf" + id +
                      " netns " + name() + " && ip addr add " + kHere + "/30 dev ce" + id + " && ip link set ce" + id +
                      " up && " + in + "ip link set lo up && " + in + "ip link set cf" + id + " up && " + in +
                      "ip addr add " + kThere + "/30 dev cf" + id + " && " + in + "ip route add default via " + kHere));
  }
  ~Elsewhere() { EXPECT_TRUE(shell("ip netns del " + name())); }
  Elsewhere(const Elsewhere&) = delete;
  Elsewhere& operator=(const Elsewhere&) = delete;

  // What the calling thread starts meanwhile is there.
  void run(const std::function<void()>& what) const {
    const int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    const int there = open(("/run/netns/" + name()).c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_EQ(setns(there, CLONE_NEWNET), 0);
    what();
    ASSERT_EQ(setns(here, CLONE_NEWNET), 0);
    close(there);
    close(here);
  }
  bool reaches(const std::string& address, const std::string& port) const {
    return shell("ip netns exec " + name() + " timeout 5 bash -c 'exec 3<>/dev/tcp/" + address + "/" + port +
                 "' 2>/dev/null");
  }

 private:
  static std::string name() { return "creel-elsewhere"; }
};

TEST(RemoteEngine, IsWorkedWithFromAnotherHostAndItsAgentsAreReachedByNobodyElseThanThoseWhoReachTheAddress) {
  const Elsewhere elsewhere;
  const ServerProcess engine_tcp{
      {"python3", test::source_dir() + "/tests/support/engine_tcp.py", required_env("DOCKER_HOST").substr(7)}};
  CreelProcess creel{{{"CREEL_RESYNC_SECONDS", "2"},
                      {"CREEL_FENCE", "on"},
                      {"DOCKER_HOST", "tcp://" + std::string{Elsewhere::kHere} + ":" + engine_tcp.port()}}};
  creel.listen_at(Elsewhere::kThere);
  elsewhere.run([&] { creel.start(); });
  const std::string key = creel.user("owner@example.com", "enterprise");

  const auto provision = [&](const char* name) -> std::string {
    const Answer made = creel.call("POST", "/api/agents/provision?wait=0", key, {{"name", name}});
    EXPECT_LT(made.status, 300) << made.text << creel.log();
    return made.json["agent"]["id"];
  };
  const auto published = [&](const std::string& agent) {
    const json ports = creel.engine().container(agent)["NetworkSettings"]["Ports"];
    return ports.begin().value()[0];
  };
  const auto phase = [&](const std::string& agent, const std::string& wanted) {
    return creel.until("/api/agents/" + agent, key,
                       [&](const Answer& a) { return a.json["agent"]["phase"] == wanted; });
  };

  // By default nobody but the engine's host reaches an agent, and so this controller does not.
  const std::string first = provision("first");
  creel.until("/healthz", key, [&](const Answer&) {
    const json container = creel.engine().container(first);
    return !container.is_discarded() && container["State"]["Running"] == true;
  });
  EXPECT_EQ(published(first)["HostIp"], "127.0.0.1");
  EXPECT_FALSE(elsewhere.reaches(Elsewhere::kHere, published(first)["HostPort"]));

  creel.stop();
  creel.set("CREEL_PUBLISH_ADDRESS", Elsewhere::kHere);
  elsewhere.run([&] { creel.start(); });
  const std::string second = provision("second");
  EXPECT_EQ(phase(second, "Ready").json["agent"]["phase"], "Ready") << creel.log();
  EXPECT_EQ(published(second)["HostIp"], Elsewhere::kHere);
  // The first keeps its address until it is made anew.
  EXPECT_EQ(published(first)["HostIp"], "127.0.0.1");
  const Answer repaired = creel.call("POST", "/api/instance/" + first + "/repair", key);
  EXPECT_LT(repaired.status, 300) << repaired.text;
  EXPECT_EQ(phase(first, "Ready").json["agent"]["phase"], "Ready") << creel.log();
  const Answer chat = creel.call("POST", "/api/chat", key, {{"message", "hello"}, {"agentId", second}});
  EXPECT_EQ(chat.status, 200) << chat.text << creel.log();

  // The fence is in force, and open at that address alone, not for agents.
  const Answer fenced = creel.until("/api/agents/" + second, key, [](const Answer& a) {
    for (const json& one : a.json["agent"]["conditions"])
      if (one["type"] == "Fenced" && one["status"] == "True") return true;
    return false;
  });
  EXPECT_NE(fenced.text.find("InForce"), std::string::npos) << fenced.text;
  const std::string port = published(second)["HostPort"];
  EXPECT_TRUE(elsewhere.reaches(Elsewhere::kHere, port));
  const json endpoint = creel.engine().container(second)["NetworkSettings"]["Networks"].begin().value();
  EXPECT_FALSE(elsewhere.reaches(endpoint["IPAddress"], "18789")) << "by a route to the agents' bridge";
  const Inside inside{creel.engine(), first};
  for (const std::string& address : {std::string{Elsewhere::kHere}, endpoint["Gateway"].get<std::string>()})
    EXPECT_FALSE(inside.tcp(address, port).starts_with("open")) << "another agent by " << address;
  EXPECT_FALSE(inside.tcp(endpoint["IPAddress"], "18789").starts_with("open")) << "another agent";

  // An egress list is refused rather than not kept.
  const Answer list = creel.call("PUT", "/api/agents/" + first + "/egress", key, {{"egress", {"example.com"}}});
  EXPECT_EQ(list.status, 200) << list.text;
  const Answer refused = creel.until("/api/agents/" + first, key, [](const Answer& a) {
    return a.text.find("CREEL_PUBLISH_ADDRESS=none") != std::string::npos;
  });
  EXPECT_NE(refused.text.find("CREEL_PUBLISH_ADDRESS=none"), std::string::npos) << refused.text;

  creel.stop();
  creel.set("CREEL_FENCE", "off");
  elsewhere.run([&] { creel.start(); });
  creel.until("/healthz", key, [&](const Answer&) {
    return creel.engine().call("GET", "/containers/creel-" + creel.controller() + "-fence/json").status == 404;
  });
  EXPECT_EQ(creel.engine().call("GET", "/containers/creel-" + creel.controller() + "-fence/json").status, 404);
}

}  // namespace
}  // namespace creel::test
