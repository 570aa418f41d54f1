// Writing to a client. Inside api/server only; everything on the hub's thread. No co_await here outlives its arguments:
// callers await at once.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string_view>

#include "api/http.hpp"
#include "api/server/client_stream.hpp"
#include "api/server/hub.hpp"

namespace creel::api {

// A header value must not break out of its line, whatever a handler put there.
std::string one_line(std::string value);
const std::string& date_header(Hub& hub);

// A whole answer. False: the connection is to be closed (it was told so, or it broke).
boost::asio::awaitable<bool> write_answer(Hub& hub, ClientStream& client, Response response, unsigned version,
                                          bool head_only, bool keep_alive);
// Some bytes of a body, as a chunk if it is a chunked one. False: the connection broke.
boost::asio::awaitable<bool> write_bytes(ClientStream& client, std::string_view bytes, bool chunked);
// 100 Continue.
boost::asio::awaitable<bool> tell_to_go_on(Hub& hub, ClientStream& client);
// Closing while the client still sends would reset the connection and lose our answer: what comes is read and dropped,
// for a while and up to a size. `share`: whose it is; null = nobody's.
boost::asio::awaitable<void> linger(Hub& hub, ClientStream& client, Share* share);

}  // namespace creel::api
