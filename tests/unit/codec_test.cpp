// The engine's JSON: recorded answers of Docker 20.10.24 (tests/golden/engine), and everything an engine might say
// instead.
#include "reconciler/runtime/docker/codec.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "controller/core/spec_hash.hpp"
#include "reconciler/runtime/docker/isolation.hpp"
#include "tests/support/support.hpp"

namespace creel::docker {
namespace {

using nlohmann::json;

std::string recorded(const std::string& name) {
  std::ifstream file{test::source_dir() + "/tests/golden/engine/" + name, std::ios::binary};
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>{file}, {}};
}

const AgentId kAgent = *AgentId::parse("0123456789abcdef");

EngineInfo info() { return read_info(recorded("info.json")).value(); }

ContainerInfo container(const std::string& name) { return read_container(recorded(name), info()).value(); }

op::CreateWorkload operation() {
  op::CreateWorkload operation;
  operation.agent = kAgent;
  operation.spec.image = "example/agent:1";
  operation.spec.command = {"run", "--port", "18789"};
  operation.spec.env = {{"A", "1"}, {"B", "two words"}};
  operation.spec.labels = {{"traefik.enable", "true"}, {"dev.creel.agent", "another"}};
  operation.spec.user = "1000:1000";
  operation.spec.state_dir = "/state";
  operation.spec.tmpfs = {{"/tmp", "rw,size=16m"}};
  operation.spec.port = 18789;
  operation.spec.resources = {1 << 30, 500'000'000, 256};
  operation.spec_hash = "00112233445566aa";
  operation.generation = 3;
  operation.files = {{".env", "KEY=sesame", 0600, 1000, 1000, true}};
  return operation;
}

TEST(Codec, ReadsARunningContainer) {
  const ContainerInfo read = container("container_running.json");
  EXPECT_EQ(read.name, "creel-0123456789abcdef");
  EXPECT_EQ(read.id.size(), 64u);
  EXPECT_EQ(read.state, ContainerState::running);
  EXPECT_GT(read.pid, 0);
  ASSERT_TRUE(read.started_at);
  EXPECT_FALSE(read.finished_at) << "the engine's year 1 is never";
  EXPECT_TRUE(read.image_id.starts_with("sha256:"));
  EXPECT_EQ(read.network_mode, "creel-golden-1");
  ASSERT_EQ(read.addresses.count("creel-golden-1"), 1u);

  const ObservedWorkload seen = observe_container(read, kAgent, "golden");
  EXPECT_TRUE(seen.ours);
  EXPECT_EQ(seen.runtime_id, read.id);
  EXPECT_EQ(seen.generation, 7u);
  EXPECT_EQ(seen.spec_hash.size(), 16u);
  EXPECT_EQ(seen.address, read.addresses.at("creel-golden-1") + ":18789");
  EXPECT_TRUE(seen.hardening_ok);
  EXPECT_FALSE(observe_container(read, kAgent, "other").ours);
  EXPECT_FALSE(observe_container(read, *AgentId::parse("fedcba9876543210"), "golden").ours);
}

TEST(Codec, ReadsAContainerThatNeverRan) {
  const ObservedWorkload seen = observe_container(container("container_created.json"), kAgent, "golden");
  EXPECT_EQ(seen.state, ContainerState::created);
  EXPECT_EQ(seen.address, "");
  EXPECT_EQ(seen.pid, 0);
  EXPECT_FALSE(seen.started_at);
  EXPECT_TRUE(seen.hardening_ok);
}

TEST(Codec, ReadsHowAContainerEnded) {
  const ContainerInfo read = container("container_exited.json");
  EXPECT_EQ(read.state, ContainerState::exited);
  EXPECT_EQ(read.exit_code, 3);
  EXPECT_GT(read.restart_count, 0);
  EXPECT_TRUE(read.finished_at);
  EXPECT_EQ(observe_container(read, *AgentId::parse("fedcba9876543210"), "golden").address, "");
}

TEST(Codec, PrefersAPublishedPortToTheBridge) {
  const ContainerInfo read = container("container_published.json");
  const ObservedWorkload seen = observe_container(read, *AgentId::parse("00000000000000c3"), "golden");
  ASSERT_EQ(read.ports.at("18789/tcp").size(), 1u);
  EXPECT_EQ(read.ports.at("18789/tcp")[0].host_ip, "127.0.0.1");
  EXPECT_EQ(seen.address, "127.0.0.1:" + read.ports.at("18789/tcp")[0].host_port);
  EXPECT_TRUE(seen.hardening_ok);
}

TEST(Codec, ReachesAnAgentWhereItsPortIsPublished) {
  const auto address = [](const char* host_ip) {
    json body = json::parse(recorded("container_published.json"));
    body["NetworkSettings"]["Ports"]["18789/tcp"] = {{{"HostIp", host_ip}, {"HostPort", "32768"}}};
    return observe_container(read_container(body.dump(), info()).value(), *AgentId::parse("00000000000000c3"), "golden")
        .address;
  };
  EXPECT_EQ(address("10.0.0.5"), "10.0.0.5:32768");
  EXPECT_EQ(address("fd00::5"), "[fd00::5]:32768");
  EXPECT_EQ(address("0.0.0.0"), "127.0.0.1:32768") << "a wildcard is no address to connect to";
  EXPECT_EQ(address(""), "127.0.0.1:32768");
}

TEST(Codec, ReadsAContainerWithoutNetworksOrLabels) {
  json body = json::parse(recorded("container_running.json"));
  body["NetworkSettings"] = {{"Networks", nullptr}, {"Ports", nullptr}};
  body["Config"]["Labels"] = nullptr;
  const auto read = read_container(body.dump(), info());
  ASSERT_TRUE(read);
  const ObservedWorkload seen = observe_container(*read, kAgent, "golden");
  EXPECT_FALSE(seen.ours);
  EXPECT_EQ(seen.owner_label, "");
  EXPECT_EQ(seen.address, "");
  EXPECT_FALSE(seen.hardening_ok) << "no label says what was asked for";
}

// What somebody might change in a container that carries our labels.
TEST(Codec, EveryLossOfIsolationIsADrift) {
  const json good = json::parse(recorded("container_running.json"));
  const auto hardened = [](const json& body) {
    return observe_container(read_container(body.dump(), info()).value(), kAgent, "golden").hardening_ok;
  };
  ASSERT_TRUE(hardened(good));
  const std::vector<std::pair<const char*, json>> changes{
      {"Privileged", true},
      {"CapAdd", {"SYS_ADMIN"}},
      {"CapDrop", nullptr},
      {"SecurityOpt", nullptr},
      {"SecurityOpt", {"no-new-privileges", "seccomp=unconfined"}},
      {"ReadonlyRootfs", false},
      {"Memory", 0},
      {"MemorySwap", -1},
      {"NanoCpus", 0},
      {"PidsLimit", nullptr},
      {"Init", false},
      {"Tmpfs", nullptr},
      {"RestartPolicy", {{"Name", "no"}}},
      {"NetworkMode", "host"},
      {"VolumesFrom", json::array({"other"})},
      {"GroupAdd", json::array({"0"})},
      {"UsernsMode", "host"},
      {"DeviceCgroupRules", json::array({"c *:* rwm"})},
      {"Sysctls", {{"net.ipv4.ip_forward", "1"}}},
      {"Dns", json::array({"192.0.2.1"})},
      {"PidMode", "host"},
      {"IpcMode", "host"},
      {"UTSMode", "host"},
      {"Binds", {"/:/host"}},
      {"Devices", {{{"PathOnHost", "/dev/sda"}}}},
      {"Mounts", {{{"Type", "bind"}, {"Source", "/"}, {"Target", "/host"}}}},
      {"Ulimits", nullptr},
      {"LogConfig", {{"Type", "json-file"}, {"Config", json::object()}}},
      {"PortBindings", {{"18789/tcp", {{{"HostIp", "0.0.0.0"}, {"HostPort", "80"}}}}}},
  };
  for (const auto& [key, value] : changes) {
    json body = good;
    ASSERT_NE(body["HostConfig"][key], value) << key;
    body["HostConfig"][key] = value;
    EXPECT_FALSE(hardened(body)) << key << " = " << value;
  }
  json root = good;
  root["Config"]["User"] = "";
  EXPECT_FALSE(hardened(root));
}

TEST(Codec, TakesForDriftWhatJoinsAContainerToAnotherNetwork) {
  const auto hardened = [](const json& body) {
    return observe_container(read_container(body.dump(), info()).value(), kAgent, "golden").hardening_ok;
  };
  const json good = json::parse(recorded("container_running.json"));
  ASSERT_TRUE(hardened(good));
  json joined = good;
  joined["NetworkSettings"]["Networks"]["bridge"] = {{"IPAddress", ""}};
  EXPECT_FALSE(hardened(joined)) << "even while it has no address there yet";
  json moved = good;
  moved["NetworkSettings"]["Networks"] = {{"bridge", {{"IPAddress", "172.17.0.2"}}}};
  EXPECT_FALSE(hardened(moved));
  json lost = good;
  lost["NetworkSettings"]["Networks"] = json::object();
  EXPECT_FALSE(hardened(lost)) << "nobody can reach it";
  lost["State"]["Status"] = "exited";
  EXPECT_TRUE(hardened(lost)) << "its start attaches it";
}

TEST(Codec, DoesNotTakeForDriftWhatTheKernelCannotLimit) {
  json body = json::parse(recorded("container_running.json"));
  EngineInfo weak = info();
  weak.limits_swap = weak.limits_pids = false;
  // Made on this kernel: the label leaves both out, and the engine dropped both.
  body["HostConfig"]["MemorySwap"] = -1;
  body["HostConfig"]["PidsLimit"] = nullptr;
  body["Config"]["Labels"][kLabelIsolation] = isolation_fingerprint(body["HostConfig"], "1000:1000", false, false);
  EXPECT_TRUE(observe_container(read_container(body.dump(), weak).value(), kAgent, "golden").hardening_ok);
  EXPECT_TRUE(observe_container(read_container(body.dump(), std::nullopt).value(), kAgent, "golden").hardening_ok)
      << "what is not known is no drift";
}

TEST(Codec, AsksForAHardenedContainerAndPutsNoSecretIntoIt) {
  const json body = create_container_body(operation(), {"home", "creel-home-1"});
  const json& host = body["HostConfig"];
  EXPECT_EQ(host["CapDrop"], json::array({"ALL"}));
  EXPECT_EQ(host["SecurityOpt"], json::array({"no-new-privileges"}));
  EXPECT_EQ(host["ReadonlyRootfs"], true);
  EXPECT_EQ(host["Privileged"], false);
  EXPECT_EQ(host["Memory"], 1 << 30);
  EXPECT_EQ(host["MemorySwap"], 1 << 30);
  EXPECT_EQ(host["NanoCpus"], 500'000'000);
  EXPECT_EQ(host["PidsLimit"], 256);
  EXPECT_EQ(host["RestartPolicy"]["Name"], "unless-stopped");
  EXPECT_EQ(host["LogConfig"]["Type"], "local");
  EXPECT_EQ(host["NetworkMode"], "creel-home-1");
  EXPECT_FALSE(host.contains("PortBindings"));
  EXPECT_FALSE(host.contains("Binds"));
  ASSERT_EQ(host["Mounts"].size(), 1u);
  EXPECT_EQ(host["Mounts"][0]["Type"], "volume");
  EXPECT_EQ(host["Mounts"][0]["Source"], "creel-0123456789abcdef");
  EXPECT_EQ(host["Mounts"][0]["Target"], "/state");
  EXPECT_EQ(body["User"], "1000:1000");
  EXPECT_EQ(body["Env"], json::array({"A=1", "B=two words"}));
  EXPECT_EQ(body["Cmd"], json::array({"run", "--port", "18789"}));
  EXPECT_FALSE(body.contains("Entrypoint")) << "empty: the image's";
  EXPECT_EQ(body["Labels"]["traefik.enable"], "true");
  EXPECT_EQ(body["Labels"]["dev.creel.agent"], "0123456789abcdef") << "and no template says otherwise";
  EXPECT_EQ(body["Labels"]["dev.creel.controller"], "home");
  EXPECT_EQ(body["Labels"]["dev.creel.generation"], "3");
  EXPECT_EQ(body["Labels"]["dev.creel.spec-hash"], "00112233445566aa");
  EXPECT_EQ(body.dump().find("sesame"), std::string::npos);
}

TEST(Codec, PublishesAtTheAddressThatWasSetAndNoOther) {
  CreateContext context{"home", "creel-home-1"};
  for (const char* address : {"127.0.0.1", "10.0.0.5", "fd00::5"}) {
    context.publish_at = address;
    const json body = create_container_body(operation(), context);
    ASSERT_EQ(body["HostConfig"]["PortBindings"]["18789/tcp"].size(), 1u);
    EXPECT_EQ(body["HostConfig"]["PortBindings"]["18789/tcp"][0]["HostIp"], address);
  }
}

TEST(Codec, AsksForNoMoreProcessorsThanTheEngineHas) {
  CreateContext context{"home", "creel-home-1"};
  op::CreateWorkload wish = operation();
  wish.spec.resources.nano_cpus = 4'000'000'000;
  EXPECT_EQ(create_container_body(wish, context)["HostConfig"]["NanoCpus"], 4'000'000'000) << "not known: as asked for";
  context.cpus = 2;
  EXPECT_EQ(create_container_body(wish, context)["HostConfig"]["NanoCpus"], 2'000'000'000);
  context.cpus = 8;
  EXPECT_EQ(create_container_body(wish, context)["HostConfig"]["NanoCpus"], 4'000'000'000);
}

TEST(Codec, ReadsLists) {
  const auto containers = read_container_list(recorded("containers.json"));
  ASSERT_TRUE(containers);
  ASSERT_EQ(containers->size(), 3u);
  std::set<std::string> names;
  for (const auto& one : *containers) {
    names.insert(one.name);
    EXPECT_EQ(one.network_mode, "creel-golden-1");
    EXPECT_EQ(label(one.labels, kLabelController), "golden");
  }
  EXPECT_EQ(names.count("creel-0123456789abcdef"), 1u);
  const auto volumes = read_volume_list(recorded("volumes.json"));
  ASSERT_TRUE(volumes);
  EXPECT_EQ(volumes->size(), 3u);
  EXPECT_TRUE(read_volume_list("{\"Volumes\":null,\"Warnings\":null}").value().empty());
  const auto networks = read_network_list(recorded("networks.json"));
  ASSERT_TRUE(networks);
  EXPECT_EQ(networks->size(), 3u);
}

TEST(Codec, ReadsVolumeNetworkAndImage) {
  const auto volume = read_volume(recorded("volume.json"));
  ASSERT_TRUE(volume);
  EXPECT_EQ(volume->driver, "local");
  EXPECT_TRUE(is_ours(volume->labels, kAgent, "golden"));
  const auto network = read_network(recorded("network.json"));
  ASSERT_TRUE(network);
  EXPECT_EQ(network->options.at("com.docker.network.bridge.enable_icc"), "false");
  const auto image = read_image(recorded("image.json"));
  ASSERT_TRUE(image);
  EXPECT_TRUE(image->id.starts_with("sha256:"));
}

TEST(Codec, ReadsVersionAndDescription) {
  const auto version = read_version(recorded("version.json"));
  ASSERT_TRUE(version);
  EXPECT_EQ(version->api_version, "1.41");
  EXPECT_EQ(negotiate_api(*version).value(), "1.41");
  EXPECT_GT(info().cpus, 0);
  EXPECT_GT(info().memory_bytes, 0);
  EXPECT_NE(info().id, "");
}

TEST(Codec, ChoosesTheHighestVersionBothSpeak) {
  const auto chosen = [](const char* api, const char* oldest) { return negotiate_api({"x", api, oldest, "", ""}); };
  EXPECT_EQ(chosen("1.43", "1.12").value(), "1.43");
  EXPECT_EQ(chosen("1.52", "1.44").value(), "1.48");
  EXPECT_EQ(chosen("1.100", "").error().kind, ErrorKind::failed) << "without a minimum it is taken to speak only that";
  EXPECT_EQ(chosen("2.0", "1.44").value(), "1.48");
  const auto old = chosen("1.40", "1.12");
  ASSERT_FALSE(old);
  EXPECT_NE(old.error().message.find("1.41"), std::string::npos);
  EXPECT_FALSE(chosen("1.60", "1.49"));
  EXPECT_FALSE(chosen("garbage", "1.12"));
  EXPECT_FALSE(chosen("1.4x", "1.12"));
}

TEST(Codec, ReadsUsageAndSaysWhenThereIsNone) {
  const auto usage = read_stats(recorded("stats_v1.json"));
  ASSERT_TRUE(usage);
  EXPECT_GT(usage->cpu_seconds, 0);
  EXPECT_GT(usage->memory_bytes, 0);
  EXPECT_EQ(usage->memory_limit_bytes, 64 << 20);
  EXPECT_GE(usage->pids, 1);
  EXPECT_TRUE(usage->network_known);
  EXPECT_EQ(read_stats(recorded("stats_stopped.json")).error().kind, ErrorKind::not_found);
  const auto v2 = read_stats(R"({"cpu_stats":{"cpu_usage":{"total_usage":1500000000}},"pids_stats":{"current":3},
      "memory_stats":{"usage":1000,"limit":5000,"stats":{"inactive_file":300,"file":900}},
      "networks":{"eth0":{"rx_bytes":1,"tx_bytes":2},"eth1":{"rx_bytes":10,"tx_bytes":20}}})");
  ASSERT_TRUE(v2);
  EXPECT_EQ(*v2, (stats::Usage{1.5, 700, 5000, 11, 22, true, 3}));
}

TEST(Codec, ReadsAPathsDescription) {
  const auto stat = read_path_stat(recorded("path_stat.txt").substr(0, recorded("path_stat.txt").find('\n')));
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->name, "state");
  EXPECT_EQ(stat->mode, 0700u);
  EXPECT_TRUE(stat->is_directory);
  EXPECT_FALSE(read_path_stat(""));
  EXPECT_FALSE(read_path_stat("***"));
  EXPECT_FALSE(read_path_stat("bm90IGpzb24="));
}

TEST(Codec, ReadsEventsThatChangeAWorkloadAndNoOthers) {
  std::istringstream lines{recorded("events.jsonl")};
  std::vector<std::string> actions;
  for (std::string line; std::getline(lines, line);) {
    const auto event = read_event(line);
    ASSERT_TRUE(event) << line;
    if (!*event) continue;
    actions.push_back((*event)->action);
    EXPECT_TRUE(AgentId::parse((*event)->agent)) << line;
    EXPECT_EQ((*event)->container_id.size(), 64u);
  }
  EXPECT_EQ(actions, (std::vector<std::string>{"create", "start", "die", "stop", "kill", "destroy"}));
  const auto health = read_event(
      R"({"Type":"container","Action":"health_status: healthy","Actor":{"ID":"x","Attributes":{"dev.creel.agent":"a"}}})");
  ASSERT_TRUE(health && *health);
  EXPECT_EQ((*health)->action, "health_status");
}

TEST(Codec, TurnsRefusalsIntoKindsAndKeepsTheEnginesWords) {
  const Error missing = engine_error(404, recorded("error_404.json"), "inspect the container nope");
  EXPECT_EQ(missing.kind, ErrorKind::not_found);
  EXPECT_EQ(missing.message, "the engine cannot inspect the container nope: No such container: nope");
  EXPECT_EQ(engine_error(409, recorded("error_409.json"), "x").kind, ErrorKind::conflict);
  EXPECT_EQ(engine_error(409, recorded("error_409_volume.json"), "x").kind, ErrorKind::conflict);
  EXPECT_EQ(engine_error(500, recorded("error_500_pull.json"), "x").kind, ErrorKind::failed);
  EXPECT_EQ(engine_error(400, "{\"message\":\"two\\nlines\"}", "x").message, "the engine cannot x: two lines");
  EXPECT_EQ(engine_error(400, "", "x").kind, ErrorKind::invalid);
  EXPECT_EQ(engine_error(403, "", "x").kind, ErrorKind::forbidden);
  EXPECT_EQ(engine_error(502, "<html>", "x").message, "the engine cannot x: HTTP status 502");
  EXPECT_EQ(engine_error(500, "{\"message\":7}", "x").message, "the engine cannot x: HTTP status 500");
}

// Every reader on every recording cut at every place, with a byte changed, and on JSON of other shapes: a value or an
// error, never an exception.
TEST(Codec, SurvivesTruncationsAndGarbage) {
  const EngineInfo engine = info();
  const auto everything = [&](std::string_view text) {
    (void)read_container(text, engine);
    (void)read_container_list(text);
    (void)read_version(text);
    (void)read_info(text);
    (void)read_volume(text);
    (void)read_volume_list(text);
    (void)read_network(text);
    (void)read_network_list(text);
    (void)read_image(text);
    (void)read_created_id(text);
    (void)read_wait(text);
    (void)read_stats(text);
    (void)read_event(text);
    (void)engine_error(500, text, "x");
  };
  for (const char* text :
       {"", "null", "7", "\"x\"", "[]", "{}", "[7]", "[null]", "[[]]", "{\"Volumes\":{}}", "{\"Id\":7}",
        "{\"State\":[],\"Id\":\"x\"}", "{\"State\":{\"Status\":\"dreaming\"},\"Id\":\"x\"}", "{\"StatusCode\":\"3\"}",
        "\xff\xfe", "{\"Labels\":{\"a\":{}},\"Name\":\"v\"}"}) {
    EXPECT_NO_THROW(everything(text)) << text;
  }
  EXPECT_FALSE(read_container("{\"State\":{\"Status\":\"dreaming\"},\"Id\":\"x\"}", info()));
  EXPECT_FALSE(read_container("{}", info()));
  EXPECT_FALSE(read_container_list("{}"));
  EXPECT_FALSE(read_image("[]"));
  for (const char* name : {"container_running.json", "containers.json", "stats_v1.json", "volumes.json"}) {
    const std::string whole = recorded(name);
    for (std::size_t length = 0; length < whole.size() - 2; length += 331) {
      EXPECT_NO_THROW(everything(std::string_view{whole}.substr(0, length))) << name << " cut at " << length;
      std::string bent = whole;
      bent[length] = '}';
      EXPECT_NO_THROW(everything(bent)) << name << " bent at " << length;
    }
  }
  // Each field in turn of another type.
  const json good = json::parse(recorded("container_running.json"));
  const json flat = good.flatten();
  for (const auto& pointer : flat.items()) {
    for (const json& odd : {json(nullptr), json(7), json("text"), json::array({1}), json{{"a", 1}}}) {
      json bent = good;
      bent[json::json_pointer{pointer.key()}] = odd;
      const std::string text = bent.dump();
      EXPECT_NO_THROW((void)read_container(text, engine)) << pointer.key();
    }
  }
}

TEST(LineSplitter, MakesLinesOfAnyPieces) {
  const std::string text = "one\r\ntwo\n\nthree\nrest";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    LineSplitter splitter;
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      ASSERT_TRUE(splitter.push(std::string_view{text}.substr(at, piece), [&](std::string_view line) -> Result<bool> {
        lines.emplace_back(line);
        return true;
      }));
    }
    EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "three"})) << piece;
  }
}

