// Networks of egress lists and their gateways, against a real engine. What gets through them: e2e/egress_test.cpp.
#include <nlohmann/json.hpp>

#include "reconciler/runtime/docker/egress.hpp"
#include "tests/integration/docker_fixture.hpp"

namespace creel::docker {
namespace {

class EgressGatewaysTest : public test::DockerTest {
 protected:
  void SetUp() override {
    DockerTest::SetUp();
    pool = std::make_unique<NetworkPool>(*engine, controller);
    name = egress_name(controller, policy_id(names));
  }
  std::unique_ptr<EgressGateways> gateways(std::chrono::milliseconds grace) {
    return std::make_unique<EgressGateways>(*engine, *pool, controller, EgressSettings{{}, grace});
  }
  bool there() { return bool(engine->network_inspect(name)) && bool(engine->container_inspect(name)); }

  std::unique_ptr<NetworkPool> pool;
  const std::vector<std::string> names{"allowed.test"};
  std::string name;
};

TEST_F(EgressGatewaysTest, AreSharedByAgentsWithTheSameNames) {
  const auto keeper = gateways(std::chrono::minutes{5});
  const auto first = keeper->place(names, {}), second = keeper->place(names, {}), none = keeper->place({}, {});
  ASSERT_TRUE(first && second && none) << first.error().message;
  EXPECT_EQ(first->network, name);
  EXPECT_EQ(second->network, first->network);
  EXPECT_EQ(second->resolver, first->resolver);
  EXPECT_NE(none->network, first->network);
  EXPECT_FALSE(engine->container_inspect(none->network)) << "there is no way out";
}

TEST_F(EgressGatewaysTest, AreRemovedOnceNoAgentIsThereAnyMoreButNotBeforeTheirTime) {
  const auto patient = gateways(std::chrono::minutes{5});
  ASSERT_TRUE(patient->place(names, {}));
  ASSERT_TRUE(patient->pass({}));
  EXPECT_TRUE(there()) << "an agent may be about to be made";

  // Also by a controller that has not made them.
  const auto other = gateways(std::chrono::milliseconds{50});
  ASSERT_TRUE(other->pass({}));
  EXPECT_TRUE(there()) << "seen for the first time";
  EXPECT_TRUE(test::eventually([&] {
    EXPECT_TRUE(other->pass({}));
    return !engine->network_inspect(name);
  }));
  EXPECT_FALSE(engine->container_inspect(name));
}

TEST_F(EgressGatewaysTest, StayWhileAnAgentIsThereEvenAStoppedOne) {
  const auto keeper = gateways(std::chrono::milliseconds{0});
  const auto place = keeper->place(names, {});
  ASSERT_TRUE(place) << place.error().message;
  const AgentId agent = new_agent_id();
  const auto made = engine->container_create(
      "creel-" + agent.str(), {{"Image", with_state},
                               {"Labels", {{kLabelController, controller}, {kLabelAgent, agent.str()}}},
                               {"HostConfig", {{"NetworkMode", place->network}, {"Dns", {place->resolver}}}}});
  ASSERT_TRUE(made) << made.error().message;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(keeper->pass({}));
  EXPECT_TRUE(there());

  ASSERT_TRUE(engine->container_remove(name, true));
  ASSERT_TRUE(keeper->pass({}));
  EXPECT_TRUE(there()) << "mended";
}

TEST_F(EgressGatewaysTest, GoOnFromAMakingThatWasCutOff) {
  NetworkSpec half;
  half.name = name;
  half.internal = true;
  half.bridge = "cx" + random_hex(4);
  half.labels = {{kLabelController, controller}, {kLabelRole, "egress"}, {kLabelEgress, names[0]}};
  ASSERT_TRUE(engine->network_create(half));
  const auto place = gateways(std::chrono::minutes{5})->place(names, {});
  ASSERT_TRUE(place) << place.error().message;
  EXPECT_NE(engine->network_inspect(name)->ip_range, "");
  EXPECT_TRUE(there());
}

TEST_F(EgressGatewaysTest, TouchNoNetworkOfSomebodyElse) {
  NetworkSpec theirs;
  theirs.name = name;
  theirs.bridge = "cx" + random_hex(4);
  const auto made = engine->network_create(theirs);
  ASSERT_TRUE(made) << made.error().message;
  const auto keeper = gateways(std::chrono::milliseconds{0});
  const auto place = keeper->place(names, {});
  ASSERT_FALSE(place);
  EXPECT_EQ(place.error().kind, ErrorKind::conflict);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(keeper->pass({}));
  EXPECT_TRUE(engine->network_inspect(name));
  EXPECT_TRUE(engine->network_remove(*made));
}

}  // namespace
}  // namespace creel::docker
