// Agents' names behind the reverse proxies that people have: Debian's real Caddy, which makes a certificate for a name
// when Creel says that it is an agent's; and Traefik's HTTP provider, held to what Traefik documents.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "tests/support/caddy.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

TEST(FrontProxies, CaddyMakesCertificatesForAgentsAndForNobodyElse) {
  const std::string port = std::to_string(free_port());
  CreelProcess creel{{{"CREEL_TRUSTED_PROXIES", "127.0.0.1"}}};
  creel.start();
  const std::string key = creel.user("owner@example.com", "starter");
  const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}});
  ASSERT_EQ(made.status, 201) << made.text << creel.log();
  const std::string id = made.json["agent"]["id"];
  creel.until("/api/agents/" + id, key, [](const Answer& a) { return a.json["agent"]["phase"] == "Ready"; });

  http::Client client;
  Caddy caddy;
  ASSERT_NO_FATAL_FAILURE(caddy.start(client, port, creel.url().substr(creel.url().rfind('/') + 1)));
  const auto ask = [&](const std::string& name, const std::string& path, http::Headers headers) {
    http::Request request;
    request.url = "https://" + name + ".agents.localhost:" + port + path;
    request.tls = http::Tls{caddy.authority(), "", ""};
    request.headers = std::move(headers);
    return client.send(request);
  };
  const http::Headers owner{{"Authorization", "Bearer " + key}};
  const auto answer = ask(id, "/healthz", owner);
  ASSERT_TRUE(answer) << answer.error().message << caddy.log();
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(json::parse(answer->body)["status"], "live") << "the agent's own words: " << answer->body;
  const auto nobody = ask(id, "/healthz", {});
  ASSERT_TRUE(nobody);
  EXPECT_EQ(nobody->status, 401);
  // No certificate, so nothing is said at all.
  EXPECT_FALSE(ask("ffffffffffffffff", "/", owner));
  EXPECT_FALSE(ask("evil", "/", owner));

  // A browser's cookie is for https only: Creel believes its proxy that this is what the browser speaks.
  const Answer ticket = creel.call("POST", "/api/agents/" + id + "/ticket", key);
  const auto let_in = ask(id, "/?token=" + ticket.json["ticket"].get<std::string>(), {{"Accept", "text/html"}});
  ASSERT_TRUE(let_in);
  EXPECT_EQ(let_in->status, 303);
  EXPECT_NE(let_in->header("set-cookie").find("Secure"), std::string::npos) << let_in->header("set-cookie");

  // Whoever comes through the proxy is not the proxy: strangers do not learn which agents there are.
  const Answer direct = creel.call("GET", "/integrations/caddy/ask?domain=" + id + ".agents.localhost");
  EXPECT_EQ(direct.status, 200) << direct.text;
  EXPECT_EQ(creel
                .call("GET", "/integrations/caddy/ask?domain=" + id + ".agents.localhost", "", nullptr,
                      {{"X-Forwarded-For", "203.0.113.7"}})
                .status,
            403);
}

// For proxies that go by the labels of containers.
TEST(FrontProxies, LabelsOfATemplateStandOnTheContainersOfItsAgents) {
  const std::filesystem::path folder = required_env("CREEL_TEST_WORK") + "/labelled-templates/labelled";
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(test::source_dir() + "/templates/reference/template.yaml", folder / "template.yaml",
                             std::filesystem::copy_options::overwrite_existing);
  std::ofstream{folder / "template.yaml", std::ios::app}
      << "labels:\n  traefik.enable: \"true\"\n  caddy: ${agent_id}.example.com\n";
  CreelProcess creel{{{"CREEL_TEMPLATES", folder.parent_path().string()}}};
  creel.start();
  const std::string key = creel.user("owner@example.com", "starter");
  const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}, {"template", "labelled"}});
  ASSERT_EQ(made.status, 201) << made.text << creel.log();
  const std::string id = made.json["agent"]["id"];
  const json labels = creel.engine().container(id)["Config"]["Labels"];
  EXPECT_EQ(labels["traefik.enable"], "true");
  EXPECT_EQ(labels["caddy"], id + ".example.com");
  EXPECT_EQ(labels["dev.creel.agent"], id);
}

