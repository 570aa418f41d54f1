// Transfer: one exchange of the HTTP client, from request to answer. Private to controller/http/.
//
// A transfer belongs to the client's thread while libcurl works on it; `body` of a stream is shared with the thread
// that reads the stream, under `mutex`. Sizes in bytes, times on the steady clock.
#pragma once

#include <curl/curl.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "controller/http/client.hpp"

namespace creel::http {

using SteadyClock = std::chrono::steady_clock;

// What the thread that reads a stream and the client's thread share.
struct Stream {
  static constexpr std::size_t kHigh = 256u << 10;  // at or above this the sender is made to wait

  std::mutex mutex;
  std::condition_variable_any changed;
  std::string pending;                       // body bytes that the sink has not had yet
  bool opened = false;                       // a 2xx header section is complete
  bool paused = false;                       // libcurl was told to wait
  bool sink_ended = false;                   // the sink wants no more
  std::optional<Result<Response>> finished;  // set once, last
};

// What the thread that makes a body and the client's thread share.
struct Upload {
  static constexpr std::size_t kHigh = 256u << 10;  // at or above this the maker is made to wait

  std::mutex mutex;
  std::condition_variable_any changed;
  std::string pending;                       // what libcurl has not taken yet
  std::size_t taken = 0;                     // of pending
  bool complete = false;                     // nothing more will come
  bool broken = false;                       // nothing more will come, and what came is worth nothing
  bool paused = false;                       // libcurl waits for more
  std::optional<Result<Response>> finished;  // set once, last
};

struct Transfer {
  using StopCallback = std::stop_callback<std::function<void()>>;

  Transfer(Request request, std::function<void(Result<Response>)> done, std::shared_ptr<Stream> stream);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // Makes the libcurl handle. invalid: the request itself cannot be sent (header with a line break, odd scheme).
  Result<void> prepare();
  // What libcurl's code and the flags below come to.
  Result<Response> outcome(CURLcode code);
  bool is_open() const { return headers_complete && response.status >= 200 && response.status < 300; }
  // When the inactivity limit is reached; nullopt: never.
  std::optional<SteadyClock::time_point> quiet_until() const;

  std::uint64_t id = 0;
  Request request;
  std::function<void(Result<Response>)> done;  // unused for a stream
  std::shared_ptr<Stream> stream;              // null: collect the body
  std::shared_ptr<Upload> upload;              // null: the request's own body
  std::unique_ptr<StopCallback> on_stop;

  CURL* easy = nullptr;
  Response response;
  bool headers_complete = false;
  bool receiving_paused = false;
  bool sending_paused = false;
  bool too_large = false;
  bool quiet = false;                  // ended by the inactivity limit
  std::atomic<bool> cancelled{false};  // ended by the stop token
  SteadyClock::time_point last_byte;

 private:
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_send(char* data, std::size_t size, std::size_t count, void* self);
  static int on_ready_to_send(void* self, char*, char*, int, int);
  std::size_t give_body(char* data, std::size_t size);
  std::size_t take_header(std::string_view line);
  std::size_t take_body(std::string_view bytes);
  std::string address() const;

  curl_slist* headers_ = nullptr;
  char error_[CURL_ERROR_SIZE] = "";
};

}  // namespace creel::http
