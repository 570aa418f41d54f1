// The master key, as the database sees it: which key it was sealed with, which one seals now, and its rotation.
//
// A rotation, step by step; each is one transaction, and whoever begins again goes on where it stopped:
//   1. every controller holds the new key (key_holders), so that all can open what any of them seals;
//   2. switch_master_key(): from now on the new key seals. Controllers notice within keep_keys()'s period;
//   3. reseal() until nothing is left under another key. Rows that are being written are passed over and come next
//   time;
//   4. retire_master_keys(): the old key may seal nothing any more. False as long as something is, or is about to be,
//      stored under it: the foreign key of agent_secrets waits for transactions under way.
// Plain values do not change, and neither do hashes made of them: their key is sealed beside the check row.
//
// Errors: corrupt: another key than the ring has, with what to do about it; else see pg.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "controller/core/result.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

// At start, before anything is sealed or opened. On the first start of all a check row is sealed; later it must open.
// The sealer is told which key seals, and the hash key.
Result<void> check_master_key(Tx& tx, secrets::Sealer& sealer);

// Id of the key that seals.
Result<std::string> sealing_key(Tx& tx);

struct KeyUse {
  std::string id;
  std::int64_t values = 0;  // sealed under it
  bool seals = false;
};
// Every key that values are, or may be, stored under: first the one that seals.
Result<std::vector<KeyUse>> key_uses(Tx& tx);

struct KeyHolder {
  std::string id;     // random, of a process
  std::string place;  // host and process id, for people
  std::vector<std::string> key_ids;
  std::string seals;
  std::int64_t seen_ms_ago = 0;
};
// A controller that was not seen for this long has ended, or hangs: it is not waited for, and what it may still try to
// store under an old key is refused.
inline constexpr std::chrono::seconds kHolderSilence{15};
Result<std::vector<KeyHolder>> key_holders(Tx& tx);  // those seen since then
// What a controller does every few seconds: reads the key file again, takes over which key seals, and says what it
// holds.
Result<void> keep_keys(Database& database, secrets::Sealer& sealer, const std::string& id, const std::string& place);
Result<void> forget_holder(Database& database, const std::string& id);

// Held by one at a time until `tx` ends, or 30 s after the last keep_lock(); false: another rotation is under way.
Result<bool> lock_rotation(Tx& tx);
Result<void> keep_lock(Tx& tx);  // unavailable: it was lost
Result<void> switch_master_key(Tx& tx, secrets::Sealer& sealer, const std::string& key_id);
// How many it did, at most `most`; 0: there is nothing left to do now.
Result<int> reseal(Tx& tx, const secrets::Sealer& sealer, int most);
Result<bool> retire_master_keys(Tx& tx, const std::string& but);

}  // namespace creel::store
