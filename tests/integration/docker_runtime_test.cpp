// DockerRuntime against a real engine.
#include "reconciler/runtime/docker/docker_runtime.hpp"

#include <atomic>
#include <future>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/integration/docker_fixture.hpp"

namespace creel::docker {
namespace {

using test::eventually;
using namespace std::chrono_literals;

struct Entry {
  char type;
  int mode;
  int uid;
  int gid;
  std::string content;
  bool operator==(const Entry&) const = default;
};

class DockerRuntimeTest : public test::DockerTest {
 protected:
  // What is in a folder of a container, by way of the engine's archive.
  std::map<std::string, Entry> tree(const std::string& id, const std::string& path) {
    std::string tar;
    const auto got = engine->archive_get(id, path, [&](std::string_view bytes) {
      tar += bytes;
      return true;
    });
    EXPECT_TRUE(got) << got.error().message;
    std::map<std::string, Entry> entries;
    for (std::size_t at = 0; at + 512 <= tar.size() && tar[at] != '\0';) {
      const auto octal = [&](std::size_t offset, std::size_t size) {
        return static_cast<int>(std::strtol(tar.substr(at + offset, size).c_str(), nullptr, 8));
      };
      const std::size_t size = static_cast<std::size_t>(octal(124, 12));
      entries[tar.substr(at, 100).c_str()] =
          Entry{tar[at + 156], octal(100, 8) & 0777, octal(108, 8), octal(116, 8), tar.substr(at + 512, size)};
      at += 512 + (size + 511) / 512 * 512;
    }
    return entries;
  }

  std::vector<std::string> lines(const std::string& id, std::size_t count = 100) {
    const auto got = runtime->last_lines(id, count, {}, {});
    EXPECT_TRUE(got) << got.error().message;
    std::vector<std::string> texts;
    if (got)
      for (const auto& line : *got) texts.push_back(line.text);
    return texts;
  }

  bool prints(const std::string& id, const std::string& line) {
    return eventually([&] {
      const auto all = lines(id);
      return std::find(all.begin(), all.end(), line) != all.end();
    });
  }

