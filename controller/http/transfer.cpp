#include "controller/http/transfer.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace creel::http {

namespace {

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && std::strchr(" \t\r\n", text.back()) != nullptr) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string result{text};
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

}  // namespace

Transfer::Transfer(Request r, std::function<void(Result<Response>)> d, std::shared_ptr<Stream> s)
    : request(std::move(r)), done(std::move(d)), stream(std::move(s)), last_byte(SteadyClock::now()) {}

Transfer::~Transfer() {
  if (easy != nullptr) curl_easy_cleanup(easy);
  curl_slist_free_all(headers_);
}

Result<void> Transfer::prepare() {
  if (has_control(request.url) || has_control(request.method)) return invalid("url", "a URL cannot hold a line break");
  const bool https = request.url.starts_with("https://");
  if (!https && !request.url.starts_with("http://"))
    return invalid("url", "only http:// and https:// URLs can be used");

  easy = curl_easy_init();
  if (easy == nullptr) return Error{ErrorKind::internal, "libcurl gave no handle"};
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error_);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  // One exchange a connection: with HTTP/2 a paused stream would hold up the others that share its connection.
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.deadline.count()));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  if (request.once) curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  if (!request.unix_socket.empty()) curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
  // Plain HTTP is for engines and agents next door; http_proxy of the environment is meant for the world outside.
  if (!https || !request.unix_socket.empty()) curl_easy_setopt(easy, CURLOPT_PROXY, "");
  if (request.tls) {
    if (!request.tls->ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, request.tls->ca_file.c_str());
    if (!request.tls->cert_file.empty()) curl_easy_setopt(easy, CURLOPT_SSLCERT, request.tls->cert_file.c_str());
    if (!request.tls->key_file.empty()) curl_easy_setopt(easy, CURLOPT_SSLKEY, request.tls->key_file.c_str());
    if (!request.tls->verify) {
      curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
      curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
  }

  const bool has_body =
      !request.body.empty() || request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  if (upload) {  // of unknown length, so in chunks
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, &Transfer::on_send);
    curl_easy_setopt(easy, CURLOPT_READDATA, this);
  } else if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (has_body) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  } else if (request.method != "GET") {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }

  const auto append = [this](const std::string& line) { headers_ = curl_slist_append(headers_, line.c_str()); };
  bool has_type = false;
  for (const auto& [name, value] : request.headers) {
    if (name.empty() || has_control(name) || has_control(value)) {
      return invalid("headers", "header " + (has_control(name) ? std::string{"name"} : name) + " holds a line break");
    }
    has_type = has_type || lower(name) == "content-type";
    // libcurl's way to send a header without a value is a semicolon in place of the colon.
    append(value.empty() ? name + ";" : name + ": " + value);
  }
  append("Expect:");  // no "100-continue" round trip before larger bodies
  if (has_body && !has_type) append("Content-Type:");
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_);

  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
  if (request.still_allowed) {
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, &Transfer::on_ready_to_send);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, this);
  }
  curl_easy_setopt(easy, CURLOPT_PRIVATE, this);
  return {};
}

std::optional<SteadyClock::time_point> Transfer::quiet_until() const {
  if (request.inactivity.count() <= 0 || receiving_paused || sending_paused) return std::nullopt;
  return last_byte + request.inactivity;
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  return static_cast<Transfer*>(self)->take_header({data, size * count});
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count, void* self) {
  return static_cast<Transfer*>(self)->take_body({data, size * count});
}

std::size_t Transfer::on_send(char* data, std::size_t size, std::size_t count, void* self) {
  return static_cast<Transfer*>(self)->give_body(data, size * count);
}

int Transfer::on_ready_to_send(void* self, char*, char*, int, int) {
  auto& transfer = *static_cast<Transfer*>(self);
  if (transfer.request.still_allowed()) return CURL_PREREQFUNC_OK;
  transfer.cancelled = true;
  return CURL_PREREQFUNC_ABORT;
}

std::size_t Transfer::give_body(char* data, std::size_t size) {
  last_byte = SteadyClock::now();
  std::lock_guard lock{upload->mutex};
  if (upload->broken) return CURL_READFUNC_ABORT;
  const std::size_t piece = std::min(size, upload->pending.size() - upload->taken);
  if (piece == 0 && upload->complete) return 0;
  if (piece == 0) {
    upload->paused = sending_paused = true;
    return CURL_READFUNC_PAUSE;
  }
  std::memcpy(data, upload->pending.data() + upload->taken, piece);
  upload->taken += piece;
  if (upload->taken == upload->pending.size()) {
    upload->pending.clear();
    upload->taken = 0;
    upload->changed.notify_all();
  }
  return piece;
}

