// Result and Error: how every function of Creel that can fail says so.
//
// Errors are values: no exception crosses a folder. A kind is what callers branch on and what api/ maps to an HTTP
// status in one switch; the message is one plain sentence for a person and never holds a secret.
#pragma once

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>
#include <stdexcept>
#include <string>
#include <utility>

namespace creel {

enum class ErrorKind {
  invalid,       // the caller's input is wrong; `field` names the place
  not_found,     // no such object
  conflict,      // the object's state does not allow it (name taken, wrong owner label, stale precondition)
  unauthorized,  // no valid credential
  forbidden,     // a valid credential that may not do this
  limit,         // a plan limit or a rate limit
  timeout,       // a deadline passed: the outcome is unknown, never "absent"
  unavailable,   // the other side (engine, PostgreSQL, gateway) cannot be reached
  cancelled,     // the stop token asked for it
  failed,        // the other side answered that it failed
  corrupt,       // stored data cannot be read back (wrong master key, damaged row)
  internal,      // a bug of ours
};

struct Error {
  ErrorKind kind = ErrorKind::internal;
  std::string message;  // one sentence, no secret
  std::string field{};  // for `invalid`: the offending field, "" otherwise
  std::string code{};   // stable upper-case API code when the kind alone does not decide it ("AGENT_LIMIT_REACHED")
};

// Raised only by Result::value() on an error, i.e. by a missing check: a bug.
[[noreturn]] inline void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw std::logic_error("unchecked error: " + error.message);
}

template <class T>
using Result = boost::system::result<T, Error>;

inline Error invalid(std::string field, std::string message) {
  return Error{ErrorKind::invalid, std::move(message), std::move(field), {}};
}

const char* to_string(ErrorKind kind);

}  // namespace creel

// Evaluates a Result expression; returns its error from the enclosing function, or binds its value to `var`.
#define CREEL_CONCAT_(a, b) a##b
#define CREEL_CONCAT(a, b) CREEL_CONCAT_(a, b)
#define CREEL_TRY_IMPL(tmp, var, ...)      \
  auto tmp = (__VA_ARGS__);                \
  if (!tmp) return std::move(tmp).error(); \
  var = std::move(*tmp)
#define CREEL_TRY(var, ...) CREEL_TRY_IMPL(CREEL_CONCAT(creel_try_, __LINE__), var, __VA_ARGS__)
// The same for Result<void>.
#define CREEL_CHECK(...)                                                            \
  do {                                                                              \
    if (auto creel_check = (__VA_ARGS__); !creel_check) return creel_check.error(); \
  } while (false)
