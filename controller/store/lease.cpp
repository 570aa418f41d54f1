#include "controller/store/lease.hpp"

#include <spdlog/spdlog.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "controller/core/ids.hpp"

namespace creel::store {
namespace {
constexpr const char* kExpiry = "clock_timestamp() + $1::bigint * interval '1 millisecond'";

// Goes on while the machine sleeps, which steady_clock does not.
struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
  static time_point now() {
    timespec time{};
    clock_gettime(CLOCK_BOOTTIME, &time);
    return time_point{std::chrono::seconds{time.tv_sec} + duration{time.tv_nsec}};
  }
};
}  // namespace

Result<std::optional<std::uint64_t>> acquire_lease(Tx& tx, const std::string& controller_id, const std::string& holder,
                                                   std::chrono::milliseconds ttl) {
  // Looked at without a lock first: those who wait for the lease ask often and must not hold up who has it.
  CREEL_TRY(const auto seen, tx.exec("SELECT term, holder = $2 OR expires_at <= clock_timestamp() AS free FROM lease "
                                     "WHERE controller_id = $1",
                                     {controller_id, holder}));
  const auto taken = [](const Rows& rows) {
    return rows.empty() ? std::nullopt : std::optional{rows[0].unsigned_integer("term")};
  };
  if (seen.empty()) {
    CREEL_TRY(const auto rows, tx.exec(std::string{"INSERT INTO lease (controller_id, holder, term, expires_at) VALUES "
                                                   "($2, $3, 1, "} +
                                           kExpiry + ") ON CONFLICT DO NOTHING RETURNING term",
                                       {static_cast<std::int64_t>(ttl.count()), controller_id, holder}));
    return taken(rows);
  }
  if (!seen[0].boolean("free")) return std::optional<std::uint64_t>{};
  CREEL_TRY(const auto rows,
            tx.exec(std::string{"UPDATE lease SET holder = $3, term = term + 1, expires_at = "} + kExpiry +
                        " WHERE controller_id = $2 AND (holder = $3 OR expires_at <= clock_timestamp()) "
                        "RETURNING term",
                    {static_cast<std::int64_t>(ttl.count()), controller_id, holder}));
  return taken(rows);
}

Result<bool> renew_lease(Tx& tx, const std::string& controller_id, const std::string& holder, std::uint64_t term,
                         std::chrono::milliseconds ttl) {
  CREEL_TRY(const auto rows, tx.exec(std::string{"UPDATE lease SET expires_at = "} + kExpiry +
                                         " WHERE controller_id = $2 AND holder = $3 AND term = $4",
                                     {static_cast<std::int64_t>(ttl.count()), controller_id, holder, term}));
  return rows.affected() == 1;
}

Result<void> release_lease(Tx& tx, const std::string& controller_id, const std::string& holder, std::uint64_t term) {
  // The row stays: the term must never go back.
  CREEL_TRY([[maybe_unused]] const auto rows,
            tx.exec("UPDATE lease SET expires_at = '-infinity' WHERE controller_id = $1 AND holder = $2 AND term = $3",
                    {controller_id, holder, term}));
  return {};
}

Result<void> check_term(Tx& tx, const std::string& controller_id, std::uint64_t term) {
  CREEL_TRY(const auto rows, tx.exec("SELECT term FROM lease WHERE controller_id = $1 FOR KEY SHARE", {controller_id}));
  if (rows.empty() || rows[0].unsigned_integer("term") != term) {
    return Error{ErrorKind::conflict, "another controller has taken over", {}, "LEASE_LOST"};
  }
  return {};
}

struct Lease::Impl {
  using Clock = BootClock;

  std::string conninfo;
  std::string controller_id;
  Gained gained;
  Lost lost;
  LeaseOptions options;
  const std::string holder = random_hex(8);

  std::unique_ptr<Database> database;
  bool holding = false;  // between gained() and lost(); the thread's own
  bool complained = false;
  std::atomic<Clock::rep> until{Clock::time_point::min().time_since_epoch().count()};
  std::atomic<std::uint64_t> term{0};

