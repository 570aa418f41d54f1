#include "controller/store/migrate.hpp"

#include <spdlog/spdlog.h>

#include <map>

#include "controller/core/ids.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {
namespace {

// Of pg_advisory_xact_lock: "creel" in ASCII.
constexpr std::int64_t kLock = 0x637265656c;

Result<std::vector<AppliedMigration>> applied_migrations(Tx& tx) {
  CREEL_CHECK(
      tx.exec_script("CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT "
                     "NULL, checksum text NOT NULL, applied_at timestamptz(3) NOT NULL DEFAULT now())"));
  CREEL_TRY(const auto rows, tx.exec("SELECT version, name, checksum FROM schema_migrations ORDER BY version"));
  std::vector<AppliedMigration> applied;
  for (int i = 0; i < rows.size(); ++i) {
    applied.push_back({static_cast<int>(rows[i].integer("version")), rows[i].text("name"), rows[i].text("checksum")});
  }
  return applied;
}

// Applies the first one that is due; false when there is none.
Result<bool> step(Database& database, const std::vector<Migration>& migrations) {
  CREEL_TRY(auto tx, database.begin());
  // Taken anew in each transaction, because a session's lock would not survive a pooler between us and PostgreSQL.
  CREEL_TRY([[maybe_unused]] const auto locked, tx.exec("SELECT pg_advisory_xact_lock($1)", {kLock}));
  CREEL_TRY(const auto applied, applied_migrations(tx));
  CREEL_TRY(const auto pending, pending_migrations(migrations, applied));
  if (pending.empty()) {
    CREEL_CHECK(tx.commit());
    return false;
  }
  const auto& next = pending.front();
  if (auto ran = tx.exec_script(next.sql); !ran) {
    if (ran.error().kind == ErrorKind::unavailable) return ran.error();
    return Error{ErrorKind::failed, "migration " + next.name + " does not run: " + ran.error().message};
  }
  CREEL_TRY([[maybe_unused]] const auto noted,
            tx.exec("INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                    {next.version, next.name, next.checksum()}));
  CREEL_CHECK(tx.commit());
  spdlog::info("database: applied migration {}", next.name);
  return true;
}

}  // namespace

std::string Migration::checksum() const { return sha256_hex(sql); }

Result<std::vector<Migration>> pending_migrations(const std::vector<Migration>& embedded,
                                                  const std::vector<AppliedMigration>& applied) {
  std::map<int, const Migration*> known;
  for (const auto& migration : embedded) {
    if (!known.emplace(migration.version, &migration).second) {
      return Error{ErrorKind::internal, "two migrations have the number " + std::to_string(migration.version)};
    }
  }
  int newest = 0;
  for (const auto& done : applied) {
    newest = std::max(newest, done.version);
    const auto it = known.find(done.version);
    if (it == known.end()) {
      return Error{ErrorKind::conflict, "the database is newer than this program (it has migration " + done.name +
                                            "); start the newer creel"};
    }
    if (it->second->checksum() != done.checksum) {
      return Error{ErrorKind::conflict, "migration " + it->second->name +
                                            " was changed after it was applied to this database; start the creel that "
                                            "applied it, or a released one"};
    }
    known.erase(it);
  }
  std::vector<Migration> pending;
  for (const auto& [version, migration] : known) {
    // Applied out of order it would meet a schema it was not written for.
    if (version < newest) {
      return Error{ErrorKind::conflict, "migration " + migration->name +
                                            " is missing in this database, though later ones "
                                            "were applied; start a released creel"};
    }
    pending.push_back(*migration);
  }
  return pending;
}

Result<int> migrate(const std::string& conninfo) { return migrate(conninfo, embedded_migrations()); }

Result<int> migrate(const std::string& conninfo, const std::vector<Migration>& migrations) {
  // No limit for a statement: rewriting a large table, or waiting for another controller that does it, takes its time.
  DatabaseOptions options;
  options.statement_timeout = std::chrono::milliseconds{0};
  CREEL_TRY(const auto database, Database::open(conninfo, 1, options));
  int count = 0;
  for (;;) {
    CREEL_TRY(const bool more, step(*database, migrations));
    if (!more) return count;
    ++count;
  }
}

}  // namespace creel::store
