// The shapes between sockets and handlers: Request, Response and the three ways of answering. No Beast in here.
//
// A handler is a plain synchronous function of (Request, Deps), run on the handler pool; it may block on PostgreSQL.
// It answers at once (Response), later (Later: the waiting request holds no thread) or bit by bit (Stream: SSE).
//
// Units: sizes in bytes. Header names compare case-insensitively. Text is UTF-8.
// Errors: a handler returns error answers as Responses (api/error.hpp); a throw is caught and answered with 500.
// Threads: a Request belongs to the thread that handles it; Later's `complete` and every method of StreamSink may be
// called from any thread.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "controller/core/ids.hpp"

namespace creel::api {

using Headers = std::vector<std::pair<std::string, std::string>>;

// The first header of that name, "" when there is none.
std::string_view find_header(const Headers& headers, std::string_view name);
// Replaces every header of that name by one.
void set_header(Headers& headers, std::string_view name, std::string value);
bool same_ignoring_case(std::string_view a, std::string_view b);

// Who is asking, as the credentials of the request say.
struct Caller {
  UserId id;
  std::string email;
  bool admin = false;  // of the row, or by ADMIN_EMAILS
  std::string plan;
  std::string subscription_status;  // "active" | "inactive" | "past_due" | "cancelled"
  bool by_cookie = false;           // a browser: the CSRF rule holds
  std::string session_digest;       // of the cookie, "" with an API key
};

struct Request {
  std::string method = "GET";                 // upper case
  std::string path = "/";                     // as sent, without the query
  std::string place = "(no such address)";    // for logs: the route, with ids; a path may hold what must not be logged
  std::map<std::string, std::string> params;  // ":id" of the route, percent-decoded
  std::map<std::string, std::string> query;   // percent-decoded; of a repeated name the first one
  Headers headers;
  std::string body;
  std::string remote_ip;  // of the client, behind trusted proxies too
  bool secure = false;    // came over TLS (said by a trusted proxy)
  std::string request_id;
  std::optional<Caller> caller;

  std::string_view header(std::string_view name) const { return find_header(headers, name); }
  // "" when absent.
  std::string query_value(const std::string& name) const;
  // The parameter the route's pattern names; "" when it has none of that name.
  const std::string& param(const std::string& name) const;
};

struct Response {
  int status = 200;
  std::string body;
  Headers headers;  // Content-Type defaults to application/json when there is a body
};

// `start` is called once, on a pool thread; it must see to it that `complete` is called exactly once, from any thread.
struct Later {
  std::function<void(std::function<void(Response)> complete)> start;
};

// Where an event stream goes. Bounded: a reader that is too slow makes the writer wait.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  // Queues text that is already in SSE form. Blocks while the buffer is full; false once the client has left, the sink
  // was closed, or the server stops. Never call it on the server's own thread.
  virtual bool send(std::string text) = 0;
  // The same without waiting: nothing is queued where there is no room now.
  enum class Offer { taken, full, closed };
  virtual Offer offer(const std::string& text) = 0;
  // Everything that was queued has been taken, so that the next offer is not refused for want of room.
  virtual bool drained() const = 0;
  // Ends the stream after what was queued. Harmless when repeated.
  virtual void close() = 0;
  virtual bool closed() const = 0;
  // Called once, on any thread, when the stream is over for whatever reason (at once if it already is).
  virtual void on_close(std::function<void()> call) = 0;
};

// `start` is called once, on a pool thread, after the head of the answer was sent; it must not block: whoever writes
// does so from a thread of its own (api/streams.hpp).
struct Stream {
  std::function<void(std::shared_ptr<StreamSink>)> start;
  Headers headers{};  // of the answer's head; the dispatcher fills in its own
};

using Reply = std::variant<Response, Later, Stream>;

struct Deps;
using Handler = Reply (*)(const Request&, Deps&);

}  // namespace creel::api
