// The reference agent: the smallest program that does all that Creel asks of an agent. It serves an OpenAI-style chat
// endpoint that answers with what it was told, keeps its sessions on its volume, obeys its configuration file, and
// can be told to fail.
//
// One thread, one poll loop. Nothing a client does makes another wait: every connection has its own bounded buffers,
// is read only while nothing is waiting to be sent to it, and is given up after a while. The only thing that blocks
// is the disk.
//
// Environment: STATE_DIR (/home/agent/state), PORT (18789). Exits: 0 told to end, 3 told to fail, 73 the state folder
// cannot be written, 75 the port cannot be had, 78 no usable configuration.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

#include "config.hpp"
#include "http.hpp"
#include "json.hpp"
#include "log.hpp"
#include "sessions.hpp"

namespace agent {
namespace {

constexpr int most_connections = 512;
constexpr long long idle_ms = 75'000;
constexpr long long request_ms = 60'000;  // from a request's first byte to its last
constexpr long long send_ms = 30'000;     // without the client taking a byte
constexpr long long linger_ms = 2'000;
constexpr long long stop_ms = 250;
// All request bodies together, with the copies made while one is answered; beyond it new ones get 503.
constexpr size_t body_budget = 64 * 1024 * 1024;
constexpr size_t copies_of_body = 4;

struct Connection {
  int fd = -1;
  Text in, out;
  size_t sent = 0;      // of out
  size_t searched = 0;  // of in, for the end of the head
  size_t head = 0;      // size of the current request's head, 0 until it is complete
  size_t body = 0;
  size_t reserved = 0;  // of the budget
  long long since = 0;  // of the current request's first byte
  long long deadline = 0;
  bool close_after = false;
  bool lingering = false;  // all is sent, the rest of what the client sends is thrown away
};

class Agent {
 public:
  Agent(Slice state, int port) : port_(port), config_file_(config_path(state)), sessions_(state) {}
  int run();

 private:
  static Text& config_path(Slice state) {
    static Text path;
    path.assign(state);
    path.add("/config.json");
    return path;
  }

  bool listen_on_port();
  void read_config();
  void take_memory();
  void read_signals();
  void accept_all();
  bool make_room();
  void close_connection(Connection& c);
  void readable(Connection& c);
  bool progress(Connection& c);
  void refuse(Connection& c, int status);
  void send_pending(Connection& c);
  void handle(Connection& c, const Request& request, Slice body);
  void messages(Connection& c, const Request& request);
  void chat(Connection& c, const Request& request, Slice body);
  void fail_request(Connection& c, const Request& request, int status, Slice message, Slice extra = {});
  void log_refused(int status, Slice method, Slice path, Slice message);
  bool authorized(const Request& request) const { return equal_in_constant_time(config_.token, request.bearer); }
  bool ready() const {
    return config_.fail != Failure::unready && !stopping_ && monotonic_ms() - started_ >= config_.ready_delay_ms;
  }

