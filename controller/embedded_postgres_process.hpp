// Running PostgreSQL's programs as an account that may differ from ours. Used by embedded_postgres.cpp only.
//
// Children get a session of their own, a small clean environment (LC_ALL=C), umask 077, no file descriptor of ours, and
// no privilege: between fork and exec only system calls run, because other threads' locks may be held for ever there.
// Errors: failed, with the reason. Threads: any.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "controller/core/result.hpp"

namespace creel::embedded {

struct Account {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
  bool drop = false;  // we are root and become this account; false: we are it
};

struct Command {
  std::vector<std::string> argv;  // argv[0] is a path
  std::string log_file;           // gets standard output and error, appended; opened as the account
  std::string input;              // standard input; short enough for a pipe (4 kB)
};

// Does not wait. The caller reaps it (exited()).
Result<pid_t> spawn(const Account& account, const Command& command);
// Waits; the exit status, 128 + signal when killed.
Result<int> run(const Account& account, const Command& command);

// The first folder on the way to `path` (itself included) that the account cannot enter; nullopt = all can be.
Result<std::optional<std::string>> first_closed_folder(const Account& account, const std::string& path);

// Whether the process has ended, waiting for it up to `timeout` or until `wake_fd` (-1 = none) can be read. Reaps it if
// it is a child of ours.
bool exited(pid_t pid, std::chrono::milliseconds timeout, int wake_fd = -1);

}  // namespace creel::embedded