  AgentId agent = new_agent_id();
};

TEST_F(DockerRuntimeTest, SeesNothingWhereNothingIs) {
  const Observed observed = look(agent);
  EXPECT_EQ(observed.workload_presence, Presence::absent);
  EXPECT_EQ(observed.storage_presence, Presence::absent);
  EXPECT_EQ(observed.image, ImageState::present);
  EXPECT_TRUE(observed.image_id.starts_with("sha256:"));
  EXPECT_EQ(observed.error, "");
  const auto missing = runtime->observe(agent, "creel-none:1", {});
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->image, ImageState::absent);
}

TEST_F(DockerRuntimeTest, MakesAHardenedContainerAndSeesItAsAskedFor) {
  const auto operation = creation(agent, spec({"out", "hello", "sleep"}));
  const auto id = runtime->apply(operation, {});
  ASSERT_TRUE(id) << id.error().message;
  Observed observed = look(agent);
  ASSERT_EQ(observed.workload_presence, Presence::present);
  EXPECT_EQ(observed.workload.runtime_id, *id);
  EXPECT_TRUE(observed.workload.ours);
  EXPECT_EQ(observed.workload.owner_label, controller);
  EXPECT_EQ(observed.workload.spec_hash, operation.spec_hash);
  EXPECT_EQ(observed.workload.generation, 7u);
  EXPECT_EQ(observed.workload.state, ContainerState::created);
  EXPECT_EQ(observed.workload.address, "");
  EXPECT_EQ(observed.workload.pid, 0);
  EXPECT_TRUE(observed.workload.hardening_ok);
  EXPECT_EQ(observed.storage_presence, Presence::present);
  EXPECT_TRUE(observed.storage_ours);

  const auto started = runtime->apply(op::StartWorkload{agent, *id}, {});
  ASSERT_TRUE(started);
  EXPECT_EQ(*started, "");
  const auto again = runtime->apply(op::StartWorkload{agent, *id}, {});
  ASSERT_TRUE(again) << "already so is success";
  EXPECT_EQ(*again, kAlreadyRan);
  observed = look(agent);
  EXPECT_EQ(observed.workload.state, ContainerState::running);
  EXPECT_GT(observed.workload.pid, 0);
  ASSERT_TRUE(observed.workload.started_at);
  EXPECT_LT(system_now() - *observed.workload.started_at, 60s);
  EXPECT_EQ(observed.image, ImageState::present);
  EXPECT_EQ(observed.image_id, observed.workload.image_id);
  EXPECT_TRUE(observed.workload.address.ends_with(":18789")) << observed.workload.address;
  EXPECT_TRUE(observed.workload.hardening_ok);
  EXPECT_TRUE(prints(*id, "hello"));

  // The process as the kernel sees it: no capability, no new privileges, seccomp on, not root, pids limited.
  const std::string status = test::read_whole("/proc/" + std::to_string(observed.workload.pid) + "/status");
  EXPECT_NE(status.find("CapBnd:\t0000000000000000"), std::string::npos) << status;
  EXPECT_NE(status.find("NoNewPrivs:\t1"), std::string::npos);
  EXPECT_NE(status.find("Seccomp:\t2"), std::string::npos);
  EXPECT_NE(status.find("Uid:\t1000\t1000"), std::string::npos);
}

TEST_F(DockerRuntimeTest, TheRootIsReadOnlyAndTheVolumeIsNot) {
  const std::string id = run(agent, {"write", "/x", "write", "/state/x", "write", "/tmp/x", "sleep"});
  ASSERT_TRUE(eventually([&] { return lines(id).size() == 3; }));
  EXPECT_EQ(lines(id), (std::vector<std::string>{"refused", "written", "written"}));
}

TEST_F(DockerRuntimeTest, PutsFilesWithOwnerAndModeIntoACreatedContainer) {
  const std::vector<VolumeFile> files{{"openclaw.json", "{\"a\":1}", 0600, 1000, 1000, false},
                                      {"devices/deep/paired.json", "[]", 0640, 1000, 1001, true},
                                      {".env", "", 0600, 1000, 1000, true}};
  for (const auto& image : {with_state, without_state}) {
    const AgentId one = new_agent_id();
    auto made = spec({"cat", "/state/openclaw.json", "sleep"});
    made.image = image;
    const auto id = runtime->apply(creation(one, made, files), {});
    ASSERT_TRUE(id) << id.error().message;
    const auto found = tree(*id, "/state");
    const std::map<std::string, Entry> expected{
        {"state/", {'5', 0700, 1000, 1000, ""}},
        {"state/openclaw.json", {'0', 0600, 1000, 1000, "{\"a\":1}"}},
        {"state/devices/", {'5', 0700, 1000, 1001, ""}},
        {"state/devices/deep/", {'5', 0700, 1000, 1001, ""}},
        {"state/devices/deep/paired.json", {'0', 0640, 1000, 1001, "[]"}},
        {"state/.env", {'0', 0600, 1000, 1000, ""}},
        {"state/.creel-delivery", {'0', 0600, 1000, 1000, ""}},
    };
    std::string names;
    for (const auto& [name, entry] : found) names += name + " ";
    EXPECT_EQ(found, expected) << image << " has " << names;
    ASSERT_TRUE(runtime->apply(op::StartWorkload{one, *id}, {}));
    EXPECT_TRUE(prints(*id, "/state/openclaw.json: {\"a\":1}")) << "the agent itself can read it";
  }
}

TEST_F(DockerRuntimeTest, AFreshVolumeBelongsToTheAgentEvenWithoutAFile) {
  auto bare = spec({"write", "/state/x", "sleep"});
  bare.image = without_state;
  const auto id = runtime->apply(creation(agent, bare), {});
  ASSERT_TRUE(id) << id.error().message;
  ASSERT_TRUE(runtime->apply(op::StartWorkload{agent, *id}, {}));
  EXPECT_TRUE(prints(*id, "written"));
}

// An engine that is killed while it makes a container leaves one behind whose volume is root's.
TEST_F(DockerRuntimeTest, DeliveringGivesTheVolumeToTheAgentWhenCreatingDidNot) {
  for (const bool file : {false, true}) {
    const AgentId one = new_agent_id();
    const auto id = runtime->apply(creation(one, spec({"write", "/state/x", "sleep"})), {});
    ASSERT_TRUE(id) << id.error().message;
    auto roots = delivery_archive({}, Owner{0, 0}, 0);
    ASSERT_TRUE(roots && engine->archive_put(*id, "/state", std::move(*roots), {}));
    ASSERT_EQ(tree(*id, "/state").at("state/").uid, 0);

    std::vector<VolumeFile> files;
    if (file) files.push_back({"a", "b", 0600, 1000, 1000, false});
    const auto put = runtime->apply(op::DeliverFiles{one, *id, "/state", "1000:1000", files}, {});
    ASSERT_TRUE(put) << put.error().message;
    ASSERT_TRUE(runtime->apply(op::StartWorkload{one, *id}, {}));
    EXPECT_TRUE(prints(*id, "written"));
  }
}

TEST_F(DockerRuntimeTest, AReaderNeverSeesAPartOfAFile) {
  const auto big = [](char c) {
    return std::vector<VolumeFile>{{"big", std::string(3u << 20, c), 0600, 1000, 1000, false}};
  };
  const auto id = runtime->apply(creation(agent, spec({"watch", "/state/big"}), big('a')), {});
  ASSERT_TRUE(id) << id.error().message;
  ASSERT_TRUE(runtime->apply(op::StartWorkload{agent, *id}, {}));
  ASSERT_TRUE(prints(*id, "watching"));
  for (int i = 0; i < 30; ++i) {
    const auto put =
        runtime->apply(op::DeliverFiles{agent, *id, "/state", "1000:1000", big(static_cast<char>('b' + i % 20))}, {});
    ASSERT_TRUE(put) << put.error().message;
  }
  ASSERT_TRUE(eventually([&] { return !lines(*id, 1).empty() && lines(*id, 1)[0].starts_with("reads"); }));
  for (const auto& line : lines(*id, 10'000)) EXPECT_FALSE(line.starts_with("partial")) << line;
  const auto found = tree(*id, "/state");
  EXPECT_EQ(found.size(), 3u) << "the folder, the file, and the one empty delivery file";
  EXPECT_EQ(found.at("state/.creel-delivery").content, "");
  EXPECT_EQ(found.at("state/big").content[0], 'b' + 29 % 20);
}

TEST_F(DockerRuntimeTest, TakesACreationWhoseAnswerWasLostForDone) {
  const auto operation = creation(agent, spec({"sleep"}));
  const auto first = runtime->apply(operation, {});
  const auto second = runtime->apply(operation, {});
  ASSERT_TRUE(first && second);
  EXPECT_EQ(*first, *second);
  auto other = spec({"sleep"});
  other.env["X"] = "1";
  const auto third = runtime->apply(creation(agent, other), {});
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().kind, ErrorKind::conflict);
}

TEST_F(DockerRuntimeTest, NeverTouchesWhatIsNotItsOwn) {
  const std::string other_id = "t" + random_hex(4);
  DockerRuntime other{*engine, {other_id}};
  const auto theirs = other.apply(creation(agent, spec({"sleep"})), {});
  ASSERT_TRUE(theirs) << theirs.error().message;
  ASSERT_TRUE(other.apply(op::StartWorkload{agent, *theirs}, {}));

  const Observed observed = look(agent);
  EXPECT_EQ(observed.workload_presence, Presence::present);
  EXPECT_FALSE(observed.workload.ours);
  EXPECT_EQ(observed.workload.owner_label, other_id);
  EXPECT_FALSE(observed.storage_ours);
  const std::vector<Operation> all{
      creation(agent, spec({"sleep"})),
      op::DeliverFiles{agent, *theirs, "/state", "1000:1000", {{"a", "b", 0600, 1000, 1000, false}}},
      op::StartWorkload{agent, *theirs},
      op::StopWorkload{agent, *theirs, 1},
      op::RestartWorkload{agent, *theirs, 1},
      op::RemoveWorkload{agent, *theirs, 1},
      op::RemoveStorage{agent}};
  for (const auto& operation : all) {
    const auto result = runtime->apply(operation, {});
    ASSERT_FALSE(result) << operation.index();
    EXPECT_EQ(result.error().kind, ErrorKind::conflict) << operation.index() << ": " << result.error().message;
    EXPECT_NE(result.error().message.find(other_id), std::string::npos) << result.error().message;
  }
  EXPECT_FALSE(runtime->last_lines(*theirs, 1, {}, {}));
  EXPECT_EQ(other.observe(agent, with_state, {}).value().workload.state, ContainerState::running);
  EXPECT_EQ(tree(*theirs, "/state").count("state/a"), 0u);
  EXPECT_TRUE(runtime->objects({}).value().empty());
  clean(other_id);
}

TEST_F(DockerRuntimeTest, AddsToAFileThatTheAgentWritesTooAndTakesNothingFromIt) {
  auto ours = VolumeFile{"devices/paired.json", R"({"creel":{"key":1}})", 0600, 1000, 1000, false, true};
  const auto read = [&](const std::string& id) {
    return nlohmann::json::parse(tree(id, "/state/devices")["devices/paired.json"].content, nullptr, false);
  };
  // A volume that has it not: as it is. Delivered again, nothing is written.
  auto create = creation(agent, spec({"sleep"}));
  create.files = {ours};
  const auto id = runtime->apply(create, {});
  ASSERT_TRUE(id) << id.error().message;
  EXPECT_EQ(read(*id), nlohmann::json::parse(ours.content));
  const op::DeliverFiles again{agent, *id, "/state", "1000:1000", {ours}};
  ASSERT_TRUE(runtime->apply(again, {}));

  // The agent has changed our entry and added others.
  const std::string owners = R"({"creel":{"key":1,"lastUsed":7},"phone":{"key":2}})";
  ASSERT_TRUE(runtime->apply(
      op::DeliverFiles{agent, *id, "/state", "1000:1000", {{"devices/paired.json", owners, 0600, 1000, 1000, false}}},
      {}));
  ASSERT_TRUE(runtime->apply(again, {}));
  EXPECT_EQ(read(*id), nlohmann::json::parse(owners));

  // An old volume is put back, in which it was not yet.
  ASSERT_TRUE(
      runtime->apply(op::DeliverFiles{agent,
                                      *id,
                                      "/state",
                                      "1000:1000",
                                      {{"devices/paired.json", R"({"phone":{"key":2}})", 0600, 1000, 1000, false}}},
                     {}));
  ASSERT_TRUE(runtime->apply(again, {}));
  EXPECT_EQ(read(*id), nlohmann::json::parse(R"({"creel":{"key":1},"phone":{"key":2}})"));
  const Entry entry = tree(*id, "/state/devices")["devices/paired.json"];
  EXPECT_EQ(entry.mode, 0600);
  EXPECT_EQ(entry.uid, 1000);
}

TEST_F(DockerRuntimeTest, AnotherAgentsContainerIsNotThisAgents) {
  const std::string id = run(agent, {"sleep"});
  const auto stopped = runtime->apply(op::StopWorkload{new_agent_id(), id, 1}, {});
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, ErrorKind::conflict);
}

TEST_F(DockerRuntimeTest, StopsRestartsAndRemovesAndKeepsTheVolume) {
  const std::string id = run(agent, {"write", "/state/kept", "sleep"});
  ASSERT_TRUE(prints(id, "written"));
  const auto before = look(agent).workload.started_at;
  ASSERT_TRUE(runtime->apply(op::RestartWorkload{agent, id, 3}, {}));
  EXPECT_GT(look(agent).workload.started_at, before);
  ASSERT_TRUE(runtime->apply(op::StopWorkload{agent, id, 3}, {}));
  ASSERT_TRUE(runtime->apply(op::StopWorkload{agent, id, 3}, {})) << "already so is success";
  EXPECT_EQ(look(agent).workload.state, ContainerState::exited);
  EXPECT_EQ(look(agent).workload.exit_code, 0);
  ASSERT_TRUE(runtime->apply(op::StartWorkload{agent, id}, {}));
  const auto in_use = runtime->apply(op::RemoveStorage{agent}, {});
  ASSERT_FALSE(in_use);
  EXPECT_EQ(in_use.error().kind, ErrorKind::conflict);
  ASSERT_TRUE(runtime->apply(op::RemoveWorkload{agent, id, 3}, {}));
  ASSERT_TRUE(runtime->apply(op::RemoveWorkload{agent, id, 3}, {}));
  ASSERT_TRUE(runtime->apply(op::StopWorkload{agent, id, 3}, {})) << "what is gone is stopped";
  const auto start = runtime->apply(op::StartWorkload{agent, id}, {});
  ASSERT_FALSE(start);
  EXPECT_EQ(start.error().kind, ErrorKind::not_found);
  EXPECT_EQ(look(agent).workload_presence, Presence::absent);
  EXPECT_EQ(look(agent).storage_presence, Presence::present);
  const auto left = runtime->objects({}).value();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].kind, ObjectKind::volume);
  EXPECT_EQ(left[0].agent, agent.str());
  EXPECT_TRUE(left[0].given_name);

  const auto again = runtime->apply(creation(agent, spec({"sleep"})), {});
  ASSERT_TRUE(again);
  EXPECT_EQ(tree(*again, "/state").count("state/kept"), 1u);
  ASSERT_TRUE(runtime->apply(op::RemoveWorkload{agent, *again, 0}, {}));
  ASSERT_TRUE(runtime->apply(op::RemoveStorage{agent}, {}));
  ASSERT_TRUE(runtime->apply(op::RemoveStorage{agent}, {}));
  EXPECT_EQ(look(agent).storage_presence, Presence::absent);
  EXPECT_TRUE(runtime->objects({}).value().empty());
}

