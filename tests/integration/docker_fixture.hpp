// A real engine for tests: the one at DOCKER_HOST, a controller id of each test's own, and a tiny image made on the
// spot. After each test everything that carries the test's controller id is removed.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "controller/core/ids.hpp"
#include "controller/core/spec_hash.hpp"
#include "controller/http/client.hpp"
#include "reconciler/runtime/docker/codec.hpp"
#include "reconciler/runtime/docker/docker_runtime.hpp"
#include "reconciler/runtime/docker/engine.hpp"
#include "reconciler/runtime/docker/tar.hpp"
#include "tests/support/support.hpp"

namespace creel::test {

// The program in the image. Each argument is a command, in turn.
inline constexpr const char* kBoxSource = R"box(
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
static void end(int) { _exit(0); }
int main(int count, char** args) {
  signal(SIGTERM, end);
  for (int i = 1; i < count; ++i) {
    const char* verb = args[i];
    const char* value = i + 1 < count ? args[i + 1] : "";
    if (!strcmp(verb, "out")) { puts(value); fflush(stdout); ++i; }
    else if (!strcmp(verb, "err")) { fprintf(stderr, "%s\n", value); ++i; }
    else if (!strcmp(verb, "long")) { for (int k = atoi(value); k > 0; --k) putchar('x'); putchar('\n'); fflush(stdout); ++i; }
    else if (!strcmp(verb, "count")) { for (int k = 1; k <= atoi(value); ++k) printf("line %d\n", k); fflush(stdout); ++i; }
    else if (!strcmp(verb, "exit")) exit(atoi(value));
    else if (!strcmp(verb, "sleep")) for (;;) pause();
    else if (!strcmp(verb, "stubborn")) { signal(SIGTERM, SIG_IGN); for (;;) pause(); }
    else if (!strcmp(verb, "burn")) for (volatile unsigned k = 0;; ++k) {}
    else if (!strcmp(verb, "memory")) { size_t n = strtoul(value, 0, 10) << 20; char* p = (char*)malloc(n); memset(p, 1, n); ++i; }
    else if (!strcmp(verb, "cat")) {
      FILE* file = fopen(value, "r"); char text[4096]; size_t got = file ? fread(text, 1, sizeof text, file) : 0;
      if (!file) perror(value); else { printf("%s: %.*s\n", value, (int)got, text); fclose(file); } fflush(stdout); ++i;
    }
    else if (!strcmp(verb, "watch")) {
      // Reads a file over and over; complains when its first and last byte differ: half of one delivery, half of another.
      printf("watching\n"); fflush(stdout);
      static char text[1 << 22];
      long reads = 0;
      for (;;) {
        int fd = open(value, O_RDONLY);
        if (fd < 0) continue;
        size_t all = 0; ssize_t got;
        while ((got = read(fd, text + all, sizeof text - all)) > 0) all += got;
        close(fd);
        if (all != (3u << 20) || text[0] != text[all - 1]) { printf("partial %zu\n", all); fflush(stdout); }
        if (++reads % 50 == 0) { printf("reads %ld\n", reads); fflush(stdout); }
      }
    }
    else if (!strcmp(verb, "write")) { FILE* file = fopen(value, "w"); puts(file ? "written" : "refused"); if (file) fclose(file); fflush(stdout); ++i; }
  }
  return 0;
}
)box";

inline std::string read_whole(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

// Waits for a condition of the outside world that nothing announces. Fails the test after a while.
inline bool eventually(const std::function<bool()>& condition, std::chrono::seconds limit = std::chrono::seconds{20}) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  return true;
}

class DockerTest : public testing::Test {
 protected:
  void SetUp() override {
    options = engine_options();
    ASSERT_FALSE(options.docker_host.empty());
    auto made = docker::Engine::make(client, options);
    ASSERT_TRUE(made) << made.error().message;
    engine = std::move(*made);
    const auto ping = engine->ping();
    ASSERT_TRUE(ping) << ping.error().message
                      << ": these tests need an engine at DOCKER_HOST (scripts/engine.sh start DIR)";
    controller = "t" + random_hex(4);
    runtime = std::make_unique<docker::DockerRuntime>(*engine, docker::RuntimeOptions{controller});
    with_state = make_image(true);
    without_state = make_image(false);
  }

  void TearDown() override {
    if (engine) clean(controller);
  }

