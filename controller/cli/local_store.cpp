#include "controller/cli/local_store.hpp"

#include <iostream>

#include "controller/store/migrate.hpp"

namespace creel::cli {

Result<LocalStore> find_store(const Config& config, Io& io) {
  LocalStore local;
  if (!config.database_url.empty()) {
    local.conninfo = config.database_url;
    return local;
  }
  EmbeddedPostgres::Options options;
  options.state_dir = config.state_dir;
  options.user = config.postgres_user;
  options.progress = [&io](std::string_view sentence) { io.err << sentence << "\n"; };
  CREEL_TRY(local.cluster, EmbeddedPostgres::start(std::move(options)));
  local.conninfo = local.cluster->conninfo();
  return local;
}

Result<LocalStore> open_store(const Config& config, Io& io) {
  CREEL_TRY(LocalStore local, find_store(config, io));
  CREEL_CHECK(store::migrate(local.conninfo));
  CREEL_TRY(local.database, store::Database::open(local.conninfo, 2));
  return local;
}

}  // namespace creel::cli