TEST_F(DockerRuntimeTest, EmptiesFoldersAndFilesOfTheVolumeAndNothingElse) {
  const std::string deep(140, 'd');
  const auto file = [](std::string path) { return VolumeFile{std::move(path), "secret", 0640, 1000, 1001, false}; };
  const std::vector<VolumeFile> files{file("agents/main/sessions/a.jsonl"),
                                      file("agents/main/sessions/x/y/b.jsonl"),
                                      file("agents/main/agent/models.json"),
                                      file("agents/" + deep + "/sessions/c"),
                                      file("memory/main.sqlite"),
                                      file("workspace/memory/1.md"),
                                      file("workspace/MEMORY.md"),
                                      file("workspace/SOUL.md")};
  const auto id = runtime->apply(creation(agent, spec({"sleep"}), files), {});
  ASSERT_TRUE(id) << id.error().message;
  const auto before = tree(*id, "/state");
  const op::ClearStorage clear{agent,
                               with_state,
                               {"agents/*/sessions/", "memory/", "workspace/memory/", "workspace/MEMORY.md",
                                "not/there/", "nor-this.md", "workspace/*/none/"}};
  ASSERT_TRUE(runtime->apply(op::StartWorkload{agent, *id}, {}));
  const auto in_use = runtime->apply(clear, {});
  ASSERT_FALSE(in_use);
  EXPECT_EQ(in_use.error().kind, ErrorKind::conflict);
  ASSERT_TRUE(runtime->apply(op::StopWorkload{agent, *id, 1}, {}));
  for (int again = 0; again < 2; ++again) {
    const auto cleared = runtime->apply(clear, {});
    ASSERT_TRUE(cleared) << cleared.error().message;
    const auto after = tree(*id, "/state");
    for (const char* gone :
         {"state/agents/main/sessions/a.jsonl", "state/agents/main/sessions/x/", "state/memory/main.sqlite",
          "state/workspace/memory/1.md", "state/not/", "state/nor-this.md"})
      EXPECT_FALSE(after.contains(gone)) << gone;
    for (const char* same : {"state/", "state/agents/main/sessions/", "state/agents/main/agent/models.json",
                             "state/memory/", "state/workspace/memory/", "state/workspace/SOUL.md"}) {
      ASSERT_TRUE(after.contains(same)) << same;
      EXPECT_EQ(after.at(same), before.at(same)) << same;
    }
    const Entry empty{'0', 0640, 1000, 1001, ""};
    EXPECT_EQ(after.at("state/workspace/MEMORY.md"), empty);
  }
  std::size_t names = 0;
  engine->archive_get(*id, "/state/agents/" + deep + "/sessions", [&](std::string_view bytes) {
    names += bytes.find("sessions/c") != std::string_view::npos;
    return true;
  });
  EXPECT_EQ(names, 0u) << "a name too long for a plain header is found, too";
  EXPECT_EQ(engine->container_list(label_filter(kLabelController, controller)).value().size(), 1u)
      << "what was made for it is gone";
}