// Traefik's documentation of its dynamic configuration (v2 and v3), of what Creel's answer has in it: objects, the
// members they may have, and those they must. Traefik refuses a whole answer with a member it does not know.
void check_object(const json& object, const std::set<std::string>& may, const std::set<std::string>& must) {
  ASSERT_TRUE(object.is_object()) << object;
  for (const auto& [name, ignored] : object.items()) EXPECT_TRUE(may.contains(name)) << name << " in " << object;
  for (const auto& name : must) EXPECT_TRUE(object.contains(name)) << name << " missing in " << object;
}

void check_router(const json& router, const json& services) {
  check_object(router, {"entryPoints", "rule", "ruleSyntax", "priority", "middlewares", "service", "tls"},
               {"rule", "service"});
  EXPECT_TRUE(router["rule"].is_string() && router["service"].is_string()) << router;
  EXPECT_TRUE(services.contains(router["service"])) << router << " leads to none of " << services;
  if (router.contains("entryPoints")) {
    EXPECT_TRUE(router["entryPoints"].is_array());
    for (const auto& point : router["entryPoints"]) EXPECT_TRUE(point.is_string()) << router;
  }
  if (router.contains("tls")) {
    check_object(router["tls"], {"options", "certResolver", "domains"}, {});
    if (router["tls"].contains("certResolver")) {
      EXPECT_TRUE(router["tls"]["certResolver"].is_string());
    }
  }
}

void check_service(const json& service) {
  check_object(service, {"loadBalancer"}, {"loadBalancer"});  // of four kinds exactly one
  const json& balancer = service["loadBalancer"];
  check_object(balancer,
               {"servers", "sticky", "healthCheck", "passHostHeader", "responseForwarding", "serversTransport"},
               {"servers"});
  ASSERT_TRUE(balancer["servers"].is_array() && !balancer["servers"].empty()) << balancer;
  for (const auto& server : balancer["servers"]) {
    check_object(server, {"url"}, {"url"});
    EXPECT_TRUE(server["url"].get<std::string>().starts_with("http")) << server;
  }
  if (balancer.contains("passHostHeader")) {
    EXPECT_TRUE(balancer["passHostHeader"].is_boolean());
  }
}

TEST(FrontProxies, TraefikIsGivenWhatItDocuments) {
  for (const std::string scheme : {"http", "https"}) {
    CreelProcess creel{{{"AGENTS_URL_SCHEME", scheme}}};
    creel.start();
    // A section that is there and empty is refused by Traefik.
    EXPECT_EQ(creel.call("GET", "/integrations/traefik").json, json::object());
    const std::string key = creel.user("owner@example.com", "enterprise");
    for (const char* name : {"one", "two"})
      ASSERT_EQ(creel.call("POST", "/api/agents/provision", key, {{"name", name}}).status, 201);
    for (const char* query : {"", "?entryPoints=websecure", "?entryPoints=websecure&certResolver=letsencrypt"}) {
      const Answer answer = creel.call("GET", std::string{"/integrations/traefik"} + query);
      ASSERT_EQ(answer.status, 200) << answer.text;
      check_object(answer.json, {"http", "tcp", "udp", "tls"}, {"http"});
      const json& http = answer.json["http"];
      check_object(http, {"routers", "services", "middlewares", "serversTransports"}, {"routers", "services"});
      EXPECT_EQ(http["routers"].size(), 2u);
      for (const auto& [name, router] : http["routers"].items()) {
        check_router(router, http["services"]);
        EXPECT_EQ(router.contains("tls"), scheme == "https") << router;
      }
      for (const auto& [name, service] : http["services"].items()) check_service(service);
    }
  }
}

}  // namespace
}  // namespace creel::test