  virtual docker::EngineOptions engine_options() {
    docker::EngineOptions options;
    options.docker_host = required_env("DOCKER_HOST");
    return options;
  }

  void clean(const std::string& id) {
    const std::string filter = docker::label_filter(docker::kLabelController, id);
    const auto containers = engine->container_list(filter);
    ASSERT_TRUE(containers) << containers.error().message;
    for (const auto& container : *containers) EXPECT_TRUE(engine->container_remove(container.id, true));
    for (const auto& volume : engine->volume_list(filter).value()) EXPECT_TRUE(engine->volume_remove(volume.name));
    for (const auto& network : engine->network_list(filter).value()) EXPECT_TRUE(engine->network_remove(network.id));
  }

  // An image of the box. `with_folder`: it has the folder /state, owned by 1000.
  std::string make_image(bool with_folder) {
    const std::string name =
        "creel-testbox:" + sha256_hex(kBoxSource).substr(0, 12) + (with_folder ? "-state" : "-bare");
    if (engine->image_inspect(name)) return name;
    char folder[] = "/tmp/creel-box-XXXXXX";
    EXPECT_NE(mkdtemp(folder), nullptr);
    const std::string base = folder;
    std::ofstream{base + "/box.cpp"} << kBoxSource;
    const std::string command = "c++ -O1 -static -s -o " + base + "/box " + base + "/box.cpp";
    EXPECT_EQ(0, std::system(command.c_str()));
    docker::TarWriter tar{0};
    tar.directory("tmp/", 01777, {});
    if (with_folder) tar.directory("state/", 0755, {1000, 1000});
    tar.file("box", read_whole(base + "/box"), 0755, {});
    EXPECT_EQ(0, std::system(("rm -rf " + base).c_str()));

    http::Request request;
    request.method = "POST";
    const std::string host = engine->address();
    request.url = engine->is_unix_socket() ? "http://docker" : "http://" + host.substr(6);
    if (engine->is_unix_socket()) request.unix_socket = host.substr(7);
    if (const std::string& dir = options.tls_dir; !dir.empty()) {
      request.url.replace(0, 4, "https");
      request.tls = http::Tls{dir + "/ca.pem", dir + "/cert.pem", dir + "/key.pem", true};
    }
    request.url += "/images/create?fromSrc=-&repo=creel-testbox&tag=" + name.substr(name.find(':') + 1) +
                   "&changes=" + http::url_encode("ENTRYPOINT [\"/box\"]");
    request.headers = {{"Content-Type", "application/x-tar"}};
    request.body = tar.finish();
    const auto answer = client.send(std::move(request));
    EXPECT_TRUE(answer && answer->status == 200) << (answer ? answer->body : answer.error().message);
    return name;
  }

  WorkloadSpec spec(std::vector<std::string> command) const {
    WorkloadSpec spec;
    spec.image = with_state;
    spec.command = std::move(command);
    spec.env = {{"CREEL_TEST", "yes"}};
    spec.user = "1000:1000";
    spec.state_dir = "/state";
    spec.tmpfs = {{"/tmp", "rw,nosuid,nodev,size=16m"}};
    spec.port = 18789;
    spec.stop_grace_seconds = 3;
    spec.resources = {64 << 20, 500'000'000, 64};
    return spec;
  }

  op::CreateWorkload creation(const AgentId& agent, WorkloadSpec spec, std::vector<VolumeFile> files = {}) const {
    std::string hash = spec_hash(spec);
    return {agent, std::move(spec), std::move(hash), 7, std::move(files)};
  }

  // Creates and starts; the engine's id.
  std::string run(const AgentId& agent, std::vector<std::string> command) {
    const auto id = runtime->apply(creation(agent, spec(std::move(command))), {});
    EXPECT_TRUE(id) << id.error().message;
    if (!id) return "";
    const auto started = runtime->apply(op::StartWorkload{agent, *id}, {});
    EXPECT_TRUE(started) << started.error().message;
    return *id;
  }

  Observed look(const AgentId& agent) {
    auto observed = runtime->observe(agent, with_state, {});
    EXPECT_TRUE(observed) << observed.error().message;
    return observed ? *observed : Observed{};
  }

  http::Client client;
  docker::EngineOptions options;
  std::unique_ptr<docker::Engine> engine;
  std::unique_ptr<docker::DockerRuntime> runtime;
  std::string controller;
  std::string with_state;
  std::string without_state;
};

}  // namespace creel::test
