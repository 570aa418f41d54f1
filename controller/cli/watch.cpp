#include "controller/cli/watch.hpp"

#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "controller/core/clock.hpp"

namespace creel::cli {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;

// In beats. A controller that is away, or a stream that has ended, is not asked in a busy loop; and events come in
// bursts, while the API counts requests.
constexpr int kApart = 2;

Error interrupted() { return Error{ErrorKind::cancelled, "interrupted", {}, {}}; }

// The stream of events, as a bell. It may be away: then only time tells when to look again.
class Bell {
 public:
  Bell(const Config& config, std::string path, milliseconds apart)
      : thread_{[this, &config, path = std::move(path), apart](const std::stop_token& stop) {
          ApiClient api{config, stop};
          do {
            bool opened = false;
            // A stream that opens or ends is a reason, too: what was missed, and whether the controller is away.
            const auto on_open = [&] {
              opened = true;
              ring();
            };
            (void)api.follow(
                path,
                [&](const ServerEvent&) {
                  ring();
                  return true;
                },
                {}, on_open);  // why it ended is the looks' to find out
            if (opened) ring();
          } while (pause(stop, apart));
        }} {}

  // Until it rings, or `longest`. False once a stop is asked for.
  bool wait(const std::stop_token& stop, milliseconds longest) {
    std::unique_lock lock{mutex_};
    changed_.wait_for(lock, stop, longest, [this] { return std::exchange(rung_, false); });
    return !stop.stop_requested();
  }

 private:
  void ring() {
    const std::lock_guard lock{mutex_};
    rung_ = true;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool rung_ = false;
  std::jthread thread_;  // last: it uses the others
};

// What was printed of each thing, where nothing can be drawn in place.
class Changes {
 public:
  Changes(Client client, const Columns& header)
      : client_(client), table_(timed(header), client.io.width, client.io.colors) {}

  void print(const Look& look) {
    if (!client_.json && before_.empty() && !look.seen.empty()) client_.io.out << table_.title();
    std::set<std::string> now;
    for (const auto& seen : look.seen) {
      now.insert(seen.key);
      const std::string state = client_.json ? seen.state : joined(seen.row);
      auto& known = before_[seen.key];
      if (known == state) continue;
      known = state;
      if (client_.json)
        client_.io.out << seen.json << "\n";
      else
        print_row(seen.row);
    }
    for (auto at = before_.begin(); at != before_.end();) {
      if (now.contains(at->first)) {
        ++at;
        continue;
      }
      if (client_.json)
        client_.io.out << dumped(Json{{"deleted", at->first}}) << "\n";
      else
        print_row({at->first, "deleted"});
      at = before_.erase(at);
    }
    client_.io.out.flush();
  }

 private:
  static Columns timed(const Columns& header) {
    Columns all{{"TIME"}};
    all.insert(all.end(), header.begin(), header.end());
    return all;
  }
  static std::string joined(const Row& row) {
    std::string text;
    for (const auto& cell : row) text += cell + '\0';
    return text;
  }
  void print_row(const Row& row) {
    Row all{to_rfc3339(system_now())};
    all.insert(all.end(), row.begin(), row.end());
    client_.io.out << table_.line(all);
  }

  Client client_;
  GrowingTable table_;
  std::map<std::string, std::string> before_;
};

std::string waiting(const Error& error) { return error.message + "; waiting for it (Ctrl-C ends this)"; }

}  // namespace

bool passes(const Error& error) {
  return error.kind == ErrorKind::unavailable || error.kind == ErrorKind::timeout || error.kind == ErrorKind::limit;
}

bool pause(const std::stop_token& stop, milliseconds time) {
  std::mutex mutex;
  std::condition_variable_any nobody;
  std::unique_lock lock{mutex};
  nobody.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

Result<void> watch(Client client, const Watch& what, const std::function<Result<Look>()>& look) {
  const bool in_place = client.io.live && !client.json;
  Display display{client.io};
  Changes changes{client, what.header};
  const milliseconds beat = client.io.beat;
  Bell bell{client.config, what.events, kApart * beat};
  std::string page;
  bool away = false;
  for (bool first = true;; first = false) {
    if (in_place && client.io.measure) client.io.width = client.io.measure().width;  // somebody may have pulled at it
    const auto now = look();
    if (client.stop.stop_requested()) return interrupted();
    if (!now && (first || !passes(now.error()))) return now.error();
    if (now) page = now->page;
    if (in_place) {
      const std::string note = now ? "" : clipped(printable(waiting(now.error())), client.io.width);
      display.draw(page + (now ? "" : "\n" + tinted(note, Tint::busy, client.io.colors) + "\n"));
    } else if (now) {
      if (away) client.io.err << "Creel answers again.\n";
      changes.print(*now);
      if (!client.io.out.good()) return {};  // the reader of a pipe has left
    } else if (!away) {
      client.io.err << printable(waiting(now.error())) << "\n" << std::flush;
    }
    away = !now;
    if (now && now->ended) return {};
    if (!pause(client.stop, kApart * beat)) return interrupted();
    if (!away && !bell.wait(client.stop, (what.every - kApart) * beat)) return interrupted();
  }
}

Result<void> follow_through(Client client, Stream stream) {
  bool away = false;
  for (bool first = true;; first = false) {
    bool opened = false, enough = false, closed = false;
    const auto on_open = [&] {
      opened = true;
      if (std::exchange(away, false)) client.io.err << "The connection is back.\n" << std::flush;
      if (!first && stream.returned) stream.returned();
    };
    const auto take = [&](const ServerEvent& event) {
      if (!event.id.empty()) stream.last_id = event.id;
      closed = event.name == "end";
      enough = !closed && !stream.sink(event);
      return !enough && !closed;
    };
    const auto ended = client.api.follow(stream.path(), take, stream.last_id, on_open);
    if (client.stop.stop_requested()) return interrupted();
    if (enough) return {};
    if (!ended && ((first && !opened) || !passes(ended.error()))) return ended.error();
    if (closed && stream.over) {
      const auto over = stream.over();
      if (!over && !passes(over.error())) return over.error();
      if (over && *over) return {};
    }
    if (!std::exchange(away, true))
      client.io.err << printable(ended ? "The server ended the stream" : ended.error().message)
                    << "; waiting to go on (Ctrl-C ends this)\n"
                    << std::flush;
    if (!pause(client.stop, kApart * client.io.beat)) return interrupted();
  }
}

std::string progress_of(const Json& agent) {
  std::string reason = shown(agent, "message");
  for (const auto& condition : member(agent, "conditions")) {
    if (reason.empty() && shown(condition, "type") == "Progressing") reason = shown(condition, "message");
  }
  const std::string phase = shown(agent, "phase");
  return phase + (phase.empty() || reason.empty() ? "" : ": ") + reason;
}

Follower::Follower(Client client, std::string id)
    : client_(client), id_(std::move(id)), thread_([this](const std::stop_token& stop) { run(stop); }) {}

Follower::~Follower() = default;

void Follower::run(const std::stop_token& stop) {
  ApiClient api{client_.config, stop};
  Progress progress{client_.io};
  while (pause(stop, client_.io.beat)) {
    const auto answer = api.call("GET", agent_path(id_), nullptr, kReadDeadline);
    if (!answer || stop.stop_requested()) continue;  // the call that is waited for says what is wrong
    const Json& agent = member(*answer, "agent");
    progress.show(progress_of(agent));
  }
}

}  // namespace creel::cli