TEST_F(DockerRuntimeTest, CopiesTheVolumeAndGivesItBackAsItWas) {
  std::vector<VolumeFile> files{
      {"openclaw.json", "one", 0600, 1000, 1000, false},
      {"agents/main/sessions/" + std::string(120, 's') + ".jsonl", "two", 0640, 1000, 1001, false},
      {"empty", "", 0600, 1000, 1000, false},
      {"large", random_hex(1'500'000), 0600, 1000, 1000, false}};  // many buffers
  const auto id = runtime->apply(creation(agent, spec({"write", "/state/own", "sleep"}), files), {});
  ASSERT_TRUE(id) << id.error().message;
  ASSERT_TRUE(runtime->apply(op::StartWorkload{agent, *id}, {}));
  ASSERT_TRUE(prints(*id, "written"));
  const op::BackUpStorage copy{agent, with_state};
  const auto in_use = runtime->apply(copy, {});
  ASSERT_FALSE(in_use);
  EXPECT_EQ(in_use.error().kind, ErrorKind::conflict);
  ASSERT_TRUE(runtime->apply(op::StopWorkload{agent, *id, 1}, {}));
  const auto before = tree(*id, "/state");
  ASSERT_GE(before.size(), 7u);
  for (int again = 0; again < 2; ++again) {
    const auto copied = runtime->apply(copy, {});
    ASSERT_TRUE(copied) << copied.error().message;
  }
  EXPECT_EQ(engine->volume_list(label_filter(kLabelAgent, agent.str())).value().size(), 2u);

  // What came after the copy is gone, what went is back, and the same again when it is done twice.
  files = {{"openclaw.json", "changed", 0600, 1000, 1000, false}, {"new/file", "x", 0600, 1000, 1000, false}};
  ASSERT_TRUE(runtime->apply(op::DeliverFiles{agent, *id, "/state", "1000:1000", files}, {}));
  ASSERT_TRUE(runtime->apply(op::ClearStorage{agent, with_state, {"agents/"}}, {}));
  const auto holds = runtime->apply(op::RestoreStorage{agent, with_state}, {});
  ASSERT_FALSE(holds) << "the agent's own container has it mounted";
  ASSERT_TRUE(runtime->apply(op::RemoveWorkload{agent, *id, 0}, {}));
  for (int again = 0; again < 2; ++again) {
    const auto restored = runtime->apply(op::RestoreStorage{agent, with_state}, {});
    ASSERT_TRUE(restored) << restored.error().message;
  }
  const auto next = runtime->apply(creation(agent, spec({"sleep"})), {});
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_EQ(tree(*next, "/state"), before);

  ASSERT_TRUE(runtime->apply(op::RemoveBackup{agent}, {}));
  ASSERT_TRUE(runtime->apply(op::RemoveBackup{agent}, {}));
  EXPECT_EQ(engine->volume_list(label_filter(kLabelAgent, agent.str())).value().size(), 1u);
  EXPECT_EQ(runtime->apply(op::RestoreStorage{agent, with_state}, {}).error().kind, ErrorKind::not_found);
  EXPECT_EQ(tree(*next, "/state"), before) << "without a copy nothing is touched";
  EXPECT_EQ(engine->container_list(label_filter(kLabelController, controller)).value().size(), 1u);
}

