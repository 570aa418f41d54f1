// Pool: the handler threads. They may block on PostgreSQL, so there are as many as there are connections.
//
// Threads: post() from any thread, never blocks. The queue needs no bound of its own: each connection has at most one
// request under way, and connections are bounded. Work must not throw (a throw is logged and dropped).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace creel::api {

using Post = std::function<void(std::function<void()>)>;

class Pool {
 public:
  explicit Pool(std::size_t threads);
  ~Pool();  // join()
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void post(std::function<void()> work);
  // Finishes what is queued, then ends the threads; later posts are dropped.
  void join();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::api
