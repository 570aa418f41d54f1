// Error answers: the one switch from Error to HTTP, and the body every error has:
// {"error": "<sentence>", "code": "<STABLE_CODE>", "requestId": "<id>"} plus what the document adds.
//
// Pure. A message of kind internal or corrupt is for the log, never for the client: it may name what broke inside.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "api/http.hpp"
#include "controller/core/result.hpp"

namespace creel::api {

// `extra`: an object whose members are added to the body; nullptr adds nothing.
Response error_answer(const Request& request, int status, std::string code, std::string message);
Response error_answer(const Request& request, int status, std::string code, std::string message,
                      const nlohmann::json& extra);

// For errors of PostgreSQL and of our own checks. `failure` is the document's sentence for a 500 on this route
// ("Failed to fetch agent").
Response error_answer(const Request& request, const Error& error, const char* failure = "Internal server error");
// For errors of what stands behind us (engine, an agent's gateway): unreachable or failing -> 502 with that code.
Response upstream_error(const Request& request, const Error& error, const std::string& code);

// 400 INVALID_BODY (or another code), naming the field.
Response invalid_answer(const Request& request, const std::string& field, const std::string& message,
                        const std::string& code = "INVALID_BODY");

Response json_answer(int status, const nlohmann::json& body);

}  // namespace creel::api

// In a handler: binds the value of a Result, or answers with its error.
#define CREEL_API_CONCAT_(a, b) a##b
#define CREEL_API_CONCAT(a, b) CREEL_API_CONCAT_(a, b)
#define CREEL_API_TRY_IMPL(tmp, var, request, failure, ...)         \
  auto tmp = (__VA_ARGS__);                                         \
  if (!tmp) return error_answer((request), tmp.error(), (failure)); \
  var = std::move(*tmp)
#define CREEL_API_TRY(var, request, failure, ...) \
  CREEL_API_TRY_IMPL(CREEL_API_CONCAT(creel_api_try_, __LINE__), var, request, failure, __VA_ARGS__)
#define CREEL_API_CHECK(request, failure, ...)                            \
  do {                                                                    \
    if (auto creel_api_check = (__VA_ARGS__); !creel_api_check)           \
      return error_answer((request), creel_api_check.error(), (failure)); \
  } while (false)
