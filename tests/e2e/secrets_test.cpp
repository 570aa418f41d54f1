// Rule 9 of ARCHITECTURE.md, looked at from outside: marked secrets are planted through every route and setting that
// takes one, an agent is led through its life, and then everything that anybody but the owner may get hold of is
// searched for them: 0 hits. Each kind of place also holds something that is meant to be seen there, and the search
// must find that.
//
// Not searched, because showing a secret is what they are for: the answer to the creation of an API key, the session's
// cookie, a ticket's and its cookie, GET and rotation of the gateway's token, GET and PUT of the owner's own
// configuration, the fields streamKey and verifyToken, the agent's volume, and the agent's own output as the engine
// keeps it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "controller/secrets/device_key.hpp"
#include "controller/secrets/hmac.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/pg.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/fake_graph.hpp"
#include "tests/support/fake_mux.hpp"
#include "tests/support/own_engine.hpp"
#include "tests/support/secret_scan.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kAnswers = "answers of the API";
constexpr const char* kErrors = "error bodies";
constexpr const char* kInspect = "inspect of the engine";
constexpr const char* kProcesses = "argv and env of processes";
constexpr const char* kTextLog = "our log (debug, text)";
constexpr const char* kJsonLog = "our log (debug, JSON)";
constexpr const char* kEngineLog = "the engine's log (debug)";
constexpr const char* kEngineData = "the engine's own files";
constexpr const char* kDump = "pg_dump";
constexpr const char* kCommands = "output of creel commands";

