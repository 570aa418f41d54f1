#include "controller/store/master_key.hpp"

namespace creel::store {
namespace {

constexpr const char* kCheck = "key_check";
constexpr const char* kHash = "hash_key";
constexpr const char* kPlain = "creel";

std::string context_of(const char* name) { return std::string{"creel/"} + name; }

std::string in_brackets(const std::vector<std::string>& ids) {
  std::string text;
  for (const auto& id : ids) text += (text.empty() ? "" : ", ") + id;
  return text;
}

constexpr const char* kSealedText =
    "json_build_object('key_id', $2::text, 'nonce', encode($3::bytea, 'hex'), 'ciphertext', encode($4::bytea, "
    "'hex'))::text";

std::vector<Param> params_of(const char* name, const secrets::Sealed& sealed) {
  return {name, sealed.key_id, Param::bytes(sealed.nonce), Param::bytes(sealed.ciphertext)};
}

// Two controllers that start at once: the first one's row stands, the other one checks against it.
Result<void> add(Tx& tx, const char* name, const secrets::Sealed& sealed) {
  CREEL_TRY([[maybe_unused]] const auto rows, tx.exec(std::string{"INSERT INTO meta (key, value) VALUES ($1, "} +
                                                          kSealedText + ") ON CONFLICT DO NOTHING",
                                                      params_of(name, sealed)));
  return {};
}

Result<void> change(Tx& tx, const char* name, const secrets::Sealed& sealed) {
  CREEL_TRY(
      [[maybe_unused]] const auto rows,
      tx.exec(std::string{"UPDATE meta SET value = "} + kSealedText + " WHERE key = $1", params_of(name, sealed)));
  return {};
}

Result<std::optional<secrets::Sealed>> find(Tx& tx, const char* name, const char* lock = "") {
  CREEL_TRY(const auto rows,
            tx.exec(std::string{"SELECT value::json->>'key_id' AS key_id, decode(value::json->>'nonce', "
                                "'hex') AS nonce, decode(value::json->>'ciphertext', 'hex') AS "
                                "ciphertext FROM meta WHERE key = $1 "} +
                        lock,
                    {name}));
  if (rows.empty()) return std::optional<secrets::Sealed>{};
  return std::optional{secrets::Sealed{rows[0].text("key_id"), rows[0].bytes("nonce"), rows[0].bytes("ciphertext")}};
}

Result<void> may_seal(Tx& tx, const std::string& key_id) {
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec("INSERT INTO sealing_keys (id) VALUES ($1) ON CONFLICT DO NOTHING", {key_id}));
  return {};
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find(' ', at), text.size());
    if (end > at) words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

}  // namespace

Result<void> check_master_key(Tx& tx, secrets::Sealer& sealer) {
  CREEL_TRY(auto check, find(tx, kCheck));
  if (!check) {
    CREEL_CHECK(add(tx, kCheck, sealer.seal(kPlain, context_of(kCheck))));
    CREEL_TRY(check, find(tx, kCheck));
    if (!check) return Error{ErrorKind::internal, "the master key's check row is missing"};
    CREEL_CHECK(may_seal(tx, check->key_id));
  }
  if (const auto plain = sealer.open(*check, context_of(kCheck)); !plain || *plain != kPlain)
    return Error{ErrorKind::corrupt, "this database was sealed with another master key (key id " + check->key_id +
                                         ", the present one is " + in_brackets(sealer.key_ids()) +
                                         "); put the right key back (CREEL_MASTER_KEY or CREEL_MASTER_KEY_FILE)"};
  sealer.use(check->key_id);

  CREEL_TRY(auto hash, find(tx, kHash));
  if (!hash) {
    CREEL_CHECK(add(tx, kHash, sealer.seal(sealer.hash_key_of(check->key_id), context_of(kHash))));
    CREEL_TRY(hash, find(tx, kHash));
    if (!hash) return Error{ErrorKind::internal, "the hash key's row is missing"};
  }
  CREEL_TRY(std::string hash_key, sealer.open(*hash, context_of(kHash)));
  sealer.keep_hash_key(std::move(hash_key));
  return {};
}

Result<std::string> sealing_key(Tx& tx) {
  CREEL_TRY(const auto check, find(tx, kCheck));
  if (!check) return Error{ErrorKind::not_found, "the database has no master key yet; the first start gives it one"};
  return check->key_id;
}

Result<std::vector<KeyUse>> key_uses(Tx& tx) {
  CREEL_TRY(const std::string sealing, sealing_key(tx));
  CREEL_TRY(
      const auto rows,
      tx.exec("SELECT k.id, (SELECT count(*) FROM agent_secrets WHERE key_id = k.id) + (SELECT count(*) FROM meta "
              "WHERE key IN ('key_check', 'hash_key') AND value::json->>'key_id' = k.id) AS values "
              "FROM sealing_keys k ORDER BY k.id <> $1, k.added_at, k.id",
              {sealing}));
  std::vector<KeyUse> uses;
  for (int i = 0; i < rows.size(); ++i)
    uses.push_back({rows[i].text("id"), rows[i].integer("values"), rows[i].text("id") == sealing});
  return uses;
}

