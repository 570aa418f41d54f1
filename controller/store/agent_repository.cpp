#include "controller/store/agent_repository.hpp"

#include "controller/core/agent_json.hpp"
#include "controller/store/agent_row.hpp"
#include "controller/store/agent_secrets.hpp"
#include "controller/store/events.hpp"
#include "controller/store/known_secrets.hpp"
#include "controller/store/lease.hpp"
#include "controller/store/live_streams.hpp"
#include "controller/store/stats_history.hpp"
#include "controller/store/text.hpp"

namespace creel::store {
namespace {

using nlohmann::json;

// As it would be read back: compared in this form, so that a text that is repaired on its way in does not look changed
// for ever.
json stored_form(const json& value) { return json::parse(to_column(value), nullptr, false); }

bool same_but_for_the_time(json stored, json status) {
  stored.erase("observedAt");
  status.erase("observedAt");
  return stored == status;
}

// What the agent took in last, kept beside "files" for the day it refuses what comes after.
constexpr const char* kTaken = "files_taken";

Result<void> notify_status(Tx& tx, const AgentId& id) {
  CREEL_TRY([[maybe_unused]] const auto rows, tx.exec("SELECT pg_notify($1, $2)", {kStatusChannel, id}));
  return {};
}

}  // namespace

Result<std::optional<AgentRecord>> PgAgentRepository::load(const AgentId& id) {
  CREEL_TRY(auto tx, database_.begin());
  CREEL_TRY(const auto rows,
            tx.exec(std::string{"SELECT "} + kAgentColumns +
                        ", f.key_id AS files_key_id, f.nonce AS files_nonce, f.ciphertext AS files_ciphertext "
                        "FROM agents a JOIN agent_status s ON s.agent_id = a.id "
                        "LEFT JOIN agent_secrets f ON f.agent_id = a.id AND f.name = 'files' "
                        "WHERE a.id = $1 AND a.controller_id = $2",
                    {id, controller_id_}));
  if (rows.empty()) return std::optional<AgentRecord>{};
  const auto columns = rows[0];
  CREEL_TRY(auto row, agent_of(columns));
  AgentRecord record;
  CREEL_TRY(record.history, parse_stored<History>(columns.text("history"), "history"));
  record.status = std::move(row.status);
  auto& desired = record.desired;
  if (!columns.is_null("files_key_id")) {
    const secrets::Sealed sealed{columns.text("files_key_id"), columns.bytes("files_nonce"),
                                 columns.bytes("files_ciphertext")};
    CREEL_TRY(const auto text, sealer_.open(sealed, secrets::secret_context(id.str(), "files")));
    CREEL_TRY(desired.files, parse_stored<std::vector<VolumeFile>>(text, "files"));
  }
  if (record.history.taken_files_hash != row.files_hash) {
    CREEL_TRY(const auto sealed, get_secret(tx, id, kTaken));
    if (sealed) {
      CREEL_TRY(const auto text, sealer_.open(*sealed, secrets::secret_context(id.str(), kTaken)));
      CREEL_TRY(desired.last_good, parse_stored<FileSet>(text, kTaken));
    }
  }
  desired.id = row.id;
  desired.owner = row.owner;
  desired.name = std::move(row.name);
  desired.template_name = std::move(row.template_name);
  desired.generation = row.generation;
  desired.state = row.desired;
  desired.purge = row.purge;
  desired.deleted_at = row.deleted_at;
  desired.restart_wish = row.restart_wish;
  desired.repair_wish = row.repair_wish;
  desired.reset_wish = row.reset_wish;
  desired.update_wish = row.update_wish;
  desired.update_image = std::move(row.update_image);
  desired.memory_paths = std::move(row.memory_paths);
  desired.spec = std::move(row.spec);
  desired.spec_hash = std::move(row.spec_hash);
  desired.files_hash = std::move(row.files_hash);
  desired.restart_files_hash = std::move(row.restart_files_hash);
  desired.readiness = row.readiness;
  return std::optional<AgentRecord>{std::move(record)};
}

// Keeps the row's files as those the agent takes, if they are still what the row holds.
Result<void> PgAgentRepository::keep_taken(Tx& tx, const AgentId& id, const std::string& taken) {
  CREEL_TRY(const auto rows,
            tx.exec("SELECT restart_files_hash FROM agents WHERE id = $1 AND files_hash = $2 FOR NO KEY UPDATE",
                    {id, taken}));
  CREEL_TRY(const auto sealed, get_secret(tx, id, "files"));
  if (rows.empty() || !sealed) return {};
  CREEL_TRY(const auto text, sealer_.open(*sealed, secrets::secret_context(id.str(), "files")));
  FileSet files;
  CREEL_TRY(files.files, parse_stored<std::vector<VolumeFile>>(text, "files"));
  files.files_hash = taken;
  files.restart_files_hash = rows[0].text("restart_files_hash");
  return put_secret(tx, id, kTaken, sealer_.seal(json(files).dump(), secrets::secret_context(id.str(), kTaken)));
}

Result<std::vector<std::string>> PgAgentRepository::secrets(const AgentId& id) {
  CREEL_TRY(auto tx, database_.begin());
  return known_secrets(tx, id, sealer_);
}

Result<std::vector<AgentId>> PgAgentRepository::list() {
  CREEL_TRY(auto tx, database_.begin());
  CREEL_TRY(const auto rows, tx.exec("SELECT id FROM agents WHERE controller_id = $1 ORDER BY id", {controller_id_}));
  std::vector<AgentId> ids;
  for (int i = 0; i < rows.size(); ++i) {
    const auto id = AgentId::parse(rows[i].text("id"));
    if (!id) return Error{ErrorKind::corrupt, "a stored agent id has the wrong form"};
    ids.push_back(*id);
  }
  return ids;
}

Result<void> PgAgentRepository::record(const AgentId& id, const AgentStatus& status, const History& history,
                                       const std::vector<Event>& events, std::uint64_t term) {
  CREEL_TRY(auto tx, database_.begin());
  CREEL_CHECK(check_term(tx, controller_id_, term));
  CREEL_TRY(const auto rows,
            tx.exec("SELECT s.status, s.history FROM agent_status s JOIN agents a ON a.id = s.agent_id "
                    "WHERE s.agent_id = $1 AND a.controller_id = $2 FOR NO KEY UPDATE OF s",
                    {id, controller_id_}));
  if (rows.empty()) return Error{ErrorKind::not_found, "no such agent"};
  const json new_status = stored_form(status);
  const json new_history = stored_form(history);
  const json old_history = json::parse(rows[0].text("history"), nullptr, false);
  const bool changed = !same_but_for_the_time(json::parse(rows[0].text("status"), nullptr, false), new_status) ||
                       old_history != new_history;
  if (!changed && events.empty()) return {};
  if (changed) {
    CREEL_TRY([[maybe_unused]] const auto updated,
              tx.exec("UPDATE agent_status SET status = $2, history = $3, term = $4 WHERE agent_id = $1",
                      {id, new_status.dump(), new_history.dump(), term}));
  }
  if (!history.taken_files_hash.empty() && old_history.value("takenFilesHash", "") != history.taken_files_hash)
    CREEL_CHECK(keep_taken(tx, id, history.taken_files_hash));
  for (const auto& event : events) CREEL_CHECK(append_event(tx, event));
  if (changed) CREEL_CHECK(notify_status(tx, id));
  return tx.commit();
}

Result<void> PgAgentRepository::forget(const AgentId& id, std::uint64_t term) {
  CREEL_TRY(auto tx, database_.begin());
  CREEL_CHECK(check_term(tx, controller_id_, term));
  CREEL_TRY(const auto rows, tx.exec("SELECT desired FROM agents WHERE id = $1 AND controller_id = $2 FOR UPDATE",
                                     {id, controller_id_}));
  if (rows.empty()) return {};
  if (rows[0].text("desired") != "deleted") return Error{ErrorKind::conflict, "the agent is not to be deleted"};
  CREEL_TRY([[maybe_unused]] const auto remembered,
            tx.exec("INSERT INTO deleted_agents (id, owner_id) SELECT id, owner_id FROM agents WHERE id = $1 "
                    "ON CONFLICT DO NOTHING",
                    {id}));
  CREEL_CHECK(drop_unmade_live_stream(tx, id));
  CREEL_CHECK(drop_stats(tx, id));
  CREEL_TRY([[maybe_unused]] const auto dropped, tx.exec("DELETE FROM agents WHERE id = $1", {id}));
  CREEL_CHECK(notify_status(tx, id));
  return tx.commit();
}

}  // namespace creel::store
