#include "controller/config/template_file.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "controller/config/config.hpp"
#include "controller/gateway/gateway.hpp"
#include "tests/support/support.hpp"

namespace creel::config {
namespace {

namespace fs = std::filesystem;

class TemplateFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "creel-templates-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& path, const std::string& content) {
    fs::create_directories((folder_ / path).parent_path());
    std::ofstream{folder_ / path} << content;
    return (folder_ / path).string();
  }
  // Loads the sound template with `from` replaced by `to`, and returns the refusal.
  std::string refusal(const std::string& from, const std::string& to) {
    std::string text = kSound;
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    write("sound/template.yaml", text);
    const auto loaded = load_template((folder_ / "sound").string());
    return loaded ? "" : loaded.error().message;
  }

  static constexpr const char* kSound = R"(description: An example
version: "1"
image: example/agent:1
gateway: reference
command: [run, "${agent_name}"]
env:
  STATE: /state
user: 1000:1000
state_dir: /state
tmpfs:
  /tmp: rw,nosuid,nodev,size=16m
port: 18789
stop_grace: 5s
limits:
  nofile: 256
  pids: 32
  min_memory: 16MiB
readiness:
  path: /readyz
  startup_budget: 30s
  period: 5s
config:
  path: config.json
  protected: [gateway.token]
  content:
    gateway:
      token: ${gateway_token}
    count: 3
    ratio: 0.5
    on: true
    nothing: null
    text: "0600"
files:
  - path: dir/.env
    mode: "0600"
    restart: true
    content: |
      KEY=${secret.key}
memory: [agents/*/sessions/, MEMORY.md]
)";

  fs::path folder_;
};

TEST_F(TemplateFile, ReadsASoundTemplate) {
  write("sound/template.yaml", kSound);
  write("sound/build-image.sh", "");
  const auto loaded = load_template((folder_ / "sound/").string());
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->name, "sound");
  EXPECT_EQ(loaded->image, "example/agent:1");
  EXPECT_EQ(loaded->image_allowlist, std::vector<std::string>{"example/agent"});
  EXPECT_EQ(loaded->build_script, (folder_ / "sound/build-image.sh").string());
  EXPECT_EQ(loaded->memory, (std::vector<std::string>{"agents/*/sessions/", "MEMORY.md"}));
  EXPECT_EQ(loaded->uid, 1000);
  EXPECT_EQ(loaded->port, 18789);
  EXPECT_EQ(loaded->stop_grace_seconds, 5);
  EXPECT_EQ(loaded->pids, 32);
  EXPECT_EQ(loaded->nofile, 256);
  EXPECT_EQ(loaded->min_memory_bytes, 16 << 20);
  EXPECT_EQ(loaded->readiness.startup_budget, milliseconds{30'000});
  EXPECT_TRUE(loaded->read_only_root);
  EXPECT_EQ(
      nlohmann::json::parse(loaded->config_base),
      nlohmann::json::parse(
          R"({"gateway": {"token": "${gateway_token}"}, "count": 3, "ratio": 0.5, "on": true, "nothing": null, "text": "0600"})"));
  ASSERT_EQ(loaded->files.size(), 1u);
  EXPECT_EQ(loaded->files[0].path, "dir/.env");
  EXPECT_EQ(loaded->files[0].mode, 0600);
  EXPECT_TRUE(loaded->files[0].restart);
}

TEST_F(TemplateFile, NamesFileLineAndFieldOfAMistake) {
  EXPECT_EQ(refusal("port: 18789", "port: many").find((folder_ / "sound/template.yaml:12: port: ").string()), 0u)
      << refusal("port: 18789", "port: many");
  EXPECT_NE(refusal("  pids: 32", "  pidz: 32").find("template.yaml:16: limits.pidz: is not a known key"),
            std::string::npos);
}

TEST_F(TemplateFile, RefusesWhatIsWrong) {
  const std::pair<const char*, const char*> wrong[] = {
      {"image: example/agent:1\n", ""},
      {"image: example/agent:1", "image: example/agent"},
      {"image: example/agent:1", "image: Example/agent:1"},
      {"image: example/agent:1", "image: example/agent@sha256:12"},
      {"image: example/agent:1", "image: -v"},
      {"gateway: reference", "gateway: telnet"},
      {"command: [run, \"${agent_name}\"]", "command: run"},
      {"command: [run, \"${agent_name}\"]", "command: [\"${gateway_token}\"]"},
      {"STATE: /state", "STATE: ${secret.key}"},
      {"STATE: /state", "STATE: ${nonsense}"},
      {"STATE: /state", "STATE: ${open"},
      {"STATE: /state", "1STATE: x"},
      {"user: 1000:1000", "user: 0:0"},
      {"user: 1000:1000", "user: node"},
      {"state_dir: /state", "state_dir: state"},
      {"state_dir: /state", "state_dir: /"},
      {"state_dir: /state", "state_dir: /a/../b"},
      {"state_dir: /state", "state_dir: /tmp/state"},
      {"size=16m", "mode=1777"},
      {"size=16m", "size=16m,bind"},
      {"nosuid,", ""},
      {"port: 18789", "port: 0"},
      {"port: 18789", "port: 65536"},
      {"stop_grace: 5s", "stop_grace: 1h"},
      {"min_memory: 16MiB", "min_memory: 1"},
      {"nofile: 256", "nofile: 1"},
      {"path: /readyz", "path: readyz"},
      {"startup_budget: 30s", "startup_budget: soon"},
      {"period: 5s", "period: 0s"},
      {"path: config.json", "path: /etc/passwd"},
      {"path: config.json", "path: ../config.json"},
      {"protected: [gateway.token]", "protected: [\"gateway..token\"]"},
      {"token: ${gateway_token}", "token: fixed"},
      {"token: ${gateway_token}", "${agent_name}: ${gateway_token}"},
      {"count: 3", "count: 0600"},
      {"count: 3", "count: yes"},
      {"count: 3", "count: 3\n    count: 4"},
      {"path: dir/.env", "path: dir/../../x"},
      {"path: dir/.env", "path: config.json"},
      {"mode: \"0600\"", "mode: \"0644\""},
      {"mode: \"0600\"", "mode: \"600\""},
      {"mode: \"0600\"", "mode: rw"},
      {"restart: true", "restart: maybe"},
      {"description: An example", "default_model: gpt-5"},
      {"description: An example", "description: &a [*a]"},
      {"description: An example", "\tx"},
      {"user: 1000:1000", "labels: {dev.creel.agent: x}"},
      {"user: 1000:1000", "labels: {rule: \"Host(`${agent_name}`)\"}"},
      {"user: 1000:1000", "labels: [traefik.enable]"},
  };
  for (const auto& [from, to] : wrong) {
    const std::string said = refusal(from, to);
    EXPECT_EQ(said.find((folder_ / "sound/template.yaml").string()), 0u) << to << " -> " << said;
  }
}

TEST_F(TemplateFile, ReadsPartsThatDependOnSecretsAndModelsOfProviders) {
  std::string text = kSound;
  const std::string from = "    text: \"0600\"\n";
  text.replace(
      text.find(from), from.size(),
      from + "  when:\n    - set: [chat, room]\n      content:\n        chat:\n          token: ${secret.chat}\n" +
          "          rooms:\n            ${secret.room}: {}\n");
  text += "provider_models:\n  openai: openai/gpt-4o\n";
  write("sound/template.yaml", text);
  const auto loaded = load_template((folder_ / "sound").string());
  ASSERT_TRUE(loaded) << loaded.error().message;
  ASSERT_EQ(loaded->config_when.size(), 1u);
  EXPECT_EQ(loaded->config_when[0].secrets, (std::vector<std::string>{"chat", "room"}));
  EXPECT_EQ(nlohmann::json::parse(loaded->config_when[0].content),
            nlohmann::json::parse(R"({"chat": {"token": "${secret.chat}", "rooms": {"${secret.room}": {}}}})"));
  EXPECT_EQ(loaded->provider_models.at("openai"), "openai/gpt-4o");
}

TEST_F(TemplateFile, RefusesPartsAndProvidersThatAreNot) {
  const std::string at = "    text: \"0600\"\n";
  for (const char* part :
       {"  when: 3\n", "  when:\n    - content: {a: 1}\n", "  when:\n    - set: []\n      content: {a: 1}\n",
        "  when:\n    - set: [a b]\n      content: {a: 1}\n", "  when:\n    - set: [a]\n",
        "  when:\n    - set: [a]\n      content: {\"${nothing}\": 1}\n",
        "  when:\n    - set: [a]\n      content: {a: 1}\n      more: 1\n"})
    EXPECT_EQ(refusal(at, at + part).find((folder_ / "sound/template.yaml").string()), 0u) << part;
  for (const char* models :
       {"provider_models: 3\n", "provider_models: {openai: gpt-5}\n", "provider_models: {\"a b\": a/b}\n"})
    EXPECT_NE(refusal("description: An example\n", models), "") << models;
}

TEST_F(TemplateFile, RefusesAliasesThatMultiplyWithoutEnd) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "    a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) bomb += (j == 0 ? "" : ", ") + before;
    bomb += "]\n";
  }
  EXPECT_NE(refusal("count: 3\n", bomb).find("fewer aliases"), std::string::npos);
}

TEST_F(TemplateFile, SurvivesNestingWithoutEnd) {
  EXPECT_NE(refusal("count: 3", "count: " + std::string(100'000, '[')), "");
  EXPECT_NE(refusal("count: 3", "count: " + std::string(70, '[') + std::string(70, ']')).find("64 levels"),
            std::string::npos);
}

TEST_F(TemplateFile, LetsALaterFolderWinOverAnEarlier) {
  write("one/sound/template.yaml", kSound);
  write("one/other/template.yaml", kSound);
  write("two/sound/template.yaml",
        std::string{kSound}.replace(std::string{kSound}.find("An example"), 10, "My example"));
  const auto loaded = load_templates({(folder_ / "one").string(), (folder_ / "two").string()});
  ASSERT_TRUE(loaded) << loaded.error().message;
  ASSERT_EQ(loaded->size(), 2u);
  EXPECT_EQ(TemplateSet{*loaded}.find("sound")->description, "My example");
  EXPECT_EQ(TemplateSet{*loaded}.find("other")->description, "An example");
}

TEST_F(TemplateFile, RefusesAFolderWithoutTemplatesOrWithABadName) {
  EXPECT_FALSE(load_templates({(folder_ / "none").string()}));
  EXPECT_FALSE(load_templates({folder_.string()}));
  write("Bad_Name/template.yaml", kSound);
  EXPECT_FALSE(load_template((folder_ / "Bad_Name").string()));
}

TEST_F(TemplateFile, ReadsPlansInTheirOrder) {
  const auto plans = load_plans(write("plans.yaml",
                                      "plans:\n  - {name: small, agents: 1, memory: 1GiB, cpus: 0.5}\n  - {name: big, "
                                      "agents: 3, memory: 2g, cpus: 2, pids: 512}\n"));
  ASSERT_TRUE(plans) << plans.error().message;
  EXPECT_LT(plans->of_user("small").rank, plans->of_user("big").rank);
  EXPECT_EQ(plans->of_user("small").resources.nano_cpus, 500'000'000);
  EXPECT_EQ(plans->of_user("big").resources.memory_bytes, 2LL << 30);
  EXPECT_EQ(plans->of_user("big").resources.pids, 512);
  EXPECT_EQ(plans->of_user("big").agent_limit, 3);
}

TEST_F(TemplateFile, RefusesPlansThatAreNot) {
  const std::string sound = "{name: a, agents: 1, memory: 1GiB, cpus: 1}";
  for (const std::string& text :
       {std::string{""}, std::string{"plans: []"}, std::string{"plans: 3"}, "plans: [" + sound + ", " + sound + "]",
        std::string{"plans: [{name: a, agents: 0, memory: 1GiB, cpus: 1}]"},
        std::string{"plans: [{name: a, agents: 1, memory: 1, cpus: 1}]"},
        std::string{"plans: [{name: a, agents: 1, memory: 1GiB, cpus: 0}]"},
        std::string{"plans: [{name: a, agents: 1, memory: 1GiB}]"},
        std::string{"plans: [{name: a, agents: 1, memory: 1GiB, cpus: nan}]"},
        std::string{"plans: [{name: a b, agents: 1, memory: 1GiB, cpus: 1}]"}, "plans: [" + sound + "]\nextra: 1"}) {
    const auto plans = load_plans(write("plans.yaml", text));
    ASSERT_FALSE(plans) << text;
    EXPECT_NE(plans.error().message.find("plans.yaml"), std::string::npos) << plans.error().message;
  }
}

class Shipped : public ::testing::Test {
 protected:
  Config config_ = [] {
    Sources sources;
    sources.environment = {{"HOME", "/home/ada"}, {"CREEL_SHARE_DIR", test::source_dir()}};
    return load(sources)->config;
  }();
};

TEST_F(Shipped, PlansAreTheContracts) {
  const auto catalog = load_catalog(config_);
  ASSERT_TRUE(catalog) << catalog.error().message;
  const std::tuple<const char*, int, std::int64_t, double> expected[] = {
      {"free", 1, 1, 0.5}, {"starter", 1, 2, 1}, {"pro", 3, 4, 2}, {"enterprise", 100, 16, 4}};
  int rank = -1;
  for (const auto& [name, agents, gib, cpus] : expected) {
    const auto plan = catalog->plans.of_user(name);
    EXPECT_EQ(plan.name, name);
    EXPECT_EQ(plan.agent_limit, agents) << name;
    EXPECT_EQ(plan.resources.memory_bytes, gib << 30) << name;
    EXPECT_EQ(plan.resources.nano_cpus, static_cast<std::int64_t>(cpus * 1e9)) << name;
    EXPECT_GT(plan.rank, rank) << name;
    rank = plan.rank;
  }
}

TEST_F(Shipped, TemplatesRunOnTheFreePlan) {
  const auto catalog = load_catalog(config_);
  ASSERT_TRUE(catalog) << catalog.error().message;
  for (const auto& tmpl : catalog->templates.all()) {
    RenderInput input;
    input.id = *AgentId::parse("0123456789abcdef");
    input.name = "demo";
    input.resources = catalog->plans.of_user("free").resources;
    input.secrets = {{"gateway_token", "t0ken"}};
    const auto rendered = render(tmpl, input);
    ASSERT_TRUE(rendered) << tmpl.name << ": " << rendered.error().message;
    EXPECT_TRUE(rendered->spec.read_only_root) << tmpl.name;
    EXPECT_EQ(rendered->spec.port, 18789) << tmpl.name;
  }
}

TEST_F(Shipped, OpenclawTemplateSetsWhatTheGatewayNeeds) {
  const auto catalog = load_catalog(config_);
  ASSERT_TRUE(catalog) << catalog.error().message;
  const Template& tmpl = *catalog->templates.find("openclaw");
  EXPECT_EQ(tmpl.version, "2026.3.13");
  RenderInput input;
  input.id = *AgentId::parse("0123456789abcdef");
  input.name = "demo";
  input.resources = catalog->plans.of_user("free").resources;
  input.secrets = {{"gateway_token", "t0ken"}, {"anthropic", "sk-ant"}};
  const auto rendered = render(tmpl, input);
  ASSERT_TRUE(rendered) << rendered.error().message;
  ASSERT_EQ(rendered->files.size(), 2u);
  EXPECT_EQ(rendered->files[0].path, "openclaw.json");
  EXPECT_EQ(nlohmann::json::parse(rendered->files[0].content), nlohmann::json::parse(R"({
    "gateway": {"mode": "local", "bind": "lan", "port": 18789, "auth": {"mode": "token", "token": "t0ken"},
                "controlUi": {"enabled": true,
                              "allowedOrigins": ["http://localhost:18789", "http://127.0.0.1:18789"]}, "http": {"endpoints": {"chatCompletions": {"enabled": true}}}},
    "agents": {"defaults": {"model": {"primary": "anthropic/claude-opus-4-6"}}}})"));
  EXPECT_EQ(rendered->files[1].content, "ANTHROPIC_API_KEY=sk-ant\n");
  EXPECT_EQ(rendered->spec.env.at("OPENCLAW_NO_RESPAWN"), "1");
  EXPECT_EQ(rendered->spec.tmpfs.at("/tmp"), "rw,nosuid,nodev,size=256m");

  input.model = "custom";
  const auto custom = render(tmpl, input);
  EXPECT_FALSE(nlohmann::json::parse(custom->files[0].content).contains("agents"));
  for (const char* fragment :
       {R"({"gateway":{"trustedProxies":["0.0.0.0/0"]}})", R"({"gateway":{"port":1}})", R"({"$include":"x"})",
        R"({"gateway":{"controlUi":{"dangerouslyDisableDeviceAuth":true}}})", R"({"gateway":{"mode":"remote"}})"}) {
    EXPECT_FALSE(check_config_fragment(tmpl, fragment)) << fragment;
  }
  EXPECT_TRUE(check_config_fragment(
      tmpl, R"({"agents":{"defaults":{"model":{"primary":"fake/echo-1"}}},"models":{"mode":"merge"}})"));
}

TEST_F(Shipped, ReferenceTemplateWritesTheAgentsConfiguration) {
  const auto catalog = load_catalog(config_);
  ASSERT_TRUE(catalog) << catalog.error().message;
  RenderInput input;
  input.id = *AgentId::parse("0123456789abcdef");
  input.name = "demo";
  input.model = "gpt-4";
  input.resources = catalog->plans.of_user("free").resources;
  input.secrets = {{"gateway_token", "t0ken"}};
  const auto rendered = render(*catalog->templates.find("reference"), input);
  ASSERT_TRUE(rendered) << rendered.error().message;
  EXPECT_EQ(rendered->files.at(0).path, "config.json");
  EXPECT_EQ(nlohmann::json::parse(rendered->files.at(0).content),
            nlohmann::json::parse(R"({"gateway": {"token": "t0ken"}, "name": "demo", "model": "gpt-4"})"));
}

TEST_F(Shipped, AnswerToTheImageSettings) {
  config_.openclaw_image = "registry.example:5000/openclaw:2026.9.6";
  const auto catalog = load_catalog(config_);
  ASSERT_TRUE(catalog) << catalog.error().message;
  const Template& tmpl = *catalog->templates.find("openclaw");
  EXPECT_EQ(tmpl.image, config_.openclaw_image);
  EXPECT_EQ(tmpl.version, "2026.9.6");
  EXPECT_EQ(tmpl.image_allowlist.back(), "registry.example:5000/openclaw");
  config_.image_allowlist = {"only/this"};
  EXPECT_EQ(load_catalog(config_)->templates.find("reference")->image_allowlist, config_.image_allowlist);
  config_.openclaw_image = "no tag";
  EXPECT_FALSE(load_catalog(config_));
}

TEST_F(Shipped, MustHoldTheDefaultTemplate) {
  config_.default_template = "mine";
  const auto catalog = load_catalog(config_);
  ASSERT_FALSE(catalog);
  EXPECT_NE(catalog.error().message.find("openclaw, reference"), std::string::npos) << catalog.error().message;
  config_.shipped_templates.clear();
  EXPECT_NE(load_catalog(config_).error().message.find("CREEL_SHARE_DIR"), std::string::npos);
}

TEST_F(TemplateFile, TakesEveryGatewayThereIsAnAdapterFor) {
  for (const auto kind : gateway::Gateways::kinds()) {
    EXPECT_EQ(refusal("gateway: reference", "gateway: " + std::string{kind}), "") << kind;
  }
}

}  // namespace
}  // namespace creel::config
