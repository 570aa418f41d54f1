// OwnEngine: a Docker engine of the test's own, which may be killed. While it lives, DOCKER_HOST names it. Tests only.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

#include "tests/support/support.hpp"

namespace creel::test {

// The last line that a script of the project prints.
inline std::string script(const std::string& command) {
  FILE* pipe = popen(("cd " + test::source_dir() + " && " + command).c_str(), "r");
  std::string line, last;
  char piece[512];
  while (pipe != nullptr && std::fgets(piece, sizeof piece, pipe) != nullptr) last = piece;
  EXPECT_EQ(pclose(pipe), 0) << command;
  return last.substr(0, last.find('\n'));
}

// kill -9 of the child whose id the file holds.
inline void kill_process_in(const std::string& file) {
  pid_t pid = 0;
  std::ifstream{file} >> pid;
  ASSERT_GT(pid, 1) << file;
  kill(pid, SIGKILL);
  EXPECT_EQ(waitpid(pid, nullptr, 0), pid) << file;
}

class OwnEngine {
 public:
  explicit OwnEngine(std::string folder) : folder_(std::move(folder)) {
    // What is killed is collected here, or it would stay as a zombie where process 1 does not do that.
    prctl(PR_SET_CHILD_SUBREAPER, 1);
  }
  ~OwnEngine() { script("scripts/engine.sh remove '" + folder_ + "'"); }
  OwnEngine(const OwnEngine&) = delete;
  OwnEngine& operator=(const OwnEngine&) = delete;

  void start(bool live_restore, const std::string& flags = "") {
    const std::string host = script("env -u DOCKER_HOST scripts/engine.sh start '" + folder_ + "' -- " + flags +
                                    (live_restore ? " --live-restore" : ""));
    setenv("DOCKER_HOST", host.c_str(), 1);
  }
  void kill_hard() { kill_process_in(folder_ + "/pid"); }
  std::string log() const { return folder_ + "/log"; }
  std::string data() const { return folder_ + "/data"; }

 private:
  const std::string folder_;
};

}  // namespace creel::test
