#include "api/server/framing.hpp"

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/field.hpp>

namespace creel::api {

namespace beast = boost::beast;
namespace http = boost::beast::http;

const char* ambiguity(const http::request_header<>& head) {
  const auto codings = head.count(http::field::transfer_encoding);
  const auto lengths = head.count(http::field::content_length);
  if (codings > 0) {
    if (codings > 1 || !beast::iequals(head[http::field::transfer_encoding], "chunked"))
      return "Transfer-Encoding must be chunked, and nothing else";
    if (lengths > 0) return "A request must not have both Content-Length and Transfer-Encoding";
    if (head.version() < 11) return "Transfer-Encoding is for HTTP/1.1";
  }
  const beast::string_view length = head[http::field::content_length];
  if (lengths > 1 || length.find_first_not_of("0123456789") != beast::string_view::npos)
    return "A request must have one Content-Length at most, a number";
  const auto hosts = head.count(http::field::host);
  if (hosts > 1 || (head.version() >= 11 && hosts == 0)) return "A request must have one Host header";
  const beast::string_view host = head[http::field::host];
  if (host.find_first_of(" \t,/\\@?#") != beast::string_view::npos) return "The Host header is not a host";
  for (const beast::string_view scheme : {"http://", "https://"}) {
    beast::string_view target = head.target();
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    if (!beast::iequals(target.substr(0, target.find_first_of("/?#")), host))
      return "The address and the Host header name different hosts";
  }
  return "";
}

}  // namespace creel::api
