// The fence, seen from inside of real agents: what they reach without it, and what is left with it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "reconciler/runtime/docker/network_pool.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/inside.hpp"
#include "tests/support/internet.hpp"
#include "tests/support/own_engine.hpp"
#include "tests/support/registry.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

constexpr const char* kRefused = "Connection refused";

int nft(const std::string& command) { return std::system(("PATH=$PATH:/usr/sbin nft " + command).c_str()); }

// The table of nftables of this controller and its engine.
class Table {
 public:
  explicit Table(CreelProcess& creel)
      : name_("creel_" +
              docker::bridge_prefix(creel.controller(), creel.engine().call("GET", "/info").json["ID"]).substr(2, 8)) {}
  // What a failed test left must not stay: the rules are the host's.
  ~Table() {
    if (there()) remove();
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  bool there() const { return nft("list table inet " + name_ + " >/dev/null 2>&1") == 0; }
  void remove() const { EXPECT_EQ(nft("delete table inet " + name_), 0); }
  const std::string& name() const { return name_; }

 private:
  const std::string name_;
};

class FenceTest : public testing::Test {
 protected:
  void start(const std::string& fence, const std::string& allow = "") {
    creel.stop();
    creel.set("CREEL_FENCE", fence);
    creel.set("CREEL_FENCE_ALLOW", allow);
    creel.start();
  }
  std::string provision(const std::string& name) {
    const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", name}});
    EXPECT_EQ(made.status, 201) << made.text << creel.log();
    const std::string id = made.json["agent"]["id"];
    creel.until("/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; });
    return id;
  }
  json condition(const std::string& agent, const std::string& type) {
    const Answer shown = creel.call("GET", "/api/agents/" + agent, key);
    for (const json& one : shown.json["agent"]["conditions"])
      if (one["type"] == type) return one;
    return json::object();
  }
  // Waits for what the agent says of the fence.
  void fenced(const std::string& agent, const std::string& status, const std::string& reason) {
    creel.until("/healthz", key, [&](const Answer&) {
      const json now = condition(agent, "Fenced");
      return now.value("status", "") == status && now.value("reason", "") == reason;
    });
    const json now = condition(agent, "Fenced");
    ASSERT_EQ(now.value("status", ""), status) << now << creel.log();
    ASSERT_EQ(now.value("reason", ""), reason) << now << creel.log();
  }
  void TearDown() override {
    creel.stop();
    creel.engine().remove_all(creel.controller());
  }

  CreelProcess creel{{{"CREEL_RESYNC_SECONDS", "2"}}};
  const Table table{creel};
  std::string key;
};

// A program on this machine that anybody may connect to, and its name for messages.
struct Target {
  const char* what;
  std::string address, port;
};

TEST_F(FenceTest, KeepsAgentsFromTheHostFromItsNetworksAndFromEachOtherAndLetsThemIntoTheInternet) {
  const Internet internet;
  const std::string folder = required_env("CREEL_TEST_WORK") + "/fence";
  std::filesystem::create_directories(folder);
  std::filesystem::permissions(folder, std::filesystem::perms{0755});
  const std::string postgres_port = "54399";
  script("scripts/postgres.sh start '" + folder + "/postgres' '" + folder + "/postgres.pid' " + postgres_port);
  struct Postgres {
    std::string pidfile;
    ~Postgres() { script("scripts/postgres.sh stop '" + pidfile + "'"); }
  } postgres{folder + "/postgres.pid"};
  const ServerProcess engine_tcp{
      {"python3", test::source_dir() + "/tests/support/engine_tcp.py", required_env("DOCKER_HOST").substr(7)}};
  const std::string api_port = creel.url().substr(creel.url().rfind(':') + 1);
  creel.set("CREEL_LISTEN", "0.0.0.0:" + api_port);

  start("off");
  key = creel.user("owner@example.com", "enterprise");
  const std::string agent = provision("one"), other = provision("two");
  const Inside inside{creel.engine(), agent};
  const json endpoint = creel.engine().container(agent)["NetworkSettings"]["Networks"].begin().value();
  const json neighbour = creel.engine().container(other)["NetworkSettings"]["Networks"].begin().value();
  const std::string bridge = endpoint["Gateway"], beside = neighbour["IPAddress"];
  const std::vector<Target> targets{
      {"PostgreSQL by the bridge", bridge, postgres_port},
      {"PostgreSQL by another address of the host", Internet::kHost, postgres_port},
      {"the controller's API", bridge, api_port},
      {"the controller's API by another address", Internet::kHost, api_port},
      {"an engine that listens on TCP", bridge, engine_tcp.port()},
      {"the metadata service of a cloud", Internet::kMetadata, "80"},
      {"a machine of the host's private network", Internet::kPrivate, "80"},
  };

  // Without the fence all that is open: or being refused would prove nothing.
  EXPECT_EQ(condition(agent, "Fenced").value("reason", ""), "SwitchedOff");
  for (const Target& target : targets)
    EXPECT_TRUE(inside.tcp(target.address, target.port).starts_with("open"))
        << target.what << ": " << inside.tcp(target.address, target.port);
  EXPECT_TRUE(inside.run({"say", bridge, engine_tcp.port(), "GET /_ping HTTP/1.0\\r\\n\\r\\n"})
                  .starts_with("open: HTTP/1.0 200"));
  EXPECT_EQ(inside.run({"udp", Internet::kPrivate, "9999", "hello"}), "answer: hello");
  // But for this, which the bridge refuses by itself.
  EXPECT_FALSE(inside.tcp(beside, "18789").starts_with("open"));
  EXPECT_FALSE(table.there());

  start("on");
  fenced(agent, "True", "InForce");
  for (const Target& target : targets) EXPECT_EQ(inside.tcp(target.address, target.port), kRefused) << target.what;
  EXPECT_FALSE(inside.tcp(beside, "18789").starts_with("open")) << "another agent";
  EXPECT_FALSE(inside.run({"udp", Internet::kPrivate, "9999", "hello"}).starts_with("answer"));
  EXPECT_FALSE(inside.run({"udp", bridge, "53", "hello"}).starts_with("answer"));
  // The internet is open, names included, and so is the way of the controller to the agent.
  EXPECT_TRUE(inside.run({"say", Internet::kServer, "80", "GET / HTTP/1.0\\r\\nHost: x.test\\r\\n\\r\\n"})
                  .starts_with("open: HTTP/1.1 200"));
  EXPECT_EQ(inside.tcp(Internet::kOther, "8443"), "open: another port");
  EXPECT_EQ(inside.run({"udp", Internet::kServer, "9999", "hello"}), "answer: hello");
  EXPECT_EQ(inside.run({"dns", Internet::kDns, "allowed.test", "1"}), "NOERROR " + std::string{Internet::kServer});
  EXPECT_EQ(creel.call("POST", "/api/chat", key, {{"message", "hello"}}).status, 200) << creel.log();

  // Exceptions, and nothing beside them.
  start("on", "host:" + postgres_port + ", " + Internet::kPrivate + ":80");
  creel.until("/healthz", key, [&](const Answer&) { return inside.tcp(Internet::kPrivate, "80").starts_with("open"); });
  EXPECT_TRUE(inside.tcp(bridge, postgres_port).starts_with("open"));
  EXPECT_TRUE(inside.tcp(Internet::kHost, postgres_port).starts_with("open"));
  EXPECT_TRUE(inside.tcp(Internet::kPrivate, "80").starts_with("open"));
  EXPECT_EQ(inside.tcp(Internet::kPrivate, "443"), kRefused);
  EXPECT_EQ(inside.tcp(bridge, api_port), kRefused);
  EXPECT_EQ(inside.tcp(Internet::kMetadata, "80"), kRefused);

  // Switched off, nothing of it stays.
  start("off");
  creel.until("/healthz", key, [&](const Answer&) { return !table.there(); });
  EXPECT_FALSE(table.there()) << creel.log();
  creel.until("/healthz", key, [&](const Answer&) {
    return creel.engine().call("GET", "/containers/creel-" + creel.controller() + "-fence/json").status == 404;
  });
  EXPECT_EQ(creel.engine().call("GET", "/containers/creel-" + creel.controller() + "-fence/json").status, 404);
  EXPECT_TRUE(inside.tcp(bridge, api_port).starts_with("open"));
}

TEST_F(FenceTest, PullsItsImageFromWhereTheOperatorSaysItIs) {
  http::Client client;
  LocalRegistry registry;
  registry.start(client);
  const std::string repository = registry.host() + "/team/egress", image = repository + ":7";
  EngineApi& engine = creel.engine();
  ASSERT_EQ(engine.call("POST", "/images/creel/egress:1/tag?tag=7&repo=" + http::url_encode(repository)).status, 201);
  const Answer pushed =
      engine.call("POST", "/images/" + repository + "/push?tag=7", nullptr, {{"X-Registry-Auth", "e30="}});
  EXPECT_EQ(pushed.status, 200) << pushed.text;
  EXPECT_EQ(engine.call("DELETE", "/images/" + image).status, 200);

  creel.set("CREEL_EGRESS_IMAGE", registry.host() + "/team/absent:7");
  start("on");
  key = creel.user("owner@example.com", "enterprise");
  const std::string agent = provision("one");
  creel.until("/healthz", key, [&](const Answer&) {
    return condition(agent, "Fenced").value("message", "").find("cannot be pulled") != std::string::npos;
  });
  const json without = condition(agent, "Fenced");
  EXPECT_EQ(without.value("reason", ""), "ImageAbsent") << without << creel.log();
  EXPECT_NE(without.value("message", "").find(registry.host() + "/team/absent:7"), std::string::npos) << without;

  creel.set("CREEL_EGRESS_IMAGE", image);
  start("on");
  fenced(agent, "True", "InForce");
  EXPECT_TRUE(table.there());
  const Answer keeper = engine.call("GET", "/containers/creel-" + creel.controller() + "-fence/json");
  EXPECT_EQ(keeper.json["Config"]["Image"], image);
  start("off");
  creel.until("/healthz", key, [&](const Answer&) { return !table.there(); });
  engine.remove_all(creel.controller());
  EXPECT_EQ(engine.call("DELETE", "/images/" + image).status, 200);
}

TEST_F(FenceTest, IsPutBackHoweverItWasTakenAwayAndOutlivesTheController) {
  const std::string api_port = creel.url().substr(creel.url().rfind(':') + 1);
  creel.set("CREEL_LISTEN", "0.0.0.0:" + api_port);
  start("on");
  key = creel.user("owner@example.com", "enterprise");
  const std::string agent = provision("one");
  fenced(agent, "True", "InForce");
  const Inside inside{creel.engine(), agent};
  const std::string bridge = creel.engine().container(agent)["NetworkSettings"]["Networks"].begin().value()["Gateway"];
  const auto refused_again = [&](const char* after) {
    creel.until("/healthz", key, [&](const Answer&) { return inside.tcp(bridge, api_port) == kRefused; });
    EXPECT_EQ(inside.tcp(bridge, api_port), kRefused) << after << creel.log();
  };
  refused_again("it was put up");
  ASSERT_TRUE(table.there());

  table.remove();
  EXPECT_TRUE(inside.tcp(bridge, api_port).starts_with("open") || table.there());
  refused_again("a firewall was loaded anew");
  EXPECT_EQ(nft("flush chain inet " + table.name() + " input"), 0);
  refused_again("a chain was emptied");

  const std::string container = "/containers/creel-" + creel.controller() + "-fence";
  const auto container_id = [&]() -> std::string {
    const Answer now = creel.engine().call("GET", container + "/json");
    return now.status == 200 && now.json["State"]["Running"] == true ? now.json["Id"].get<std::string>() : "";
  };
  std::string id = container_id();
  EXPECT_EQ(creel.engine().call("DELETE", container + "?force=1").status, 204);
  EXPECT_EQ(inside.tcp(bridge, api_port), kRefused) << "the rules stay when their keeper goes";
  table.remove();
  refused_again("keeper and rules were removed");
  EXPECT_NE(container_id(), id);

  // With more rights than it needs it is made anew.
  id = container_id();
  EXPECT_EQ(creel.engine().call("POST", container + "/update", {{"PidsLimit", 4000}}).status, 200);
  creel.until("/healthz", key, [&](const Answer&) { return !container_id().empty() && container_id() != id; });
  EXPECT_NE(container_id(), id) << creel.log();

  // Its keeper has what it needs, and no more.
  const json host = creel.engine().call("GET", container + "/json").json["HostConfig"];
  EXPECT_EQ(host["CapAdd"], json({"NET_ADMIN"}));
  EXPECT_EQ(host["CapDrop"], json({"ALL"}));
  EXPECT_EQ(host["ReadonlyRootfs"], true);
  EXPECT_EQ(host["Privileged"], false);

  creel.kill_hard();
  table.remove();
  for (int i = 0; i < 200 && !table.there(); ++i) usleep(100'000);
  EXPECT_TRUE(table.there()) << "nobody needs the controller for that";
  creel.start();
}

TEST(FenceWithoutItsImage, IsToldWithWhatHelpsAndStandsOnceTheImageIsThere) {
  const std::string before = required_env("DOCKER_HOST");
  {
    OwnEngine engine{required_env("CREEL_TEST_WORK") + "/fence-engine"};
    engine.start(false);
    script("templates/reference/build-image.sh");
    CreelProcess creel{{{"CREEL_FENCE", "on"}, {"CREEL_RESYNC_SECONDS", "2"}}};
    const Table table{creel};
    creel.start();
    const std::string key = creel.user("owner@example.com");
    const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "agent"}});
    ASSERT_EQ(made.status, 201) << made.text;
    EXPECT_EQ(made.json["agent"]["status"], "running") << "no agent waits for it";
    const auto fenced = [](const Answer& a) -> json {
      for (const json& one : a.json["agent"]["conditions"])
        if (one["type"] == "Fenced") return one;
      return json::object();
    };
    const std::string path = "/api/agents/" + made.json["agent"]["id"].get<std::string>();
    const Answer without =
        creel.until(path, key, [&](const Answer& a) { return fenced(a).value("reason", "") == "ImageAbsent"; });
    EXPECT_EQ(fenced(without).value("status", ""), "False") << without.text;
    EXPECT_NE(fenced(without).value("message", "").find("templates/egress/build-image.sh"), std::string::npos);
    const Finished doctor = creel.run({"doctor"});
    EXPECT_EQ(doctor.code, 1);
    EXPECT_NE(doctor.out.find("creel/egress:1 is not there"), std::string::npos) << doctor.out;

    script("templates/egress/build-image.sh");
    const Answer with =
        creel.until(path, key, [&](const Answer& a) { return fenced(a).value("status", "") == "True"; });
    EXPECT_EQ(fenced(with).value("reason", ""), "InForce") << with.text << creel.log();
    EXPECT_EQ(creel.run({"doctor"}).code, 0);
    creel.stop();
    creel.engine().remove_all(creel.controller());
  }
  setenv("DOCKER_HOST", before.c_str(), 1);
}

}  // namespace
}  // namespace creel::test
