// PostgreSQL: a pool of connections, transactions, and a connection that listens. pg.cpp is the sole includer of libpq.
//
// Parameters are $1, $2, …, sent beside the text, never inside it. Values travel as text, bytea as bytes. Sessions run
// in UTC; times have milliseconds.
//
// Errors: unavailable (code STORE_UNAVAILABLE: no connection, no free connection within 5 s, no answer in time, disk
// full, server shutting down, deadlock: try again later), conflict (unique or foreign key violated; `field` is the
// constraint's name), invalid (a value PostgreSQL refuses), internal (SQL of ours is wrong). Messages never hold SQL or
// a value. When commit() fails as unavailable the outcome is unknown.
//
// Threads: Database from any thread; a Tx, Rows or ListenConnection from one at a time. Everything here blocks, up to
// its deadline: never call it on the socket thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"

namespace creel::store {

// A value sent to PostgreSQL. Text must be UTF-8 without zero bytes, else exec() answers invalid.
class Param {
 public:
  Param(std::nullopt_t) {}
  Param(std::string text) : text_(std::move(text)) {}
  Param(std::string_view text) : text_(std::string{text}) {}
  Param(const char* text) : text_(text) {}
  Param(bool value) : text_(value ? "true" : "false") {}
  Param(int value) : text_(std::to_string(value)) {}
  Param(std::int64_t value) : text_(std::to_string(value)) {}
  Param(std::uint64_t value) : text_(std::to_string(value)) {}
  Param(TimePoint time);
  template <class Tag>
  Param(const Id<Tag>& id) : text_(id.str()) {}
  template <class T>
  Param(const std::optional<T>& value) {
    if (value) *this = Param(*value);
  }
  // For bytea columns.
  static Param bytes(std::string value) {
    Param param{std::move(value)};
    param.binary_ = true;
    return param;
  }

  const std::optional<std::string>& text() const { return text_; }
  bool binary() const { return binary_; }

 private:
  std::optional<std::string> text_;
  bool binary_ = false;
};

// The rows of an answer. Asking for a column that is not there, or as a type it is not, is a bug and throws
// std::logic_error; a null reads as "", 0, false (use is_null or optional_time where it matters).
class Rows {
 public:
  class Row {
   public:
    bool is_null(const char* column) const;
    std::string text(const char* column) const;
    std::int64_t integer(const char* column) const;
    std::uint64_t unsigned_integer(const char* column) const;
    bool boolean(const char* column) const;
    std::string bytes(const char* column) const;
    TimePoint time(const char* column) const;
    std::optional<TimePoint> optional_time(const char* column) const;

   private:
    friend class Rows;
    Row(const Rows& rows, int index) : rows_(rows), index_(index) {}
    std::string_view raw(const char* column) const;
    const Rows& rows_;
    int index_;
  };

  int size() const;
  bool empty() const { return size() == 0; }
  Row operator[](int index) const;
  // Rows that an INSERT, UPDATE or DELETE touched.
  std::int64_t affected() const;

  struct Impl;
  explicit Rows(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<const Impl> impl_;
};

// One transaction, READ COMMITTED. Destroyed without commit() it is rolled back. After a failed exec() the transaction
// is lost: every further call fails.
class Tx {
 public:
  Tx(Tx&&) noexcept;
  Tx& operator=(Tx&&) noexcept;
  ~Tx();

  Result<Rows> exec(std::string_view sql, const std::vector<Param>& params = {});
  // Several statements, without parameters (migrations).
  Result<void> exec_script(std::string_view sql);
  Result<void> commit();

  struct Impl;
  explicit Tx(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

struct PoolStats {
  std::size_t size = 0;  // connections there may be
  std::size_t in_use = 0;
  std::uint64_t waits = 0;  // begin() calls that had to wait for a free connection, since the start
};

struct DatabaseOptions {
  std::chrono::milliseconds acquire_timeout{5'000};  // for a free connection
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds statement_timeout{10'000};  // 0 = none
  // Ends the transaction of a process that stands still (SIGSTOP, a stalled disk, a machine that is gone): its locks
  // hold up who takes over. Hence shorter than what is left of a lease after a renewal.
  std::chrono::milliseconds idle_timeout{5'000};
};

class Database {
 public:
  // Connects once, so that a wrong conninfo is told at once; the other connections open when they are needed.
  // `conninfo`: a postgres:// URL or key=value pairs.
  static Result<std::unique_ptr<Database>> open(std::string conninfo, std::size_t pool_size,
                                                DatabaseOptions options = {});
  ~Database();  // a Tx may outlive it
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // A connection that has died in the pool is replaced without the caller noticing.
  Result<Tx> begin();
  Result<void> ping();
  PoolStats stats() const;

  struct Pool;

 private:
  explicit Database(std::shared_ptr<Pool> pool) : pool_(std::move(pool)) {}
  std::shared_ptr<Pool> pool_;
};

struct Notification {
  std::string channel;
  std::string payload;
};

// A connection of its own that listens. wait() returns what came (nothing after `timeout`, or when `wake_fd` became
// readable); unavailable: the connection is gone, make a new one.
class ListenConnection {
 public:
  static Result<ListenConnection> open(const std::string& conninfo, const std::vector<std::string>& channels);
  ListenConnection(ListenConnection&&) noexcept;
  ListenConnection& operator=(ListenConnection&&) noexcept;
  ~ListenConnection();

  Result<std::vector<Notification>> wait(std::chrono::milliseconds timeout, int wake_fd);
  // Asks the server for a sign of life, within 5 s.
  Result<void> check();

  struct Impl;
  explicit ListenConnection(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::store
