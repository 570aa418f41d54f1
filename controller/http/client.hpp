// HttpClient: the process's one HTTP client, over TCP, TLS and Unix sockets. Sole includer of libcurl (client.cpp).
//
// One thread owns a CURLM (curl_multi_poll + curl_multi_wakeup) and every transfer. All methods may be called from any
// thread. Connections are kept alive and reused. Times: milliseconds. Bodies are bytes.
//
// It lives in controller/ and not in reconciler/runtime/docker/ because gateways, verifiers and the CLI need it as much
// as the engine does, and no arrow leads from them to the reconciler.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "controller/core/result.hpp"

namespace creel::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Tls {
  std::string ca_file;    // "": the system's
  std::string cert_file;  // client certificate, "": none
  std::string key_file;
  bool verify = true;
};

struct Request {
  std::string method = "GET";
  std::string url;          // "http://host:port/path?query"; host is nominal with a unix_socket
  std::string unix_socket;  // path; "": TCP
  std::string peer;         // how errors name the other side; "": by its address
  std::optional<Tls> tls;
  Headers headers;
  std::string body;
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds deadline{30'000};  // whole exchange; 0 = none (streams)
  std::chrono::milliseconds inactivity{0};     // give up when no byte came for so long; 0 = never
  std::size_t max_body = 64u << 20;            // a larger answer is an error, not a larger buffer
  // Not on a connection that was used before. For what must not be done twice: a request that gets no answer on a
  // reused connection is sent again by libcurl, which takes that for a connection that had died in between.
  bool once = false;
  // Asked once the connection stands, right before the first byte is sent, on the client's thread: it must not block.
  // false: nothing is sent, and the outcome is cancelled. For a request that must not be made a moment too late.
  std::function<bool()> still_allowed;
};

struct Response {
  int status = 0;
  Headers headers;  // names lower-cased
  std::string body;
  std::string header(std::string_view name) const;  // "" when absent
};

class Client {
 public:
  Client();
  ~Client();  // cancels what is under way and joins the thread
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Errors: timeout (deadline or inactivity: outcome unknown), unavailable (no connection; the message names the
  // peer), cancelled (stop asked for, or the client is being destroyed), too large -> failed. Any HTTP status is a
  // success here.
  Result<Response> send(Request request, std::stop_token stop = {});

  // As send, but returns at once; `done` is called exactly once, on the client's thread: it must not block.
  void send_async(Request request, std::function<void(Result<Response>)> done, std::stop_token stop = {});

  // Streams the body to `sink`, called on the calling thread with pieces as they come; a slow sink makes the sender
  // wait (bounded buffer, the transfer is paused). `sink` returns false to end the stream, which is then a success. The
  // sink is only called for a 2xx status; otherwise the Response carries the body. `on_open` (optional) is called, on
  // the calling thread, once a 2xx status line has come, even if no body follows yet.
  Result<Response> stream(Request request, std::function<bool(std::string_view)> sink, std::stop_token stop = {},
                          std::function<void()> on_open = {});

  // Sends a body as it is made: `produce` is called once, on the calling thread, with a function that takes the next
  // piece, blocks while the other side is slow, and returns false when it wants no more. A failure of `produce` breaks
  // the request off and is the outcome. `inactivity` counts while there is something to send or an answer to wait for.
  using Write = std::function<bool(std::string_view)>;
  Result<Response> upload(Request request, const std::function<Result<void>(const Write&)>& produce,
                          std::stop_token stop = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Percent-encodes everything but unreserved characters.
std::string url_encode(std::string_view text);

}  // namespace creel::http