TEST_F(DockerRuntimeTest, RemovesTheCopyWithTheVolume) {
  const auto id = runtime->apply(creation(agent, spec({"sleep"})), {});
  ASSERT_TRUE(id);
  ASSERT_TRUE(runtime->apply(op::BackUpStorage{agent, with_state}, {}));
  ASSERT_TRUE(runtime->apply(op::RemoveWorkload{agent, *id, 0}, {}));
  ASSERT_TRUE(runtime->apply(op::RemoveStorage{agent}, {}));
  EXPECT_TRUE(runtime->objects({}).value().empty());
}

TEST_F(DockerRuntimeTest, ClearsThroughALeftOverContainerAndNeverThroughSomebodyElses) {
  const auto id = runtime->apply(creation(agent, spec({"sleep"}), {{"notes/a", "x", 0600, 1000, 1000, false}}), {});
  ASSERT_TRUE(id);
  const nlohmann::json left{{"Image", with_state}, {"Labels", agent_labels(agent, controller, 0, "")}};
  ASSERT_TRUE(engine->container_create(object_name(agent) + "-volume", left));
  ASSERT_TRUE(runtime->apply(op::ClearStorage{agent, with_state, {"notes/"}}, {}));
  EXPECT_FALSE(tree(*id, "/state").contains("state/notes/a"));
  const nlohmann::json theirs{{"Image", with_state}};
  const auto foreign_id = engine->container_create(object_name(agent) + "-volume", theirs);
  ASSERT_TRUE(foreign_id);
  const auto refused = runtime->apply(op::ClearStorage{agent, with_state, {"notes/"}}, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::conflict);
  EXPECT_TRUE(engine->container_remove(*foreign_id, true));
  EXPECT_TRUE(runtime->apply(op::ClearStorage{new_agent_id(), with_state, {"notes/"}}, {})) << "no volume, no memory";
}

