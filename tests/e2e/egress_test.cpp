// Egress lists, seen from inside of real agents, with a namespace that plays the internet.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/support/creel_process.hpp"
#include "tests/support/inside.hpp"
#include "tests/support/internet.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

class EgressTest : public testing::Test {
 protected:
  void SetUp() override {
    creel.set("CREEL_LISTEN", "0.0.0.0:" + api_port);
    creel.start();
    key = creel.user("owner@example.com", "enterprise");
  }
  void TearDown() override {
    creel.set("CREEL_FENCE", "off");
    creel.stop();
    creel.start();  // takes the rules away
    creel.until("/healthz", "", [&](const Answer&) {
      return creel.engine().call("GET", "/containers/creel-" + creel.controller() + "-fence/json").status == 404;
    });
    creel.stop();
  }
  std::string provision(const std::string& name, const json& egress) {
    const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", name}, {"egress", egress}});
    EXPECT_EQ(made.status, 201) << made.text << creel.log();
    const std::string id = made.json["agent"]["id"];
    ready(id);
    return id;
  }
  void ready(const std::string& id) {
    const Answer last = creel.until("/api/agents/" + id, key, [](const Answer& a) {
      return a.json["agent"]["phase"] == "Ready" &&
             a.json["agent"]["observedGeneration"] == a.json["agent"]["generation"];
    });
    EXPECT_EQ(last.json["agent"]["phase"], "Ready") << last.text << creel.log();
  }
  json network_of(const std::string& agent) { return creel.engine().container(agent)["NetworkSettings"]["Networks"]; }
  // The address by which the agent finds its gateway.
  std::string gateway_of(const std::string& agent) { return creel.engine().container(agent)["HostConfig"]["Dns"][0]; }
  std::string http(const Inside& inside, const std::string& address, const std::string& host) {
    return inside.run(
        {"say", address, "80", "GET / HTTP/1.1\\r\\nHost: " + host + "\\r\\nConnection: close\\r\\n\\r\\n"});
  }
  // A gateway needs a moment after its start.
  void until_allowed(const Inside& inside, const std::string& name) {
    creel.until("/healthz", key, [&](const Answer&) {
      return inside.run({"dns", "127.0.0.11", name, "1"}).starts_with("NOERROR ");
    });
  }

  const Internet internet;
  CreelProcess creel{
      {{"CREEL_FENCE", "on"}, {"CREEL_EGRESS_RESOLVERS", Internet::kDns}, {"CREEL_RESYNC_SECONDS", "2"}}};
  const std::string api_port = creel.url().substr(creel.url().rfind(':') + 1);
  std::string key;
};

