// What machines ask: is it alive, may it have traffic, how is it doing, what can it do.
#include <nlohmann/json.hpp>
#include <vector>

#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/openapi.hpp"
#include "controller/store/migrate.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

// Whether every migration of this program was applied, and none beside them.
Result<bool> migrated(store::Database& db) {
  CREEL_TRY(auto tx, db.begin());
  const auto rows = tx.exec("SELECT version, name, checksum FROM schema_migrations ORDER BY version");
  if (!rows) {
    if (rows.error().kind == ErrorKind::unavailable) return rows.error();
    return false;  // no such table: nothing was ever applied
  }
  std::vector<store::AppliedMigration> applied;
  for (int i = 0; i < rows->size(); ++i) {
    const auto row = (*rows)[i];
    applied.push_back({static_cast<int>(row.integer("version")), row.text("name"), row.text("checksum")});
  }
  const auto pending = store::pending_migrations(store::embedded_migrations(), applied);
  return pending && pending->empty();
}

}  // namespace

// The process lives and its handler threads take work; nothing else, so that no outage elsewhere restarts it.
Reply healthz(const Request&, Deps&) { return json_answer(200, json{{"ok", true}, {"status", "live"}}); }

Reply readyz(const Request& request, Deps& deps) {
  json body;
  const Result<bool> current = migrated(deps.db);
  const bool reachable = current.has_value();
  const EngineState engine = deps.engine ? deps.engine() : EngineState{};
  body["store"] = {{"reachable", reachable}, {"migrated", reachable && *current}};
  // Told, but no reason to be unready: wishes are taken without an engine and carried out when it is back.
  body["engine"] = {{"state", engine.state}, {"message", engine.message}};
  body["ready"] = reachable && *current;
  if (body["ready"].get<bool>()) return json_answer(200, body);
  Response response = error_answer(
      request, 503, reachable ? "NOT_MIGRATED" : "STORE_UNAVAILABLE",
      reachable ? "The database has not been brought up to date yet" : "The database cannot be reached", body);
  response.headers.emplace_back("Retry-After", "2");
  return response;
}

Reply metrics(const Request& request, Deps& deps) {
  if (!deps.settings.metrics) return error_answer(request, 404, "NOT_FOUND", "Metrics are switched off");
  Response response;
  response.body = deps.metrics.text();
  response.headers.emplace_back("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  return response;
}

Reply openapi(const Request&, Deps&) {
  Response response;
  response.body = std::string{openapi_document()};
  response.headers.emplace_back("Cache-Control", "public, max-age=300");
  return response;
}

}  // namespace creel::api
