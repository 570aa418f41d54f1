// The agent's configuration: <state>/config.json, written by whoever runs the agent, read at the start and whenever
// it changes.
//
//   {"gateway": {"token": "…"},        required: what a caller must send as a bearer token
//    "name": "…", "model": "…",        what the agent calls itself and its model
//    "ready_delay_ms": 0,              not ready until so long after the start
//    "fail": "exit"|"unready"|"hang"|"oom"}   for fault tests, see the README
//
// A key that is not listed is ignored, with a warning: one configuration may serve several versions of an agent.
#pragma once

#include <sys/types.h>
#include <time.h>

#include "text.hpp"

namespace agent {

enum class Failure { none, exit, unready, hang, oom };

struct Config {
  Text token, name, model;
  long long ready_delay_ms = 0;
  Failure fail = Failure::none;

  void swap(Config& other);
};

class ConfigFile {
 public:
  explicit ConfigFile(Slice path) { path_.assign(path); }

  // Reads the file if it is new or has changed since the last call. `changed` then says so. False when it cannot be
  // used: error() says why, without any of its contents, and `config` stays as it was.
  bool refresh(Config& config, bool& changed);
  // Empty if the file was fine when it was last read.
  Slice error() const { return error_; }
  // Names of keys that mean nothing here, as ", "-separated text.
  Slice unknown_keys() const { return unknown_; }

 private:
  bool read(Config& config);
  bool reject(Slice why);

  struct Version {
    ino_t inode = 0;
    off_t size = -1;
    struct timespec modified = {0, 0}, changed = {0, 0};
  };
  Text path_, error_, unknown_;
  Version seen_;
  bool read_once_ = false;
};

}  // namespace agent