TEST_F(EgressTest, LetsAnAgentReachTheNamesOnItsListAndNothingElseByWhateverWay) {
  const std::string agent = provision("listed", {"allowed.test"}), beside = provision("beside", {"allowed.test"});
  const Inside inside{creel.engine(), agent};
  const std::string gateway = gateway_of(agent);
  until_allowed(inside, "allowed.test");
  ASSERT_EQ(network_of(agent).size(), 1u);
  const json endpoint = network_of(agent).begin().value();
  const std::string bridge = endpoint["Gateway"].get<std::string>().empty()
                                 ? gateway.substr(0, gateway.rfind('.')) + ".1"
                                 : endpoint["Gateway"].get<std::string>();
  EXPECT_EQ(network_of(beside).begin().key(), network_of(agent).begin().key()) << "the same list, the same network";

  // Allowed: the name leads to the gateway, and through it to where it really leads.
  EXPECT_EQ(inside.run({"dns", "127.0.0.11", "allowed.test", "1"}), "NOERROR " + gateway);
  EXPECT_NE(http(inside, gateway, "allowed.test").find("the internet: host=allowed.test"), std::string::npos)
      << http(inside, gateway, "allowed.test");
  EXPECT_EQ(inside.run({"tls", gateway, "443", "allowed.test"}), "answered");

  // Another name, asked of the engine's resolver and of the gateway itself; and names below the allowed one.
  for (const char* name : {"denied.test", "sub.allowed.test", "allowed.test.denied.test", "c2VjcmV0.denied.test"}) {
    EXPECT_EQ(inside.run({"dns", "127.0.0.11", name, "1"}), "NXDOMAIN") << name;
    EXPECT_EQ(inside.run({"dns", gateway, name, "1"}), "NXDOMAIN") << name;
    EXPECT_NE(inside.run({"tls", gateway, "443", name}), "answered") << name;
    EXPECT_NE(http(inside, gateway, name).find("403"), std::string::npos) << name;
  }
  EXPECT_NE(inside.run({"tls", gateway, "443", ""}), "answered") << "a handshake without a name";
  EXPECT_EQ(inside.run({"dns", "127.0.0.11", "allowed.test", "28"}), "NOERROR") << "no address of the other family";
  EXPECT_EQ(inside.run({"dns", gateway, "denied.test", "16"}), "NXDOMAIN") << "no text records to tunnel through";
  // A request that names one host in its line and another in its head.
  EXPECT_EQ(inside
                .run({"say", gateway, "80",
                      "GET http://denied.test/ HTTP/1.1\\r\\nHost: allowed.test\\r\\nConnection: close\\r\\n\\r\\n"})
                .find("the internet"),
            std::string::npos);
  EXPECT_EQ(inside.run({"say", gateway, "80", "CONNECT denied.test:443 HTTP/1.1\\r\\nHost: allowed.test\\r\\n\\r\\n"})
                .find("200"),
            std::string::npos);

  // An agent without a list gets there, so that it is the list that keeps this one away.
  const Inside open{creel.engine(), provision("open", "open")};
  for (const auto& [address, port] : {std::pair{Internet::kServer, "443"},
                                      {Internet::kOther, "80"},
                                      {Internet::kServer, "8443"},
                                      {Internet::kDns, "53"}})
    EXPECT_TRUE(open.tcp(address, port).starts_with("open")) << address << " " << port;
  EXPECT_EQ(open.run({"dns", Internet::kDns, "allowed.test", "1"}), "NOERROR " + std::string{Internet::kServer});
  EXPECT_EQ(open.run({"udp", Internet::kServer, "9999", "hello"}), "answer: hello");

  // A direct address, another port, DNS by raw UDP and TCP elsewhere, IPv6, the host, the other agent, the metadata
  // service.
  struct Way {
    const char* what;
    std::string address, port;
  };
  for (const Way& way : std::vector<Way>{{"a direct address", Internet::kServer, "443"},
                                         {"a direct address, not allowed", Internet::kOther, "80"},
                                         {"another port", Internet::kServer, "8443"},
                                         {"another port of the gateway", gateway, "8443"},
                                         {"DNS over TCP elsewhere", Internet::kDns, "53"},
                                         {"IPv6", "2001:db8:1::2", "80"},
                                         {"the host by the bridge", bridge, api_port},
                                         {"the host by another address", Internet::kHost, api_port},
                                         {"the other agent", network_of(beside).begin().value()["IPAddress"], "18789"},
                                         {"a private network", Internet::kPrivate, "80"},
                                         {"the metadata service", Internet::kMetadata, "80"}})
    EXPECT_FALSE(inside.tcp(way.address, way.port).starts_with("open")) << way.what;
  for (const char* server : {Internet::kDns, Internet::kServer, "8.8.8.8"})
    EXPECT_FALSE(inside.run({"dns", server, "allowed.test", "1"}).starts_with("NOERROR")) << server;
  EXPECT_FALSE(inside.run({"dns", bridge, "allowed.test", "1"}).starts_with("NOERROR"));
  EXPECT_FALSE(inside.run({"udp", Internet::kServer, "9999", "hello"}).starts_with("answer"));
  // Nobody takes all the connections of a gateway that is shared.
  EXPECT_EQ(inside.run({"hold", gateway, "443", "300"}), "256");
  EXPECT_EQ(inside.run({"tls", gateway, "443", "allowed.test"}), "answered") << "those are given back";
  // The other agent listens on an allowed port: only the gateway may be reached on it.
  const Inside other{creel.engine(), beside};
  ASSERT_EQ(other.run({"listen", "443"}), "listening");
  EXPECT_FALSE(inside.tcp(network_of(beside).begin().value()["IPAddress"], "443").starts_with("open"));

  // No name that was refused came to any DNS server out there.
  std::ifstream asked{internet.names_asked()};
  for (std::string name; std::getline(asked, name);) EXPECT_EQ(name, "allowed.test");

  // All of it is counted, and told now and then.
  const auto denied = [](const Answer& a) { return a.json.value("denied", 0) >= 8; };
  const Answer seen = creel.until("/api/agents/" + agent + "/egress", key, denied);
  EXPECT_TRUE(denied(seen)) << seen.text << creel.log();
  EXPECT_EQ(creel.call("GET", "/api/agents/" + beside + "/egress", key).json["denied"], 0) << "it tried nothing";
  int events = 0;
  std::string told;
  const Answer listed = creel.call("GET", "/api/agents/" + agent + "/events?limit=100", key);
  for (const json& event : listed.json["events"])
    if (event["reason"] == "EgressDenied") ++events, told += event["message"].get<std::string>() + "\n";
  EXPECT_GE(events, 1);
  EXPECT_LE(events, 6);
  EXPECT_NE(told.find("denied.test"), std::string::npos) << told;
  const std::string metrics = creel.call("GET", "/metrics").text;
  for (const char* by : {"dns", "tls", "http"}) {
    const std::string line = "creel_egress_denied_total{by=\"" + std::string{by} + "\"} ";
    const auto at = metrics.find(line);
    ASSERT_NE(at, std::string::npos) << metrics;
    EXPECT_NE(metrics[at + line.size()], '0') << by;
  }
  EXPECT_EQ(creel.call("POST", "/api/chat", key, {{"message", "hello"}}).status, 200) << "its owner still reaches it";
}

