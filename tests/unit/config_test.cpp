#include "controller/config/config.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/support.hpp"

namespace creel::config {
namespace {

namespace fs = std::filesystem;

class ConfigFile {
 public:
  explicit ConfigFile(const std::string& content) {
    path_ = (fs::temp_directory_path() / ("creel-config-" + std::to_string(getpid()) + ".yaml")).string();
    std::ofstream{path_} << content;
  }
  ~ConfigFile() { fs::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Sources home() {
  Sources sources;
  sources.environment = {{"HOME", "/home/ada"}};
  return sources;
}

std::string failure(const Sources& sources) {
  const auto loaded = load(sources);
  return loaded ? "" : loaded.error().message;
}

TEST(Config, HasTheDocumentedDefaults) {
  const auto loaded = load(home());
  ASSERT_TRUE(loaded) << loaded.error().message;
  const Config& config = loaded->config;
  EXPECT_EQ(config.listen.str(), "127.0.0.1:8080");
  EXPECT_EQ(config.gateway_listen.str(), "127.0.0.1:10000");
  EXPECT_EQ(config.gateway_url, "ws://127.0.0.1:10000");
  EXPECT_EQ(config.url, "http://127.0.0.1:8080");
  EXPECT_EQ(config.docker_host, "unix:///var/run/docker.sock");
  EXPECT_EQ(config.state_dir, "/home/ada/.local/state/creel");
  EXPECT_EQ(config.master_key_file, "/home/ada/.local/state/creel/master.key");
  EXPECT_EQ(config.default_template, "openclaw");
  EXPECT_EQ(config.controller_id, "creel");
  EXPECT_EQ(config.agents_domain, "agents.localhost");
  EXPECT_EQ(config.agents_url_scheme, "https");
  EXPECT_EQ(config.rate_limit_provision, 5);
  EXPECT_EQ(config.rate_limit_chat, 60);
  EXPECT_EQ(config.rate_limit_instance, 30);
  EXPECT_EQ(config.rate_limit_api, 300);
  EXPECT_EQ(config.volume_retention, std::chrono::hours{24 * 7});
  EXPECT_EQ(config.event_retention, std::chrono::hours{24 * 365});
  EXPECT_EQ(config.chat_wait, std::chrono::seconds{60});
  EXPECT_TRUE(config.fence);
  EXPECT_TRUE(config.fence_allow.empty());
  EXPECT_EQ(config.database_url, "");
  EXPECT_FALSE(config.signup);
  EXPECT_TRUE(config.metrics);
}

TEST(Config, KeepsStateWhereTheAccountMay) {
  Sources sources = home();
  sources.root = true;
  EXPECT_EQ(load(sources)->config.state_dir, "/var/lib/creel");
  sources.root = false;
  sources.environment["XDG_STATE_HOME"] = "/data/state";
  EXPECT_EQ(load(sources)->config.state_dir, "/data/state/creel");
  sources.environment["CREEL_STATE_DIR"] = "/srv/creel/";
  EXPECT_EQ(load(sources)->config.state_dir, "/srv/creel");
  EXPECT_NE(failure(Sources{}).find("set CREEL_STATE_DIR"), std::string::npos);
}

TEST(Config, PrefersFlagThenEnvironmentThenFileThenDefault) {
  const ConfigFile file{"listen: 127.0.0.3:3\n"};
  Sources sources = home();
  sources.file = file.path();
  EXPECT_EQ(load(sources)->config.listen.str(), "127.0.0.3:3");
  sources.environment["CREEL_LISTEN"] = "127.0.0.2:2";
  EXPECT_EQ(load(sources)->config.listen.str(), "127.0.0.2:2");
  sources.flags["CREEL_LISTEN"] = "127.0.0.1:1";
  EXPECT_EQ(load(sources)->config.listen.str(), "127.0.0.1:1");
  sources.flags["CREEL_LISTEN"] = "";
  sources.environment["CREEL_LISTEN"] = "";
  EXPECT_EQ(load(sources)->config.listen.str(), "127.0.0.3:3");
}

TEST(Config, SaysWhereEachValueIsFrom) {
  const ConfigFile file{"# a comment\nsignup: true\nadmin_emails: [A@b.c, d@E.f]\n"};
  Sources sources = home();
  sources.file = file.path();
  sources.flags["CREEL_LISTEN"] = "0.0.0.0:80";
  sources.environment["CREEL_LOG"] = "json";
  const auto loaded = load(sources);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->config.admin_emails, (std::vector<std::string>{"a@b.c", "d@e.f"}));
  const auto described = nlohmann::json::parse(loaded->describe_json());
  EXPECT_EQ(described["listen"]["source"], "flag --listen");
  EXPECT_EQ(described["log"]["source"], "environment CREEL_LOG");
  EXPECT_EQ(described["signup"]["source"], file.path() + ":2");
  EXPECT_EQ(described["metrics"]["source"], "default");
  EXPECT_EQ(described["url"]["value"], "http://127.0.0.1:80");
  EXPECT_NE(loaded->describe().find("# flag --listen"), std::string::npos);
}

TEST(Config, MasksSecretsWhenItDescribesItself) {
  Sources sources = home();
  sources.environment["CREEL_API_KEY"] = "sk_verysecret";
  sources.environment["STRIPE_WEBHOOK_SECRET"] = "whsec_verysecret";
  sources.environment["ETH_RPC_URL"] = "https://rpc.example/v3/verysecret";
  sources.environment["DATABASE_URL"] = "postgres://creel:verysecret@db/creel?sslmode=require";
  const auto loaded = load(sources);
  ASSERT_TRUE(loaded) << loaded.error().message;
  for (const std::string& text : {loaded->describe(), loaded->describe_json()}) {
    EXPECT_EQ(text.find("verysecret"), std::string::npos);
    EXPECT_NE(text.find("postgres://creel:****@db/creel?sslmode=require"), std::string::npos);
    EXPECT_NE(text.find("********"), std::string::npos);
  }
}

TEST(Config, NamesAnUnknownKeyOfTheFileWithItsLine) {
  const ConfigFile file{"listen: 127.0.0.1:1\nlistne: 127.0.0.1:2\n"};
  Sources sources = home();
  sources.file = file.path();
  EXPECT_NE(failure(sources).find(file.path() + ":2: listne"), std::string::npos) << failure(sources);
}

TEST(Config, RefusesAFileThatIsNotAsItShouldBe) {
  for (const char* content : {"listen: a:1\nlisten: b:2\n", "listen: {a: 1}\n", "listen:\n", "- x\n", "listen: [\n",
                              "a: 1\n---\nb: 2\n", "signup: maybe\n"}) {
    const ConfigFile file{content};
    Sources sources = home();
    sources.file = file.path();
    EXPECT_NE(failure(sources).find(file.path()), std::string::npos) << content << " -> " << failure(sources);
  }
  Sources sources = home();
  sources.file = "/nonexistent/creel.yaml";
  EXPECT_NE(failure(sources).find("/nonexistent/creel.yaml cannot be read"), std::string::npos);
  const ConfigFile empty{"# nothing\n"};
  sources.file = empty.path();
  EXPECT_EQ(failure(sources), "");
}

TEST(Config, RefusesBadValuesAndNamesThem) {
  const std::pair<const char*, const char*> wrong[] = {
      {"CREEL_LISTEN", "8080"},
      {"CREEL_LISTEN", "::1:8080"},
      {"CREEL_LISTEN", "127.0.0.1:65536"},
      {"CREEL_GATEWAY_URL", "http://x"},
      {"CREEL_GATEWAY_URL", "ws://"},
      {"CREEL_POSTGRES_USER", "root"},
      {"CREEL_DEFAULT_TEMPLATE", "../x"},
      {"CREEL_CONTROLLER_ID", "Creel"},
      {"CREEL_CONTROLLER_ID", "-x"},
      {"CREEL_MASTER_KEY", "c2hvcnQ="},
      {"CREEL_LOG", "xml"},
      {"CREEL_RESYNC_SECONDS", "0"},
      {"CREEL_RESYNC_SECONDS", "1.5"},
      {"CREEL_VOLUME_RETENTION", "a week"},
      {"CREEL_MESSAGE_RETENTION", "-1d"},
      {"CREEL_EVENT_RETENTION", "-1d"},
      {"CREEL_EVENT_RETENTION", "36501d"},
      {"CREEL_EVENT_RETENTION", "1500ms"},
      {"CREEL_EVENT_RETENTION", "for ever"},
      {"CREEL_METRICS", "maybe"},
      {"DOCKER_HOST", "ssh://host"},
      {"DOCKER_HOST", "unix://"},
      {"DOCKER_HOST", "tcp://host"},
      {"AGENTS_DOMAIN", "Agents.Local"},
      {"AGENTS_URL_SCHEME", "ftp"},
      {"AGENTS_URL_PORT", "0"},
      {"ADMIN_EMAILS", "ada"},
      {"CREEL_TRUSTED_PROXIES", "10.0.0.0/33"},
      {"CREEL_TRUSTED_PROXIES", "proxy"},
      {"CREEL_FENCE", "perhaps"},
      {"CREEL_FENCE_ALLOW", "10.0.0.5,ollama"},
      {"CREEL_EGRESS_RESOLVERS", "10.0.0.0/8"},
      {"CREEL_EGRESS_RESOLVERS", "dns.example.com"},
      {"CREEL_PUBLISH_ADDRESS", "0.0.0.0"},
      {"CREEL_PUBLISH_ADDRESS", "::"},
      {"CREEL_PUBLISH_ADDRESS", "224.0.0.1"},
      {"CREEL_PUBLISH_ADDRESS", "255.255.255.255"},
      {"CREEL_PUBLISH_ADDRESS", "fe80::1"},
      {"CREEL_PUBLISH_ADDRESS", "10.0.0.0/8"},
      {"CREEL_PUBLISH_ADDRESS", "docker.example.com"},
      {"CREEL_RATE_LIMIT_API", "-1"},
      {"CREEL_RATE_LIMIT_API", "5x"},
      {"CREEL_URL", "localhost:8080"},
  };
  for (const auto& [variable, value] : wrong) {
    Sources sources = home();
    sources.environment[variable] = value;
    const auto loaded = load(sources);
    ASSERT_FALSE(loaded) << variable << "=" << value;
    EXPECT_EQ(loaded.error().field, variable);
    EXPECT_EQ(loaded.error().message.find(std::string{variable} + ": "), 0u) << loaded.error().message;
  }
}

TEST(Config, DoesNotShowASecretThatIsWrong) {
  Sources sources = home();
  sources.environment["CREEL_MASTER_KEY"] = "not-quite-the-key";
  EXPECT_EQ(failure(sources).find("not-quite"), std::string::npos);
}

TEST(Config, ReadsTheEnginesVariablesAsDockerDoes) {
  Sources sources = home();
  sources.environment["DOCKER_HOST"] = "tcp://10.1.2.3:2376";
  sources.environment["DOCKER_TLS_VERIFY"] = "1";
  const Config config = load(sources)->config;
  EXPECT_EQ(config.docker_host, "tcp://10.1.2.3:2376");
  EXPECT_TRUE(config.docker_tls_verify);
  EXPECT_EQ(config.docker_cert_path, "/home/ada/.docker");
}

TEST(Config, PublishesAgentsAtTheLoopbackAddressOfAnEngineOverTcpUnlessToldOtherwise) {
  const auto published = [](const char* engine, const char* address) {
    Sources sources = home();
    sources.environment["DOCKER_HOST"] = engine;
    sources.environment["CREEL_PUBLISH_ADDRESS"] = address;
    return load(sources)->config.publish_address;
  };
  EXPECT_EQ(published("unix:///run/docker.sock", ""), "") << "the bridges are in reach";
  EXPECT_EQ(published("tcp://10.1.2.3:2376", ""), "127.0.0.1");
  EXPECT_EQ(published("tcp://10.1.2.3:2376", "none"), "");
  EXPECT_EQ(published("tcp://10.1.2.3:2376", "10.1.2.3"), "10.1.2.3");
  EXPECT_EQ(published("unix:///run/forwarded.sock", "fd00::5"), "fd00::5");
}

TEST(Config, FindsTheTemplatesOfASourceCheckout) {
  Sources sources = home();
  sources.executable = test::source_dir() + "/build/release/creel";
  sources.environment["CREEL_SHARE_DIR"] = "/nonexistent";
  EXPECT_EQ(load(sources)->config.shipped_templates, "");
  sources.environment["CREEL_SHARE_DIR"] = test::source_dir();
  EXPECT_EQ(load(sources)->config.shipped_templates, test::source_dir() + "/templates");
}

TEST(Config, GivesEverySettingAKeyAFlagAndAnExplanationOfItsOwn) {
  std::set<std::string> keys, flags;
  for (const auto& setting : settings()) {
    EXPECT_TRUE(keys.insert(setting.key).second) << setting.key;
    EXPECT_FALSE(setting.help.empty()) << setting.key;
    EXPECT_EQ(setting.flag.empty(), setting.secret) << setting.key;
    if (!setting.flag.empty()) {
      EXPECT_TRUE(flags.insert(setting.flag).second) << setting.flag;
    }
  }
  EXPECT_TRUE(keys.contains("state_dir"));
  EXPECT_TRUE(keys.contains("database_url"));
  EXPECT_TRUE(flags.contains("--docker-host"));
}

TEST(ConfigUnits, ReadsDurations) {
  EXPECT_EQ(parse_duration("90")->count(), 90'000);
  EXPECT_EQ(parse_duration("250ms")->count(), 250);
  EXPECT_EQ(parse_duration("1h30m")->count(), 5'400'000);
  EXPECT_EQ(parse_duration("7d")->count(), 604'800'000);
  EXPECT_EQ(parse_duration("1.5s")->count(), 1'500);
  for (const char* wrong : {"", "x", "-1s", "1y", "1h30", "1 h", "s", "1e3", "inf", "nan", "99999999d"})
    EXPECT_FALSE(parse_duration(wrong)) << wrong;
}

TEST(ConfigUnits, ReadsSizes) {
  EXPECT_EQ(*parse_bytes("512MiB"), 512 << 20);
  EXPECT_EQ(*parse_bytes("1GiB"), 1 << 30);
  EXPECT_EQ(*parse_bytes("1.5g"), 1'610'612'736);
  EXPECT_EQ(*parse_bytes("4096"), 4096);
  for (const char* wrong : {"", "GiB", "-1", "1 GiB", "1XB", "1GiBx", "1e9", "99999999999TiB"})
    EXPECT_FALSE(parse_bytes(wrong)) << wrong;
}

TEST(ConfigUnits, ReadsAddresses) {
  EXPECT_EQ(parse_host_port("[::1]:80")->host, "::1");
  EXPECT_EQ(parse_host_port("[::1]:80")->str(), "[::1]:80");
  EXPECT_EQ(parse_host_port("localhost:0")->port, 0);
  for (const char* wrong : {"", ":80", "x", "x:", "x:-1", "x:1x", "[::1]", "a b:1", "[]:1", "x/y:1"})
    EXPECT_FALSE(parse_host_port(wrong)) << wrong;
}

TEST(ConfigUnits, MasksPasswordsOfDatabases) {
  EXPECT_EQ(mask_database_url("postgres://u:p@h:5432/d"), "postgres://u:****@h:5432/d");
  EXPECT_EQ(mask_database_url("postgres://h:5432/d"), "postgres://h:5432/d");
  EXPECT_EQ(mask_database_url("postgres://h/d?user=u&password=p&x=y"), "postgres://h/d?user=u&password=****&x=y");
  EXPECT_EQ(mask_database_url("host=h password=p user=u"), "host=h password=**** user=u");
  EXPECT_EQ(mask_database_url("password = 'p \\' q' host=h"), "password = **** host=h");
  EXPECT_EQ(mask_database_url("password='p"), "password=****");
}

TEST(Config, KnowsWhereAttestationsAndNamesAre) {
  const Config config = load(home())->config;
  EXPECT_EQ(config.eas_chain, "ethereum");
  EXPECT_EQ(config.eas_contract, "0xA1207F3BBa224E2c9c3c6D5aF63D0eb1582Ce587");
  EXPECT_EQ(config.coinbase_eas_contract, "0x4200000000000000000000000000000000000021");
  EXPECT_EQ(config.coinbase_indexer, "0x2c7eE1E5f416dfF40054c27A62f7B357C4E8619C");
  EXPECT_EQ(config.coinbase_attester, "0x357458739F90461b99789350868CD7CF330Dd7EE");
  EXPECT_EQ(config.coinbase_schema, "0xf8b05c79f090979bf4a80270aba232dff11a10d9ca55c4f88de95317970f0de9");
  EXPECT_EQ(config.ens_registry, "0x00000000000C2E074eC69A0dFb2997BA6C7d2e1e");
  // Nothing is trusted by itself.
  EXPECT_TRUE(config.eas_schemas.empty());
  EXPECT_TRUE(config.eas_attesters.empty());
  Sources base = home();
  base.environment["CREEL_EAS_CHAIN"] = "base";
  EXPECT_EQ(load(base)->config.eas_contract, "0x4200000000000000000000000000000000000021");
}

TEST(Config, RefusesAddressesAndUidsThatAreNone) {
  const std::string address = "0x" + std::string(40, 'a'), uid = "0x" + std::string(64, 'a');
  const std::pair<const char*, std::string> wrong[] = {
      {"CREEL_EAS_CHAIN", "optimism"},       {"CREEL_EAS_CONTRACT", uid},
      {"CREEL_EAS_CONTRACT", "0x12"},        {"CREEL_EAS_SCHEMAS", uid + ",0xaa"},
      {"CREEL_EAS_ATTESTERS", uid},          {"CREEL_COINBASE_SCHEMA", address},
      {"CREEL_COINBASE_INDEXER", "ann.eth"}, {"CREEL_COINBASE_ATTESTER", "0x"},
      {"CREEL_ENS_REGISTRY", address + "0"}, {"CREEL_COINBASE_EAS_CONTRACT", "0x" + std::string(40, 'g')}};
  for (const auto& [variable, value] : wrong) {
    Sources sources = home();
    sources.environment[variable] = value;
    EXPECT_NE(failure(sources).find(variable), std::string::npos) << variable << "=" << value;
  }
  Sources good = home();
  good.environment["CREEL_EAS_SCHEMAS"] = uid + ", " + uid;
  good.environment["CREEL_EAS_ATTESTERS"] = address;
  const auto loaded = load(good);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->config.eas_schemas.size(), 2u);
}

TEST(Config, TakesTheSiteOfAuthenticatorsFromTheUrl) {
  const auto site = [](std::map<std::string, std::string> variables) {
    Sources sources = home();
    sources.environment.merge(variables);
    const auto loaded = load(sources);
    if (!loaded) return loaded.error().message;
    std::string text = loaded->config.webauthn_rp_id;
    for (const auto& origin : loaded->config.webauthn_origins) text += " " + origin;
    return text;
  };
  EXPECT_EQ(site({}), "localhost http://localhost:8080");
  EXPECT_EQ(site({{"CREEL_LISTEN", "[::1]:80"}}), "localhost http://localhost");
  EXPECT_EQ(site({{"CREEL_URL", "https://creel.example.com"}}), "creel.example.com https://creel.example.com");
  EXPECT_EQ(site({{"CREEL_URL", "https://creel.example.com:8443/api"}}),
            "creel.example.com https://creel.example.com:8443");
  EXPECT_EQ(site({{"CREEL_URL", "https://creel.example.com:443"}}), "creel.example.com https://creel.example.com");
  EXPECT_EQ(site({{"CREEL_URL", "https://creel.example.com"}, {"CREEL_WEBAUTHN_RP_ID", "example.com"}}),
            "example.com https://creel.example.com");
  // Authenticators make keys neither for addresses nor over plain HTTP from elsewhere.
  EXPECT_EQ(site({{"CREEL_URL", "https://192.0.2.1"}}), "");
  EXPECT_EQ(site({{"CREEL_URL", "http://creel.example.com"}}), "creel.example.com");
  EXPECT_EQ(site({{"CREEL_WEBAUTHN_RP_ID", "example.com"}}), "example.com");
  EXPECT_EQ(site({{"CREEL_WEBAUTHN_RP_ID", "example.com"},
                  {"CREEL_WEBAUTHN_ORIGINS", "https://example.com, https://a.example.com:8443"}}),
            "example.com https://example.com https://a.example.com:8443");
  for (const char* origin :
       {"http://example.com", "https://example.org", "https://badexample.com", "https://example.com/",
        "https://example.com:0", "https://example.com:x", "example.com", "https://"})
    EXPECT_NE(site({{"CREEL_WEBAUTHN_RP_ID", "example.com"}, {"CREEL_WEBAUTHN_ORIGINS", origin}})
                  .find("CREEL_WEBAUTHN_ORIGINS"),
              std::string::npos)
        << origin;
  for (const char* id : {"192.0.2.1", "Example.com", "https://example.com", "example.com:80", "-a.com"})
    EXPECT_NE(site({{"CREEL_WEBAUTHN_RP_ID", id}}).find("CREEL_WEBAUTHN_RP_ID"), std::string::npos) << id;
}

}  // namespace
}  // namespace creel::config