  std::mutex mutex;
  std::condition_variable_any woken;
  std::jthread thread;

  bool valid() const { return Clock::now().time_since_epoch().count() < until.load(); }
  void set_until(Clock::time_point time) { until = time.time_since_epoch().count(); }
  void forget_until() { set_until(Clock::time_point::min()); }

  // Database of its own, opened when it can be.
  Result<Tx> begin() {
    if (!database) {
      DatabaseOptions database_options;
      // One try must not take so long that the loss of the lease is told late.
      const auto limit = std::max(options.renew / 2, std::chrono::milliseconds{500});
      database_options.connect_timeout = limit;
      database_options.statement_timeout = limit;
      CREEL_TRY(database, Database::open(conninfo, 1, database_options));
    }
    return database->begin();
  }

  Result<std::optional<std::uint64_t>> try_acquire() {
    CREEL_TRY(auto tx, begin());
    CREEL_TRY(const auto taken, acquire_lease(tx, controller_id, holder, options.ttl));
    CREEL_CHECK(tx.commit());
    return taken;
  }

  Result<bool> try_renew() {
    CREEL_TRY(auto tx, begin());
    CREEL_TRY(const bool kept, renew_lease(tx, controller_id, holder, term, options.ttl));
    CREEL_CHECK(tx.commit());
    return kept;
  }

  void lose(const char* why) {
    holding = false;
    forget_until();
    spdlog::warn("lease of controller '{}' lost: {}", controller_id, why);
    if (lost) lost();
  }

  // One error is told once, not every second.
  void complain(const Error& error) {
    if (!complained) spdlog::warn("lease of controller '{}': {}", controller_id, error.message);
    complained = true;
  }

  // Returns how long to wait before the next step.
  std::chrono::milliseconds step() {
    const auto started = Clock::now();
    if (!holding) {
      auto taken = try_acquire();
      if (!taken) {
        complain(taken.error());
        return options.poll;
      }
      complained = false;
      if (!*taken) return options.poll;
      term = **taken;
      set_until(started + options.ttl);
      holding = true;
      spdlog::info("lease of controller '{}' held, term {}", controller_id, **taken);
      if (gained) gained(**taken);
      return options.renew;
    }
    auto kept = try_renew();
    if (kept && *kept) {
      complained = false;
      set_until(started + options.ttl);
      return options.renew;
    }
    if (kept) {
      lose("another controller has taken it");
      return options.poll;
    }
    complain(kept.error());
    if (!valid()) lose("it could not be renewed in time");
    return options.poll;
  }

  void run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      auto pause = step();
      if (holding) {
        // Not beyond the moment at which the lease is lost by itself.
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(
            Clock::time_point{Clock::duration{until.load()}} - Clock::now());
        pause = std::clamp(left, std::chrono::milliseconds{0}, pause);
      }
      std::unique_lock lock{mutex};
      woken.wait_for(lock, stop, pause, [&] { return stop.stop_requested(); });
    }
    if (!holding) return;
    holding = false;
    forget_until();
    if (lost) lost();
    auto tx = begin();
    if (!tx) return;
    if (release_lease(*tx, controller_id, holder, term) && tx->commit()) {
      spdlog::info("lease of controller '{}' given back", controller_id);
    }
  }
};

Lease::Lease(std::string conninfo, std::string controller_id, Gained gained, Lost lost, LeaseOptions options)
    : impl_(std::make_unique<Impl>()) {
  impl_->conninfo = std::move(conninfo);
  impl_->controller_id = std::move(controller_id);
  impl_->gained = std::move(gained);
  impl_->lost = std::move(lost);
  impl_->options = options;
  impl_->thread = std::jthread{[impl = impl_.get()](const std::stop_token& stop) { impl->run(stop); }};
}

Lease::~Lease() { stop(); }

bool Lease::held() const { return impl_->valid(); }
std::uint64_t Lease::term() const { return impl_->term; }

void Lease::stop() {
  impl_->thread.request_stop();
  if (impl_->thread.joinable()) impl_->thread.join();
}

}  // namespace creel::store
