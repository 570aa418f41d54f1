#include "reconciler/runtime/docker/docker_logs.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "reconciler/runtime/docker/codec.hpp"
#include "reconciler/runtime/docker/log_decoder.hpp"

namespace creel::docker {

namespace {

// Runs one log request through a decoder. False: the sink has enough.
Result<bool> read_log(Engine& engine, const ContainerInfo& container, const LogQuery& query,
                      const LogDecoder::Sink& sink, std::stop_token stop) {
  LogDecoder decoder{container.tty};
  std::optional<Error> broken;
  bool more = true;
  CREEL_CHECK(engine.container_logs(
      container.id, query,
      [&](std::string_view bytes) {
        auto result = decoder.push(bytes, sink);
        if (!result) broken = std::move(result).error();
        more = !broken && *result;
        return more;
      },
      stop));
  if (broken) return *broken;
  return more && decoder.finish(sink);
}

bool runs(const ContainerInfo& info) {
  return info.state == ContainerState::running || info.state == ContainerState::paused;
}

}  // namespace

Result<std::vector<LogLine>> read_tail(Engine& engine, const ContainerInfo& container, std::size_t tail,
                                       std::optional<TimePoint> since, std::stop_token stop) {
  const std::int64_t from = since ? std::chrono::nanoseconds{since->time_since_epoch()}.count() : 0;
  std::vector<LogLine> lines;
  CREEL_CHECK(read_log(
      engine, container, LogQuery{tail, false, from},
      [&](RawLogLine raw) {
        lines.push_back(std::move(raw.line));
        return true;
      },
      stop));
  // The engine merges stdout and stderr in the order they came, but a line in several pieces ends later than it began.
  std::stable_sort(lines.begin(), lines.end(), [](const LogLine& a, const LogLine& b) { return a.at < b.at; });
  return lines;
}

Result<ContainerInfo> DockerLogs::find(const AgentId& id, std::stop_token stop) {
  CREEL_TRY(ContainerInfo info, engine_.container_inspect(object_name(id), stop));
  if (!is_ours(info.labels, id, controller_)) return Error{ErrorKind::not_found, "there is no container"};
  return info;
}

Result<std::vector<LogLine>> DockerLogs::tail(const AgentId& id, std::size_t tail, std::stop_token stop) {
  CREEL_TRY(const ContainerInfo info, find(id, stop));
  return read_tail(engine_, info, tail, {}, stop);
}

// Returns once the agent's container runs (true), or is gone (false).
Result<bool> DockerLogs::wait_for_run(const AgentId& id, std::stop_token stop) {
  // Looked at once the stream of events stands, so that no start can fall between the look and the stream.
  const nlohmann::json filters{{"type", {"container"}},
                               {"event", {"start", "destroy", "unpause"}},
                               {"label", {std::string{kLabelAgent} + "=" + id.str()}}};
  std::stop_source enough;
  const std::stop_callback forward{stop, [&] { enough.request_stop(); }};
  Result<bool> answer = true;
  bool known = false;
  const auto look = [&] {
    const auto info = find(id, stop);
    if (info) {
      answer = true;
      known = runs(*info);
    } else {
      known = true;
      answer = info.error().kind == ErrorKind::not_found ? Result<bool>{false} : Result<bool>{info.error()};
    }
    return !known;
  };
  const auto stream = engine_.events(
      filters.dump(),
      [&] {
        if (!look()) enough.request_stop();
      },
      [&](std::string_view) -> Result<bool> { return look(); }, enough.get_token());
  if (known) return answer;
  if (!stream) return stream.error();
  return answer;
}

Result<void> DockerLogs::follow(const AgentId& id, std::size_t tail, std::function<bool(const LogLine&)> sink,
                                std::stop_token stop) {
  CREEL_TRY(ContainerInfo info, find(id, stop));
  LogQuery query{tail, true, 0};
  std::int64_t seen = 0;  // time of the newest line
  int idle_ends = 0;      // ends of the stream in a row without a line, in one and the same run
  for (;;) {
    const std::int64_t seen_before = seen;
    CREEL_TRY(const bool more, read_log(
                                   engine_, info, query,
                                   [&](RawLogLine raw) {
                                     seen = std::max(seen, raw.unix_nanoseconds);
                                     return sink(raw.line);
                                   },
                                   stop));
    if (!more) return {};
    // The engine ends the stream when the process ends. What the next run prints is newer than all seen so far, or, if
    // nothing was seen, than the end of this run.
    const std::string ended = info.id;
    const auto run = info.started_at;
    CREEL_TRY(const bool running, wait_for_run(id, stop));
    if (!running) return {};
    auto found = find(id, stop);
    if (!found && found.error().kind == ErrorKind::not_found) return {};
    CREEL_TRY(info, std::move(found));
    idle_ends = info.id == ended && info.started_at == run && seen == seen_before && runs(info) ? idle_ends + 1 : 0;
    if (idle_ends > 3) return Error{ErrorKind::failed, "the engine keeps ending the log of a running container"};
    query.tail.reset();
    query.since_nanoseconds = 0;
    if (info.id != ended) {
      seen = 0;  // another container: all of its log is new
    } else if (seen != 0) {
      query.since_nanoseconds = seen + 1;
    } else if (info.finished_at) {
      query.since_nanoseconds = info.finished_at->time_since_epoch().count() * 1'000'000;
    }
  }
}

}  // namespace creel::docker
