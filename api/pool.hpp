// Pool: the handler threads. They may block on PostgreSQL, so there are as many as there are connections.
//
// Fair: work waits in a line of its own for each `share` (a client's address, say), and the lines take turns. Whoever
// brings much delays others by one piece of work, not by all of it. "" is a share like any other: the server's own.
//
// Threads: post() from any thread, never blocks. The queue needs no bound of its own: each connection has at most one
// request under way, and connections are bounded. Work must not throw (a throw is logged and dropped).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace creel::api {

using Post = std::function<void(std::function<void()>)>;

class Pool {
 public:
  explicit Pool(std::size_t threads);
  ~Pool();  // join()
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void post(std::function<void()> work, const std::string& share = "");
  // Finishes what is queued, then ends the threads; later posts are dropped.
  void join();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::api