std::string read(const fs::path& path) {
  std::ifstream file{path, std::ios::binary};
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string output_of(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string all;
  char piece[65536];
  for (std::size_t got = 0; pipe != nullptr && (got = std::fread(piece, 1, sizeof piece, pipe)) > 0;)
    all.append(piece, got);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return all;
}

// A template of the reference agent that says its provider's key at each start: its model is the key.
std::string confessing_templates(const std::string& folder) {
  fs::create_directories(folder + "/confessing");
  std::string yaml = read(test::source_dir() + "/templates/reference/template.yaml");
  const auto at = yaml.find("model: ${model}");
  EXPECT_NE(at, std::string::npos);
  yaml.replace(at, std::string{"model: ${model}"}.size(), "model: ${secret.anthropic}");
  std::ofstream{folder + "/confessing/template.yaml"} << yaml;
  return folder;
}

class Secrets : public testing::Test {
 protected:
  void SetUp() override {
    engine.start(false, "--debug");
    script("templates/reference/build-image.sh");
    mux.authorization = "Basic " + SecretScan::base64("id:" + marked("MUX_TOKEN_SECRET"));
    creel = std::make_unique<CreelProcess>(
        CreelProcess::Env{{"CREEL_LOG", "text"},
                          {"CREEL_LOG_LEVEL", "debug"},
                          {"CREEL_SIGNUP", "true"},
                          {"CREEL_TEMPLATES", confessing_templates(work + "/secrets-templates")},
                          {"MUX_TOKEN_ID", "id"},
                          {"MUX_TOKEN_SECRET", marked("MUX_TOKEN_SECRET")},
                          {"MUX_BASE_URL", mux.url()},
                          {"WHATSAPP_GRAPH_URL", graph.url()},
                          {"WHATSAPP_APP_SECRET", marked("WHATSAPP_APP_SECRET")},
                          {"STRIPE_WEBHOOK_SECRET", marked("STRIPE_WEBHOOK_SECRET")},
                          {"ETH_RPC_URL", "http://127.0.0.1:1/v3/" + marked("ETH_RPC_URL")},
                          {"CREEL_EAS_SCHEMAS", "0x" + std::string(64, '1')},
                          {"CREEL_EAS_ATTESTERS", "0x" + std::string(40, '2')}});
    creel->set("DATABASE_URL", creel->conninfo() + " password=" + marked("password of DATABASE_URL"));
  }
  void TearDown() override {
    creel.reset();
    setenv("DOCKER_HOST", before.c_str(), 1);
  }

  // A new secret, the same for the same name. It looks like no vendor's token: nothing must be found by its shape
  // alone.
  std::string marked(const std::string& name, const std::string& around = "") {
    auto& value = made[name];
    if (value.empty()) {
      value = around + "m" + random_hex(14) + around;
      scan.plant(name, value);
    }
    return value;
  }

  // Every answer is searched; what is meant to show a secret is taken out of it first.
  Answer call(const std::string& method, const std::string& path, const std::string& key, const json& body = nullptr,
              http::Headers headers = {}, bool shows_secret = false) {
    headers.emplace_back("X-Request-Id", "visible-request");
    Answer answer = creel->call(method, path, key, body, std::move(headers));
    if (!shows_secret) look_at(method + " " + path, answer);
    return answer;
  }
  void look_at(const std::string& place, const Answer& answer) {
    EXPECT_NE(answer.status, 0) << place << ": " << answer.text;
    json shown = answer.json;
    const auto take_out = [](json& part) {
      for (const char* field : {"streamKey", "verifyToken"}) part.erase(field);
    };
    if (shown.is_object()) take_out(shown);
    if (shown.is_object() && shown.contains("whatsapp") && shown["whatsapp"].is_object()) take_out(shown["whatsapp"]);
    std::string text = answer.json.is_object() ? shown.dump() : answer.text;
    for (const auto& [name, value] : answer.headers)
      if (name != "set-cookie") text += "\n" + name + ": " + value;
    scan.look(answer.status >= 400 ? kErrors : kAnswers, place + " " + std::to_string(answer.status), text);
  }
  Answer set(const std::string& name, const std::string& value) {
    return call("POST", "/api/agent?agentId=" + agent, key,
                {{"action", "set-credential"}, {"key", name}, {"value", value}});
  }
  Answer until_phase(const std::string& id, const std::string& phase) {
    return creel->until("/api/agents/" + id, key,
                        [&](const Answer& a) { return a.json["agent"].value("phase", "") == phase; });
  }
  void settle(const std::string& id) {
    const Answer last = creel->until("/api/agents/" + id, key, [](const Answer& a) {
      return a.json["agent"]["observedGeneration"] == a.json["agent"]["generation"];
    });
    EXPECT_EQ(last.json["agent"]["observedGeneration"], last.json["agent"]["generation"]) << last.text << creel->log();
  }

  // What Creel makes or keeps by itself is planted too: every sealed value, opened with the master key.
  void plant_what_is_sealed() {
    scan.plant("master key", output_of("tr -d '\\n' < " + (creel->state() / "master.key").string()));
    auto sealer = secrets::Sealer::load_or_create((creel->state() / "master.key").string());
    ASSERT_TRUE(sealer) << sealer.error().message;
    auto database = store::Database::open(creel->conninfo(), 1);
    ASSERT_TRUE(database) << database.error().message;
    auto tx = (*database)->begin();
    ASSERT_TRUE(tx);
    const auto rows = tx->exec("SELECT agent_id, name, key_id, nonce, ciphertext FROM agent_secrets");
    ASSERT_TRUE(rows);
    for (int i = 0; i < rows->size(); ++i) {
      const auto row = (*rows)[i];
      const std::string name = row.text("name"), owner = row.text("agent_id");
      const auto plain = sealer->open({row.text("key_id"), row.bytes("nonce"), row.bytes("ciphertext")},
                                      secrets::secret_context(owner, name));
      ASSERT_TRUE(plain) << plain.error().message;
      if (name == "config" || name.starts_with("files") || name.ends_with("_id")) continue;
      scan.plant("sealed " + name, *plain);
      if (name == "device_key") scan.plant("device token", secrets::DeviceKey::from_seed(*plain)->token());
    }
  }

  void look_at_the_engine() {
    const auto all = [&](const std::string& list, const std::string& one, const char* member, const char* field) {
      const Answer answer = creel->engine().call("GET", list);
      scan.look(kInspect, list, answer.text);
      const json& items = member[0] != '\0' ? answer.json.value(member, json::array()) : answer.json;
      for (const auto& item : items)
        scan.look(kInspect, one + item[field].get<std::string>(),
                  creel->engine()
                      .call("GET", one + item[field].get<std::string>() +
                                       (one == "/containers/" || one == "/images/" ? "/json" : ""))
                      .text);
    };
    all("/containers/json?all=1", "/containers/", "", "Id");
    all("/volumes", "/volumes/", "Volumes", "Name");
    all("/networks", "/networks/", "", "Id");
    all("/images/json", "/images/", "", "Id");
    scan.look(kEngineLog, engine.log(), read(engine.log()));
    for (const char* part : {"/containers", "/network", "/image"}) {
      for (const auto& entry : fs::recursive_directory_iterator{engine.data() + part}) {
        const std::string path = entry.path().string();
        const bool printed = path.find("/local-logs/") != std::string::npos || path.ends_with("-json.log");
        if (entry.is_regular_file() && !printed) scan.look(kEngineData, path, read(entry.path()));
      }
    }
    // Secrets may be in the volumes: in files that nobody but the agent can read.
    for (const auto& entry : fs::recursive_directory_iterator{engine.data() + "/volumes"}) {
      if (!entry.is_regular_file() || entry.path().filename() != "config.json") continue;
      EXPECT_EQ(entry.status().permissions() & fs::perms{0777}, fs::perms{0600}) << entry.path();
    }
  }

  void look_at_processes() {
    for (const auto& item : creel->engine().call("GET", "/containers/json").json) {
      const Answer top = creel->engine().call("GET", "/containers/" + item["Id"].get<std::string>() + "/top");
      for (const auto& process : top.json.value("Processes", json::array())) {
        const std::string pid = process[1];
        scan.look(kProcesses, "environ of " + process.back().get<std::string>(), read("/proc/" + pid + "/environ"));
        scan.look(kProcesses, "cmdline of " + process.back().get<std::string>(), read("/proc/" + pid + "/cmdline"));
      }
    }
    scan.look(kProcesses, "cmdline of creel serve", read("/proc/" + std::to_string(creel->pid()) + "/cmdline"));
  }

  void look_at_the_database() { scan.look(kDump, "pg_dump", output_of("pg_dump -d '" + creel->conninfo() + "'")); }

  // Every GET of the contract, with what it may be asked for.
  void look_at_every_get() {
    const json contract = creel->call("GET", "/openapi.json").json;
    for (const auto& [path, methods] : contract["paths"].items()) {
      if (!methods.contains("get") || path == "/openapi.json") continue;
      const bool shows = path.ends_with("/token") || path.ends_with("/config");
      for (const std::string& id : {agent, confessing}) {
        std::string address = path;
        for (const char* name : {"{id}", "{userId}", "{agentId}"})
          if (const auto at = address.find(name); at != std::string::npos)
            address.replace(at, std::string{name}.size(), id);
        call("GET", address, admin, nullptr, {}, shows);
        call("GET", address, key, nullptr, {}, shows);
        if (path == "/api/agent")
          for (const char* action : {"health", "sessions", "memory", "skills", "credentials"})
            call("GET", address + "?action=" + action + "&agentId=" + id, key, nullptr, {},
                 // What its gateway calls its model is the key, and is its own word.
                 id == says_its_key && action == std::string_view{"health"});
        if (path == "/api/chat") call("GET", address + "?agentId=" + id, key);
      }
    }
  }

  // The agent's own address: with a ticket, with the cookie that a browser gets for it, with the gateway's token, and
  // with what is none of these.
  void come_by_the_agents_own_address() {
    const Answer made = call("POST", "/api/agents/" + agent + "/ticket", key, nullptr, {}, true);
    ASSERT_EQ(made.status, 201) << made.text;
    const std::string ticket = made.json["ticket"], gateway = made.json["gatewayUrl"];
    const std::string base = gateway.substr(0, gateway.find('?'));
    scan.plant("ticket", ticket);
    const auto ask = [&](const std::string& query, http::Headers headers) {
      http::Request request;
      request.url = base + query;
      request.headers = std::move(headers);
      request.headers.emplace_back("X-Request-Id", "visible-request");
      request.deadline = std::chrono::seconds{60};
      const auto got = client.send(std::move(request));
      EXPECT_TRUE(got) << got.error().message;
      Answer answer{got->status, got->headers, got->body, json::parse(got->body, nullptr, false)};
      look_at("the agent's own address", answer);
      return answer;
    };
    const Answer in = ask("?token=" + ticket, {{"Accept", "text/html"}});
    EXPECT_EQ(in.status, 303) << in.text;
    const std::string cookie = in.header("set-cookie");
    const auto begin = cookie.find('=') + 1;
    const std::string kept = cookie.substr(begin, cookie.find(';') - begin);
    ASSERT_GE(kept.size(), 32u) << cookie;
    scan.plant("cookie of the agent's own address", kept);
    const std::string pair = cookie.substr(0, cookie.find(';'));
    EXPECT_NE(ask("", {{"Cookie", pair}, {"Sec-Fetch-Site", "same-origin"}}).status, 401);
    const Answer token = call("GET", "/api/instance/" + agent + "/token", key, nullptr, {}, true);
    const std::string bearer = "Bearer " + token.json["token"].get<std::string>();
    EXPECT_NE(ask("v1/models?token=" + ticket, {{"Authorization", bearer}}).status, 401);
    EXPECT_EQ(ask("?token=" + marked("wrong ticket"), {{"Accept", "text/html"}}).status, 401);
    EXPECT_EQ(ask("", {{"Authorization", "Bearer " + marked("wrong key at the agent's own address")}}).status, 401);
    EXPECT_EQ(ask("", {{"Cookie", pair + marked("wrong cookie at the agent's own address")}}).status, 401);
  }

  // A secret where none belongs: in the wrong field, in JSON that ends too early, in a query, a path, a header.
  void give_bad_input() {
    const std::string wrong = marked("in the wrong field", "\"q/"), broken = marked("in broken JSON", "'"),
                      query = marked("in a query"), place = marked("in a path"), header = marked("in a header");
    const json contract = creel->call("GET", "/openapi.json").json;
    const auto resolved = [&](json part) {
      while (part.contains("$ref")) part = contract[json::json_pointer{part["$ref"].get<std::string>().substr(1)}];
      return part;
    };
    const auto send = [&](const std::string& method, const std::string& path, const std::string& body,
                          const std::string& type = "application/json", const std::string& credential = "") {
      http::Request request;
      request.method = method;
      request.url = creel->url() + path;
      request.headers = {{"Authorization", "Bearer " + (credential.empty() ? admin : credential)},
                         {"X-Request-Id", "visible-request"}};
      if (!body.empty()) request.headers.emplace_back("Content-Type", type);
      request.body = body;
      request.deadline = std::chrono::seconds{60};
      const auto got = client.send(std::move(request));
      ASSERT_TRUE(got) << method << " " << path << ": " << got.error().message;
      Answer answer{got->status, got->headers, got->body, json::parse(got->body, nullptr, false)};
      look_at(method + " " + path, answer);
    };
    for (const auto& [path, methods] : contract["paths"].items()) {
      for (const auto& [verb, operation] : methods.items()) {
        if (!operation.is_object() || !operation.contains("responses")) continue;
        std::string method = verb;
        std::transform(method.begin(), method.end(), method.begin(), [](unsigned char c) { return std::toupper(c); });
        std::string misplaced = path, real = path;
        for (const char* name : {"{id}", "{userId}", "{agentId}"}) {
          if (const auto at = path.find(name); at != std::string::npos) {
            misplaced.replace(at, std::string{name}.size(), place);
            real.replace(at, std::string{name}.size(), agent);
          }
        }
        if (misplaced != path) send(method, misplaced, "");
        send(method, misplaced != path ? misplaced : path + "/" + place, "");
        send(method,
             (misplaced != path ? misplaced : path) + "?token=" + query + "&limit=" + query + "&level=" + query +
                 "&follow=" + query + "&wait=" + query + "&cursor=" + query + "&agentId=" + query + "&action=" + query +
                 "&hub.verify_token=" + query,
             "");
        send(method, misplaced, "", "", header);
        if (!operation.contains("requestBody") || path == "/api/chat") continue;
        json fields = json::object(), nested = json::object();
        json schema = resolved(resolved(operation["requestBody"])["content"]["application/json"]["schema"]);
        const json kinds = schema.contains("oneOf") ? schema["oneOf"] : json::array({schema});
        for (const json& one : kinds) {
          const json properties = resolved(one).value("properties", json::object());
          for (const auto& [name, ignored] : properties.items()) {
            fields[name] = wrong;
            nested[name] = {{"value", wrong}};
          }
        }
        const bool takes_anything = fields.empty();  // the configuration
        if (!takes_anything) send(method, real, fields.dump());
        if (!takes_anything) send(method, real, nested.dump());
        for (const auto& [name, value] : fields.items()) send(method, real, json{{name, {{"value", wrong}}}}.dump());
        send(method, real, json::array({wrong}).dump());
        send(method, real, "{\"apiKey\": \"" + broken + "\", ");
        send(method, real, "{\"apiKey\": " + broken + "}");
        send(method, real, "apiKey=" + broken, "text/plain");
      }
    }
    send("GET", "/" + place, "");
    send("GET", "/api/%zz" + place, "");
    call("GET", "/api/agents", "", nullptr, {{"Cookie", "creel-session=" + header}});
    call("POST", "/api/instance/" + agent + "/update", key, {{"image", "user:" + wrong + "@example.com/image:1"}});
    call("PUT", "/api/agents/" + agent + "/config", key, {{"gateway", {{"token", wrong}}}});
  }

  const std::string work = required_env("CREEL_TEST_WORK");
  const std::string before = required_env("DOCKER_HOST");
  SecretScan scan;
  std::map<std::string, std::string> made;
  OwnEngine engine{work + "/engine-secrets"};
  FakeMux mux;
  FakeGraph graph;
  http::Client client;
  std::unique_ptr<CreelProcess> creel;
  std::string admin, key, agent, confessing, says_its_key;
};

TEST_F(Secrets, AreFoundNowhereButWhereTheyBelong) {
  auto new_log = [this, seen = std::size_t{0}](const char* kind) mutable {
    const std::string log = creel->log();
    scan.look(kind, "serve.log", std::string_view{log}.substr(seen));
    seen = log.size();
  };
  creel->start();

  // Accounts: passwords, sessions, keys.
  admin = creel->user("admin@example.com", "enterprise", "active", true);
  scan.plant("API key of an administrator", admin);
  scan.look(kCommands, "user add",
            creel
                ->run({"user", "add", "--email", "cli@example.com", "--password-stdin"},
                      marked("password by command", "\"pw'") + "\n")
                .err);
  const json signing{{"email", "owner@example.com"}, {"password", marked("password at sign-up", "p\"w\\")}};
  call("POST", "/api/auth/signup", "", signing);
  call("POST", "/api/admin/users", admin,
       {{"email", "third@example.com"}, {"password", marked("password by an administrator", "<&>")}});
  call("POST", "/api/auth/login", "", {{"email", "owner@example.com"}, {"password", marked("wrong password", "%2")}});
  call("POST", "/api/auth/login", "", {{"email", marked("password as e-mail", "$")}, {"password", "whatever"}});
  const Answer login = call("POST", "/api/auth/login", "", signing);
  ASSERT_EQ(login.status, 200) << login.text;
  const std::string cookie = login.header("set-cookie");
  const std::string session = cookie.substr(cookie.find('=') + 1, cookie.find(';') - cookie.find('=') - 1);
  ASSERT_GE(session.size(), 32u);
  scan.plant("session cookie", session);
  ASSERT_EQ(
      creel->run({"user", "set", "--email", "owner@example.com", "--plan", "enterprise", "--subscription", "active"})
          .code,
      0);
  const Answer made_key = call("POST", "/api/keys", "", {{"name", "mine"}},
                               {{"Cookie", "creel-session=" + session}, {"Sec-Fetch-Site", "same-origin"}}, true);
  ASSERT_EQ(made_key.status, 201) << made_key.text;
  key = made_key.json["key"];
  scan.plant("API key by the API", key);

  // An agent with every channel, and one that says its key at each start.
  graph.token = "EAAG" + random_hex(20);  // what it wants; the agent's is another, which it says back in its refusal
  const json channels{{"name", "visible-channels"},
                      {"telegramToken", "123456789:AA" + marked("telegram", "_") + "0000000"},
                      {"discordBotToken", "MTAxMDEwMTAxMDEwMTAxMDEw.GabcdE." + marked("discord") + "abcdefgh"},
                      {"whatsappToken", marked("whatsapp", "&<>")},
                      {"whatsappPhoneNumberId", "111"},
                      {"aiProvider", "openai"},
                      {"apiKey", marked("apiKey", "+/")},
                      {"config", {{"model", "visible-model"}, {"apiKey", marked("in the configuration", "\"\\/ü")}}}};
  const http::Headers once{{"Idempotency-Key", "visible-idempotency"}};
  const Answer provisioned = call("POST", "/api/provision", key, channels, once);
  ASSERT_EQ(provisioned.status, 201) << provisioned.text << creel->log();
  agent = provisioned.json["userId"];
  EXPECT_EQ(call("POST", "/api/provision", key, channels, once).json["userId"], agent);
  const Answer second =
      call("POST", "/api/agents/provision", key, {{"name", "visible-confessing"}, {"template", "confessing"}});
  ASSERT_EQ(second.status, 201) << second.text;
  confessing = says_its_key = second.json["agent"]["id"];
  scan.expect_visible(kAnswers, "visible-channels");
  scan.expect_visible(kErrors, "visible-request");
  scan.expect_visible(kInspect, "creel-" + agent);
  scan.expect_visible(kProcesses, "STATE_DIR=/home/agent/state");
  scan.expect_visible(kTextLog, "visible-request");
  scan.expect_visible(kJsonLog, "visible-request");
  scan.expect_visible(kEngineLog, "creel-" + agent);
  scan.expect_visible(kEngineData, "creel-" + agent);
  scan.expect_visible(kDump, "visible-confessing");
  scan.expect_visible(kCommands, "mux_token_secret");
  until_phase(agent, "Ready");
  until_phase(confessing, "Ready");
  for (const char* name : {"anthropic", "openai", "openrouter", "google", "groq", "whatsapp", "whatsapp_app_secret"})
    EXPECT_EQ(set(name, marked(std::string{"set-credential "} + name, "&=")).status, 200) << name;
  EXPECT_EQ(set("telegram", "987654321:AA" + marked("set-credential telegram") + "000000000").status, 200);
  EXPECT_EQ(call("PUT", "/api/agents/" + agent + "/config", key,
                 {{"model", "visible-model"}, {"password", marked("in the second configuration", "'\"$")}}, {}, true)
                .status,
            200);
  settle(agent);

  // Webhooks: signed with the right secret, and with a wrong one.
  const json delivery = whatsapp_text("wamid.1", "visible-message");
  const std::string webhook = "/api/channels/whatsapp/" + agent + "/webhook";
  const auto signature = [&](const std::string& secret) {
    return http::Headers{{"X-Hub-Signature-256", "sha256=" + secrets::hmac_sha256_hex(secret, delivery.dump())}};
  };
  EXPECT_EQ(call("POST", webhook, "", delivery, signature(marked("set-credential whatsapp_app_secret"))).status, 200);
  EXPECT_EQ(call("POST", webhook, "", delivery, signature("wrong")).status, 403);
  call("GET", webhook + "?hub.mode=subscribe&hub.challenge=1&hub.verify_token=" + marked("wrong verify token"), "");
  creel->until("/api/instance/" + agent, key,
               [](const Answer& a) { return a.json["whatsapp"]["lastError"].is_string(); });
  EXPECT_GE(graph.asked(), 1);
  const std::string event = json{{"id", "evt_1"}, {"type", "invoice.paid"}, {"created", 1764000000}}.dump();
  const std::string now = std::to_string(std::time(nullptr));
  call("POST", "/api/billing/webhook", "", json::parse(event),
       {{"Stripe-Signature",
         "t=" + now + ",v1=" + secrets::hmac_sha256_hex(marked("STRIPE_WEBHOOK_SECRET"), now + "." + event)}});
  call("POST", "/api/billing/webhook", "", json::parse(event), {{"Stripe-Signature", "t=" + now + ",v1=00"}});
  EXPECT_EQ(call("POST", "/api/agents/" + agent + "/verify", key,
                 {{"verificationType", "eas"}, {"attestationUid", "0x" + std::string(64, '3')}})
                .status,
            502);

  // Life: talk, a new token, stop and start, a new container, a controller that dies.
  call("POST", "/api/chat", key, {{"message", "visible-message"}, {"agentId", agent}});
  ASSERT_NO_FATAL_FAILURE(come_by_the_agents_own_address());
  call("POST", "/api/instance/" + agent + "/token/rotate", key, nullptr, {}, true);
  call("POST", "/api/instance/" + agent + "/stop", key);
  call("POST", "/api/instance/" + agent + "/start", key);
  ASSERT_NO_FATAL_FAILURE(plant_what_is_sealed());
  new_log(kTextLog);
  creel->kill_hard();
  creel->set("CREEL_LOG", "json");
  creel->start();
  EXPECT_EQ(call("POST", "/api/instance/" + agent + "/repair", key).json["success"], true);
  until_phase(agent, "Ready");

  // The agent that says its key fails: what it said goes into its status, its events and its logs. Once with a key that
  // is shorter than anything that is recognised by its length.
  std::swap(agent, confessing);
  for (const std::string& said : {marked("a key that is said", "&<>"), "x" + random_hex(5) + "z"}) {
    scan.plant("a key that is said", said);
    ASSERT_EQ(set("anthropic", said).status, 200);
    settle(agent);
    EXPECT_EQ(call("PUT", "/api/agents/" + agent + "/config", key, {{"fail", "exit"}}).status, 200);
    call("POST", "/api/instance/" + agent + "/restart?wait=2", key);
    const Answer broken = until_phase(agent, "CrashLooping");
    EXPECT_EQ(broken.json["agent"]["phase"], "CrashLooping") << broken.text << creel->log();
    const Answer printed = creel->engine().call("GET", "/containers/creel-" + agent + "/logs?stdout=1&stderr=1");
    EXPECT_NE(printed.text.find(said), std::string::npos) << "the agent does say it: " << printed.text;
    const Answer logs = call("GET", "/api/agents/" + agent + "/logs", key);
    EXPECT_NE(logs.text.find("[redacted]"), std::string::npos) << logs.text;
    look_at_every_get();
    EXPECT_EQ(call("PUT", "/api/agents/" + agent + "/config", key, json::object()).status, 200);
    until_phase(agent, "Ready");
  }
  std::swap(agent, confessing);

  give_bad_input();
  ASSERT_NO_FATAL_FAILURE(plant_what_is_sealed());
  look_at_every_get();
  look_at_processes();
  look_at_the_engine();
  look_at_the_database();
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"config"}, {"config", "--json"}, {"doctor"}, {"user", "list"}}) {
    const Finished done = creel->run(command);
    scan.look(kCommands, "creel " + command[0], done.out + done.err);
  }

  // Deleted: what stays is searched again.
  for (const std::string& id : {agent, confessing})
    EXPECT_EQ(call("DELETE", "/api/agents/" + id + "?purge=true", key).status, 200);
  call("POST", "/api/auth/logout", "", json::object(),
       {{"Cookie", "creel-session=" + session}, {"Sec-Fetch-Site", "same-origin"}});
  EXPECT_EQ(creel->stop(), 0);
  new_log(kJsonLog);
  look_at_the_engine();
  look_at_the_database();

  scan.report(std::cout);
  for (const std::string& kind : scan.blind()) ADD_FAILURE() << "the search saw nothing in: " << kind;
  EXPECT_TRUE(scan.hits().empty());
}

}  // namespace
}  // namespace creel::test