  int port_;
  ConfigFile config_file_;
  Config config_;
  Sessions sessions_;
  Connection connections_[most_connections];
  int listener_ = -1, signals_ = -1;
  long long started_ = 0, now_ = 0, stop_at_ = 0;
  bool stopping_ = false, was_ready_ = false, out_of_descriptors_ = false;
  size_t budget_used_ = 0;
  long long log_second_ = 0, log_count_ = 0;
};

void random_hex(Text& out, size_t bytes) {
  static const char hex[] = "0123456789abcdef";
  unsigned char noise[32];
  if (bytes > sizeof noise) bytes = sizeof noise;
  if (getrandom(noise, bytes, 0) != static_cast<ssize_t>(bytes)) memset(noise, 0, sizeof noise);
  for (size_t i = 0; i < bytes; ++i) out.add(hex[noise[i] >> 4]).add(hex[noise[i] & 15]);
}

// --- life
// ------------------------------------------------------------------------------------------------------------------

int Agent::run() {
  started_ = now_ = monotonic_ms();
  bool changed = false;
  if (!config_file_.refresh(config_, changed)) {
    log_line(Level::error, "config.json cannot be used, nothing to start with", {{"reason", config_file_.error()}});
    return 78;
  }
  const Field start_fields[] = {{"name", config_.name},
                                {"model", config_.model},
                                {"port", {}, port_, true},
                                {"pid", {}, static_cast<long long>(getpid()), true}};
  log_line(Level::info, "starting", start_fields);
  if (config_file_.unknown_keys().size)
    log_line(Level::warn, "config.json has keys that mean nothing here", {{"keys", config_file_.unknown_keys()}});
  if (config_.fail == Failure::exit) {
    log_line(Level::error, "told to fail (fail: exit)");
    return 3;
  }
  if (const int problem = sessions_.prepare()) {
    log_line(Level::error, "the state folder cannot be written", {{"reason", Slice::of(strerror(problem))}});
    return 73;
  }

  // As process 1 of a container, signals without a handler would be ignored; and orphans of an `exec` become our
  // children.
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGCHLD, SIGHUP}) sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signals_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (!listen_on_port()) {
    const Field fields[] = {{"port", {}, port_, true}, {"reason", Slice::of(strerror(errno))}};
    log_line(Level::error, "cannot listen", fields);
    return 75;
  }
  log_line(Level::info, "listening", {{"port", {}, port_, true}});
  if (config_.fail == Failure::oom) take_memory();

  long long next_look = started_ + 1000;
  struct pollfd polled[2 + most_connections];
  int owner[2 + most_connections];
  for (;;) {
    if (!was_ready_ && ready()) {
      was_ready_ = true;
      log_line(Level::info, "ready", {{"after_ms", {}, monotonic_ms() - started_, true}});
    }
    // A full table that can make no room leaves newcomers in the kernel's queue.
    polled[0] = {signals_, POLLIN, 0};
    polled[1] = {stopping_ || out_of_descriptors_ ? -1 : listener_, POLLIN, 0};
    nfds_t count = 2;
    bool at_once = false, sending = false;
    for (int i = 0; i < most_connections; ++i) {
      Connection& c = connections_[i];
      if (c.fd < 0) continue;
      const bool waiting_to_send = c.out.size() > c.sent;
      sending |= waiting_to_send;
      // A pipelined request that is here already will not make the socket readable again.
      if (!waiting_to_send && !c.lingering && c.head == 0 && c.in.size() > c.searched) at_once = true;
      owner[count] = i;
      polled[count++] = {c.fd, static_cast<short>(waiting_to_send ? POLLOUT : POLLIN), 0};
    }
    if (stopping_ && (!sending || now_ >= stop_at_)) break;
    int timeout = stopping_ ? 10 : 1000;
    if (!was_ready_ && config_.fail != Failure::unready && timeout > 50) timeout = 50;
    if (at_once) timeout = 0;
    const int events = poll(polled, count, timeout);
    now_ = monotonic_ms();
    if (events < 0 && errno != EINTR) {
      log_line(Level::error, "poll failed", {{"reason", Slice::of(strerror(errno))}});
      return 70;
    }
    if (events > 0 && polled[0].revents) read_signals();
    for (nfds_t i = 2; i < count; ++i) {
      Connection& c = connections_[owner[i]];
      if (c.fd != polled[i].fd) continue;
      const short happened = events > 0 ? polled[i].revents : 0;
      if (happened & POLLOUT) {
        send_pending(c);
      } else if (happened & (POLLIN | POLLHUP | POLLERR)) {
        readable(c);
      } else if (c.out.size() == c.sent && !c.lingering && c.in.size() != 0) {
        progress(c);
      }
      if (c.fd >= 0 && now_ >= c.deadline) close_connection(c);
    }
    if (events > 0 && polled[1].revents) accept_all();
    if (now_ >= next_look) {
      next_look = now_ + 1000;
      out_of_descriptors_ = false;
      if (!stopping_) read_config();
    }
  }
  log_line(Level::info, "stopped", {{"uptime_ms", {}, monotonic_ms() - started_, true}});
  return 0;
}