std::size_t Transfer::take_header(std::string_view line) {
  last_byte = SteadyClock::now();
  if (headers_complete) return line.size();  // a trailer
  const std::string_view text = trim(line);
  if (text.starts_with("HTTP/")) {  // also after a 1xx answer: begin anew
    response.headers.clear();
    const auto space = text.find(' ');
    response.status = space == std::string_view::npos ? 0 : std::atoi(std::string{text.substr(space + 1, 3)}.c_str());
  } else if (text.empty()) {
    headers_complete = response.status >= 200;
    if (stream && is_open()) {
      std::lock_guard lock{stream->mutex};
      stream->opened = true;
      stream->changed.notify_all();
    }
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    response.headers.emplace_back(lower(trim(text.substr(0, colon))), trim(text.substr(colon + 1)));
  }
  return line.size();
}

std::size_t Transfer::take_body(std::string_view bytes) {
  last_byte = SteadyClock::now();
  if (stream && is_open()) {
    std::lock_guard lock{stream->mutex};
    if (stream->sink_ended) return 0;
    if (stream->pending.size() >= Stream::kHigh) {  // libcurl keeps the piece and hands it over again
      stream->paused = receiving_paused = true;
      return CURL_WRITEFUNC_PAUSE;
    }
    stream->pending.append(bytes);
    stream->changed.notify_all();
    return bytes.size();
  }
  if (response.body.size() + bytes.size() > request.max_body) {
    too_large = true;
    return 0;
  }
  response.body.append(bytes);
  return bytes.size();
}

// Scheme, host and port only: a path or a query may hold what nobody else should read.
std::string Transfer::address() const {
  if (!request.unix_socket.empty()) return "unix://" + request.unix_socket;
  const auto host = request.url.find("://") + 3;
  auto end = request.url.find_first_of("/?#", host);
  if (end == std::string::npos) end = request.url.size();
  const auto at = request.url.rfind('@', end);
  const auto begin = at != std::string::npos && at >= host && at < end ? at + 1 : host;
  return request.url.substr(0, host) + request.url.substr(begin, end - begin);
}

Result<Response> Transfer::outcome(CURLcode code) {
  const std::string where = request.peer.empty() ? address() : request.peer;
  if (stream) {
    std::lock_guard lock{stream->mutex};
    if (stream->sink_ended) return std::move(response);
  }
  if (cancelled) return Error{ErrorKind::cancelled, "the request to " + where + " was cancelled"};
  if (quiet) {
    return Error{ErrorKind::timeout, where + " sent nothing for " + std::to_string(request.inactivity.count()) + " ms"};
  }
  if (too_large) {
    return Error{ErrorKind::failed, where + " answered with more than " + std::to_string(request.max_body) + " bytes"};
  }
  long os_error = 0;
  curl_off_t ready_to_send = 0;
  curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_error);
  curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &ready_to_send);
  switch (code) {
    case CURLE_OK:
      return std::move(response);
    case CURLE_OPERATION_TIMEDOUT:
      if (ready_to_send == 0) {  // nothing was sent: there is no outcome to be unsure of
        return Error{ErrorKind::unavailable, "no connection to " + where + " in time"};
      }
      return Error{ErrorKind::timeout,
                   where + " did not answer within " + std::to_string(request.deadline.count()) + " ms"};
    case CURLE_COULDNT_CONNECT:
      return Error{ErrorKind::unavailable,
                   "cannot connect to " + where + ": " +
                       (os_error != 0 ? std::strerror(static_cast<int>(os_error)) : curl_easy_strerror(code))};
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
      return Error{ErrorKind::unavailable,
                   "cannot connect to " + where + ": " + (error_[0] != '\0' ? error_ : curl_easy_strerror(code))};
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return invalid("url", "the URL for " + where + " is malformed");
    default:
      return Error{ErrorKind::unavailable,
                   "the connection to " + where + " broke before the answer was whole: " + curl_easy_strerror(code)};
  }
}

}  // namespace creel::http
