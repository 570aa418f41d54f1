#include "api/error.hpp"

#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

namespace creel::api {

using nlohmann::json;

Response json_answer(int status, const json& body) {
  Response response;
  response.status = status;
  // Text from an engine or a gateway may be broken UTF-8: repaired, never a throw.
  response.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  return response;
}

Response error_answer(const Request& request, int status, std::string code, std::string message, const json& extra) {
  json body = extra.is_object() ? extra : json::object();
  body["error"] = std::move(message);
  body["code"] = std::move(code);
  body["requestId"] = request.request_id;
  return json_answer(status, body);
}

Response error_answer(const Request& request, int status, std::string code, std::string message) {
  return error_answer(request, status, std::move(code), std::move(message), json::object());
}

Response invalid_answer(const Request& request, const std::string& field, const std::string& message,
                        const std::string& code) {
  json extra = json::object();
  if (!field.empty()) extra["field"] = field;
  return error_answer(request, 400, code, message, extra);
}

Response error_answer(const Request& request, const Error& error, const char* failure) {
  const auto code = [&](const char* fallback) { return error.code.empty() ? std::string{fallback} : error.code; };
  switch (error.kind) {
    case ErrorKind::invalid:
      return invalid_answer(request, error.field, error.message, code("INVALID_BODY"));
    case ErrorKind::not_found:
      return error_answer(request, 404, code("NOT_FOUND"), error.message);
    case ErrorKind::conflict:
      return error_answer(request, 409, code("CONFLICT"), error.message);
    case ErrorKind::unauthorized:
      return error_answer(request, 401, code("UNAUTHORIZED"), error.message);
    case ErrorKind::forbidden:
      return error_answer(request, 403, code("FORBIDDEN"), error.message);
    case ErrorKind::limit:
      return error_answer(request, 429, code("LIMIT_REACHED"), error.message);
    case ErrorKind::timeout:
    case ErrorKind::unavailable:
    case ErrorKind::cancelled: {
      spdlog::warn("{} {}: {}", request.method, request.place, error.message);
      Response response = error_answer(request, 503, "STORE_UNAVAILABLE",
                                       "The database cannot be reached at the moment; nothing was changed, try again");
      response.headers.emplace_back("Retry-After", "2");
      return response;
    }
    case ErrorKind::failed:
    case ErrorKind::corrupt:
    case ErrorKind::internal:
      break;
  }
  spdlog::error("{} {}: {}", request.method, request.place, error.message);
  return error_answer(request, 500, "INTERNAL", failure);
}

Response upstream_error(const Request& request, const Error& error, const std::string& code) {
  switch (error.kind) {
    case ErrorKind::timeout:
    case ErrorKind::unavailable:
    case ErrorKind::cancelled:
    case ErrorKind::failed:
      return error_answer(request, 502, code, error.message);
    default:
      return error_answer(request, error);
  }
}

}  // namespace creel::api
