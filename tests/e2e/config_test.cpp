// What becomes of the owner's configuration in a real agent: taken in, or refused and replaced by the last good one.
#include <gtest/gtest.h>

#include "tests/support/creel_process.hpp"

namespace creel::test {
namespace {

using nlohmann::json;

struct Kind {
  std::string name;
  std::string config_path;  // in its container
  json refused;
  json refused_at_start;
  std::string reason;  // in what it says of both
  json good;
  std::string good_text;  // as it then stands in the file
};

const std::vector<Kind> kKinds{
    {"reference",
     "/home/agent/state/config.json",
     {{"fail", "nosuchway"}},
     {{"fail", "otherway"}},
     "fail must be one of",
     {{"ready_delay_ms", 1}},
     "\"ready_delay_ms\": 1"},
    {"openclaw",
     "/home/node/.openclaw/openclaw.json",
     {{"nosuchkey", 1}},
     {{"nosuchkey", 2}},
     "nosuchkey",
     {{"gateway", {{"channelHealthCheckMinutes", 7}}}},
     "\"channelHealthCheckMinutes\": 7"},
};

// What a failing test prints of it.
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class AgentConfig : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    creel.start();
    key = creel.user("owner@example.com");
    const Answer made =
        creel.call("POST", "/api/agents/provision", key, {{"name", "demo"}, {"template", GetParam().name}});
    ASSERT_EQ(made.status, 201) << made.text << creel.log();
    id = made.json["agent"]["id"];
  }
  json condition(const Answer& answer) {
    for (const json& condition : answer.json["agent"]["conditions"])
      if (condition["type"] == "ConfigAccepted") return condition;
    return json::object();
  }
  // Ready, and the condition has this status; the condition.
  json settled(const std::string& status) {
    const Answer last = creel.until(
        "/api/agents/" + id, key,
        [&](const Answer& a) {
          return a.json["agent"]["phase"] == "Ready" && condition(a).value("status", "") == status &&
                 a.json["agent"]["observedGeneration"] == a.json["agent"]["generation"];
        },
        std::chrono::seconds{200});
    EXPECT_EQ(last.json["agent"]["phase"], "Ready") << last.text << creel.log();
    EXPECT_EQ(condition(last).value("status", ""), status) << last.text << creel.log();
    return condition(last);
  }
  void give(const json& config) {
    const Answer put = creel.call("PUT", "/api/agents/" + id + "/config", key, config);
    ASSERT_EQ(put.status, 200) << put.text;
  }
  // The file in the volume, inside the tar that the engine gives.
  std::string in_volume() {
    return creel.engine().call("GET", "/containers/creel-" + id + "/archive?path=" + GetParam().config_path).text;
  }

  CreelProcess creel;
  std::string key;
  std::string id;
};

TEST_P(AgentConfig, ARefusedOneIsToldWithItsReasonAndTheLastGoodOneStaysInForce) {
  const Kind& kind = GetParam();
  settled("True");
  const std::string started = creel.engine().container(id)["State"]["StartedAt"];

  give(kind.refused);
  const json refused = settled("False");
  EXPECT_EQ(refused["reason"], "Refused");
  EXPECT_NE(refused["message"].get<std::string>().find(kind.reason), std::string::npos) << refused;
  EXPECT_EQ(creel.engine().container(id)["State"]["StartedAt"], started) << "the agent was not restarted";
  EXPECT_EQ(in_volume().find(kind.refused.begin().key()), std::string::npos);
  // What the owner wishes is still what was wished: it can be read and mended.
  EXPECT_EQ(creel.call("GET", "/api/agents/" + id + "/config", key).json["config"], kind.refused);
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/restart?wait=60", key).json["status"], "running");
  settled("False");

  // One that it meets at its start ends it; it comes back with the last good one.
  EXPECT_EQ(creel.call("POST", "/api/instance/" + id + "/stop", key).json["status"], "stopped");
  give(kind.refused_at_start);
  creel.call("POST", "/api/instance/" + id + "/start?wait=0", key);
  const json at_start = settled("False");
  EXPECT_NE(at_start["message"].get<std::string>().find(kind.reason), std::string::npos) << at_start;

  // A controller that is killed has not forgotten what was good.
  creel.kill_hard();
  creel.start();
  give(kind.refused);
  settled("False");
  give(kind.good);
  settled("True");
  EXPECT_NE(in_volume().find(kind.good_text), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Kinds, AgentConfig, testing::ValuesIn(kKinds),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace creel::test