TEST_F(DockerRuntimeTest, EndsAProcessThatDoesNotListenAndOneThatIsFrozen) {
  const std::string id = run(agent, {"out", "deaf", "stubborn"});
  ASSERT_TRUE(prints(id, "deaf"));
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(runtime->apply(op::StopWorkload{agent, id, 1}, {}));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 900ms);
  EXPECT_EQ(look(agent).workload.state, ContainerState::exited);
  EXPECT_EQ(look(agent).workload.exit_code, 137);

  ASSERT_TRUE(runtime->apply(op::StartWorkload{agent, id}, {}));
  http::Request pause;
  pause.method = "POST";
  pause.url = "http://docker/containers/" + id + "/pause";
  pause.unix_socket = engine->address().substr(7);
  ASSERT_EQ(client.send(pause)->status, 204);
  EXPECT_EQ(look(agent).workload.state, ContainerState::paused);
  ASSERT_TRUE(runtime->apply(op::RemoveWorkload{agent, id, 1}, {}));
  EXPECT_EQ(look(agent).workload_presence, Presence::absent);
}

TEST_F(DockerRuntimeTest, ShowsHowAProcessEndedAndWhatItSaidLast) {
  auto dying = spec({"out", "going down", "err", "because", "exit", "3"});
  const auto id = runtime->apply(creation(agent, dying), {});
  ASSERT_TRUE(id);
  ASSERT_TRUE(runtime->apply(op::StartWorkload{agent, *id}, {}));
  ASSERT_TRUE(eventually([&] { return look(agent).workload.restart_count > 0; })) << "unless-stopped starts it again";
  ASSERT_TRUE(runtime->apply(op::StopWorkload{agent, *id, 1}, {}));
  const Observed observed = look(agent);
  EXPECT_EQ(observed.workload.state, ContainerState::exited);
  EXPECT_EQ(observed.workload.exit_code, 3);
  EXPECT_TRUE(observed.workload.finished_at);
  const auto last = lines(*id, 2);
  EXPECT_EQ((std::set<std::string>{last.begin(), last.end()}), (std::set<std::string>{"going down", "because"}));
}

