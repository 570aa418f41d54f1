#include "controller/core/template.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace creel {
namespace {

using Json = nlohmann::json;

Template example() {
  Template tmpl;
  tmpl.name = "example";
  tmpl.image = "example/agent:1";
  tmpl.command = {"run", "--id", "${agent_id}"};
  tmpl.env = {{"MODEL", "${model}"}};
  tmpl.labels = {{"rule", "Host(`${agent_id}.example.com`) && Path(`$${x`)"}};
  tmpl.state_dir = "/state";
  tmpl.port = 18789;
  tmpl.uid = 1001;
  tmpl.gid = 1002;
  tmpl.config_path = "agent.json";
  tmpl.config_base =
      R"({"gateway": {"bind": "lan", "auth": {"token": "${gateway_token}"}}, "model": {"primary": "${model}"}, "name": "${agent_name}"})";
  tmpl.protected_keys = {"gateway.bind", "gateway.auth", "gateway.controlUi.dangerously*"};
  tmpl.models = {{"claude-opus-4-6", "anthropic/claude-opus-4-6"}, {"custom", ""}};
  tmpl.files = {{".env", "A=${secret.a}\nB=${secret.b}\nNAME=${agent_name}\n", 0600, true}};
  return tmpl;
}

RenderInput input() {
  RenderInput result;
  result.id = *AgentId::parse("0123456789abcdef");
  result.name = "demo";
  result.model = "claude-opus-4-6";
  result.resources.memory_bytes = 1LL << 30;
  result.secrets = {{"gateway_token", "t0ken"}, {"a", "alpha"}};
  return result;
}

Json config_of(const Rendered& rendered) { return Json::parse(rendered.files.at(0).content); }

TEST(Template, RendersAFileToBeMergedOnlyWhenItsSecretsAreSet) {
  Template tmpl = example();
  tmpl.files = {
      {"paired.json", R"({"${secret.device_id}": {"key": "${secret.device_public_key}"}})", 0600, false, true}};
  auto rendered = render(tmpl, input());
  ASSERT_TRUE(rendered) << rendered.error().message;
  EXPECT_EQ(rendered->files.size(), 1u);
  RenderInput with = input();
  with.secrets["device_id"] = "d";
  with.secrets["device_public_key"] = "p";
  rendered = render(tmpl, with);
  ASSERT_TRUE(rendered) << rendered.error().message;
  ASSERT_EQ(rendered->files.size(), 2u);
  EXPECT_TRUE(rendered->files[1].merge);
  EXPECT_EQ(Json::parse(rendered->files[1].content), Json::parse(R"({"d": {"key": "p"}})"));
  tmpl.files[0].content = "no object";
  EXPECT_FALSE(render(tmpl, with));
}

TEST(Template, RendersWorkloadAndFiles) {
  const auto rendered = render(example(), input());
  ASSERT_TRUE(rendered) << rendered.error().message;
  EXPECT_EQ(rendered->spec.image, "example/agent:1");
  EXPECT_EQ(rendered->spec.command, (std::vector<std::string>{"run", "--id", "0123456789abcdef"}));
  EXPECT_EQ(rendered->spec.env.at("MODEL"), "anthropic/claude-opus-4-6");
  EXPECT_EQ(rendered->spec.labels.at("rule"), "Host(`0123456789abcdef.example.com`) && Path(`${x`)");
  EXPECT_EQ(rendered->spec.port, 18789);
  ASSERT_EQ(rendered->files.size(), 2u);
  EXPECT_EQ(rendered->files[0].path, "agent.json");
  EXPECT_EQ(rendered->files[0].mode, 0600);
  EXPECT_EQ(rendered->files[0].uid, 1001);
  EXPECT_EQ(rendered->files[0].gid, 1002);
  EXPECT_FALSE(rendered->files[0].restart);
  EXPECT_EQ(config_of(*rendered), Json::parse(R"({"gateway": {"bind": "lan", "auth": {"token": "t0ken"}},
      "model": {"primary": "anthropic/claude-opus-4-6"}, "name": "demo"})"));
  EXPECT_TRUE(rendered->files[1].restart);
}

TEST(Template, PutsNoSecretIntoTheSpec) {
  Template tmpl = example();
  tmpl.env["TOKEN"] = "${gateway_token}";
  const auto rendered = render(tmpl, input());
  ASSERT_FALSE(rendered);
  EXPECT_EQ(rendered.error().message.find("t0ken"), std::string::npos);
}

TEST(Template, LeavesOutLinesOfSecretsThatAreNotSet) {
  const auto rendered = render(example(), input());
  ASSERT_TRUE(rendered);
  EXPECT_EQ(rendered->files[1].content, "A=alpha\nNAME=demo\n");
}

TEST(Template, KeepsALineThatHasAnotherValueBesideTheUnsetSecret) {
  Template tmpl = example();
  tmpl.files = {{"x", "${agent_name}:${secret.b}\nplain\nlast ${secret.b}", 0600, false}};
  const auto rendered = render(tmpl, input());
  ASSERT_TRUE(rendered);
  EXPECT_EQ(rendered->files[1].content, "demo:\nplain\n");
}

TEST(Template, CannotBeBrokenOutOfByAName) {
  auto in = input();
  in.name = R"(x", "gateway": {"bind": "0.0.0.0"}, "y": "${gateway_token})";
  const auto rendered = render(example(), in);
  ASSERT_TRUE(rendered);
  EXPECT_EQ(config_of(*rendered)["name"], in.name);
  EXPECT_EQ(config_of(*rendered)["gateway"]["bind"], "lan");
}

TEST(Template, RefusesALineBreakInAValueOfALineBasedFile) {
  auto in = input();
  in.secrets["a"] = "x\nB=stolen";
  const auto rendered = render(example(), in);
  ASSERT_FALSE(rendered);
  EXPECT_EQ(rendered.error().kind, ErrorKind::invalid);
  EXPECT_EQ(rendered.error().message.find("stolen"), std::string::npos);
}

TEST(Template, MergesTheOwnersFragmentOverItsOwn) {
  auto in = input();
  in.config = R"({"model": {"fallbacks": ["b"]}, "name": ["replaced"], "new": {"deep": 1}})";
  const auto rendered = render(example(), in);
  ASSERT_TRUE(rendered) << rendered.error().message;
  const Json config = config_of(*rendered);
  EXPECT_EQ(config["model"], Json::parse(R"({"primary": "anthropic/claude-opus-4-6", "fallbacks": ["b"]})"));
  EXPECT_EQ(config["name"], Json::parse(R"(["replaced"])"));
  EXPECT_EQ(config["new"]["deep"], 1);
}

TEST(Template, FillsInNothingInTheOwnersFragment) {
  auto in = input();
  in.config = R"({"leak": "${gateway_token}", "env": "${HOME}"})";
  const auto rendered = render(example(), in);
  ASSERT_TRUE(rendered);
  EXPECT_EQ(config_of(*rendered)["leak"], "${gateway_token}");
  EXPECT_EQ(config_of(*rendered)["env"], "${HOME}");
}

TEST(Template, NamesNoModelForCustom) {
  auto in = input();
  in.model = "custom";
  const auto rendered = render(example(), in);
  ASSERT_TRUE(rendered);
  EXPECT_FALSE(config_of(*rendered).contains("model"));
  in.config = R"({"model": {"primary": "fake/echo-1"}})";
  EXPECT_EQ(config_of(*render(example(), in))["model"]["primary"], "fake/echo-1");
}

TEST(Template, TakesAProviderModelIdAsItIs) {
  auto in = input();
  in.model = "openrouter/meta/llama-3:free";
  EXPECT_EQ(config_of(*render(example(), in))["model"]["primary"], "openrouter/meta/llama-3:free");
}

TEST(Template, WritesALiteralPlaceholderForAnEscapedOne) {
  Template tmpl = example();
  tmpl.config_base = R"({"a": "$${HOME}", "b": "5$", "c": "$x"})";
  EXPECT_EQ(config_of(*render(tmpl, input())), Json::parse(R"({"a": "${HOME}", "b": "5$", "c": "$x"})"));
}

TEST(Template, MergesAPartWhenAllItsSecretsAreSet) {
  Template tmpl = example();
  tmpl.config_when = {{{"a"}, R"({"channel": {"on": true, "token": "${secret.a}", "policy": "ask"}})"},
                      {{"a", "b"}, R"({"channel": {"policy": "list", "rooms": {"${secret.b}": {}}}})"}};
  EXPECT_EQ(config_of(*render(tmpl, input()))["channel"],
            Json::parse(R"({"on": true, "token": "alpha", "policy": "ask"})"));
  auto in = input();
  in.secrets["b"] = "7\", \"x\": \"y";
  EXPECT_EQ(
      config_of(*render(tmpl, in))["channel"],
      (Json{{"on", true}, {"token", "alpha"}, {"policy", "list"}, {"rooms", {{in.secrets["b"], Json::object()}}}}))
      << "a key cannot be broken out of either";
  in.secrets = {{"gateway_token", "t0ken"}, {"a", ""}, {"b", "7"}};
  EXPECT_FALSE(config_of(*render(tmpl, in)).contains("channel"));
}

TEST(Template, LetsTheOwnersFragmentChangeAPart) {
  Template tmpl = example();
  tmpl.config_when = {{{"a"}, R"({"channel": {"on": true, "token": "${secret.a}"}})"}};
  auto in = input();
  in.config = R"({"channel": {"on": false}})";
  EXPECT_EQ(config_of(*render(tmpl, in))["channel"], Json::parse(R"({"on": false, "token": "alpha"})"));
}

TEST(Template, RefusesToRenderWithoutAGatewayToken) {
  auto in = input();
  in.secrets.erase("gateway_token");
  EXPECT_FALSE(render(example(), in));
}

TEST(Template, TakesTheSmallerPidsLimitAndTheGivenImage) {
  Template tmpl = example();
  tmpl.pids = 32;
  auto in = input();
  in.image = "example/agent:2";
  const auto rendered = render(tmpl, in);
  EXPECT_EQ(rendered->spec.resources.pids, 32);
  EXPECT_EQ(rendered->spec.image, "example/agent:2");
}

TEST(Template, RefusesAPlanWithLessMemoryThanItNeeds) {
  Template tmpl = example();
  tmpl.min_memory_bytes = 2LL << 30;
  const auto rendered = render(tmpl, input());
  ASSERT_FALSE(rendered);
  EXPECT_EQ(rendered.error().field, "tier");
}

TEST(ConfigFragment, MayNotSetAProtectedKeyHoweverItIsWritten) {
  const Template tmpl = example();
  for (const char* fragment : {
           R"({"gateway": {"bind": "0.0.0.0"}})",
           R"({"gateway": {"bind": {}}})",
           R"({"gateway": {"bind": null}})",
           R"({"gateway": {"auth": {"mode": "none"}}})",
           R"({"gateway": null})",
           R"({"gateway": "x"})",
           R"({"gateway": []})",
           R"({"gateway": {"controlUi": {"dangerouslyDisableDeviceAuth": true}}})",
           R"({"gateway": {"controlUi": []}})",
       }) {
    const auto checked = check_config_fragment(tmpl, fragment);
    ASSERT_FALSE(checked) << fragment;
    EXPECT_EQ(checked.error().kind, ErrorKind::invalid);
    EXPECT_EQ(checked.error().field.substr(0, 7), "gateway") << fragment;
    auto in = input();
    in.config = fragment;
    EXPECT_FALSE(render(tmpl, in)) << fragment;
  }
}

TEST(ConfigFragment, MaySetEverythingElse) {
  const Template tmpl = example();
  for (const char* fragment :
       {"", "{}", R"({"gateway": {}})", R"({"gateway": {"bindings": 1}})", R"({"bind": 1})",
        R"({"a": {"gateway": {"bind": 1}}})", R"({"gateway": {"controlUi": {"enabled": true}}})"}) {
    EXPECT_TRUE(check_config_fragment(tmpl, fragment)) << fragment;
  }
}

TEST(ConfigFragment, MustBeAnObjectOfSaneDepth) {
  const Template tmpl = example();
  for (const std::string& fragment : {std::string{"[]"}, std::string{"3"}, std::string{"{\"a\":"}, std::string{"{} x"},
                                      std::string{"\xff"}, std::string(100'000, '['), std::string(200'000, '{')}) {
    EXPECT_FALSE(check_config_fragment(tmpl, fragment));
  }
  std::string deep = "1";
  for (int i = 0; i < 70; ++i) deep = "{\"a\":" + deep + "}";
  const auto checked = check_config_fragment(tmpl, deep);
  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().message.find("64"), std::string::npos);
}

TEST(Model, IsADocumentedWordOrProviderSlashModel) {
  for (const char* model : {"claude-opus-4-6", "gpt-4", "custom", "anthropic/claude", "a/b/c:free", "x/1.0_b"})
    EXPECT_TRUE(valid_model(model)) << model;
  for (const std::string& model : {std::string{}, std::string{"gpt-5"}, std::string{"/x"}, std::string{"x/"},
                                   std::string{"a b/c"}, std::string{"a/b\n"}, "a/" + std::string(127, 'x')}) {
    EXPECT_FALSE(valid_model(model)) << model;
  }
}

TEST(TemplateSet, FindsByName) {
  const TemplateSet set{{example()}};
  ASSERT_NE(set.find("example"), nullptr);
  EXPECT_EQ(set.find("exampl"), nullptr);
}

}  // namespace
}  // namespace creel
