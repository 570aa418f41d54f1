// Inside: a small program put into a running agent's volume and run there, to see what a process of the agent sees.
// It is static, because images may hold nothing but their agent. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "controller/core/ids.hpp"
#include "reconciler/runtime/docker/tar.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {

// Compiled once for each version of its source; the program's bytes.
inline std::string probe_program() {
  const auto read = [](const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    return std::string{std::istreambuf_iterator<char>{file}, {}};
  };
  const std::string source = test::source_dir() + "/tests/support/probe.c";
  const std::string program = required_env("CREEL_TEST_WORK") + "/probe-" + sha256_hex(read(source)).substr(0, 12);
  if (!std::ifstream{program}) {
    const std::string made = "cc -O1 -static -s -Wall -Wextra -o '" + program + ".new' '" + source + "' && mv '" +
                             program + ".new' '" + program + "'";
    EXPECT_EQ(0, std::system(made.c_str())) << made;
  }
  return read(program);
}

class Inside {
 public:
  // The agent's container runs; its volume is mounted at `state_dir`.
  Inside(EngineApi& engine, const std::string& agent, const std::string& state_dir = "/home/agent/state")
      : engine_(engine), container_("creel-" + agent), program_(state_dir + "/probe") {
    docker::TarWriter tar{0};
    tar.file("probe", probe_program(), 0755, {1000, 1000});
    const Answer put = engine.send("PUT", "/containers/" + container_ + "/archive?path=" + state_dir, tar.finish(),
                                   {{"Content-Type", "application/x-tar"}});
    EXPECT_EQ(put.status, 200) << put.text;
  }

  // What probe.c prints for these arguments.
  std::string run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), program_);
    return engine_.exec(container_, arguments);
  }
  std::string tcp(const std::string& address, const std::string& port) const { return run({"tcp", address, port}); }

 private:
  EngineApi& engine_;
  const std::string container_;
  const std::string program_;
};

}  // namespace creel::test