TEST_F(DockerRuntimeTest, SaysWhyAContainerCannotStart) {
  auto wrong = spec({});
  wrong.entrypoint = {"/no/such/program"};
  wrong.init = false;  // an init starts always, and prints that its program does not
  const auto id = runtime->apply(creation(agent, wrong), {});
  ASSERT_TRUE(id) << id.error().message;
  const auto started = runtime->apply(op::StartWorkload{agent, *id}, {});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().kind, ErrorKind::failed) << "not the owner's input is wrong";
  EXPECT_NE(started.error().message.find("/no/such/program"), std::string::npos) << started.error().message;
  EXPECT_EQ(started.error().message.find('\n'), std::string::npos);
  auto imageless = spec({});
  imageless.image = "creel-none:1";
  const auto missing = runtime->apply(creation(new_agent_id(), imageless), {});
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("creel-none:1"), std::string::npos) << missing.error().message;
}

TEST_F(DockerRuntimeTest, SeesLimitsThatWereChangedBehindItsBack) {
  const std::string id = run(agent, {"sleep"});
  ASSERT_TRUE(look(agent).workload.hardening_ok);
  http::Request update;
  update.method = "POST";
  update.url = "http://docker/containers/" + id + "/update";
  update.unix_socket = engine->address().substr(7);
  update.headers = {{"Content-Type", "application/json"}};
  update.body = "{\"PidsLimit\":1000}";
  ASSERT_EQ(client.send(update)->status, 200);
  EXPECT_FALSE(look(agent).workload.hardening_ok);
}

TEST_F(DockerRuntimeTest, SharesABridgeThatKeepsAgentsApart) {
  run(agent, {"sleep"});
  const AgentId second = new_agent_id();
  run(second, {"sleep"});
  const auto networks = engine->network_list(label_filter(kLabelController, controller)).value();
  ASSERT_EQ(networks.size(), 1u);
  EXPECT_EQ(networks[0].name, "creel-" + controller + "-1");
  const auto network = engine->network_inspect(networks[0].id).value();
  EXPECT_EQ(network.driver, "bridge");
  EXPECT_EQ(network.options.at("com.docker.network.bridge.enable_icc"), "false");
  EXPECT_LE(network.options.at("com.docker.network.bridge.name").size(), 15u);
  EXPECT_NE(look(agent).workload.address, look(second).workload.address);
}

TEST_F(DockerRuntimeTest, MakesTheBridgeOnceHoweverManyAskAtOnce) {
  NetworkPool first{*engine, controller};
  NetworkPool second{*engine, controller};  // as if another process of the same controller
  std::vector<std::jthread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const auto name = (i % 2 == 0 ? first : second).acquire({});
      if (name && *name == "creel-" + controller + "-1") ++good;
      if (!name) ADD_FAILURE() << name.error().message;
    });
  }
  threads.clear();
  EXPECT_EQ(good, 8);
  EXPECT_EQ(engine->network_list(label_filter(kLabelController, controller)).value().size(), 1u);
  // Only who asks for another network gets one.
  for (const auto& [alternative, number] : std::map<int, std::string>{{1, "2"}, {2, "3"}, {3, "1"}, {4, "2"}})
    EXPECT_EQ(first.acquire({}, alternative).value(), "creel-" + controller + "-" + number) << alternative;
}

TEST_F(DockerRuntimeTest, RefusesABridgeOfSomebodyElse) {
  const std::string name = "creel-" + controller + "-1";
  const auto theirs =
      engine->network_create(docker::NetworkSpec{name, "cr" + random_hex(4), {}, false, false, "", "", ""});
  ASSERT_TRUE(theirs) << theirs.error().message;
  const auto id = runtime->apply(creation(agent, spec({"sleep"})), {});
  ASSERT_FALSE(id);
  EXPECT_EQ(id.error().kind, ErrorKind::conflict);
  EXPECT_TRUE(engine->network_remove(*theirs));
}

TEST_F(DockerRuntimeTest, MakesTheBridgeAgainWhenSomebodyRemovedIt) {
  const std::string id = run(agent, {"sleep"});
  ASSERT_TRUE(runtime->apply(op::StopWorkload{agent, id, 1}, {}));
  const auto networks = engine->network_list(label_filter(kLabelController, controller)).value();
  ASSERT_EQ(networks.size(), 1u);
  ASSERT_TRUE(engine->network_remove(networks[0].id));
  const auto started = runtime->apply(op::StartWorkload{agent, id}, {});
  ASSERT_TRUE(started) << started.error().message;
  EXPECT_NE(look(agent).workload.address, "");
}

