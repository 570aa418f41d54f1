// Migrations: numbered SQL files (migrations/NNNN_name.sql), compiled in, applied in order, each in a transaction,
// under an advisory lock so that several controllers may start at once. What was applied is kept with its SHA-256.
//
// Errors: conflict, with what to do, when an applied migration was changed, or the database is newer than this program;
// failed, naming the migration, when one does not run (nothing of it is kept); else see pg.hpp.
#pragma once

#include <string>
#include <vector>

#include "controller/core/result.hpp"

namespace creel::store {

struct Migration {
  int version = 0;   // NNNN
  std::string name;  // "0001_first.sql"
  std::string sql;
  std::string checksum() const;
};

struct AppliedMigration {
  int version = 0;
  std::string name;
  std::string checksum;
};

// Those of this program, in order.
const std::vector<Migration>& embedded_migrations();
// Which are still to be applied, in order. Pure.
Result<std::vector<Migration>> pending_migrations(const std::vector<Migration>& embedded,
                                                  const std::vector<AppliedMigration>& applied);

// How many were applied now.
Result<int> migrate(const std::string& conninfo);
Result<int> migrate(const std::string& conninfo, const std::vector<Migration>& migrations);

}  // namespace creel::store
