#include "controller/store/master_key.hpp"

namespace creel::store {
namespace {

constexpr const char* kContext = "creel/key_check";
constexpr const char* kPlain = "creel";

}  // namespace

Result<void> check_master_key(Tx& tx, const secrets::Sealer& sealer) {
  const auto sealed = sealer.seal(kPlain, kContext);
  // Two controllers that start at once: the first one's row stands, the other one checks against it.
  CREEL_TRY([[maybe_unused]] const auto inserted,
            tx.exec("INSERT INTO meta (key, value) VALUES ('key_check', json_build_object('key_id', $1::text, 'nonce', "
                    "encode($2::bytea, 'hex'), 'ciphertext', encode($3::bytea, 'hex'))::text) ON CONFLICT DO NOTHING",
                    {sealed.key_id, Param::bytes(sealed.nonce), Param::bytes(sealed.ciphertext)}));
  CREEL_TRY(const auto rows, tx.exec("SELECT value::json->>'key_id' AS key_id, decode(value::json->>'nonce', 'hex') AS "
                                     "nonce, decode(value::json->>'ciphertext', 'hex') AS ciphertext FROM meta WHERE "
                                     "key = 'key_check'"));
  if (rows.empty()) return Error{ErrorKind::internal, "the master key's check row is missing"};
  const secrets::Sealed stored{rows[0].text("key_id"), rows[0].bytes("nonce"), rows[0].bytes("ciphertext")};
  if (const auto plain = sealer.open(stored, kContext); plain && *plain == kPlain) return {};
  return Error{ErrorKind::corrupt, "this database was sealed with another master key (key id " + stored.key_id +
                                       ", the present one is " + sealer.key_id() +
                                       "); put the right key back (CREEL_MASTER_KEY or CREEL_MASTER_KEY_FILE)"};
}

}  // namespace creel::store
