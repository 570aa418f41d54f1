#include "controller/cli/secrets_commands.hpp"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "controller/cli/format.hpp"
#include "controller/cli/local_store.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/master_key.hpp"

namespace creel::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBatch = 200;
// Requests that have sealed something a moment ago are given this long to store it before the old key is retired.
constexpr std::chrono::seconds kRequestsUnderWay{1};
constexpr std::chrono::milliseconds kLookAgain{200};

bool in_file(const Config& config) { return config.master_key.empty(); }

Result<secrets::Sealer> load_keys(const Config& config) {
  std::error_code problem;
  if (in_file(config) && !std::filesystem::exists(config.master_key_file, problem))
    return Error{ErrorKind::not_found, "there is no master key at " + config.master_key_file +
                                           "; the first start makes it, or set CREEL_MASTER_KEY_FILE"};
  return secrets::Sealer::load(config.master_key, config.master_key_previous, config.master_key_file);
}

struct Keys {
  LocalStore local;
  secrets::Sealer sealer;
};

Result<Keys> open_keys(const Config& config, Io& io) {
  CREEL_TRY(secrets::Sealer sealer, load_keys(config));
  CREEL_TRY(LocalStore local, open_store(config, io));
  CREEL_TRY(auto tx, local.database->begin());
  CREEL_CHECK(store::check_master_key(tx, sealer));
  CREEL_CHECK(tx.commit());
  return Keys{std::move(local), std::move(sealer)};
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

bool holds(const store::KeyHolder& holder, const std::string& key) {
  return std::find(holder.key_ids.begin(), holder.key_ids.end(), key) != holder.key_ids.end();
}

// The steps of a rotation that take their time. Between two of them, and while they wait, the lock is kept: without it
// another rotation may be under way, and this one ends.
class Rotation {
 public:
  Rotation(store::Database& database, secrets::Sealer& sealer, store::Tx lock, std::chrono::seconds patience)
      : database_(database), sealer_(sealer), lock_(std::move(lock)), patience_(patience) {}

  // Until every running controller is as `good` says; else unavailable, with those that are not.
  template <class Good>
  Result<void> await_controllers(Good good, const std::string& what, const std::string& remedy) {
    const auto deadline = Clock::now() + patience_;
    for (;;) {
      CREEL_TRY(const auto holders, read(store::key_holders));
      std::vector<std::string> missing;
      for (const auto& holder : holders)
        if (!good(holder)) missing.push_back(holder.place);
      if (missing.empty()) return {};
      if (Clock::now() >= deadline)
        return Error{ErrorKind::unavailable, "after " + std::to_string(patience_.count()) + " s " + what + ": " +
                                                 joined(missing) + "; " + remedy + ", then run this again"};
      CREEL_CHECK(pause(kLookAgain));  // other processes: there is nothing to wait on
    }
  }

  Result<std::vector<store::KeyUse>> uses() { return read(store::key_uses); }

  Result<void> switch_to(const std::string& key) {
    CREEL_TRY(auto tx, database_.begin());
    CREEL_CHECK(store::switch_master_key(tx, sealer_, key));
    return tx.commit();
  }

  // How many it did.
  Result<int> reseal_all() {
    int all = 0;
    for (;;) {
      CREEL_CHECK(store::keep_lock(lock_));
      CREEL_TRY(auto tx, database_.begin());
      CREEL_TRY(const int done, store::reseal(tx, sealer_, kBatch));
      CREEL_CHECK(tx.commit());
      if (done == 0) return all;
      all += done;
    }
  }

  // Everything is under the key, and nothing else may be. Values that were being written meanwhile take another round.
  Result<int> reseal_and_retire() {
    CREEL_CHECK(pause(kRequestsUnderWay));
    const auto deadline = Clock::now() + patience_;
    int all = 0;
    for (;;) {
      CREEL_TRY(const int done, reseal_all());
      all += done;
      {
        CREEL_TRY(auto tx, database_.begin());
        CREEL_TRY(const bool retired, store::retire_master_keys(tx, sealer_.key_id()));
        if (retired) {
          CREEL_CHECK(tx.commit());
          return all;
        }
      }
      if (Clock::now() >= deadline)
        return Error{ErrorKind::unavailable, "values are still being stored under the old key; run this again"};
      CREEL_CHECK(pause(kLookAgain));
    }
  }

 private:
  // Gives its connection back at once: there are two, and the lock has one of them.
  template <class T>
  Result<T> read(Result<T> (*what)(store::Tx&)) {
    CREEL_TRY(auto tx, database_.begin());
    return what(tx);
  }

  Result<void> pause(std::chrono::milliseconds time) {
    std::this_thread::sleep_for(time);
    return store::keep_lock(lock_);
  }

  store::Database& database_;
  secrets::Sealer& sealer_;
  store::Tx lock_;
  std::chrono::seconds patience_;
};

}  // namespace

