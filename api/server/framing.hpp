// Framing: what a proxy in front of us, or the agent behind us, could read in another way than we do (request
// smuggling). Inside api/server only. Pure.
#pragma once

#include <boost/beast/http/message.hpp>

namespace creel::api {

// Why a request is to be refused with 400 and the connection closed: its length can be read in two ways, or where it is
// meant to go. "" = there is no doubt. Beast has refused what is not well-formed before.
const char* ambiguity(const boost::beast::http::request_header<>& head);

}  // namespace creel::api
