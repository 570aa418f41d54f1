#include "controller/store/pg.hpp"

#include <libpq-fe.h>
#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "controller/store/text.hpp"

namespace creel::store {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kUnlimited{0};
// How much longer than statement_timeout we wait for an answer: past that the server itself has stopped.
constexpr milliseconds kGrace{3'000};

struct ConnectionDeleter {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using ConnectionPtr = std::unique_ptr<PGconn, ConnectionDeleter>;
struct ResultDeleter {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, ResultDeleter>;

Error unavailable(std::string message) {
  return Error{ErrorKind::unavailable, std::move(message), {}, "STORE_UNAVAILABLE"};
}

// The first line, without what libpq puts in front; never the "DETAIL:" lines, which quote values.
std::string first_line(const char* text) {
  std::string_view line{text == nullptr ? "" : text};
  line = line.substr(0, line.find('\n'));
  while (!line.empty() && line.back() == ' ') line.remove_suffix(1);
  return std::string{line};
}

Error error_of(const PGresult* result, PGconn* connection) {
  const char* state_field = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const std::string_view state{state_field == nullptr ? "" : state_field};
  if (state.empty() || PQstatus(connection) == CONNECTION_BAD) {
    return unavailable("the connection to PostgreSQL is gone: " + first_line(PQerrorMessage(connection)));
  }
  const auto field = [&](int code) { return first_line(PQresultErrorField(result, code)); };
  const auto message = field(PG_DIAG_MESSAGE_PRIMARY);
  const auto constraint = field(PG_DIAG_CONSTRAINT_NAME);
  const auto kind = state.substr(0, 2);
  if (state == "23505") return Error{ErrorKind::conflict, "already exists (" + constraint + ")", constraint};
  if (state == "23503") return Error{ErrorKind::conflict, "refers to something gone (" + constraint + ")", constraint};
  if (kind == "23") return Error{ErrorKind::invalid, "a value is not allowed (" + constraint + ")", constraint};
  if (kind == "22") return Error{ErrorKind::invalid, "a value has the wrong form"};
  // 08 connection, 53 resources (disk full, too many connections), 57 intervention (shutdown, cancelled by
  // statement_timeout), 58 system (I/O), 40 rollback (deadlock), 28/3D sign-in, 55P03 lock, 25006 standby,
  // 25P03 stood still within a transaction.
  if (kind == "08" || kind == "53" || kind == "57" || kind == "58" || kind == "40" || kind == "28" || kind == "3D" ||
      state == "55P03" || state == "25006" || state == "25P03") {
    return unavailable("PostgreSQL: " + message);
  }
  if (state == "25P02") return Error{ErrorKind::internal, "the transaction had failed before"};
  // Messages of this kind name our own tables and columns: for the log, not for a client.
  spdlog::error("PostgreSQL refused a statement: {} {}", state, message);
  return Error{ErrorKind::internal, "PostgreSQL refused a statement (" + std::string{state} + ")"};
}

class Deadline {
 public:
  explicit Deadline(milliseconds span) : unlimited_(span == kUnlimited), end_(Clock::now() + span) {}
  // For poll(): -1 = none, 0 = passed.
  int left() const {
    if (unlimited_) return -1;
    const auto left = std::chrono::ceil<milliseconds>(end_ - Clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
  }

 private:
  bool unlimited_;
  Clock::time_point end_;
};

// False: the deadline passed.
bool wait_socket(int fd, short events, const Deadline& deadline) {
  for (;;) {
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, deadline.left());
    if (ready > 0) return true;
    if (ready < 0 && errno == EINTR) continue;
    return false;
  }
}

// Sends `send`'s command and collects the last result, giving up at the deadline: libpq's own blocking calls would wait
// for ever for a server that hangs. nullptr: no answer (the connection must be dropped).
ResultPtr await_result(PGconn* connection, const Deadline& deadline) {
  for (;;) {
    const int flushed = PQflush(connection);
    if (flushed == 0) break;
    if (flushed < 0) return nullptr;
    if (!wait_socket(PQsocket(connection), POLLIN | POLLOUT, deadline)) return nullptr;
    if (PQconsumeInput(connection) == 0) return nullptr;
  }
  ResultPtr last;
  for (;;) {
    while (PQisBusy(connection) != 0) {
      if (!wait_socket(PQsocket(connection), POLLIN, deadline)) return nullptr;
      if (PQconsumeInput(connection) == 0) return nullptr;
    }
    ResultPtr next{PQgetResult(connection)};
    if (!next) return last;
    // Of several statements the first error counts.
    const bool failed = last && PQresultStatus(last.get()) == PGRES_FATAL_ERROR;
    if (!failed) last = std::move(next);
  }
}

Result<ResultPtr> checked(ResultPtr result, PGconn* connection, const Deadline& deadline) {
  if (!result) {
    if (PQstatus(connection) == CONNECTION_OK && deadline.left() == 0) {
      return unavailable("PostgreSQL did not answer in time");
    }
    return error_of(nullptr, connection);
  }
  const auto status = PQresultStatus(result.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return result;
  return error_of(result.get(), connection);
}

Result<ResultPtr> run(PGconn* connection, const char* sql, milliseconds timeout) {
  const Deadline deadline{timeout};
  if (PQsendQuery(connection, sql) == 0) return error_of(nullptr, connection);
  return checked(await_result(connection, deadline), connection, deadline);
}

milliseconds answer_timeout(milliseconds statement_timeout) {
  return statement_timeout == kUnlimited ? kUnlimited : statement_timeout + kGrace;
}

Result<ConnectionPtr> connect(const std::string& conninfo, const DatabaseOptions& options) {
  // What comes before dbname is a default that the conninfo may override; what comes after wins.
  const char* keywords[] = {"application_name", "keepalives_idle", "keepalives_interval", "keepalives_count",
                            "tcp_user_timeout", "dbname",          "client_encoding",     nullptr};
  const char* values[] = {"creel", "10", "3", "3", "15000", conninfo.c_str(), "UTF8", nullptr};
  ConnectionPtr connection{PQconnectStartParams(keywords, values, 1)};
  if (!connection) return unavailable("not enough memory to connect to PostgreSQL");
  const milliseconds timeout = options.connect_timeout;
  const Deadline deadline{timeout};
  PostgresPollingStatusType step =
      PQstatus(connection.get()) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
  while (step != PGRES_POLLING_OK) {
    if (step == PGRES_POLLING_FAILED) {
      return unavailable("cannot connect to PostgreSQL: " + first_line(PQerrorMessage(connection.get())));
    }
    const short events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    if (!wait_socket(PQsocket(connection.get()), events, deadline)) {
      return unavailable("cannot connect to PostgreSQL: no answer within " + std::to_string(timeout.count()) + " ms");
    }
    step = PQconnectPoll(connection.get());
  }
  PQsetnonblocking(connection.get(), 1);
  // Notices would go to standard error in a form of their own.
  PQsetNoticeReceiver(
      connection.get(), [](void*, const PGresult*) {}, nullptr);
  // SET and not startup options: poolers such as PgBouncer refuse those.
  const std::string settings =
      "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET bytea_output = 'hex'; SET client_min_messages = warning; "
      "SET standard_conforming_strings = on; SET statement_timeout = " +
      std::to_string(options.statement_timeout.count()) +
      "; SET idle_in_transaction_session_timeout = " + std::to_string(options.idle_timeout.count());
  CREEL_TRY([[maybe_unused]] const auto done, run(connection.get(), settings.c_str(), timeout));
  return connection;
}

// Whether the server side has closed an idle connection (an end of file waits in the socket).
bool alive(PGconn* connection) {
  if (PQstatus(connection) != CONNECTION_OK) return false;
  pollfd entry{PQsocket(connection), POLLIN, 0};
  if (::poll(&entry, 1, 0) <= 0) return true;
  return PQconsumeInput(connection) != 0 && PQstatus(connection) == CONNECTION_OK;
}

// "2026-03-19 00:00:00.123+00"
std::optional<TimePoint> parse_timestamp(std::string_view text) {
  std::string iso{text};
  if (iso.size() < 19 || iso[10] != ' ') return std::nullopt;
  iso[10] = 'T';
  if (iso.ends_with("+00")) iso.replace(iso.size() - 3, 3, "Z");
  return parse_rfc3339(iso);
}

}  // namespace

Param::Param(TimePoint time) : text_(to_rfc3339(time)) {}

// ---- Rows

struct Rows::Impl {
  ResultPtr result;
};

int Rows::size() const { return PQntuples(impl_->result.get()); }

Rows::Row Rows::operator[](int index) const {
  if (index < 0 || index >= size()) throw std::logic_error("no such row");
  return {*this, index};
}

std::int64_t Rows::affected() const {
  const std::string_view text{PQcmdTuples(impl_->result.get())};
  std::int64_t count = 0;
  std::from_chars(text.data(), text.data() + text.size(), count);
  return count;
}

namespace {
int column_of(const PGresult* result, const char* name) {
  const int column = PQfnumber(result, name);
  if (column < 0) throw std::logic_error(std::string{"no such column: "} + name);
  return column;
}
template <class Number>
Number number_of(std::string_view text, const char* column) {
  Number value = 0;
  if (text.empty()) return value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw std::logic_error(std::string{"not a whole number: "} + column);
  }
  return value;
}
}  // namespace

std::string_view Rows::Row::raw(const char* column) const {
  const PGresult* result = rows_.impl_->result.get();
  const int number = column_of(result, column);
  return {PQgetvalue(result, index_, number), static_cast<std::size_t>(PQgetlength(result, index_, number))};
}

bool Rows::Row::is_null(const char* column) const {
  const PGresult* result = rows_.impl_->result.get();
  return PQgetisnull(result, index_, column_of(result, column)) != 0;
}

std::string Rows::Row::text(const char* column) const { return std::string{raw(column)}; }
std::int64_t Rows::Row::integer(const char* column) const { return number_of<std::int64_t>(raw(column), column); }
std::uint64_t Rows::Row::unsigned_integer(const char* column) const {
  return number_of<std::uint64_t>(raw(column), column);
}
bool Rows::Row::boolean(const char* column) const { return raw(column) == "t"; }

std::string Rows::Row::bytes(const char* column) const {
  const auto hex = text(column);
  std::size_t length = 0;
  unsigned char* data = PQunescapeBytea(reinterpret_cast<const unsigned char*>(hex.c_str()), &length);
  if (data == nullptr) throw std::bad_alloc();
  std::string value{reinterpret_cast<const char*>(data), length};
  PQfreemem(data);
  return value;
}

TimePoint Rows::Row::time(const char* column) const { return optional_time(column).value_or(TimePoint{}); }

std::optional<TimePoint> Rows::Row::optional_time(const char* column) const {
  const auto value = raw(column);
  if (value.empty()) return std::nullopt;
  const auto time = parse_timestamp(value);
  if (!time) throw std::logic_error(std::string{"not a time: "} + column);
  return time;
}

// ---- Pool

struct Database::Pool {
  std::string conninfo;
  std::size_t size = 1;
  DatabaseOptions options;

  mutable std::mutex mutex;
  std::condition_variable freed;
  std::vector<ConnectionPtr> idle;
  std::size_t in_use = 0;
  std::uint64_t waits = 0;

  // Takes a place in the pool and, when there is one, the connection used last (the others may then age out).
  Result<ConnectionPtr> take() {
    std::unique_lock lock{mutex};
    if (in_use >= size) {
      ++waits;
      if (!freed.wait_for(lock, options.acquire_timeout, [&] { return in_use < size; })) {
        return unavailable("all " + std::to_string(size) + " connections to PostgreSQL are busy");
      }
    }
    ++in_use;
    if (idle.empty()) return ConnectionPtr{};
    auto connection = std::move(idle.back());
    idle.pop_back();
    return connection;
  }

  // `connection` empty: it was dropped.
  void give_back(ConnectionPtr connection) {
    {
      const std::lock_guard lock{mutex};
      --in_use;
      if (connection) idle.push_back(std::move(connection));
    }
    freed.notify_one();
  }

  Result<ConnectionPtr> fresh() const { return connect(conninfo, options); }
};

// ---- Tx

struct Tx::Impl {
  std::shared_ptr<Database::Pool> pool;
  ConnectionPtr connection;
  bool open = true;     // BEGIN was sent and neither COMMIT nor ROLLBACK
  bool broken = false;  // what the server thinks is not known: the connection is not used again

  ~Impl() {
    if (open && !broken && !run(connection.get(), "ROLLBACK", answer_timeout(pool->options.statement_timeout))) {
      broken = true;
    }
    if (broken || PQtransactionStatus(connection.get()) != PQTRANS_IDLE) connection.reset();
    pool->give_back(std::move(connection));
  }

  Result<ResultPtr> settle(ResultPtr result, const Deadline& deadline) {
    if (!result) broken = true;
    auto checked_result = checked(std::move(result), connection.get(), deadline);
    if (PQstatus(connection.get()) != CONNECTION_OK) broken = true;
    return checked_result;
  }

  Result<void> usable() const {
    if (broken) return unavailable("the connection to PostgreSQL is gone");
    if (!open) return Error{ErrorKind::internal, "the transaction has ended"};
    return {};
  }
};

Tx::Tx(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tx::Tx(Tx&&) noexcept = default;
Tx& Tx::operator=(Tx&&) noexcept = default;
Tx::~Tx() = default;

Result<Rows> Tx::exec(std::string_view sql, const std::vector<Param>& params) {
  CREEL_CHECK(impl_->usable());
  std::vector<const char*> values;
  std::vector<int> lengths, formats;
  for (const auto& param : params) {
    const auto& text = param.text();
    if (text && !param.binary() && !valid_text(*text)) {
      return Error{ErrorKind::invalid, "a text is not UTF-8 or holds a zero byte"};
    }
    values.push_back(text ? text->data() : nullptr);
    lengths.push_back(text ? static_cast<int>(text->size()) : 0);
    formats.push_back(param.binary() ? 1 : 0);
  }
  PGconn* connection = impl_->connection.get();
  const Deadline deadline{answer_timeout(impl_->pool->options.statement_timeout)};
  if (PQsendQueryParams(connection, std::string{sql}.c_str(), static_cast<int>(params.size()), nullptr, values.data(),
                        lengths.data(), formats.data(), 0) == 0) {
    impl_->broken = true;
    return error_of(nullptr, connection);
  }
  CREEL_TRY(auto result, impl_->settle(await_result(connection, deadline), deadline));
  auto rows = std::make_shared<Rows::Impl>();
  rows->result = std::move(result);
  return Rows{std::move(rows)};
}

Result<void> Tx::exec_script(std::string_view sql) {
  CREEL_CHECK(impl_->usable());
  PGconn* connection = impl_->connection.get();
  const Deadline deadline{answer_timeout(impl_->pool->options.statement_timeout)};
  if (PQsendQuery(connection, std::string{sql}.c_str()) == 0) {
    impl_->broken = true;
    return error_of(nullptr, connection);
  }
  CREEL_TRY([[maybe_unused]] const auto result, impl_->settle(await_result(connection, deadline), deadline));
  return {};
}

Result<void> Tx::commit() {
  CREEL_CHECK(impl_->usable());
  PGconn* connection = impl_->connection.get();
  const Deadline deadline{answer_timeout(impl_->pool->options.statement_timeout)};
  if (PQsendQuery(connection, "COMMIT") == 0) {
    impl_->broken = true;
    return error_of(nullptr, connection);
  }
  CREEL_TRY(const auto result, impl_->settle(await_result(connection, deadline), deadline));
  impl_->open = false;
  // PostgreSQL answers the COMMIT of a failed transaction with success and the tag ROLLBACK.
  if (std::string_view{PQcmdStatus(result.get())} != "COMMIT") {
    return Error{ErrorKind::internal, "the transaction had failed before and was rolled back"};
  }
  return {};
}

// ---- Database

Result<std::unique_ptr<Database>> Database::open(std::string conninfo, std::size_t pool_size, DatabaseOptions options) {
  auto pool = std::make_shared<Pool>();
  pool->conninfo = std::move(conninfo);
  pool->size = std::max<std::size_t>(pool_size, 1);
  pool->options = options;
  CREEL_TRY(auto first, pool->fresh());
  pool->idle.push_back(std::move(first));
  return std::unique_ptr<Database>{new Database{std::move(pool)}};
}

Database::~Database() = default;

Result<Tx> Database::begin() {
  CREEL_TRY(auto connection, pool_->take());
  const auto give_up = [&](Error error) -> Result<Tx> {
    pool_->give_back(nullptr);
    return error;
  };
  // An idle connection may have died with its server; a new one is tried once before that is anybody's problem.
  if (connection && alive(connection.get()) && run(connection.get(), "BEGIN", pool_->options.connect_timeout)) {
    return Tx{std::unique_ptr<Tx::Impl>{new Tx::Impl{pool_, std::move(connection)}}};
  }
  connection.reset();
  auto fresh = pool_->fresh();
  if (!fresh) return give_up(fresh.error());
  if (auto begun = run(fresh->get(), "BEGIN", pool_->options.connect_timeout); !begun) return give_up(begun.error());
  return Tx{std::unique_ptr<Tx::Impl>{new Tx::Impl{pool_, std::move(*fresh)}}};
}

Result<void> Database::ping() {
  CREEL_TRY(auto tx, begin());
  CREEL_TRY([[maybe_unused]] const auto rows, tx.exec("SELECT 1"));
  return tx.commit();
}

PoolStats Database::stats() const {
  const std::lock_guard lock{pool_->mutex};
  return {pool_->size, pool_->in_use, pool_->waits};
}

// ---- ListenConnection

struct ListenConnection::Impl {
  ConnectionPtr connection;

  std::vector<Notification> collect() const {
    std::vector<Notification> found;
    while (PGnotify* notify = PQnotifies(connection.get())) {
      found.push_back({notify->relname, notify->extra});
      PQfreemem(notify);
    }
    return found;
  }
};

ListenConnection::ListenConnection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ListenConnection::ListenConnection(ListenConnection&&) noexcept = default;
ListenConnection& ListenConnection::operator=(ListenConnection&&) noexcept = default;
ListenConnection::~ListenConnection() = default;

Result<ListenConnection> ListenConnection::open(const std::string& conninfo, const std::vector<std::string>& channels) {
  const DatabaseOptions options;
  CREEL_TRY(auto connection, connect(conninfo, options));
  for (const auto& channel : channels) {
    char* quoted = PQescapeIdentifier(connection.get(), channel.data(), channel.size());
    if (quoted == nullptr) return Error{ErrorKind::invalid, "not a channel name"};
    const auto sql = std::string{"LISTEN "} + quoted;
    PQfreemem(quoted);
    CREEL_TRY([[maybe_unused]] const auto done, run(connection.get(), sql.c_str(), options.connect_timeout));
  }
  return ListenConnection{std::unique_ptr<Impl>{new Impl{std::move(connection)}}};
}

Result<std::vector<Notification>> ListenConnection::wait(milliseconds timeout, int wake_fd) {
  PGconn* connection = impl_->connection.get();
  auto found = impl_->collect();
  if (!found.empty()) return found;
  pollfd entries[2] = {{PQsocket(connection), POLLIN, 0}, {wake_fd, POLLIN, 0}};
  const int ready = ::poll(entries, wake_fd >= 0 ? 2 : 1, static_cast<int>(timeout.count()));
  if (ready < 0 && errno != EINTR)
    return unavailable(std::string{"cannot wait for PostgreSQL: "} + std::strerror(errno));
  if (ready > 0 && entries[0].revents != 0 && PQconsumeInput(connection) == 0) return error_of(nullptr, connection);
  return impl_->collect();
}

Result<void> ListenConnection::check() {
  CREEL_TRY([[maybe_unused]] const auto done, run(impl_->connection.get(), "SELECT 1", milliseconds{5'000}));
  return {};
}

}  // namespace creel::store
