// --watch and --follow: what goes on until Ctrl-C, through restarts of the controller. Threads: each has one of its own
// beside the caller's.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "controller/cli/client.hpp"
#include "controller/cli/format.hpp"
#include "controller/core/result.hpp"

namespace creel::cli {

// One of the things that are looked at, at one moment.
struct Seen {
  std::string key;  // its id
  Row row;
  std::string json;   // on one line
  std::string state;  // with --json, what makes a change a change: without the times of observation
};
struct Look {
  std::string page;  // what the command prints without --watch
  std::vector<Seen> seen;
  bool ended = false;  // there is nothing more to see
};
struct Watch {
  std::string events;  // path of the stream that tells when to look again
  int every;           // beats, for what changes without an event; more than two
  Columns header;
};

// Looks, shows, waits for an event, and so on. On a terminal the page is drawn in place; elsewhere a row is printed for
// each thing that is new or has changed (with --json its object on one line, {"deleted": key} when it is gone). The
// first look must succeed; later the API may be away, which is said, once. Ends with ErrorKind::cancelled.
Result<void> watch(Client client, const Watch& what, const std::function<Result<Look>()>& look);

struct Stream {
  std::function<std::string()> path;             // asked for each connection
  std::string last_id;                           // "" or that of the event after which to begin
  std::function<bool(const ServerEvent&)> sink;  // false: enough
  std::function<void()> returned{};              // null, or told that the next events come from another connection
  // null, or asked whether it is over when the server has ended the stream; else that is an interruption too.
  std::function<Result<bool>()> over{};
};
// Follows it until enough, over, or Ctrl-C (ErrorKind::cancelled). When the connection breaks, that is said, and the
// stream is taken up where it ended, by the id of the last event.
Result<void> follow_through(Client client, Stream stream);

// Shows on standard error what becomes of an agent, beginning a moment later, until it is destroyed.
class Follower {
 public:
  Follower(Client client, std::string id);
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

 private:
  void run(const std::stop_token& stop);
  Client client_;
  const std::string id_;
  std::jthread thread_;
};

// "Pulling: 3 of 7 layers, 10 of 20 MB": phase and reason of an agent, as a line.
std::string progress_of(const nlohmann::json& agent);

// Whether what failed may go by itself: the API is away, or asked too often.
bool passes(const Error& error);

// False once a stop is asked for.
bool pause(const std::stop_token& stop, std::chrono::milliseconds time);

}  // namespace creel::cli
