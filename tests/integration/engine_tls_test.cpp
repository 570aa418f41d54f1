// A remote engine: a real dockerd that listens on tcp and wants certificates on both sides.
#include <filesystem>
#include <future>
#include <stop_token>
#include <thread>
#include <tuple>
#include <utility>

#include "tests/integration/docker_fixture.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/support.hpp"

namespace creel::docker {
namespace {

using test::eventually;
namespace fs = std::filesystem;

class EngineTls : public test::DockerTest {
 protected:
  // The engine of its own is made once and removed at the end with all it has.
  static void SetUpTestSuite() {
    files = new test::Certificates;
    // What Docker's client calls them.
    fs::copy(files->dir + "/client.pem", files->dir + "/cert.pem");
    fs::copy(files->dir + "/client.key", files->dir + "/key.pem");
    folder = test::required_env("CREEL_TEST_WORK") + "/tls-" + random_hex(4);
    host = "127.0.0.1:" + std::to_string(test::free_port());
    script("start " + folder + " -- --host tcp://" + host + " --tlsverify --tlscacert " + files->dir +
           "/ca.pem --tlscert " + files->dir + "/server.pem --tlskey " + files->dir + "/server.key");
  }
  static void TearDownTestSuite() {
    script("remove " + folder);
    delete files;
  }

  static void script(const std::string& arguments) {
    EXPECT_EQ(0, std::system((test::source_dir() + "/scripts/engine.sh " + arguments + " >/dev/null").c_str()));
  }

  EngineOptions engine_options() override {
    EngineOptions options;
    options.docker_host = "tcp://" + host;
    options.tls_dir = files->dir;
    options.tls_verify = true;
    return options;
  }

  Error refusal(EngineOptions options) {
    const auto made = Engine::make(client, std::move(options));
    EXPECT_TRUE(made);
    const auto answer = (*made)->ping();
    EXPECT_FALSE(answer);
    return answer ? Error{} : answer.error();
  }

  static inline test::Certificates* files = nullptr;
  static inline std::string folder;
  static inline std::string host;
  AgentId agent = new_agent_id();
};

TEST_F(EngineTls, RunsAnAgentOverTcpWithCertificatesOnBothSides) {
  runtime = std::make_unique<DockerRuntime>(*engine, RuntimeOptions{controller, "127.0.0.1"});
  const auto made = runtime->apply(
      creation(agent, spec({"cat", "/state/settings", "count", "3", "sleep"}), {{"settings", "from afar"}}), {});
  ASSERT_TRUE(made) << made.error().message;
  std::stop_source enough;
  std::promise<void> open;
  std::promise<void> seen;
  std::jthread watcher{[&] {
    bool first = true;
    std::ignore = runtime->watch([&] { open.set_value(); },
                                 [&](const AgentId& id) {
                                   if (id == agent && std::exchange(first, false)) seen.set_value();
                                 },
                                 enough.get_token());
  }};
  ASSERT_EQ(open.get_future().wait_for(std::chrono::seconds{20}), std::future_status::ready);
  ASSERT_TRUE(runtime->apply(op::StartWorkload{agent, *made}, {}));
  EXPECT_EQ(seen.get_future().wait_for(std::chrono::seconds{20}), std::future_status::ready) << "the event came";
  enough.request_stop();

  const auto observed = look(agent);
  ASSERT_EQ(observed.workload_presence, Presence::present);
  EXPECT_EQ(observed.workload.state, ContainerState::running);
  EXPECT_TRUE(observed.workload.hardening_ok);
  EXPECT_TRUE(observed.workload.address.starts_with("127.0.0.1:")) << observed.workload.address;
  ASSERT_TRUE(eventually([&] { return runtime->last_lines(*made, 100, {}, {}).value().size() == 4; }));
  EXPECT_EQ(runtime->last_lines(*made, 100, {}, {}).value().front().text, "/state/settings: from afar");
  ASSERT_TRUE(runtime->apply(op::RemoveWorkload{agent, *made, 1}, {}));
  ASSERT_TRUE(runtime->apply(op::RemoveStorage{agent}, {}));
  EXPECT_EQ(look(agent).storage_presence, Presence::absent);
}

TEST_F(EngineTls, TrustsNoEngineOfAnotherAuthority) {
  const fs::path other = folder + "-other";
  fs::create_directory(other);
  fs::copy(files->dir + "/other.pem", other / "ca.pem");
  fs::copy(files->dir + "/client.pem", other / "cert.pem");
  fs::copy(files->dir + "/client.key", other / "key.pem");
  EngineOptions options = engine_options();
  options.tls_dir = other;
  const Error error = refusal(options);
  EXPECT_EQ(error.kind, ErrorKind::unavailable);
  EXPECT_NE(error.message.find("certificate"), std::string::npos) << error.message;
  fs::remove_all(other);
}

TEST_F(EngineTls, SaysThatAnEngineWantsTlsWhenItIsAskedWithout) {
  EngineOptions options = engine_options();
  options.tls_dir.clear();
  const Error error = refusal(options);
  EXPECT_NE(error.message.find("HTTP request to an HTTPS server"), std::string::npos) << error.message;
}

}  // namespace
}  // namespace creel::docker
