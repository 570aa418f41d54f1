#include "controller/store/stats_history.hpp"

#include <array>
#include <charconv>
#include <string>

namespace creel::store {
namespace {

using std::chrono::seconds;

struct Tier {
  int resolution;  // seconds
  std::chrono::hours kept;
};
constexpr std::array<Tier, 3> kTiers{
    {{10, std::chrono::hours{1}}, {60, std::chrono::hours{24}}, {600, std::chrono::hours{24 * 30}}}};
// A reader's range ends before now, and begins before what is just being removed.
constexpr std::chrono::minutes kSlack{15};
// A slot is rolled up when it has been over for so long: later than any writer is late.
constexpr seconds kLate{20};
constexpr int kSlotsAtOnce = 60;
constexpr int kRemovedAtOnce = 5'000;

// Of several rows, one; in the order of the columns after (agent_id, resolution, at).
constexpr const char* kAggregates =
    "max(sampled_at) AS sampled_at, (array_agg(started_at ORDER BY at DESC))[1] AS started_at, "
    "sum(samples)::integer AS samples, (array_agg(cpu_seconds_total ORDER BY at DESC))[1] AS cpu_seconds_total, "
    "sum(cpu_seconds) AS cpu_seconds, sum(span) AS span, max(cpu_max) AS cpu_max, "
    "round(sum(memory_bytes::numeric * samples) / sum(samples))::bigint AS memory_bytes, max(memory_max) AS "
    "memory_max, "
    "(array_agg(memory_limit ORDER BY at DESC))[1] AS memory_limit, "
    "(array_agg(rx_total ORDER BY at DESC))[1] AS rx_total, (array_agg(tx_total ORDER BY at DESC))[1] AS tx_total, "
    "sum(rx)::bigint AS rx, sum(tx)::bigint AS tx, max(pids) AS pids, bool_or(gap) AS gap";

std::string slots(seconds length) {
  return "date_bin('" + std::to_string(length.count()) + " seconds', at, '1970-01-01T00:00:00Z')";
}

std::string number(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

std::int64_t count(TimePoint time) { return time.time_since_epoch().count(); }

std::optional<double> real(const Rows::Row& row, const char* column) {
  if (row.is_null(column)) return std::nullopt;
  const std::string text = row.text(column);
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::optional<std::int64_t> whole(const Rows::Row& row, const char* column) {
  return row.is_null(column) ? std::nullopt : std::optional{row.integer(column)};
}

std::optional<double> percent(const Rows::Row& row) {
  const auto used = real(row, "cpu_seconds"), span = real(row, "span");
  if (!used || !span || *span <= 0) return std::nullopt;
  return *used / *span * 100.0;
}

// A PostgreSQL array of values that need no quoting.
class Column {
 public:
  void add(const std::string& value) { text_ += (text_.size() > 1 ? "," : "") + value; }
  void add(std::int64_t value) { add(std::to_string(value)); }
  Param param() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

// Where the tier's rolled-up slots end: the end of its newest one.
Result<std::optional<TimePoint>> rolled_until(Tx& tx, int resolution) {
  CREEL_TRY(const auto rows,
            tx.exec("SELECT max(at) AS at FROM agent_stats WHERE resolution = " + std::to_string(resolution)));
  const auto newest = rows[0].optional_time("at");
  return newest ? std::optional{*newest + seconds{resolution}} : std::nullopt;
}

// Two controllers that tend at once would do everything twice.
Result<bool> alone(Tx& tx) {
  CREEL_TRY(const auto rows, tx.exec("SELECT pg_try_advisory_xact_lock(hashtext('creel agent_stats')) AS alone"));
  return rows[0].boolean("alone");
}

// One step; false: nothing is left to do.
Result<bool> roll_up(Database& database, int from, int to, TimePoint now) {
  CREEL_TRY(auto tx, database.begin());
  CREEL_TRY(const bool go, alone(tx));
  if (!go) return false;
  const seconds length{to};
  const milliseconds step{length};
  const TimePoint end{(now - kLate).time_since_epoch() / step * step};
  CREEL_TRY(auto begin, rolled_until(tx, to));
  const std::string source = "agent_stats WHERE resolution = " + std::to_string(from);
  // The first slot that has something to roll up: time in which nothing ran is stepped over.
  CREEL_TRY(const auto first,
            tx.exec("SELECT min(at) AS at FROM " + source + " AND at >= $1", {begin.value_or(TimePoint{})}));
  const auto oldest = first[0].optional_time("at");
  if (!oldest) return false;
  begin = TimePoint{oldest->time_since_epoch() / step * step};
  if (*begin >= end) return false;
  const TimePoint until = std::min(end, *begin + kSlotsAtOnce * step);
  CREEL_TRY([[maybe_unused]] const auto made,
            tx.exec("INSERT INTO agent_stats SELECT agent_id, " + std::to_string(to) + ", " + slots(length) +
                        " AS slot, " + kAggregates + " FROM " + source +
                        " AND at >= $1 AND at < $2 GROUP BY agent_id, slot ON CONFLICT DO NOTHING",
                    {*begin, until}));
  CREEL_CHECK(tx.commit());
  return until < end;
}

Result<bool> remove_old(Database& database, const Tier& tier, const Tier* coarser, TimePoint now) {
  CREEL_TRY(auto tx, database.begin());
  CREEL_TRY(const bool go, alone(tx));
  if (!go) return false;
  TimePoint before = now - tier.kept - kSlack;
  // Nothing goes before it was rolled up, however long no controller ran.
  if (coarser != nullptr) {
    CREEL_TRY(const auto rolled, rolled_until(tx, coarser->resolution));
    before = std::min(before, rolled.value_or(TimePoint{}));
  }
  const std::string rows = "agent_stats WHERE resolution = " + std::to_string(tier.resolution);
  CREEL_TRY(const auto removed, tx.exec("DELETE FROM " + rows + " AND ctid = ANY (ARRAY(SELECT ctid FROM " + rows +
                                            " AND at < $1 LIMIT " + std::to_string(kRemovedAtOnce) + "))",
                                        {before}));
  CREEL_CHECK(tx.commit());
  return removed.affected() == kRemovedAtOnce;
}

}  // namespace

TimePoint slot_of(TimePoint sampled_at, seconds length) {
  const milliseconds step{length};
  return TimePoint{(sampled_at.time_since_epoch() + step / 2) / step * step - step};
}

Result<void> write_samples(Tx& tx, const std::vector<RunSample>& samples, seconds length) {
  if (samples.empty()) return {};
  Column agent, slot, sampled, started, cpu, share, memory, limit, rx, tx_bytes, pids;
  for (const auto& [id, started_at, sample] : samples) {
    agent.add(id.str());
    slot.add(count(slot_of(sample.at, length)));
    sampled.add(count(sample.at));
    started.add(count(started_at));
    cpu.add(number(sample.cpu_seconds_total));
    share.add(sample.cpu_known ? number(sample.cpu_percent) : "NULL");
    memory.add(sample.memory_bytes);
    limit.add(sample.memory_limit_bytes);
    rx.add(sample.network_known ? std::to_string(sample.network_rx_bytes) : "NULL");
    tx_bytes.add(sample.network_known ? std::to_string(sample.network_tx_bytes) : "NULL");
    pids.add(sample.pids);
  }
  // Growth since the agent's sample before, if that is of the same run and not older than an hour; a run that began
  // since then, or within the hour, has used what its counters say.
  CREEL_TRY(
      [[maybe_unused]] const auto written,
      tx.exec(
          "WITH given AS (SELECT agent_id, to_timestamp(slot / 1000.0)::timestamptz(3) AS slot, "
          "to_timestamp(sampled / 1000.0)::timestamptz(3) AS sampled_at, "
          "to_timestamp(started / 1000.0)::timestamptz(3) AS started_at, cpu, share, memory, mem_limit, rx, tx, pids "
          "FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::float8[], $6::float8[], $7::bigint[], "
          "$8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[]) "
          "AS n (agent_id, slot, sampled, started, cpu, share, memory, mem_limit, rx, tx, pids)), "
          "compared AS (SELECT n.*, p.sampled_at AS p_sampled_at, p.cpu_seconds_total AS p_cpu, "
          "p.rx_total AS p_rx, p.tx_total AS p_tx, "
          "coalesce(p.started_at = n.started_at AND n.cpu >= p.cpu_seconds_total, false) AS same, "
          "coalesce(n.started_at >= p.sampled_at, n.sampled_at - n.started_at <= interval '1 hour') AS new_run "
          "FROM given n JOIN agents a ON a.id = n.agent_id LEFT JOIN LATERAL "
          "(SELECT * FROM agent_stats s WHERE s.resolution = 10 AND s.agent_id = n.agent_id AND s.at < n.slot "
          "AND s.at >= n.slot - interval '1 hour' ORDER BY s.at DESC LIMIT 1) p ON true), "
          "grown AS (SELECT *, extract(epoch FROM CASE WHEN same THEN sampled_at - p_sampled_at "
          "WHEN new_run THEN sampled_at - started_at END) AS span FROM compared) "
          "INSERT INTO agent_stats SELECT agent_id, 10, slot, sampled_at, started_at, 1, cpu, "
          "CASE WHEN same THEN cpu - p_cpu WHEN new_run THEN cpu END, span, share, memory, memory, mem_limit, rx, tx, "
          "CASE WHEN same AND rx >= p_rx THEN rx - p_rx WHEN new_run THEN rx END, "
          "CASE WHEN same AND tx >= p_tx THEN tx - p_tx WHEN new_run THEN tx END, pids, "
          "coalesce(span > $12 * 1.5, false) FROM grown ON CONFLICT DO NOTHING",
          {agent.param(), slot.param(), sampled.param(), started.param(), cpu.param(), share.param(), memory.param(),
           limit.param(), rx.param(), tx_bytes.param(), pids.param(), static_cast<std::int64_t>(length.count())}));
  return {};
}

Result<void> tend_stats(Database& database, TimePoint now, std::stop_token stop) {
  for (std::size_t i = 0; i + 1 < kTiers.size(); ++i) {
    bool more = true;
    while (more && !stop.stop_requested()) {
      CREEL_TRY(more, roll_up(database, kTiers[i].resolution, kTiers[i + 1].resolution, now));
    }
  }
  for (std::size_t i = 0; i < kTiers.size(); ++i) {
    const Tier* coarser = i + 1 < kTiers.size() ? &kTiers[i + 1] : nullptr;
    bool more = true;
    while (more && !stop.stop_requested()) {
      CREEL_TRY(more, remove_old(database, kTiers[i], coarser, now));
    }
  }
  return {};
}

Result<std::optional<RunSample>> newest_sample(Tx& tx, const AgentId& agent) {
  std::string sql;
  for (const Tier& tier : kTiers)
    sql += std::string{sql.empty() ? "" : "UNION ALL "} +
           "(SELECT * FROM agent_stats WHERE agent_id = $1 AND resolution = " + std::to_string(tier.resolution) +
           " ORDER BY at DESC LIMIT 1) ";
  CREEL_TRY(const auto rows, tx.exec(sql + "ORDER BY sampled_at DESC, resolution LIMIT 1", {agent}));
  if (rows.empty()) return std::optional<RunSample>{};
  const auto row = rows[0];
  RunSample found{agent, row.time("started_at"), {}};
  StatsSample& sample = found.sample;
  sample.at = row.time("sampled_at");
  const auto share = percent(row);
  sample.cpu_known = share.has_value();
  sample.cpu_percent = share.value_or(0);
  sample.cpu_seconds_total = real(row, "cpu_seconds_total").value_or(0);
  sample.memory_bytes = row.integer("memory_bytes");
  sample.memory_limit_bytes = row.integer("memory_limit");
  sample.network_known = !row.is_null("rx_total");
  sample.network_rx_bytes = row.integer("rx_total");
  sample.network_tx_bytes = row.integer("tx_total");
  sample.pids = row.integer("pids");
  return std::optional{found};
}

Result<std::vector<UsagePoint>> stats_history(Tx& tx, const AgentId& agent, TimePoint from, TimePoint to,
                                              seconds length) {
  // Each tier as far as it has been rolled up, and what is newer from the finer ones: the last minutes are not missing.
  std::string sources;
  TimePoint begin = from;
  for (std::size_t i = kTiers.size(); i-- > 0;) {
    const Tier& tier = kTiers[i];
    if (seconds{tier.resolution} > length) continue;
    TimePoint end = to;
    if (i > 0) {
      CREEL_TRY(const auto rolled, rolled_until(tx, tier.resolution));
      end = std::clamp(rolled.value_or(begin), begin, to);
    }
    sources += std::string{sources.empty() ? "" : " OR "} + "(resolution = " + std::to_string(tier.resolution) +
               " AND at >= '" + to_rfc3339(begin) + "' AND at < '" + to_rfc3339(end) + "')";
    begin = end;
  }
  CREEL_TRY(const auto rows,
            tx.exec("SELECT " + slots(length) + " AS slot, " + kAggregates +
                        " FROM agent_stats WHERE agent_id = $1 AND (" + sources + ") GROUP BY slot ORDER BY slot",
                    {agent}));
  std::vector<UsagePoint> points;
  for (int i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    points.push_back({row.time("slot"), row.integer("samples"), percent(row), real(row, "cpu_max"),
                      row.integer("memory_bytes"), row.integer("memory_max"), row.integer("memory_limit"),
                      whole(row, "rx"), whole(row, "tx"), row.integer("pids"), row.boolean("gap")});
  }
  return points;
}

Result<void> drop_stats(Tx& tx, const AgentId& agent) {
  CREEL_TRY([[maybe_unused]] const auto rows, tx.exec("DELETE FROM agent_stats WHERE agent_id = $1", {agent}));
  return {};
}

}  // namespace creel::store
