// PostgreSQL for the local commands: DATABASE_URL, or the embedded cluster, attached to when `creel serve` runs it and
// started for the moment when it does not. Threads: one.
#pragma once

#include <memory>
#include <string>

#include "controller/cli/cli.hpp"
#include "controller/config/config.hpp"
#include "controller/core/result.hpp"
#include "controller/embedded_postgres.hpp"
#include "controller/store/pg.hpp"

namespace creel::cli {

struct LocalStore {
  std::unique_ptr<EmbeddedPostgres> cluster;  // null with DATABASE_URL; outlives `database`
  std::string conninfo;
  std::unique_ptr<store::Database> database;
};

// Started or attached to, not migrated, `database` not opened. Progress goes to io.err.
Result<LocalStore> find_store(const Config& config, Io& io);
// The same, migrated and opened: what commands on users and keys need.
Result<LocalStore> open_store(const Config& config, Io& io);

}  // namespace creel::cli
