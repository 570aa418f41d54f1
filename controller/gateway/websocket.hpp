// WebSocket: a client of gateways' WebSockets (RFC 6455, text messages, no TLS: they are reached at a bridge of this
// host). Beast is included in websocket.cpp only; libcurl, which talks to everything else, has no WebSocket in Debian
// 12.
//
// A SocketLoop is one thread on which everything happens: its sockets' handlers, its timers, what is posted to it.
// Handlers must not block or throw. Sizes in bytes.
//
// Threads: post() from any thread; everything else only on the loop's own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "controller/core/clock.hpp"
#include "controller/core/result.hpp"

namespace creel::gateway {

class SocketLoop;

class WebSocket {
 public:
  struct Handlers {
    std::function<void()> open;
    std::function<void(std::string_view text)> message;
    // The end, once, and nothing after it; not called after close(). `code`: of the peer's close frame, 0 = there was
    // none. Kinds: unavailable (no connection, or it broke), timeout (not open in time), failed (what came is no
    // WebSocket, or a message was too long: code MESSAGE_TOO_LONG).
    std::function<void(const Error& why, int code)> closed;
  };

  ~WebSocket();  // as close()
  WebSocket(const WebSocket&) = delete;
  WebSocket& operator=(const WebSocket&) = delete;

  // Queued; at most a few messages, because every one of them is a question that is waited for.
  void send(std::string text);
  // No handler is called any more. The peer is told goodbye if it listens, and given a moment for it.
  void close();

  struct Impl;

 private:
  friend class SocketLoop;
  explicit WebSocket(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

class SocketLoop {
 public:
  SocketLoop();
  ~SocketLoop();  // join()
  SocketLoop(const SocketLoop&) = delete;
  SocketLoop& operator=(const SocketLoop&) = delete;

  void post(std::function<void()> work);
  // Runs what was posted before and waits for the thread's end. Sockets and timers must be let go by what was posted.
  void join();

  // `address`: "host:port", as numbers. Open within `deadline`, or closed with timeout.
  std::unique_ptr<WebSocket> connect(const std::string& address, milliseconds deadline, std::size_t max_message,
                                     WebSocket::Handlers handlers);

  // Runs `work` after `delay`, unless the handle has gone before.
  class Timer;
  std::shared_ptr<Timer> after(milliseconds delay, std::function<void()> work);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::gateway