TEST_F(EgressTest, ChangesWithTheListAndOpensAndClosesWithIt) {
  EXPECT_EQ(creel.call("POST", "/api/agents/provision", key, {{"name", "bad"}, {"egress", {"http://x"}}}).status, 400);
  const std::string agent = provision("changing", "none");
  const std::string path = "/api/agents/" + agent + "/egress";
  EXPECT_EQ(creel.call("GET", path, key).json["egress"], "none");
  EXPECT_EQ(creel.call("GET", path, key).json["names"], json::array());
  {
    const Inside inside{creel.engine(), agent};
    EXPECT_FALSE(inside.run({"dns", "127.0.0.11", "allowed.test", "1"}).starts_with("NOERROR"));
    EXPECT_FALSE(inside.tcp(Internet::kServer, "80").starts_with("open"));
  }
  const Answer put = creel.call("PUT", path, key, {{"egress", {"*.allowed.test", "preset:openai"}}});
  ASSERT_EQ(put.status, 200) << put.text;
  EXPECT_EQ(put.json["names"], (json{"*.allowed.test", "api.openai.com"}));
  ready(agent);
  {
    const Inside inside{creel.engine(), agent};
    until_allowed(inside, "allowed.test");
    const std::string gateway = gateway_of(agent);
    for (const char* name : {"allowed.test", "deep.below.allowed.test"}) {
      EXPECT_EQ(inside.run({"dns", "127.0.0.11", name, "1"}), "NOERROR " + gateway) << name;
      EXPECT_EQ(inside.run({"tls", gateway, "443", name}), "answered") << name;
    }
    EXPECT_EQ(inside.run({"dns", "127.0.0.11", "notallowed.test", "1"}), "NXDOMAIN");
    // A name on the list that leads into a private network leads nowhere: the gateway is behind the fence, too.
    EXPECT_EQ(creel.call("PUT", path, key, {{"egress", {"private.test"}}}).status, 200);
  }
  ready(agent);
  {
    const Inside inside{creel.engine(), agent};
    until_allowed(inside, "private.test");
    EXPECT_EQ(http(inside, gateway_of(agent), "private.test").find("the internet"), std::string::npos);
    EXPECT_NE(inside.run({"tls", gateway_of(agent), "443", "private.test"}), "answered");
  }
  ASSERT_EQ(creel.call("PUT", path, key, {{"egress", "open"}}).status, 200);
  ready(agent);
  EXPECT_EQ(creel.call("GET", path, key).json["names"], nullptr);
  const Inside inside{creel.engine(), agent};
  EXPECT_TRUE(inside.tcp(Internet::kServer, "8443").starts_with("open"));
}