bool Agent::listen_on_port() {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener_ < 0) return false;
  const int on = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port_));
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  socklen_t size = sizeof address;
  if (bind(listener_, reinterpret_cast<struct sockaddr*>(&address), size) != 0 || listen(listener_, 1024) != 0)
    return false;
  // Port 0, for tests, means any.
  if (getsockname(listener_, reinterpret_cast<struct sockaddr*>(&address), &size) == 0) port_ = ntohs(address.sin_port);
  return true;
}

void Agent::read_signals() {
  struct signalfd_siginfo info;
  while (read(signals_, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGCHLD) {
      while (waitpid(-1, nullptr, WNOHANG) > 0) {
      }
    } else if (info.ssi_signo == SIGHUP) {
      read_config();
    } else if (!stopping_) {
      stopping_ = true;
      stop_at_ = now_ + stop_ms;
      close(listener_);
      listener_ = -1;
      log_line(Level::info, "stopping", {{"signal", Slice::of(info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT")}});
    }
  }
}

void Agent::read_config() {
  bool changed = false;
  const Failure before = config_.fail;
  const bool usable = config_file_.refresh(config_, changed);
  if (!changed) return;
  if (!usable) {
    log_line(Level::error, "config.json is invalid, the last good one stays in force",
             {{"reason", config_file_.error()}});
    return;
  }
  const Field fields[] = {{"name", config_.name}, {"model", config_.model}};
  log_line(Level::info, "config.json changed and is in force", fields);
  if (config_file_.unknown_keys().size)
    log_line(Level::warn, "config.json has keys that mean nothing here", {{"keys", config_file_.unknown_keys()}});
  if (!ready()) was_ready_ = false;
  if (config_.fail == Failure::oom && before != Failure::oom) take_memory();
}

// Uses up the container's memory, until the kernel ends us. Where no limit can be seen this refuses: it would take
// the host's.
void Agent::take_memory() {
  char limit[32] = "";
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    const ssize_t n = read(file, limit, sizeof limit - 1);
    close(file);
    limit[n > 0 ? n : 0] = '\0';
    break;
  }
  // "max" (cgroup v2) is no number, and v1 writes nearly 2^63.
  const unsigned long long bytes = strtoull(limit, nullptr, 10);
  if (bytes == 0 || bytes > 1ULL << 40) {
    log_line(Level::error, "told to use up all memory (fail: oom), but no limit is set: refused");
    return;
  }
  log_line(Level::error, "told to use up all memory (fail: oom)");
  for (;;) {
    constexpr size_t piece = 1 << 20;
    char* memory = static_cast<char*>(malloc(piece));
    if (memory == nullptr) {
      usleep(10'000);
      continue;
    }
    for (size_t i = 0; i < piece; i += 4096) reinterpret_cast<volatile char*>(memory)[i] = 1;
  }
}

// --- connections
// -----------------------------------------------------------------------------------------------------------

void Agent::accept_all() {
  for (;;) {
    Connection* free_one = nullptr;
    for (Connection& c : connections_) {
      if (c.fd < 0) {
        free_one = &c;
        break;
      }
    }
    if (free_one == nullptr && make_room()) continue;
    if (free_one == nullptr) {
      out_of_descriptors_ = true;
      return;
    }
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      // The listener would stay readable and poll would spin.
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) out_of_descriptors_ = !make_room();
      return;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    free_one->fd = fd;
    free_one->deadline = now_ + idle_ms;
    free_one->since = now_;
  }
}

// Gives up the connection that will be missed least: one that is idle, longest first; else the slowest at sending its
// request or at taking its answer, if it has had 5 s. False when all are young and busy.
bool Agent::make_room() {
  Connection* victim = nullptr;
  long long worst = -1;
  for (Connection& c : connections_) {
    if (c.fd < 0) continue;
    const long long age = now_ - c.since;
    const bool idle = c.lingering || (c.in.size() == 0 && c.out.size() == c.sent);
    if (!idle && age < 5000) continue;
    const long long score = idle ? (1LL << 40) + age : age;
    if (score > worst) {
      worst = score;
      victim = &c;
    }
  }
  if (victim != nullptr) close_connection(*victim);
  return victim != nullptr;
}

void Agent::close_connection(Connection& c) {
  close(c.fd);
  budget_used_ -= c.reserved;
  c.fd = -1;
  c.in.release();
  c.out.release();
  c.sent = c.searched = c.head = c.body = c.reserved = 0;
  c.close_after = c.lingering = false;
  out_of_descriptors_ = false;
}

void Agent::readable(Connection& c) {
  static char scratch[64 * 1024];
  size_t want = sizeof scratch;
  const bool discard = c.lingering || config_.fail == Failure::hang;
  if (!discard) {
    const size_t limit = c.head ? c.head + c.body : largest_head;
    if (limit - c.in.size() < want) want = limit - c.in.size();
  }
  if (want != 0) {
    const ssize_t n = recv(c.fd, scratch, want, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      close_connection(c);
      return;
    }
    if (discard) {
      // A client of a hanging agent is to find out by its own patience, not by ours.
      if (!c.lingering) c.deadline = now_ + 24LL * 3600 * 1000;
      return;
    }
    if (c.in.size() == 0) {
      c.since = now_;
      c.deadline = now_ + request_ms;
    }
    c.in.append(scratch, static_cast<size_t>(n));
  }
  progress(c);
}

// Takes one request out of what has been read, if it is complete, and answers it. One at a time: with a thousand
// requests in its pipe a client still waits for its turn after each.
bool Agent::progress(Connection& c) {
  Request request;
  if (c.head == 0) {
    // Empty lines before a request are skipped (RFC 9112, 2.2).
    size_t blank = 0;
    while (blank + 1 < c.in.size() && c.in[blank] == '\r' && c.in[blank + 1] == '\n') blank += 2;
    if (blank != 0) c.in.erase_front(blank);
    size_t i = c.searched > 3 && blank == 0 ? c.searched - 3 : 0;
    for (; i + 3 < c.in.size(); ++i)
      if (memcmp(c.in.data() + i, "\r\n\r\n", 4) == 0) break;
    if (i + 3 >= c.in.size()) {
      c.searched = c.in.size();
      if (c.in.size() >= largest_head) refuse(c, 431);
      return false;
    }
    const size_t head = i + 4;
    const int status = parse_head(c.in.slice().first(head), request);
    if (status != 0) {
      refuse(c, status);
      return false;
    }
    const size_t cost = request.body_size * copies_of_body;
    if (budget_used_ + cost > body_budget) {
      refuse(c, 503);
      return false;
    }
    c.reserved = cost;
    budget_used_ += cost;
    c.head = head;
    c.body = request.body_size;
    if (request.expects_continue && c.in.size() < head + c.body) {
      static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
      c.out.append(go_on, sizeof go_on - 1);
      send_pending(c);
      if (c.fd < 0) return false;
    }
  }
  if (c.in.size() < c.head + c.body) return false;
  parse_head(c.in.slice().first(c.head), request);
  c.close_after = !request.keep_alive;
  handle(c, request, c.in.slice().from(c.head).first(c.body));

  c.in.erase_front(c.head + c.body);
  if (c.in.size() == 0) c.in.release();
  budget_used_ -= c.reserved;
  c.head = c.body = c.searched = c.reserved = 0;
  c.since = now_;
  c.deadline = now_ + send_ms;
  send_pending(c);
  return true;
}

// For a request that cannot be read to its end: what follows it is unknown, so the connection ends with the answer.
void Agent::refuse(Connection& c, int status) {
  Slice message = "Bad request";
  if (status == 411) message = "A Content-Length is required";
  if (status == 413) message = "The request is too large";
  if (status == 417) message = "Only 100-continue can be expected";
  if (status == 431) message = "The request's headers are too large";
  if (status == 503) message = "Too many large requests at a time";
  if (status == 505) message = "Only HTTP/1.1 is spoken here";
  log_refused(status, {}, {}, message);
  c.close_after = true;
  c.in.release();
  c.deadline = now_ + send_ms;
  add_error(c.out, status, message, false, status == 503 ? Slice("Retry-After: 1\r\n") : Slice());
  send_pending(c);
}

void Agent::send_pending(Connection& c) {
  while (c.sent < c.out.size()) {
    const ssize_t n = send(c.fd, c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      close_connection(c);
      return;
    }
    c.sent += static_cast<size_t>(n);
    c.deadline = now_ + send_ms;
  }
  c.out.release();
  c.sent = 0;
  if (c.close_after) {
    // Closing with unread input would reset the connection, and could take the answer with it before the client reads
    // it.
    shutdown(c.fd, SHUT_WR);
    c.lingering = true;
    c.in.release();
    c.deadline = now_ + linger_ms;
  } else {
    c.deadline = now_ + (c.in.size() ? request_ms : idle_ms);
  }
}

// --- routes
// ----------------------------------------------------------------------------------------------------------------

void Agent::log_refused(int status, Slice method, Slice path, Slice message) {
  // A client that is wrong a thousand times a second must not fill the disk.
  if (now_ / 1000 != log_second_) {
    if (log_count_ > 20)
      log_line(Level::warn, "more requests refused, not logged", {{"count", {}, log_count_ - 20, true}});
    log_second_ = now_ / 1000;
    log_count_ = 0;
  }
  if (++log_count_ > 20) return;
  const Field fields[] = {{"status", {}, status, true},
                          {"method", method.first(16)},
                          {"path", path.first(128)},
                          {"reason", message.first(256)}};
  log_line(status >= 500 ? Level::error : Level::warn, "request refused", fields);
}

void Agent::fail_request(Connection& c, const Request& request, int status, Slice message, Slice extra) {
  log_refused(status, request.method, request.path, message);
  add_error(c.out, status, message, request.keep_alive, extra);
}

void Agent::handle(Connection& c, const Request& request, Slice body) {
  const auto is = [&](Slice path) { return request.path == path; };
  const bool live_route = is("/healthz") || is("/health");
  const bool ready_route = is("/readyz") || is("/ready");
  const bool chat_route = is("/v1/chat/completions");
  const bool messages_route = is("/v1/messages");
  if (!live_route && !ready_route && !chat_route && !messages_route && !is("/v1/sessions") && !is("/v1/status")) {
    fail_request(c, request, 404, "Not found");
  } else if (!(request.method == (chat_route ? Slice("POST") : Slice("GET")))) {
    fail_request(c, request, 405, "Method not allowed",
                 chat_route ? Slice("Allow: POST\r\n") : Slice("Allow: GET\r\n"));
  } else if (live_route) {
    add_response(c.out, 200, "application/json", "{\"ok\":true,\"status\":\"live\"}", request.keep_alive);
  } else if (ready_route) {
    Text answer;
    answer.add(ready() ? Slice("{\"ready\":true") : Slice("{\"ready\":false"));
    if (request.bearer.size && authorized(request)) {
      answer.add(",\"failing\":[");
      if (!ready()) answer.add("\"starting\"");
      if (config_file_.error().size) {
        Text reason;
        add_json_string(answer.add(ready() ? Slice() : Slice(",")), reason.add("config: ").add(config_file_.error()));
      }
      answer.add("],\"uptimeMs\":").add_number(now_ - started_);
    }
    add_response(c.out, ready() ? 200 : 503, "application/json", answer.add('}'), request.keep_alive);
  } else if (!authorized(request)) {
    fail_request(c, request, 401, "Unauthorized", "WWW-Authenticate: Bearer\r\n");
  } else if (chat_route) {
    chat(c, request, body);
  } else if (messages_route) {
    messages(c, request);
  } else {
    Text answer;
    if (is("/v1/status")) {
      add_json_string(answer.add("{\"version\":\"1\",\"name\":"), config_.name);
      add_json_string(answer.add(",\"model\":"), config_.model.size() ? config_.model.slice() : Slice("reference"));
      answer.add(",\"uptimeMs\":").add_number(now_ - started_).add('}');
    } else {
      sessions_.list(answer);
    }
    add_response(c.out, 200, "application/json", answer, request.keep_alive);
  }
}

// The last user message of an OpenAI messages array: a string, or the text parts of an array. False with `why` if
// there is none.
bool last_user_message(const Json& json, const JsonNode* messages, Text& out, Slice& why) {
  const JsonNode* last = nullptr;
  if (messages == nullptr || messages->kind != Kind::array || json.first(messages) == nullptr) {
    why = "messages must be an array with at least one message";
    return false;
  }
  for (const JsonNode* message = json.first(messages); message != nullptr; message = json.next(message)) {
    const JsonNode* role = json.member(message, "role");
    if (role == nullptr || role->kind != Kind::string) {
      why = "every message needs a role";
      return false;
    }
    if (json.value(role) == "user") last = message;
  }
  const JsonNode* content = json.member(last, "content");
  if (content != nullptr && content->kind == Kind::string) out.add(json.value(content));
  if (content != nullptr && content->kind == Kind::array) {
    for (const JsonNode* part = json.first(content); part != nullptr; part = json.next(part)) {
      if (!(json.string(json.member(part, "type")) == "text")) continue;
      if (out.size()) out.add('\n');
      out.add(json.string(json.member(part, "text")));
    }
  }
  why = "there is no user message with text";
  return out.size() != 0;
}

// ?limit=N, 1 to 1000.
void Agent::messages(Connection& c, const Request& request) {
  if (!request.has_session_key || !Sessions::valid_key(request.session_key))
    return fail_request(c, request, 400, "The header x-openclaw-session-key must name a session");
  long long limit = 200;
  if (request.query.size != 0) {
    limit = 0;
    const Slice digits = request.query.starts_with("limit=") ? request.query.from(6) : Slice();
    for (size_t i = 0; i < digits.size && limit >= 0 && limit <= 1000; ++i)
      limit = digits.data[i] >= '0' && digits.data[i] <= '9' ? limit * 10 + (digits.data[i] - '0') : -1;
  }
  if (limit < 1 || limit > 1000) return fail_request(c, request, 400, "limit must be a number from 1 to 1000");
  Text answer;
  const int problem = sessions_.messages(request.session_key, static_cast<size_t>(limit), answer);
  if (problem != 0) {
    Text message;
    message.add("The session cannot be read: ").add(Slice::of(strerror(problem)));
    return fail_request(c, request, 500, message);
  }
  add_response(c.out, 200, "application/json", answer, request.keep_alive);
}

void Agent::chat(Connection& c, const Request& request, Slice body) {
  Json json;
  Slice why;
  Text question;
  if (!json.parse(body)) {
    Text message;
    message.add("Invalid JSON at byte ")
        .add_number(static_cast<long long>(json.position()))
        .add(": ")
        .add(Slice::of(json.error()));
    return fail_request(c, request, 400, message);
  }
  if (json.root()->kind != Kind::object) return fail_request(c, request, 400, "The body must be a JSON object");
  if (!last_user_message(json, json.member(json.root(), "messages"), question, why))
    return fail_request(c, request, 400, why);
  const JsonNode* stream = json.member(json.root(), "stream");
  if (stream != nullptr && stream->kind != Kind::boolean && stream->kind != Kind::null)
    return fail_request(c, request, 400, "stream must be true or false");
  const JsonNode* user = json.member(json.root(), "user");
  if (user != nullptr && user->kind != Kind::string && user->kind != Kind::null)
    return fail_request(c, request, 400, "user must be a string");

  Text key;
  if (request.has_session_key) {
    key.add(request.session_key);
  } else if (json.string(user).size != 0) {
    key.add(json.string(user));
  } else {
    random_hex(key.add("agent:main:openai:"), 16);
  }
  if (!Sessions::valid_key(key)) return fail_request(c, request, 400, "The session key is empty or too long");

  const long long before = sessions_.user_messages(key);
  int problem = before < 0 ? static_cast<int>(-before) : 0;
  Text answer;
  if (problem == 0) {
    answer.add("ECHO(").add_number(before + 1).add("): ").add(question);
    problem = sessions_.append(key, question, answer);
  }
  if (problem != 0) {
    Text message;
    message.add("The session cannot be kept: ").add(Slice::of(strerror(problem)));
    return fail_request(c, request, 500, message);
  }

  Text id;
  random_hex(id.add("chatcmpl_"), 16);
  const Slice model = config_.model.size() ? config_.model.slice() : Slice("reference");
  const auto add_head = [&](Text& out, Slice object) {
    out.add("{\"id\":\"")
        .add(id)
        .add("\",\"object\":\"")
        .add(object)
        .add("\",\"created\":")
        .add_number(wall_ms() / 1000);
    add_json_string(out.add(",\"model\":"), model);
    out.add(",\"choices\":[{\"index\":0,");
  };
  Text out;
  if (stream == nullptr || !stream->truth) {
    // A rough measure, four bytes a token, so that whoever adds up usage has something to add up.
    const long long prompt = static_cast<long long>((question.size() + 3) / 4);
    const long long completion = static_cast<long long>((answer.size() + 3) / 4);
    add_head(out, "chat.completion");
    add_json_string(out.add("\"message\":{\"role\":\"assistant\",\"content\":"), answer);
    out.add("},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":").add_number(prompt);
    out.add(",\"completion_tokens\":").add_number(completion);
    out.add(",\"total_tokens\":").add_number(prompt + completion).add("}}");
    add_response(c.out, 200, "application/json", out, request.keep_alive);
    return;
  }
  const auto add_chunk = [&](Slice delta, Slice finish) {
    out.add("data: ");
    add_head(out, "chat.completion.chunk");
    out.add("\"delta\":").add(delta).add(",\"finish_reason\":").add(finish).add("}]}\n\n");
  };
  add_chunk("{\"role\":\"assistant\"}", "null");
  // A few pieces, cut between characters. The answer is known, so the stream has a length and the connection lives on.
  const size_t piece = answer.size() / 8 + 8;
  for (size_t at = 0; at < answer.size();) {
    size_t size = 0;
    while (size < piece && at + size < answer.size()) size += utf8_length(answer.slice().from(at + size));
    Text delta;
    add_json_string(delta.add("{\"content\":"), answer.slice().from(at).first(size));
    add_chunk(delta.add('}'), "null");
    at += size;
  }
  add_chunk("{}", "\"stop\"");
  out.add("data: [DONE]\n\n");
  add_response(c.out, 200, "text/event-stream", out, request.keep_alive);
}

}  // namespace
}  // namespace agent

int main() {
  using agent::Slice;
  agent::log_open();
  const char* state = getenv("STATE_DIR");
  const char* port_text = getenv("PORT");
  char* end = nullptr;
  const long port = port_text && *port_text ? strtol(port_text, &end, 10) : 18789;
  if (port < 0 || port > 65535 || (end && *end)) {
    agent::log_line(agent::Level::error, "PORT is not a port number");
    return 75;
  }
  // Static: with its table of connections it is too large for a stack.
  static agent::Agent program(Slice::of(state && *state ? state : "/home/agent/state"), static_cast<int>(port));
  return program.run();
}
