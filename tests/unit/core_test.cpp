#include <gtest/gtest.h>

#include "controller/core/agent_json.hpp"
#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/spec_hash.hpp"

namespace creel {
namespace {

TEST(Ids, AcceptsSixteenLowerCaseHexDigitsAndNothingElse) {
  EXPECT_TRUE(AgentId::parse("a1b2c3d4e5f60718"));
  for (const char* bad :
       {"", "a1b2c3d4e5f6071", "a1b2c3d4e5f607189", "A1B2C3D4E5F60718", "a1b2c3d4e5f6071g", "../../../../../.."})
    EXPECT_FALSE(AgentId::parse(bad)) << bad;
}

TEST(Ids, AUserIdIsNeverAnAgentId) {
  const UserId user = new_user_id();
  EXPECT_TRUE(UserId::parse(user.str()));
  EXPECT_FALSE(AgentId::parse(user.str()));
  EXPECT_FALSE(UserId::parse(new_agent_id().str()));
}

TEST(Ids, AreDifferentEachTime) { EXPECT_NE(new_agent_id(), new_agent_id()); }

TEST(Ids, HashesAsPublished) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Clock, ReadsWhatItWritesAndWhatDockerWrites) {
  const TimePoint time = *parse_rfc3339("2026-03-19T00:00:00Z");
  EXPECT_EQ(to_rfc3339(time), "2026-03-19T00:00:00Z");
  EXPECT_EQ(parse_rfc3339("2026-03-19T00:00:00.123456789Z"), time + milliseconds{123});
  EXPECT_EQ(parse_rfc3339("2026-03-19T01:30:00+01:30"), time);
  EXPECT_EQ(to_rfc3339(time + milliseconds{7}), "2026-03-19T00:00:00.007Z");
}

TEST(Clock, CallsDockersNeverAndGarbageNoTime) {
  for (const char* bad : {"0001-01-01T00:00:00Z", "", "2026-03-19", "2026-02-30T00:00:00Z", "2026-03-19T24:00:00Z",
                          "2026-03-19T00:00:00", "2026-03-19T00:00:00Zx", "2026-03-19T00:00:00.Z"})
    EXPECT_FALSE(parse_rfc3339(bad)) << bad;
}

TEST(Clock, FormatsUptimesByTheirTwoLargestUnits) {
  EXPECT_EQ(format_uptime(milliseconds{86'400'000}), "1d 0h");
  EXPECT_EQ(format_uptime(milliseconds{(3 * 3600 + 5 * 60 + 59) * 1000}), "3h 5m");
  EXPECT_EQ(format_uptime(milliseconds{242'000}), "4m 2s");
  EXPECT_EQ(format_uptime(milliseconds{9'999}), "9s");
  EXPECT_EQ(format_uptime(milliseconds{0}), "0s");
}

WorkloadSpec some_spec() {
  WorkloadSpec spec;
  spec.image = "agent:1";
  spec.command = {"run", "--port", "1"};
  spec.env = {{"A", "1"}};
  spec.tmpfs = {{"/tmp", "size=1m"}};
  spec.port = 18789;
  spec.resources = {1 << 30, 500'000'000, 64};
  return spec;
}

TEST(SpecHash, ChangesWithEveryFieldAndWithNothingElse) {
  const WorkloadSpec base = some_spec();
  EXPECT_EQ(spec_hash(base), spec_hash(some_spec()));
  std::vector<WorkloadSpec> changed(11, base);
  changed[0].image = "agent:2";
  changed[1].command.pop_back();
  changed[2].env["A"] = "2";
  changed[3].tmpfs.clear();
  changed[4].port = 1;
  changed[5].resources.memory_bytes += 1;
  changed[6].read_only_root = false;
  changed[7].init = false;
  changed[8].user = "0:0";
  changed[9].state_dir = "/elsewhere";
  changed[10].labels["a"] = "b";
  for (std::size_t i = 0; i < changed.size(); ++i) EXPECT_NE(spec_hash(base), spec_hash(changed[i])) << i;
}

TEST(FilesHash, DependsOnTheKeySoThatItSaysNothingAboutTheContent) {
  const std::vector<VolumeFile> files{{"a", "secret", 0600, 1000, 1000, false},
                                      {".env", "K=V", 0600, 1000, 1000, true}};
  EXPECT_EQ(files_hash(files, "key", false), files_hash(files, "key", false));
  EXPECT_NE(files_hash(files, "key", false), files_hash(files, "other", false));
  EXPECT_NE(files_hash(files, "key", false), files_hash(files, "key", true));
  EXPECT_EQ(files_hash({files[0]}, "key", true), "");
}

TEST(AgentJson, KeepsEveryFieldOnTheWayThroughTheStore) {
  EXPECT_EQ(nlohmann::json(some_spec()).get<WorkloadSpec>(), some_spec());
  History history;
  history.restart_done = 3;
  history.restart_from = parse_rfc3339("2026-03-19T00:00:00.5Z");
  history.repair_from = "c1";
  history.failures = 2;
  history.last_failure_message = "no";
  history.last_restart_count = 4;
  history.exits = {7, parse_rfc3339("2026-03-19T00:00:01Z"), "OOMKilled", 137, 4, true};
  EXPECT_EQ(nlohmann::json(history).get<History>(), history);
  AgentStatus status;
  status.observed_generation = 5;
  status.phase = Phase::crash_looping;
  status.conditions = {{"Ready", "False", "Why", "because", *parse_rfc3339("2026-03-19T00:00:00Z")}};
  status.next_attempt = parse_rfc3339("2026-03-19T00:00:00Z");
  status.cause = "OOMKilled";
  status.last_lines = {"one", "two"};
  status.seen = {"exited", "present", "present", false, 7};
  EXPECT_EQ(nlohmann::json(status).get<AgentStatus>(), status);
}

TEST(AgentJson, ReadsARowOfAnOlderReleaseAndRefusesADamagedOneWithoutQuotingIt) {
  EXPECT_TRUE(parse_stored<History>("{}", "history"));
  const auto damaged = parse_stored<WorkloadSpec>(R"({"image": "hunter2)", "spec");
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().kind, ErrorKind::corrupt);
  EXPECT_EQ(damaged.error().message.find("hunter2"), std::string::npos);
}

TEST(StatusWord, IsOneOfTheFourDocumentedOnes) {
  EXPECT_STREQ(status_word(Phase::pulling), "provisioning");
  EXPECT_STREQ(status_word(Phase::ready), "running");
  EXPECT_STREQ(status_word(Phase::stopped), "stopped");
  EXPECT_STREQ(status_word(Phase::crash_looping), "error");
}

}  // namespace
}  // namespace creel