TEST(LineSplitter, EndsWhenToldAndAtALineWithoutEnd) {
  LineSplitter splitter;
  int lines = 0;
  EXPECT_EQ(splitter.push("a\nb\n", [&](std::string_view) -> Result<bool> { return ++lines < 1; }).value(), false);
  EXPECT_EQ(lines, 1);
  LineSplitter endless;
  const auto take = [](std::string_view) -> Result<bool> { return true; };
  ASSERT_TRUE(endless.push(std::string(4u << 20, 'x'), take));
  EXPECT_FALSE(endless.push("x", take));
}

TEST(Codec, AddsOnlyTheMembersThatAFileLacks) {
  using nlohmann::json;
  const auto merged = merge_members(R"({"a":{"own":1},"b":2})", R"({"a":{"ours":1},"c":3})");
  ASSERT_TRUE(merged);
  EXPECT_EQ(json::parse(*merged), json::parse(R"({"a":{"own":1},"b":2,"c":3})"));
  EXPECT_FALSE(merge_members(R"({"c":9})", R"({"c":3})")) << "nothing lacks";
  for (const char* odd : {"", "[]", "{\"a\":", "null"}) EXPECT_EQ(merge_members(odd, "{\"c\":3}"), "{\"c\":3}") << odd;
}

}  // namespace
}  // namespace creel::docker
