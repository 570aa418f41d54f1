// HTTP/1.1 messages: parsing the head of a request, and writing whole responses. Strict (RFC 9112): what two readers
// might take differently (bare line feeds, folded lines, two lengths, a length beside a transfer coding) is refused.
#pragma once

#include "text.hpp"

namespace agent {

constexpr size_t largest_head = 16 * 1024;
// A chat message may be as large as the controller lets a request be, 1 MiB, and be escaped on the way.
constexpr size_t largest_body = 2 * 1024 * 1024;

// Its slices look into the bytes it was parsed from.
struct Request {
  Slice method, path;
  Slice query;  // what follows the question mark
  Slice bearer, session_key;
  bool has_session_key = false;
  bool keep_alive = true;
  bool expects_continue = false;
  size_t head_size = 0, body_size = 0;
};

// `head` ends with the empty line. 0, or the status to refuse the request with; the connection cannot be used after
// that.
int parse_head(Slice head, Request& out);

// A response; the caller closes the connection after it unless keep_alive. `extra` is header lines with their line
// ends.
void add_response(Text& out, int status, Slice content_type, Slice body, bool keep_alive, Slice extra = {});

// {"error":{"message":…,"type":…}} with the type that goes with the status.
void add_error(Text& out, int status, Slice message, bool keep_alive, Slice extra = {});

}  // namespace agent
