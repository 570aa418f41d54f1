// The way to agents by the documented addresses, with real agents: the reference agent over HTTP, and OpenClaw's own
// pages in a real browser, which knows no token.
#include <gtest/gtest.h>

#include "controller/core/ids.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/model_server.hpp"
#include "tests/support/node_script.hpp"
#include "tests/support/raw_client.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

std::string provision_ready(CreelProcess& creel, const std::string& key) {
  const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}});
  EXPECT_EQ(made.status, 201) << made.text << creel.log();
  const std::string id = made.json["agent"]["id"];
  const Answer ready = creel.until(
      "/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; },
      std::chrono::seconds{240});
  EXPECT_EQ(ready.json["agent"]["phase"], "Ready") << ready.text << creel.log();
  return id;
}

// "127.0.0.1:10000" of "ws://127.0.0.1:10000/agent/…".
std::string gateway_address(const std::string& websocket_url) {
  const std::string rest = websocket_url.substr(websocket_url.find("://") + 3);
  return rest.substr(0, rest.find('/'));
}

TEST(Gateway, BringsClientsToTheReferenceAgentThroughItsRestarts) {
  CreelProcess creel;
  creel.start();
  const std::string key = creel.user("owner@example.com", "starter");
  const std::string id = provision_ready(creel, key);
  const Answer shown = creel.call("GET", "/api/agents", key);
  const std::string address = gateway_address(shown.json["agents"][0]["websocketUrl"]);
  const auto ask = [&](const std::string& credential) {
    RawClient client{address};
    const std::string body = R"({"model":"any","messages":[{"role":"user","content":"hello"}]})";
    client.say("POST /agent/" + id + "/v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n" + credential +
               "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return client.answer();
  };
  const std::string bearer = "Authorization: Bearer " + key + "\r\n";
  EXPECT_NE(ask(bearer).find("ECHO("), std::string::npos);
  EXPECT_TRUE(ask("").starts_with("HTTP/1.1 401"));
  // Behind another address after each restart.
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(creel.call("POST", "/api/instance/" + id + "/restart", key).status, 200);
    EXPECT_NE(ask(bearer).find("ECHO("), std::string::npos);
  }
  ASSERT_EQ(creel.call("POST", "/api/instance/" + id + "/stop", key).status, 200);
  EXPECT_TRUE(ask(bearer).starts_with("HTTP/1.1 409"));
  EXPECT_EQ(creel.log().find(key), std::string::npos);
}

TEST(Gateway, ShowsOpenclawsOwnPagesToABrowserThatKnowsNoToken) {
  ModelServer model;
  CreelProcess creel{{{"CREEL_DEFAULT_TEMPLATE", "openclaw"}}};
  creel.start();
  const std::string key = creel.user("owner@example.com", "starter");
  const std::string id = provision_ready(creel, key);
  const json networks = creel.engine().container(id)["NetworkSettings"]["Networks"];
  ASSERT_EQ(creel
                .call("PUT", "/api/agents/" + id + "/config", key,
                      model_config(networks.begin().value()["Gateway"], model.port()))
                .status,
            200);
  creel.until("/api/agents/" + id, key, [](const Answer& a) {
    return a.json["agent"]["observedGeneration"] == a.json["agent"]["generation"] &&
           a.json["agent"]["phase"] == "Ready";
  });
  const Answer token = creel.call("GET", "/api/instance/" + id + "/token", key);

  NodeScript browser{"page.js"};
  const std::string screenshot = required_env("CREEL_TEST_WORK") + "/openclaw-control-ui.png";
  const auto open = [&](const std::string& base, const std::string& message) {
    const Answer ticket = creel.call("POST", "/api/agents/" + id + "/ticket", key);
    ASSERT_EQ(ticket.status, 201) << ticket.text;
    const json page = browser.ask("open", {{"url", base + "/?token=" + ticket.json["ticket"].get<std::string>()}});
    EXPECT_EQ(page["status"], 200) << page;
    EXPECT_EQ(page["url"].get<std::string>().find("token"), std::string::npos) << "it does not stay in the address";
    EXPECT_EQ(page["title"], "OpenClaw Control") << page;
    const json before = browser.ask("wait", {{"text", "Message"}, {"seconds", 30}});
    const json wrote = browser.ask("write", {{"selector", "textarea"}, {"text", message}});
    const json after = browser.ask("wait", {{"text", "): " + message}, {"seconds", 60}});
    browser.ask("screenshot", {{"path", screenshot}});
    EXPECT_NE(after["text"].get<std::string>().find("): " + message), std::string::npos) << before << wrote << after;
    EXPECT_EQ(after.dump().find(token.json["token"].get<std::string>()), std::string::npos);
  };
  const Answer shown = creel.call("GET", "/api/agents", key);
  open("http://" + gateway_address(shown.json["agents"][0]["websocketUrl"]) + "/agent/" + id, "hello by a path");
  // By its name, at the API's address: browsers take *.localhost for this machine.
  open("http://" + id + ".agents.localhost:" + creel.url().substr(creel.url().rfind(':') + 1), "hello by a name");
  std::printf("screenshot: %s\n", screenshot.c_str());
}

}  // namespace
}  // namespace creel::test
