#include "controller/store/agent_secrets.hpp"

namespace creel::store {

Result<void> put_secret(Tx& tx, const AgentId& agent, std::string_view name, const secrets::Sealed& sealed) {
  const auto rows = tx.exec(
      "INSERT INTO agent_secrets (agent_id, name, key_id, nonce, ciphertext) VALUES ($1, $2, $3, $4, $5) "
      "ON CONFLICT (agent_id, name) DO UPDATE SET key_id = excluded.key_id, nonce = excluded.nonce, "
      "ciphertext = excluded.ciphertext, updated_at = now()",
      {agent, name, sealed.key_id, Param::bytes(sealed.nonce), Param::bytes(sealed.ciphertext)});
  if (rows) return {};
  if (rows.error().field == "agent_secrets_key")
    return Error{ErrorKind::unavailable,
                 "the master key " + sealed.key_id +
                     " seals nothing any more, and this controller does not know that yet; nothing was changed",
                 {},
                 "STORE_UNAVAILABLE"};
  return rows.error();
}

Result<std::optional<secrets::Sealed>> get_secret(Tx& tx, const AgentId& agent, std::string_view name) {
  CREEL_TRY(const auto rows, tx.exec("SELECT key_id, nonce, ciphertext FROM agent_secrets "
                                     "WHERE agent_id = $1 AND name = $2",
                                     {agent, name}));
  if (rows.empty()) return std::optional<secrets::Sealed>{};
  return std::optional<secrets::Sealed>{
      secrets::Sealed{rows[0].text("key_id"), rows[0].bytes("nonce"), rows[0].bytes("ciphertext")}};
}

Result<std::vector<std::string>> secret_names(Tx& tx, const AgentId& agent) {
  CREEL_TRY(const auto rows, tx.exec("SELECT name FROM agent_secrets WHERE agent_id = $1 ORDER BY name", {agent}));
  std::vector<std::string> names;
  for (int i = 0; i < rows.size(); ++i) names.push_back(rows[i].text("name"));
  return names;
}

Result<bool> delete_secret(Tx& tx, const AgentId& agent, std::string_view name) {
  CREEL_TRY(const auto rows, tx.exec("DELETE FROM agent_secrets WHERE agent_id = $1 AND name = $2", {agent, name}));
  return rows.affected() > 0;
}

}  // namespace creel::store
