#include "http.hpp"

#include "json.hpp"

namespace agent {
namespace {

bool is_token_char(char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != nullptr;
}

bool is_token(Slice text) {
  for (size_t i = 0; i < text.size; ++i)
    if (!is_token_char(text.data[i])) return false;
  return text.size != 0;
}

Slice trim(Slice text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (text.size && blank(text.data[0])) text = text.from(1);
  while (text.size && blank(text.data[text.size - 1])) text = text.first(text.size - 1);
  return text;
}

// Calls `visit` with each element of a comma-separated list.
template <class Visit>
void each_element(Slice list, Visit visit) {
  while (list.size != 0) {
    size_t end = 0;
    while (end < list.size && list.data[end] != ',') ++end;
    visit(trim(list.first(end)));
    list = list.from(end + 1);
  }
}

const char* reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 417:
      return "Expectation Failed";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

}  // namespace

int parse_head(Slice head, Request& out) {
  out = Request();
  out.head_size = head.size;

  const auto line_of = [](Slice text) {
    size_t end = 0;
    while (end + 1 < text.size && !(text.data[end] == '\r' && text.data[end + 1] == '\n')) ++end;
    return text.first(end);
  };
  Slice line = line_of(head);
  Slice rest = head.from(line.size + 2);

  size_t space = 0;
  while (space < line.size && line.data[space] != ' ') ++space;
  out.method = line.first(space);
  Slice target = line.from(space + 1);
  size_t end = target.size;
  while (end > 0 && target.data[end - 1] != ' ') --end;
  if (!is_token(out.method) || end < 2) return 400;
  const Slice version = target.from(end);
  target = target.first(end - 1);
  if (version == "HTTP/1.0") {
    out.keep_alive = false;
  } else if (!(version == "HTTP/1.1")) {
    return version.starts_with("HTTP/") ? 505 : 400;
  }
  for (size_t i = 0; i < target.size; ++i)
    if (target.data[i] <= ' ' || target.data[i] == 0x7F) return 400;  // char is signed: non-ASCII is refused too
  // The absolute form, which a client of a proxy sends, must be understood as well.
  if (target.starts_with("http://")) {
    target = target.from(7);
    while (target.size && target.data[0] != '/' && target.data[0] != '?') target = target.from(1);
  }
  size_t path = 0;
  while (path < target.size && target.data[path] != '?') ++path;
  out.path = target.first(path);
  out.query = target.from(path + 1);

  bool has_host = false, has_length = false, has_coding = false, has_authorization = false, close = false, keep = false;
  while (rest.size > 2) {
    line = line_of(rest);
    rest = rest.from(line.size + 2);
    size_t colon = 0;
    while (colon < line.size && line.data[colon] != ':') ++colon;
    const Slice name = line.first(colon);
    if (colon == line.size || !is_token(name)) return 400;  // so is a folded line, which begins with a blank
    const Slice value = trim(line.from(colon + 1));
    for (size_t i = 0; i < value.size; ++i) {
      const unsigned char c = static_cast<unsigned char>(value.data[i]);
      if ((c < 0x20 && c != '\t') || c == 0x7F) return 400;
    }
    if (equal_ignoring_case(name, "host")) {
      if (has_host) return 400;
      has_host = true;
    } else if (equal_ignoring_case(name, "content-length")) {
      if (has_length || value.size == 0) return 400;
      has_length = true;
      for (size_t i = 0; i < value.size; ++i) {
        if (value.data[i] < '0' || value.data[i] > '9') return 400;
        if (out.body_size <= largest_body)
          out.body_size = out.body_size * 10 + static_cast<size_t>(value.data[i] - '0');
      }
    } else if (equal_ignoring_case(name, "transfer-encoding")) {
      has_coding = true;
    } else if (equal_ignoring_case(name, "connection")) {
      each_element(value, [&](Slice element) {
        close |= equal_ignoring_case(element, "close");
        keep |= equal_ignoring_case(element, "keep-alive");
      });
    } else if (equal_ignoring_case(name, "expect")) {
      if (!equal_ignoring_case(value, "100-continue")) return 417;
      out.expects_continue = true;
    } else if (equal_ignoring_case(name, "authorization")) {
      if (has_authorization) return 400;
      has_authorization = true;
      if (value.size > 7 && equal_ignoring_case(value.first(7), "bearer ")) out.bearer = trim(value.from(7));
    } else if (equal_ignoring_case(name, "x-openclaw-session-key")) {
      if (out.has_session_key) return 400;
      out.has_session_key = true;
      out.session_key = value;
    }
  }
  if (!has_host && version == "HTTP/1.1") return 400;
  if (close) out.keep_alive = false;
  if (keep && !close) out.keep_alive = true;
  if (has_coding) return has_length ? 400 : 411;  // chunked requests are not understood, which a server may say so
  if (out.body_size > largest_body) return 413;
  return 0;
}

void add_response(Text& out, int status, Slice content_type, Slice body, bool keep_alive, Slice extra) {
  out.add("HTTP/1.1 ")
      .add_number(status)
      .add(' ')
      .add(Slice::of(reason(status)))
      .add("\r\nContent-Type: ")
      .add(content_type);
  out.add("\r\nContent-Length: ").add_number(static_cast<long long>(body.size)).add("\r\nCache-Control: no-store\r\n");
  if (!keep_alive) out.add("Connection: close\r\n");
  out.add(extra).add("\r\n").add(body);
}

void add_error(Text& out, int status, Slice message, bool keep_alive, Slice extra) {
  Text body;
  body.add("{\"error\":{\"message\":");
  add_json_string(body, message);
  body.add(",\"type\":\"");
  switch (status) {
    case 401:
      body.add("unauthorized");
      break;
    case 404:
      body.add("not_found");
      break;
    case 405:
      body.add("method_not_allowed");
      break;
    default:
      body.add(status >= 500 ? Slice("internal_error") : Slice("invalid_request_error"));
  }
  body.add("\"}}");
  add_response(out, status, "application/json", body, keep_alive, extra);
}

}  // namespace agent