TEST_F(DockerRuntimeTest, PublishesAtTheAddressThatWasSetAndReachesTheAgentThere) {
  DockerRuntime far{*engine, {controller, "127.0.0.2"}};
  const auto id = far.apply(creation(agent, spec({"sleep"})), {});
  ASSERT_TRUE(id) << id.error().message;
  ASSERT_TRUE(far.apply(op::StartWorkload{agent, *id}, {}));
  const Observed observed = look(agent);
  EXPECT_TRUE(observed.workload.address.starts_with("127.0.0.2:")) << observed.workload.address;
  EXPECT_TRUE(observed.workload.hardening_ok);
  for (const auto& [port, places] : engine->container_inspect(*id).value().ports) {
    for (const auto& place : places) EXPECT_EQ(place.host_ip, "127.0.0.2") << port;
  }
}

TEST_F(DockerRuntimeTest, SaysWhereAnAgentIsNow) {
  const std::string old = "10.1.2.3:18789";  // as it was observed
  EXPECT_EQ(runtime->locate(agent, old), "") << "there is no container";
  const std::string id = run(agent, {"sleep"});
  EXPECT_EQ(runtime->locate(agent, old), look(agent).workload.address);
  ASSERT_TRUE(runtime->apply(op::StopWorkload{agent, id, 0}, {}));
  EXPECT_EQ(runtime->locate(agent, old), "");
  DockerRuntime other{*engine, {"another-controller"}};
  ASSERT_TRUE(runtime->apply(op::StartWorkload{agent, id}, {}));
  EXPECT_EQ(other.locate(agent, old), "") << "somebody else's";
}

TEST_F(DockerRuntimeTest, ReportsChangesOfItsOwnAgentsOnly) {
  std::mutex mutex;
  std::vector<AgentId> seen;
  std::promise<void> open;
  std::stop_source stop;
  std::jthread watcher{[&] {
    const auto ended = runtime->watch([&] { open.set_value(); },
                                      [&](const AgentId& id) {
                                        std::lock_guard lock{mutex};
                                        seen.push_back(id);
                                      },
                                      stop.get_token());
    EXPECT_FALSE(ended);
    EXPECT_EQ(ended.error().kind, ErrorKind::cancelled);
  }};
  open.get_future().wait();
  const std::string other_id = "t" + random_hex(4);
  DockerRuntime other{*engine, {other_id}};
  ASSERT_TRUE(other.apply(creation(new_agent_id(), spec({"sleep"})), {}));
  const std::string id = run(agent, {"sleep"});
  ASSERT_TRUE(eventually([&] {
    std::lock_guard lock{mutex};
    return seen.size() >= 2;  // create, start
  }));
  ASSERT_TRUE(
      runtime->apply(op::DeliverFiles{agent, id, "/state", "1000:1000", {{"a", "b", 0600, 1000, 1000, false}}}, {}));
  ASSERT_TRUE(runtime->apply(op::RemoveWorkload{agent, id, 0}, {}));
  ASSERT_TRUE(eventually([&] {
    std::lock_guard lock{mutex};
    return seen.size() >= 5;  // kill, die, destroy
  }));
  stop.request_stop();
  watcher.join();
  for (const auto& one : seen) EXPECT_EQ(one, agent);
  EXPECT_LE(seen.size(), 6u) << "a delivery of files is no change";
  clean(other_id);
}

TEST_F(DockerRuntimeTest, APullThatCannotSucceedEndsWithItsReason) {
  const std::string image = "127.0.0.1:1/creel/none:1";
  ASSERT_TRUE(runtime->apply(op::PullImage{image}, {}));
  EXPECT_TRUE(runtime->wait_for_pull(image, {}));
  const auto observed = runtime->observe(agent, image, {});
  ASSERT_TRUE(observed);
  EXPECT_EQ(observed->image, ImageState::failed);
  EXPECT_NE(observed->image_message.find("127.0.0.1:1"), std::string::npos) << observed->image_message;
  EXPECT_NE(observed->image_message.find("refused"), std::string::npos) << observed->image_message;
  const auto odd = runtime->apply(op::PullImage{"Not An Image"}, {});
  ASSERT_FALSE(odd);
}

TEST_F(DockerRuntimeTest, SaysThatAnEngineIsAwayInsteadOfThatAnAgentIs) {
  EngineOptions options;
  options.docker_host = "unix:///tmp/creel-no-such-engine.sock";
  auto away = Engine::make(client, options);
  ASSERT_TRUE(away);
  DockerRuntime blind{**away, {controller}};
  const auto observed = blind.observe(agent, with_state, {});
  ASSERT_FALSE(observed);
  EXPECT_EQ(observed.error().kind, ErrorKind::unavailable);
  EXPECT_FALSE(blind.objects({}));
  EXPECT_EQ(blind.locate(agent, "10.1.2.3:18789"), "10.1.2.3:18789") << "it gives out no addresses either";
}

}  // namespace
}  // namespace creel::docker