TEST_F(EgressTest, GatewaysAreMendedAndDoNotNeedTheController) {
  const std::string agent = provision("listed", {"allowed.test"});
  const Inside inside{creel.engine(), agent};
  until_allowed(inside, "allowed.test");
  const std::string name = network_of(agent).begin().key(), container = "/containers/" + name;
  const std::string started = creel.engine().container(agent)["State"]["StartedAt"];
  const auto works = [&] { return inside.run({"tls", gateway_of(agent), "443", "allowed.test"}) == "answered"; };
  ASSERT_TRUE(works());

  EXPECT_EQ(creel.engine().call("DELETE", container + "?force=1").status, 204);
  EXPECT_FALSE(works());
  creel.until("/healthz", key, [&](const Answer&) { return works(); });
  EXPECT_TRUE(works()) << "removed: " << creel.log();

  const std::string before = creel.engine().call("GET", container + "/json").json["Id"];
  EXPECT_EQ(creel.engine().call("POST", container + "/update", {{"PidsLimit", 4000}}).status, 200);
  creel.until("/healthz", key, [&](const Answer&) {
    const Answer now = creel.engine().call("GET", container + "/json");
    return now.status == 200 && now.json["Id"] != before && works();
  });
  EXPECT_TRUE(works()) << "altered: " << creel.log();
  EXPECT_NE(creel.engine().call("GET", container + "/json").json["Id"], before);

  creel.kill_hard();
  EXPECT_EQ(creel.engine().call("POST", container + "/kill?signal=SIGKILL").status, 204);
  creel.engine().call("POST", container + "/start");
  for (int i = 0; i < 50 && !works(); ++i) usleep(100'000);
  EXPECT_TRUE(works());
  creel.start();
  EXPECT_EQ(creel.engine().container(agent)["State"]["StartedAt"], started) << "the agent itself was left alone";

  const json gateway = creel.engine().call("GET", container + "/json").json;
  EXPECT_EQ(gateway["HostConfig"]["CapDrop"], json({"ALL"}));
  EXPECT_EQ(gateway["HostConfig"]["ReadonlyRootfs"], true);
  EXPECT_EQ(gateway["Config"]["User"], "65534:65534");
}

// The clients that agents really use, unaware of it all: Node's fetch and Python's urllib, with their certificates
// checked.
class EgressOfOpenClaw : public EgressTest {
 protected:
  EgressOfOpenClaw() { creel.set("CREEL_DEFAULT_TEMPLATE", "openclaw"); }
};

TEST_F(EgressOfOpenClaw, LetsItsOwnClientsReachTheListOverTlsAndTellsThemThatOtherNamesDoNotExist) {
  const Answer made =
      creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}, {"egress", {"allowed.test"}}});
  ASSERT_EQ(made.status, 201) << made.text;
  const std::string agent = made.json["agent"]["id"], container = "creel-" + agent, home = "/home/node/.openclaw";
  const Answer ready = creel.until(
      "/api/agents/" + agent, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; },
      std::chrono::seconds{240});
  ASSERT_EQ(ready.json["agent"]["phase"], "Ready") << ready.text << creel.log();
  std::ifstream file{internet.ca()};
  const std::string ca{std::istreambuf_iterator<char>{file}, {}};
  docker::TarWriter tar{0};
  tar.file("ca.pem", ca, 0644, {1000, 1000});
  ASSERT_EQ(creel.engine()
                .send("PUT", "/containers/" + container + "/archive?path=" + home, tar.finish(),
                      {{"Content-Type", "application/x-tar"}})
                .status,
            200);
  const auto node = [&](const std::string& name) {
    return creel.engine().exec(container,
                               {"sh", "-c",
                                "NODE_EXTRA_CA_CERTS=" + home + "/ca.pem node -e \"fetch('https://" + name +
                                    "/').then(r => r.text()).then(console.log, e => console.log(e.cause.code))\""});
  };
  const auto python = [&](const std::string& name) {
    return creel.engine().exec(
        container,
        {"sh", "-c",
         "SSL_CERT_FILE=" + home + "/ca.pem python3 -c \"import urllib.request as u; print(u.urlopen('https://" + name +
             "/', timeout=9).read().decode())\" 2>&1 | tail -n 2"});
  };
  EXPECT_EQ(node("allowed.test"), "the internet: host=allowed.test sni=allowed.test");
  EXPECT_EQ(python("allowed.test"), "the internet: host=allowed.test sni=allowed.test");
  EXPECT_EQ(node("denied.test"), "ENOTFOUND");
  EXPECT_NE(python("denied.test").find("Name or service not known"), std::string::npos) << python("denied.test");
  EXPECT_EQ(node("203.0.113.20").find("the internet"), std::string::npos) << "a direct address";
}

}  // namespace
}  // namespace creel::test
