// Streams: the threads of event streams that block on their source (following a log). Bounded in number.
//
// Threads: every method from any thread. stop() asks every stream to end and joins; sources honour their stop token.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <stop_token>

#include "api/http.hpp"

namespace creel::api {

class Streams {
 public:
  explicit Streams(std::size_t max_streams);
  ~Streams();  // stop()
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  // False when max_streams run already, or after stop(). `run` writes to the sink until the token asks it to stop; the
  // token is asked as soon as the client leaves. The sink is closed when `run` returns.
  bool start(std::shared_ptr<StreamSink> sink, std::function<void(StreamSink&, std::stop_token)> run);
  bool full() const;
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::api
