// EmbeddedPostgres: the private PostgreSQL cluster used when DATABASE_URL is not set.
//
// It lives in <state_dir>/postgres, a folder only its owner and root can enter, and is reached by a Unix socket in it:
// no TCP. The local socket trusts whoever can reach it, which that folder limits to the account that owns the data
// anyway and to root; a password beside the data would add nothing. Started by root, PostgreSQL runs as an unprivileged
// account (Options::user, "postgres", or "nobody"; the owner of an existing cluster comes first); otherwise as the
// caller. It runs in a session of its own, so that Ctrl-C on the terminal reaches the controller only.
//
// Several processes of one state folder (`creel user …` beside `creel serve`) use one cluster: whoever comes first
// starts it, whoever leaves last stops it. A cluster left behind by a killed controller is taken over as it runs. While
// it is used, a thread starts it again should it die. initdb happens in a folder beside and is renamed when complete.
//
// Errors: failed or invalid, one sentence with reason and remedy (PostgreSQL's own last words where it has any);
// cancelled. Threads: start() and stop() from one thread; conninfo() from any.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "controller/core/result.hpp"

namespace creel {

class EmbeddedPostgres {
 public:
  struct Options {
    std::string state_dir{};  // made when missing
    std::string
        bin_dir{};       // folder of initdb and postgres; "" = /usr/lib/postgresql/<newest, at least 13>/bin, or PATH
    std::string user{};  // CREEL_POSTGRES_USER; "" = see above. Only meaningful for root
    std::function<void(std::string_view)> progress{};  // sentences for a person, from the calling thread
    std::chrono::milliseconds stop_timeout{10'000};    // for a clean shutdown; then it is ended as a crash would
    std::stop_token stop{};                            // ends a start that waits for recovery
  };

  // Returns once PostgreSQL accepts connections. Crash recovery takes as long as it takes, with progress.
  static Result<std::unique_ptr<EmbeddedPostgres>> start(Options options);
  ~EmbeddedPostgres();  // stop()
  EmbeddedPostgres(const EmbeddedPostgres&) = delete;
  EmbeddedPostgres& operator=(const EmbeddedPostgres&) = delete;

  // For store::Database::open and migrate; holds no secret.
  std::string conninfo() const;
  // True: another process had started it and was using it.
  bool attached() const;
  // Clean shutdown (SIGINT, "fast") if nobody else uses the cluster. Close connections first. Returns when it has
  // ended.
  Result<void> stop();

 private:
  struct Impl;
  explicit EmbeddedPostgres(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel
