// A database of its own for each test, in the cluster that CREEL_TEST_DATABASE_URL names. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/migrate.hpp"
#include "controller/store/pg.hpp"
#include "controller/store/users.hpp"
#include "tests/support/support.hpp"

namespace creel::test {

// True as soon as `condition` is; false when it is not within `limit`.
inline bool eventually(const std::function<bool()>& condition,
                       std::chrono::milliseconds limit = std::chrono::seconds{15}) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  return true;
}

// The same cluster, another database.
inline std::string with_database(const std::string& conninfo, const std::string& name) {
  const auto scheme = conninfo.find("://");
  if (scheme == std::string::npos) return conninfo + " dbname=" + name;
  const auto path = conninfo.find('/', scheme + 3);
  const auto query = conninfo.find('?');
  const auto end = std::min({path, query, conninfo.size()});
  return conninfo.substr(0, end) + "/" + name + (query == std::string::npos ? "" : conninfo.substr(query));
}

class PgTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto server = required_env("CREEL_TEST_DATABASE_URL");
    ASSERT_FALSE(server.empty());
    auto opened = store::Database::open(server, 1, {.statement_timeout = std::chrono::seconds{60}});
    ASSERT_TRUE(opened) << opened.error().message;
    server_ = std::move(*opened);
    name_ = "creel_test_" + random_hex(6);
    outside_transactions("CREATE DATABASE " + name_);
    conninfo_ = with_database(server, name_);
    if (!migrated_) return;
    const auto migrated = store::migrate(conninfo_);
    ASSERT_TRUE(migrated) << migrated.error().message;
    auto database = store::Database::open(conninfo_, 4);
    ASSERT_TRUE(database) << database.error().message;
    database_ = std::move(*database);
    for (const char* key : kKeys) may_seal(secrets::Sealer::from_base64(key)->key_id());
  }

  void TearDown() override {
    database_.reset();
    if (server_) outside_transactions("DROP DATABASE IF EXISTS " + name_ + " WITH (FORCE)");
  }

  // CREATE DATABASE does not run in a transaction: the one that begin() opened is ended first.
  void outside_transactions(const std::string& sql) {
    auto tx = server_->begin();
    ASSERT_TRUE(tx) << tx.error().message;
    ASSERT_TRUE(tx->exec("ROLLBACK"));
    const auto done = tx->exec(sql);
    ASSERT_TRUE(done) << done.error().message;
  }

  // Master keys of tests, which every database of theirs takes.
  static constexpr const char* kKeys[] = {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                                          "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="};
  void may_seal(const std::string& key_id) { run("INSERT INTO sealing_keys (id) VALUES ($1)", {key_id}); }

  store::Tx begin() { return database_->begin().value(); }

  // One statement in a transaction of its own.
  store::Rows run(const std::string& sql, const std::vector<store::Param>& params = {}) {
    auto tx = begin();
    auto rows = tx.exec(sql, params);
    EXPECT_TRUE(rows) << sql << ": " << rows.error().message;
    EXPECT_TRUE(tx.commit());
    return rows.value();
  }

  // Ends every connection of this test's database but those of `server_`.
  void cut_connections() {
    auto tx = server_->begin();
    ASSERT_TRUE(tx);
    ASSERT_TRUE(tx->exec("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", {name_}));
    ASSERT_TRUE(tx->commit());
  }

  store::User make_user(const std::string& email = "ann@example.com") {
    store::User user{new_user_id(), email, "hash", false, "pro", "active", system_now()};
    auto tx = begin();
    EXPECT_TRUE(store::create_user(tx, user));
    EXPECT_TRUE(tx.commit());
    return user;
  }

  store::AgentRow agent_of_user(const UserId& owner, const std::string& name = "fred") {
    store::AgentRow row;
    row.id = new_agent_id();
    row.owner = owner;
    row.name = name;
    row.template_name = "openclaw";
    row.model = "claude-opus-4-6";
    row.tier = "pro";
    row.version = "2026.3.13";
    row.spec.image = "example/agent:1";
    row.spec.env = {{"A", "b"}};
    row.spec.port = 18789;
    row.spec_hash = "0011223344556677";
    row.readiness.period = milliseconds{1234};
    row.files_hash = "f1";
    row.restart_files_hash = "f2";
    row.config_etag = "e1";
    row.created_at = row.updated_at = system_now();
    return row;
  }

  store::AgentRow make_agent(const UserId& owner, const std::string& name = "fred") {
    auto row = agent_of_user(owner, name);
    auto tx = begin();
    const auto inserted = store::insert_agent(tx, row, -1);
    EXPECT_TRUE(inserted) << inserted.error().message;
    EXPECT_TRUE(tx.commit());
    return row;
  }

  bool migrated_ = true;
  std::unique_ptr<store::Database> server_;
  std::string name_, conninfo_;
  std::unique_ptr<store::Database> database_;
};

}  // namespace creel::test