Result<void> secrets_status(const Config& config, Io& io, bool json) {
  CREEL_TRY(const Keys keys, open_keys(config, io));
  CREEL_TRY(auto tx, keys.local.database->begin());
  CREEL_TRY(const auto uses, store::key_uses(tx));
  CREEL_TRY(const auto holders, store::key_holders(tx));
  const auto held = keys.sealer.key_ids();
  auto key_list = nlohmann::ordered_json::array(), controllers = nlohmann::ordered_json::array();
  std::vector<Row> key_rows, controller_rows;
  for (const auto& use : uses) {
    key_list.push_back({{"key", use.id}, {"seals", use.seals}, {"values", use.values}});
    key_rows.push_back({use.id, use.seals ? "seals" : "old: opens only", std::to_string(use.values)});
  }
  for (const auto& id : held)
    if (std::none_of(uses.begin(), uses.end(), [&](const auto& use) { return use.id == id; })) {
      key_list.push_back({{"key", id}, {"seals", false}, {"values", 0}});
      key_rows.push_back({id, id == held.front() ? "new: is to seal" : "retired", "0"});
    }
  for (const auto& holder : holders) {
    controllers.push_back({{"controller", holder.place}, {"keys", holder.key_ids}, {"seals", holder.seals}});
    controller_rows.push_back({holder.place, joined(holder.key_ids), holder.seals});
  }
  const bool finished = uses.size() == 1 && held.front() == uses[0].id;
  if (json) {
    io.out << nlohmann::ordered_json{{"finished", finished}, {"keys", key_list}, {"controllers", controllers}}.dump(2)
           << "\n";
    return {};
  }
  io.out << table({{"KEY"}, {"STATE", 1}, {"VALUES", 2}}, key_rows, io.width, io.colors);
  if (!controller_rows.empty())
    io.out << "\n" << table({{"CONTROLLER"}, {"HOLDS", 1}, {"SEALS WITH", 2}}, controller_rows, io.width, io.colors);
  if (!finished) io.out << "\nA rotation is not finished; run: creel secrets rotate\n";
  return {};
}

Result<void> rotate_master_key(const Config& config, Io& io, std::chrono::seconds patience, bool json) {
  CREEL_TRY(Keys keys, open_keys(config, io));
  secrets::Sealer& sealer = keys.sealer;
  CREEL_TRY(auto lock, keys.local.database->begin());
  CREEL_TRY(const bool alone, store::lock_rotation(lock));
  if (!alone) return Error{ErrorKind::conflict, "another rotation is under way; see: creel secrets status"};
  Rotation rotation{*keys.local.database, sealer, std::move(lock), patience};
  CREEL_TRY(const auto uses, rotation.uses());
  const bool begun = sealer.key_ids().front() != sealer.key_id() || uses.size() > 1 ||
                     (in_file(config) && config.master_key_previous.empty() && sealer.key_ids().size() > 1);
  if (begun) {
    io.err << "going on with the rotation that was begun\n";
  } else if (in_file(config)) {
    CREEL_CHECK(secrets::add_master_key(config.master_key_file));
    CREEL_CHECK(sealer.refresh());
  } else {
    return invalid("CREEL_MASTER_KEY",
                   "CREEL_MASTER_KEY is the key that seals already; set it to a new one (openssl rand -base64 32) and "
                   "CREEL_MASTER_KEY_PREVIOUS to this one, restart the controllers one after the other, then run this "
                   "again with the same settings");
  }
  const std::string wanted = sealer.key_ids().front(), old = sealer.key_id();
  io.err << "new key " << wanted << "; waiting until every controller holds it\n";
  CREEL_CHECK(rotation.await_controllers(
      [&](const auto& holder) { return holds(holder, wanted); },
      "these controllers do not hold the new key " + wanted + ", and nothing is sealed with it yet",
      in_file(config) ? "give them the same file " + config.master_key_file
                      : "restart them with the new CREEL_MASTER_KEY and the old one in CREEL_MASTER_KEY_PREVIOUS"));
  if (wanted != old) CREEL_CHECK(rotation.switch_to(wanted));
  io.err << "sealing everything with it\n";
  CREEL_TRY(const int first, rotation.reseal_all());
  CREEL_CHECK(rotation.await_controllers([&](const auto& holder) { return holder.seals == wanted; },
                                         "these controllers still seal with another key", "see their logs"));
  CREEL_TRY(const int rest, rotation.reseal_and_retire());
  // With --json the one object is the result, and what to do with old keys is said beside it.
  std::ostream& advice = json ? io.err : io.out;
  if (json)
    io.out << nlohmann::ordered_json{{"key", wanted}, {"values", first + rest}}.dump(2) << "\n";
  else
    io.out << "key " << wanted << " seals; " << first + rest << " values were sealed anew\n";
  if (!in_file(config)) {
    advice << "CREEL_MASTER_KEY_PREVIOUS is not needed any more, but for backups of the database from before\n";
    return {};
  }
  if (const auto kept = secrets::keep_master_key(config.master_key_file, wanted); !kept)
    advice << "the old keys could not be taken out of the file (" << printable(kept.error().message)
           << "); take out all lines but the first\n";
  else
    advice << "old keys are beside " << config.master_key_file
           << " (.old-<key>): they open backups of the database from before, and nothing else\n";
  return {};
}

}  // namespace creel::cli