Result<std::vector<KeyHolder>> key_holders(Tx& tx) {
  CREEL_TRY(
      const auto rows,
      tx.exec("SELECT id, place, key_ids, seals, (extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint "
              "AS ago FROM key_holders WHERE seen_at > clock_timestamp() - $1::interval ORDER BY place, id",
              {std::to_string(kHolderSilence.count()) + " seconds"}));
  std::vector<KeyHolder> holders;
  for (int i = 0; i < rows.size(); ++i)
    holders.push_back({rows[i].text("id"), rows[i].text("place"), split(rows[i].text("key_ids")), rows[i].text("seals"),
                       rows[i].integer("ago")});
  return holders;
}

Result<void> keep_keys(Database& database, secrets::Sealer& sealer, const std::string& id, const std::string& place) {
  // A file that cannot be read at the moment takes no key away: what is known of the database still counts.
  const Result<void> file = sealer.refresh();
  CREEL_TRY(Tx tx, database.begin());
  CREEL_TRY(const std::string sealing, sealing_key(tx));
  // Once more: this process may have stood still between the file and the row.
  const bool held = sealer.use(sealing) || (sealer.refresh() && sealer.use(sealing));
  std::string ids;
  for (const auto& key : sealer.key_ids()) ids += (ids.empty() ? "" : " ") + key;
  CREEL_TRY([[maybe_unused]] const auto said,
            tx.exec("INSERT INTO key_holders (id, place, key_ids, seals, seen_at) VALUES ($1, $2, $3, $4, "
                    "clock_timestamp()) ON CONFLICT (id) DO UPDATE SET place = excluded.place, key_ids = "
                    "excluded.key_ids, seals = excluded.seals, seen_at = excluded.seen_at",
                    {id, place, ids, sealer.key_id()}));
  CREEL_TRY([[maybe_unused]] const auto gone,
            tx.exec("DELETE FROM key_holders WHERE seen_at < clock_timestamp() - interval '1 hour'"));
  CREEL_CHECK(tx.commit());
  if (!held)
    return Error{ErrorKind::corrupt, "the database is sealed with the master key " + sealing +
                                         ", which this controller does not have; give it that key (CREEL_MASTER_KEY or "
                                         "CREEL_MASTER_KEY_FILE) and restart it"};
  return file;
}

Result<void> forget_holder(Database& database, const std::string& id) {
  CREEL_TRY(Tx tx, database.begin());
  CREEL_TRY([[maybe_unused]] const auto gone, tx.exec("DELETE FROM key_holders WHERE id = $1", {id}));
  return tx.commit();
}

Result<bool> lock_rotation(Tx& tx) {
  // It stands in nobody's way but another rotation's, and its holder may wait for a statement's time.
  CREEL_CHECK(tx.exec_script("SET LOCAL idle_in_transaction_session_timeout = '30s'"));
  CREEL_TRY(const auto rows, tx.exec("SELECT pg_try_advisory_xact_lock(hashtext('creel master key rotation')) AS got"));
  return rows[0].boolean("got");
}

Result<void> keep_lock(Tx& tx) { return tx.exec_script("SELECT 1"); }

Result<void> switch_master_key(Tx& tx, secrets::Sealer& sealer, const std::string& key_id) {
  CREEL_TRY(const auto hash, find(tx, kHash, "FOR UPDATE"));
  if (!hash) return Error{ErrorKind::internal, "the hash key's row is missing"};
  CREEL_TRY(const std::string hash_key, sealer.open(*hash, context_of(kHash)));
  if (!sealer.use(key_id)) return Error{ErrorKind::internal, "the new master key is not in the ring"};
  CREEL_CHECK(may_seal(tx, key_id));
  CREEL_CHECK(change(tx, kCheck, sealer.seal(kPlain, context_of(kCheck))));
  return change(tx, kHash, sealer.seal(hash_key, context_of(kHash)));
}

Result<int> reseal(Tx& tx, const secrets::Sealer& sealer, int most) {
  // What is being written is left alone, so that nobody waits for us while we wait for them.
  CREEL_TRY(const auto rows,
            tx.exec("SELECT agent_id, name, key_id, nonce, ciphertext FROM agent_secrets WHERE key_id <> $1 "
                    "ORDER BY agent_id, name LIMIT $2 FOR UPDATE SKIP LOCKED",
                    {sealer.key_id(), most}));
  for (int i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    const std::string agent = row.text("agent_id"), name = row.text("name");
    const std::string context = secrets::secret_context(agent, name);
    const auto plain = sealer.open({row.text("key_id"), row.bytes("nonce"), row.bytes("ciphertext")}, context);
    if (!plain)
      return Error{ErrorKind::corrupt, "the value " + name + " of the agent " + agent + ": " + plain.error().message};
    const auto sealed = sealer.seal(*plain, context);
    CREEL_TRY(
        [[maybe_unused]] const auto changed,
        tx.exec("UPDATE agent_secrets SET key_id = $3, nonce = $4, ciphertext = $5 WHERE agent_id = $1 AND name = "
                "$2",
                {agent, name, sealed.key_id, Param::bytes(sealed.nonce), Param::bytes(sealed.ciphertext)}));
  }
  return rows.size();
}

Result<bool> retire_master_keys(Tx& tx, const std::string& but) {
  const auto gone = tx.exec("DELETE FROM sealing_keys WHERE id <> $1", {but});
  if (gone) return true;
  if (gone.error().kind == ErrorKind::conflict) return false;
  return gone.error();
}

}  // namespace creel::store
